/**
 * What training each role is worth: Shapley values over the systems in which some roles are trained and the others not
 * (paper, Table 4 and beyond). Pure.
 */
import { shapleyValues } from "../credit/shapley.js";
import { InputError } from "../errors.js";
import { clusterMean, type Estimate } from "../stats/means.js";
import { allSystems, type System } from "../team/systems.js";
import type { EvaluationRow } from "../types.js";

/** What is read of an evaluation. */
export type VoteRow = Pick<EvaluationRow, "system" | "seed" | "question_id" | "pass" | "turn" | "voted_correct">;

/** The share of one role in what training the team has gained. */
export interface RoleShare {
  role: string;
  /** In accuracy, from −1 to 1; the interval is over questions. The shares add up to the gain of the whole team. */
  share: Estimate;
}

/**
 * The Shapley value of training each role: the mean gain in accuracy from training it, over all orders in which the roles can
 * be trained. Since Shapley values add, they are computed for each question and then averaged, on the same questions and
 * seeds for all systems.
 * @param rows of one benchmark, with the untrained team, the trained one, and every mix of them
 * @param team the system in which all roles are trained; default MALT
 * @param systems where the mixes are looked up: the same roles and votes, the team's adapters for some roles and none for
 *   the others
 * @returns in speaking order
 * @throws InputError that names the mixes that were not evaluated
 */
export function roleShares(
  rows: readonly VoteRow[],
  team: System = allSystems.find(({ name }) => name === "MALT")!,
  systems: readonly System[] = allSystems,
): RoleShare[] {
  const trained = team.roles.map(({ name }) => name).filter((role) => team.adapters[role] !== undefined);
  const key = (coalition: ReadonlySet<string>) => trained.filter((role) => coalition.has(role)).join("+");
  const spoken = team.roles.map(({ name }) => name).join();
  const bySet = new Map<string, string>();
  for (const { name, roles, adapters, votes, debate, tokensOf } of systems) {
    if (roles.map(({ name }) => name).join() !== spoken || votes !== team.votes || debate || tokensOf) continue;
    const own = Object.keys(adapters).filter((role) => trained.includes(role));
    if (own.every((role) => adapters[role] === team.adapters[role])) bySet.set(key(new Set(own)), name);
  }
  const correct = outcomesBySystem(rows, team.roles.at(-1)!.name);
  const worth = (coalition: ReadonlySet<string>) => {
    const outcomes = correct.get(bySet.get(key(coalition)) ?? "");
    if (outcomes) return outcomes;
    throw new InputError(
      `the team with ${key(coalition) || "no role"} trained (${bySet.get(key(coalition)) ?? "no system of that kind"}) was not ` +
        "evaluated; run `malt evaluate` with --systems main,mixes",
    );
  };
  const all = worth(new Set(trained));
  const shares = [...all.keys()].map((item) => ({
    question: all.get(item)!.question,
    values: shapleyValues(trained, (coalition) => {
      const outcome = worth(coalition).get(item);
      if (outcome) return Number(outcome.correct);
      throw new InputError("the systems were not evaluated on the same questions and seeds; evaluate them together");
    }),
  }));
  return trained.map((role) => ({
    role,
    share: clusterMean(
      shares.map(({ values }) => values.get(role)!),
      shares.map(({ question }) => question),
    ),
  }));
}

/** Whether each system's vote at a turn is right, by seed and question. */
function outcomesBySystem(rows: readonly VoteRow[], turn: string) {
  const systems = new Map<string, Map<string, { question: string; correct: boolean }>>();
  for (const row of rows) {
    if (row.pass !== 0 || row.turn !== turn) continue;
    const own = systems.get(row.system) ?? new Map();
    systems.set(row.system, own);
    own.set(`${row.seed}\n${row.question_id}`, { question: row.question_id, correct: row.voted_correct });
  }
  return systems;
}
