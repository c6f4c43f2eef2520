/**
 * What the cells of a study say: accuracy, the paired comparison with the reference cell, adjusted for all comparisons, and
 * the cost of each. Pure: outcomes in, numbers out.
 */
import { groupBy } from "../evaluate/results.js";
import { clusterMean, type Estimate, meanStd } from "../stats/means.js";
import { holm, type PairedTest, pairedTest } from "../stats/paired.js";
import { labelOf } from "./axes.js";
import type { Cell } from "./definition.js";

/** One answer: a row of outcomes.parquet. */
export interface CellAnswer {
  cell: number;
  repeat: number;
  /** Of the evaluation. */
  seed: number;
  question_id: string;
  correct: boolean;
  /** Completion tokens of all passes; null where the server does not count. */
  tokens: number | null;
}

/**
 * What one making of a cell takes, all rounds of training together, if nothing is shared with others. Tokens are null where the server or the trainer does
 * not count them.
 */
export interface Cost {
  /** Completions of the trees, and their tokens without prompts. */
  sampled_completions: number;
  sampled_tokens: number | null;
  /** Rows of the training files of the stages that the system needs. */
  sft_examples: number;
  pairs: number;
  training_steps: number;
  training_tokens: number | null;
}

/** What is known of a cell's making: its cost, or why it could not be trained. */
export interface Made {
  cell: number;
  repeat: number;
  cost: Cost;
  /** Null if it was trained and evaluated. */
  reason: string | null;
}

/**
 * A paired comparison with the reference. Its interval and p take the trained teams as given: they are about other questions, and
 * not about other trainings.
 */
export interface ComparedCell extends PairedTest {
  /** p, adjusted by Holm's rule for all cells. */
  pHolm: number;
  /** Standard deviation of the difference over repeats, divisor n − 1; null with fewer than two. */
  overRepeats: number | null;
}

/** A cell with what it measured. */
export interface CellResult {
  cell: number;
  /** Labels of the varied values, by axis. */
  values: Readonly<Record<string, string>>;
  system: string;
  isReference: boolean;
  /** Why there is no result; null where there is one. */
  reason: string | null;
  /** Over all answers, questions as clusters; null without a result, as all that follows. */
  accuracy: Estimate | null;
  /** Standard deviation over evaluation seeds, divisor n − 1; and over repeats, of which each is a training of its own. */
  overSeeds: number | null;
  overRepeats: number | null;
  /** Completion tokens per question at inference. */
  tokens: number | null;
  /** The cell minus the reference on the same repeats, seeds and questions; null for the reference itself. */
  against: ComparedCell | null;
  /** Mean over the repeats. */
  cost: Cost;
}

/**
 * One result per cell, in their order.
 * @param outcomes of all cells, in any order
 */
export function compareCells(
  cells: readonly Cell[],
  outcomes: readonly CellAnswer[],
  made: readonly Made[],
): CellResult[] {
  const byCell = new Map(cells.map(({ cell }) => [cell, [] as CellAnswer[]]));
  for (const outcome of outcomes) byCell.get(outcome.cell)!.push(outcome);
  const reference = cells.find(({ isReference }) => isReference);
  const base = new Map((reference ? byCell.get(reference.cell)! : []).map((o) => [placeOf(o), o.correct]));
  const results = cells.map(({ cell, varied, system, isReference }): CellResult => {
    const own = byCell.get(cell)!;
    const makings = made.filter((each) => each.cell === cell);
    const differences = own
      .filter((o) => base.has(placeOf(o)))
      .map((o) => ({ ...o, difference: Number(o.correct) - Number(base.get(placeOf(o))) }));
    const isCompared = !isReference && differences.length > 0;
    return {
      ...{ cell, system: system.name, isReference },
      values: Object.fromEntries(Object.entries(varied).map(([name, one]) => [name, labelOf(one)])),
      reason: makings.find(({ reason }) => reason !== null)?.reason ?? (own.length === 0 ? "not evaluated yet" : null),
      accuracy: own.length === 0 ? null : accuracyOf(own),
      overSeeds: spread(own, "seed", isRight),
      overRepeats: spread(own, "repeat", isRight),
      tokens: own.length > 0 && own.every(({ tokens }) => tokens !== null) ? mean(own.map((o) => o.tokens!)) : null,
      against: isCompared
        ? {
            ...pairedTest(
              differences.map(({ difference }) => difference),
              differences.map((o) => o.question_id),
            ),
            pHolm: Number.NaN,
            overRepeats: spread(differences, "repeat", ({ difference }) => difference),
          }
        : null,
      cost: meanCost(makings.map(({ cost }) => cost)),
    };
  });
  const compared = results.filter(({ against }) => against !== null);
  const adjusted = holm(compared.map(({ against }) => against!.p));
  for (const [i, { against }] of compared.entries()) against!.pHolm = adjusted[i]!;
  return results;
}

const placeOf = ({ repeat, seed, question_id }: CellAnswer): string => `${repeat}\n${seed}\n${question_id}`;

const accuracyOf = (outcomes: readonly CellAnswer[]): Estimate =>
  clusterMean(
    outcomes.map(({ correct }) => correct),
    outcomes.map(({ question_id }) => question_id),
  );

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const isRight = ({ correct }: CellAnswer): number => Number(correct);

/** Standard deviation of the means of groups; null with fewer than two. */
function spread<T extends CellAnswer>(
  outcomes: readonly T[],
  group: "seed" | "repeat",
  value: (outcome: T) => number,
): number | null {
  const groups = groupBy(outcomes, (outcome) => outcome[group]);
  if (groups.size < 2) return null;
  return meanStd([...groups.values()].map((own) => mean(own.map(value)))).sample;
}

function meanCost(costs: readonly Cost[]): Cost {
  const of = (name: keyof Cost) => {
    const values = costs.map((cost) => cost[name]);
    return values.includes(null) || values.length === 0 ? null : mean(values as number[]);
  };
  return {
    sampled_completions: of("sampled_completions") ?? 0,
    sampled_tokens: of("sampled_tokens"),
    sft_examples: of("sft_examples") ?? 0,
    pairs: of("pairs") ?? 0,
    training_steps: of("training_steps") ?? 0,
    training_tokens: of("training_tokens"),
  };
}

/** A team at a budget of tokens. */
export interface AtTokens {
  /** Labels of all varied values but the votes. */
  values: Readonly<Record<string, string>>;
  /** Completion tokens per question. */
  budget: number;
  /** Passes voted on, on average. */
  votes: number;
  accuracy: Estimate;
  /** The reference's team at the same budget minus this one; null for itself. */
  against: PairedTest | null;
}

/**
 * Teams at exactly equal tokens. Votes are whole, so no number of them has just the tokens of another team; but one that votes
 * on k passes for a share of the questions, drawn at random, and on k + 1 for the rest has any mean between those of k and
 * k + 1. Its expected accuracy, question by question, is the mean of the two weighted by these shares, and lies on the line
 * between them in a figure of accuracy against tokens.
 * @param cells of a study with the axis `votes`
 * @param budgets in completion tokens per question; a team that cannot spend one, even with one vote or the most, is left out
 */
export function atEqualTokens(
  cells: readonly Cell[],
  outcomes: readonly CellAnswer[],
  results: readonly CellResult[],
  budgets: readonly number[],
): AtTokens[] {
  const rest = ({ votes: _, ...values }: CellResult["values"]) => values;
  const answers = groupBy(outcomes, ({ cell }) => cell);
  const curves = [...groupBy(results, ({ values }) => JSON.stringify(rest(values))).values()].map((own) => ({
    values: rest(own[0]!.values),
    isReference: own.some(({ isReference }) => isReference),
    points: own
      .filter(({ tokens }) => tokens !== null)
      .map(({ cell, tokens }) => ({
        tokens: tokens!,
        cell,
        votes: cells.find((each) => each.cell === cell)!.system.votes,
      }))
      .sort((a, b) => a.tokens - b.tokens),
  }));
  return budgets.flatMap((budget) => {
    const here = curves.flatMap(({ values, isReference, points }) => {
      const above = points.findIndex(({ tokens }) => tokens >= budget - 1e-9);
      if (above < 0 || (above === 0 && points[0]!.tokens > budget + 1e-9)) return [];
      const [low, high] = [points[Math.max(0, above - 1)]!, points[above]!];
      const share = high.tokens > low.tokens ? (budget - low.tokens) / (high.tokens - low.tokens) : 1;
      const few = new Map((answers.get(low.cell) ?? []).map((o) => [placeOf(o), o]));
      const mixed = (answers.get(high.cell) ?? []).flatMap((o) => {
        const other = few.get(placeOf(o));
        if (!other) return [];
        const right = share * Number(o.correct) + (1 - share) * Number(other.correct);
        return [{ place: placeOf(o), question: o.question_id, right }];
      });
      return [{ values, isReference, votes: share * high.votes + (1 - share) * low.votes, mixed }];
    });
    const reference = here.find(({ isReference }) => isReference);
    const base = new Map(reference?.mixed.map(({ place, right }) => [place, right]));
    return here.map(({ values, isReference, votes, mixed }): AtTokens => {
      const questions = mixed.map(({ question }) => question);
      const shared = mixed.filter(({ place }) => base.has(place));
      const differences = shared.map(({ place, right }) => base.get(place)! - right);
      const sharedQuestions = shared.map(({ question }) => question);
      return {
        ...{ values, budget, votes },
        accuracy: clusterMean(
          mixed.map(({ right }) => right),
          questions,
        ),
        against: isReference || shared.length === 0 ? null : pairedTest(differences, sharedQuestions),
      };
    });
  });
}
