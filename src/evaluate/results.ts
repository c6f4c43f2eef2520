/**
 * What evaluation.parquet says: accuracy per system with its spread over seeds, paired comparisons, tokens spent,
 * accuracy after each turn and flips against a baseline (paper, Tables 1, 4 and 5, Figures 2 and 3). Pure: rows in,
 * numbers out.
 */
import { sameAnswer } from "../answers/index.js";
import { InputError } from "../errors.js";
import { clusterMean, type Estimate, type MeanStd, meanStd } from "../stats/means.js";
import { holm, type PairedTest, pairedTest } from "../stats/paired.js";
import { vote } from "../team/vote.js";
import type { EvaluationRow } from "../types.js";
import type { PublishedRow } from "./published.js";

/** One system's line in the table. */
export interface SystemResult {
  system: string;
  /** Accuracy of each seed's subset, in the order of the seeds. */
  bySeed: number[];
  /** Over the seeds, as the paper reports it. */
  overSeeds: MeanStd;
  /** Over all answers, questions as clusters. */
  accuracy: Estimate;
  /** Passes that are voted on. */
  votes: number;
  /** Completion tokens that all turns of all passes take for one question, on average; null where not counted. */
  tokens: number | null;
  /** Share of the votes at the last turn in which no answer had a majority; null with a single pass. */
  undecided: number | null;
  /** Comparison with the reference system on the same questions and seeds; null for the reference itself. */
  against: (PairedTest & { pHolm: number }) | null;
}

/** The answer a system gives to one question under one seed. */
interface Outcome {
  seed: number;
  question: string;
  correct: boolean;
}

/**
 * One line per system, in the order of the rows.
 * @param reference the system that the others are compared with; default MALT if it is there, else the first
 * @throws InputError if there are no rows or the reference is not among them
 */
export function summariseSystems(rows: readonly EvaluationRow[], reference?: string): SystemResult[] {
  checkBenchmark(rows);
  const bySystem = groupBy(rows, (row) => row.system);
  const names = [...bySystem.keys()];
  const chosen = reference ?? (names.includes("MALT") ? "MALT" : names[0]);
  if (chosen === undefined || !bySystem.has(chosen))
    throw new InputError(`system "${chosen}" is not in this evaluation; it has: ${names.join(", ") || "none"}`);
  const best = outcomes(bySystem.get(chosen)!);
  const results = names.map((system): SystemResult => {
    const own = bySystem.get(system)!;
    const final = outcomes(own);
    const seeds = groupBy(final, ({ seed }) => String(seed));
    const bySeed = [...seeds.values()].map((list) => list.filter(({ correct }) => correct).length / list.length);
    const counted = own.every((row) => row.completion_tokens !== null);
    return {
      system,
      bySeed,
      overSeeds: meanStd(bySeed),
      accuracy: clusterMean(
        final.map(({ correct }) => correct),
        final.map(({ question }) => question),
      ),
      votes: own.reduce((most, { pass }) => Math.max(most, pass + 1), 1),
      tokens: counted ? own.reduce((sum, row) => sum + row.completion_tokens!, 0) / final.length : null,
      undecided: undecided(own),
      against: system === chosen ? null : { ...comparePaired(best, final), pHolm: Number.NaN },
    };
  });
  const compared = results.filter(({ against }) => against !== null);
  const adjusted = holm(compared.map(({ against }) => against!.p));
  for (const [i, { against }] of compared.entries()) against!.pHolm = adjusted[i]!;
  return results;
}

/** Paired comparison of the outcomes that two systems have in common; a positive difference favours the first. */
export function comparePaired(first: readonly Outcome[], second: readonly Outcome[]): PairedTest {
  const other = new Map(second.map((o) => [`${o.seed}\n${o.question}`, o.correct]));
  const shared = first.filter((o) => other.has(`${o.seed}\n${o.question}`));
  if (shared.length === 0) throw new InputError("two systems share no question; evaluate them on the same seeds");
  return pairedTest(
    shared.map((o) => Number(o.correct) - Number(other.get(`${o.seed}\n${o.question}`))),
    shared.map(({ question }) => question),
  );
}

/** What says how a vote ended. */
export type VotedRow = Pick<EvaluationRow, "turn" | "pass" | "seed" | "question_id" | "voted_correct">;

/** Final outcomes: the vote at the last turn, which with one pass is that pass's answer. @param rows of one system */
export function outcomes(rows: readonly VotedRow[]): Outcome[] {
  const last = rows.at(-1)?.turn;
  return rows
    .filter((row) => row.pass === 0 && row.turn === last)
    .map(({ seed, question_id, voted_correct }) => ({ seed, question: question_id, correct: voted_correct }));
}

/** The share of votes at the last turn without a majority. */
function undecided(rows: readonly EvaluationRow[]): number | null {
  if (!rows.some(({ pass }) => pass > 0)) return null;
  const last = rows.at(-1)!.turn;
  const own = rows.filter(({ turn }) => turn === last);
  const votes = [...groupBy(own, ({ seed, question_id }) => `${seed}\n${question_id}`).values()];
  const decided = votes.filter(
    (passes) =>
      vote(
        passes.map(({ answer }) => answer),
        sameAnswer,
      ).majority,
  );
  return 1 - decided.length / votes.length;
}

/** Accuracy after one turn of a system. */
export interface TurnResult {
  turn: string;
  /** Of the vote over the passes (MV@3 in Figure 3). */
  voted: Estimate;
  /** Of single passes. */
  single: Estimate;
}

/** Accuracy after each turn, in speaking order (Figure 3). @throws InputError for a system that is not there */
export function perTurn(rows: readonly EvaluationRow[], system: string): TurnResult[] {
  const own = rowsOf(rows, system);
  return [...groupBy(own, (row) => row.turn)].map(([turn, list]) => {
    const votes = list.filter((row) => row.pass === 0);
    return {
      turn,
      voted: clusterMean(
        votes.map((row) => row.voted_correct),
        votes.map((row) => row.question_id),
      ),
      single: clusterMean(
        list.map((row) => row.correct),
        list.map((row) => row.question_id),
      ),
    };
  });
}

/** How often a turn's vote differs in correctness from the baseline's. */
export interface Flips {
  turn: string;
  /** Share of all questions that the baseline gets wrong and this turn right. */
  toCorrect: Estimate;
  /** Share of all questions that the baseline gets right and this turn wrong. */
  toIncorrect: Estimate;
  /** The same as shares of the questions the baseline gets wrong, and right. */
  ofWrong: Estimate;
  ofRight: Estimate;
}

/**
 * Self-correction against a single model's vote (Figure 2): for each turn, which answers become right and which wrong.
 * The difference of the first two shares is the gain in accuracy.
 * @param baseline `SA+MV` in the paper
 */
export function flips(rows: readonly EvaluationRow[], system: string, baseline = "SA+MV"): Flips[] {
  const before = new Map(outcomes(rowsOf(rows, baseline)).map((o) => [`${o.seed}\n${o.question}`, o.correct]));
  const votes = rowsOf(rows, system).filter((row) => row.pass === 0);
  return [...groupBy(votes, (row) => row.turn)].map(([turn, list]) => {
    const pairs = list.flatMap(({ seed, question_id, voted_correct }) => {
      const was = before.get(`${seed}\n${question_id}`);
      return was === undefined ? [] : [{ question: question_id, was, is: voted_correct }];
    });
    const share = (all: typeof pairs, test: (pair: (typeof pairs)[number]) => boolean) =>
      clusterMean(
        all.map(test),
        all.map(({ question }) => question),
      );
    const wrong = pairs.filter(({ was }) => !was);
    const right = pairs.filter(({ was }) => was);
    return {
      turn,
      toCorrect: share(pairs, ({ was, is }) => !was && is),
      toIncorrect: share(pairs, ({ was, is }) => was && !is),
      ofWrong: share(wrong, ({ is }) => is),
      ofRight: share(right, ({ is }) => !is),
    };
  });
}

/**
 * Passes whose last turn is right and whose first was wrong, or the other way round: what the examples of Appendix A.4 are
 * chosen from.
 * @param isRight true for passes that the team corrects, false for those that it breaks
 * @returns the turns of each pass in speaking order
 * @throws InputError for a system that is not there
 */
export function turnedPasses(rows: readonly EvaluationRow[], system: string, isRight: boolean): EvaluationRow[][] {
  const passes = groupBy(rowsOf(rows, system), ({ seed, question_id, pass }) => `${seed} ${pass} ${question_id}`);
  return [...passes.values()].filter((turns) => turns[0]!.correct !== isRight && turns.at(-1)!.correct === isRight);
}

/** Measured systems beside what the paper prints for systems of the same name. */
export interface BesidePublished {
  /** Model and benchmark of each published column, in the order of the published rows. */
  columns: { model: string; benchmark: string }[];
  /** In the order of the measured systems; those the paper has no number for are left out. */
  rows: { system: string; measured: MeanStd; published: (PublishedRow | null)[] }[];
}

/**
 * Joins measured and published accuracies by the system's name.
 * @param published rows of one or several of the paper's tables; where two give the same cell, one with a standard
 *   deviation is preferred, else the first
 */
export function besidePublished(
  measured: readonly SystemResult[],
  published: readonly PublishedRow[],
): BesidePublished {
  const names = new Set(measured.map(({ system }) => system));
  const shared = published.filter(({ system, accuracy }) => names.has(system) && accuracy !== null);
  const columns = [...groupBy(shared, ({ model, benchmark }) => JSON.stringify([model, benchmark])).values()].map(
    ([first]) => ({ model: first!.model, benchmark: first!.benchmark }),
  );
  const cell = (system: string, { model, benchmark }: { model: string; benchmark: string }): PublishedRow | null => {
    const same = shared.filter((r) => r.system === system && r.model === model && r.benchmark === benchmark);
    return same.find(({ std }) => std !== null) ?? same[0] ?? null;
  };
  const rows = measured.map(({ system, overSeeds }) => ({
    system,
    measured: overSeeds,
    published: columns.map((column) => cell(system, column)),
  }));
  return { columns, rows: rows.filter((row) => row.published.some((found) => found !== null)) };
}

/** @throws InputError for rows of several benchmarks, whose questions may have the same ids */
function checkBenchmark(rows: readonly EvaluationRow[]): void {
  const [name, another] = new Set(rows.map((row) => row.benchmark));
  if (another !== undefined)
    throw new InputError(`the rows are of several benchmarks ("${name}", "${another}", …); choose those of one`);
}

function rowsOf(rows: readonly EvaluationRow[], system: string): EvaluationRow[] {
  checkBenchmark(rows);
  const own = rows.filter((row) => row.system === system);
  if (own.length > 0) return own;
  const names = [...new Set(rows.map((row) => row.system))].join(", ") || "none";
  throw new InputError(`system "${system}" is not in this evaluation; it has: ${names}`);
}

/** Items by key, keys in order of first appearance. */
export function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
