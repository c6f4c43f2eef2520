/**
 * Does a team of prompts give the credit anything to find? What an untrained model samples under one set of prompts and at
 * one temperature, in the numbers that decide it. A verifier that agrees with every answer, or a refiner that copies, leaves
 * all siblings with one label: then there is not one preference pair, and MALT cannot start. Pure: rows in, numbers out.
 */
import { approves } from "../answers/approval.js";
import { clusterMean, type Estimate } from "../stats/means.js";
import type { Node, PreferencePair } from "../types.js";
import { summariseRoles } from "./summary.js";

/** What one run sampled, for a row of a table. Each estimate is clustered by question. */
export interface SampleSummary {
  /** Accuracy, mean completion tokens and share of outputs that were cut off, by role in the order of the team. */
  roles: { role: string; accuracy: Estimate; tokens: number | null; truncated: number }[];
  /** Of the critiques of wrong answers, the share that agrees: it states that answer, or approves it and states none. */
  agreesWithWrong: Estimate;
  /** Accuracy of the refinements of wrong answers, by whether the critique in between states the right answer. */
  repaired: { rightCritique: Estimate; otherCritique: Estimate };
  /**
   * Of the states of a role (what it sees once, with all its outputs), the share with a preference pair: once over all
   * questions, and once over those that the generator got wrong at least once, where there is something to correct.
   */
  pairs: { role: string; all: Estimate; doubtful: Estimate }[];
}

/**
 * Summarises a run of generator, verifier and refiner, or of any team that has these names.
 * @param nodes of complete trees; @param pairs of the same export
 */
export function summariseSample(
  nodes: readonly Node[],
  pairs: readonly Pick<PreferencePair, "question_id" | "role" | "parent_id">[],
): SampleSummary {
  const key = (question: string, id: string | null) => `${question}\n${id}`;
  const byId = new Map(nodes.map((node) => [key(node.question_id, node.node_id), node]));
  const above = (node: Node | undefined) => node && byId.get(key(node.question_id, node.parent_id));
  const share = (rows: readonly Node[], test: (node: Node) => boolean) =>
    clusterMean(
      rows.map(test),
      rows.map((row) => row.question_id),
    );
  const isRight = (node: Node | undefined) => node?.correct === true;

  const critiques = nodes.filter((n) => n.role === "verifier" && above(n)?.role === "generator" && !isRight(above(n)));
  const criticised = new Set(critiques);
  const refinements = nodes.filter((n) => n.role === "refiner" && criticised.has(above(n)!));
  const doubtful = new Set(nodes.filter((n) => n.role === "generator" && !isRight(n)).map((n) => n.question_id));
  const paired = new Set(pairs.map((pair) => `${pair.role}\n${key(pair.question_id, pair.parent_id)}`));
  const roles = [...new Set(nodes.map((node) => node.role))];

  return {
    roles: summariseRoles(nodes).map(({ role, accuracy, meanTokens, truncated }) => ({
      ...{ role, accuracy, tokens: meanTokens, truncated },
    })),
    agreesWithWrong: share(critiques, (critique) => agrees(critique, above(critique)!)),
    repaired: {
      rightCritique: share(
        refinements.filter((node) => isRight(above(node))),
        isRight,
      ),
      otherCritique: share(
        refinements.filter((node) => !isRight(above(node))),
        isRight,
      ),
    },
    pairs: roles.map((role) => {
      // A state is named by the output above it; the generator's by its question.
      const states = nodes.filter((node) => node.role === role && node.branch === 0);
      const hasPair = (node: Node) => paired.has(`${role}\n${key(node.question_id, node.parent_id)}`);
      return {
        role,
        all: share(states, hasPair),
        doubtful: share(
          states.filter((node) => doubtful.has(node.question_id)),
          hasPair,
        ),
      };
    }),
  };
}

const agrees = (critique: Node, answer: Node): boolean =>
  critique.answer === null ? approves(critique.text) : critique.answer === answer.answer;
