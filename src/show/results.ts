/** evaluation.parquet as text tables, for `malt evaluate` and `malt report`. */

import type { ByMode } from "../evaluate/extraction.js";
import type { PublishedFlips, PublishedRow, PublishedTurn } from "../evaluate/published.js";
import { publishedFlips, publishedGeneratorDpo, publishedTable, publishedTurns } from "../evaluate/published.js";
import { besidePublished, flips, perTurn, type SystemResult, summariseSystems } from "../evaluate/results.js";
import { percent } from "../format.js";
import { type Estimate, plusMinus } from "../stats/means.js";
import { maltRoles } from "../team/prompts.js";
import type { EvaluationRow } from "../types.js";
import { oneLine } from "../visible.js";
import { alignedTable } from "./text-table.js";

/** What the paper prints for the systems, flips and turns that are measured here. */
export interface Paper {
  accuracies: readonly PublishedRow[];
  flips: readonly PublishedFlips[];
  turns: readonly PublishedTurn[];
}

/** What the paper calls the benchmarks, by how their names begin here; of GSM-Symbolic it has only the variant P1. */
const printed: readonly [begin: RegExp, name: string][] = [
  [/^gsm8k/i, "GSM8K"],
  [/^gsm.?symbolic/i, "GSM-Symbolic-P1"],
  [/^math/i, "MATH"],
  [/^(csqa|common)/i, "CSQA"],
];

/**
 * Tables 1 to 5, the generator's DPO, and Figures 2 and 3, as far as they are about a benchmark. For one that the paper has
 * not, all but Table 3, which prints one benchmark alone.
 */
export async function readPaper(benchmark: string): Promise<Paper> {
  const own = printed.find(([begin]) => begin.test(benchmark))?.[1];
  const about = <Row extends { benchmark: string }>(rows: readonly Row[]) =>
    rows.filter((row) => (own === undefined ? row.benchmark !== "GSM-Symbolic-P1" : row.benchmark === own));
  const tables = await Promise.all([1, 2, 3, 4, 5].map(publishedTable));
  return {
    accuracies: about([...tables.flat(), ...(await publishedGeneratorDpo())]),
    flips: about(await publishedFlips()),
    turns: about(await publishedTurns()),
  };
}

/**
 * The tables of systems, of accuracy after each turn and of flips, each beside the paper's, and how to read them.
 * @param rows of one benchmark
 */
export function results(rows: readonly EvaluationRow[], paper: Paper): string {
  const names = [...new Set(rows.map((row) => row.system))];
  const seeds = new Set(rows.map((row) => row.seed)).size;
  const questions = new Set(rows.map((row) => row.question_id)).size;
  const table = summariseSystems(rows);
  const reference = table.find(({ against }) => against === null)!.system;
  const has = (name: string, test: (row: EvaluationRow) => boolean) => rows.some((r) => r.system === name && test(r));
  const teams = names.filter((name) => has(name, (r) => r.pass > 0) && has(name, (r) => r.turn !== "generator"));
  return [
    systemTable(table, reference),
    `${questions} held-out questions over ${seeds} ${seeds === 1 ? "seed" : "seeds"}. ± is the standard deviation over seeds with divisor n − 1, and with ` +
      "n in\nbrackets; intervals are 95 %, clustered by question. Tokens are completion tokens per question, of all passes;\n" +
      `beside them their share of ${oneLine(reference)}'s.${equalTokens(table)}\n` +
      `p: sign-flip test against ${oneLine(reference)} on the same questions and seeds; p (Holm) is adjusted for all comparisons.`,
    ...withoutMajority(table),
    ...(teams.length > 0 ? [turnTable(rows, teams, paper)] : []),
    ...(teams.length > 0 && names.includes("SA+MV") ? [flipTable(rows, teams, paper)] : []),
    ...publishedTable1(table, paper),
  ].join("\n\n");
}

const points = (share: number) => (Number.isNaN(share) ? "–" : (100 * share).toFixed(1));
const interval = ({ low, high }: Estimate) => (Number.isNaN(low) ? "–" : `${points(low)} to ${points(high)}`);
/** A p value as people print it. */
export const pValue = (p: number): string => (p === 0 ? "<1e-300" : p < 1e-4 ? p.toExponential(0) : p.toFixed(4));

/** How many passes the systems that were to spend another's tokens vote on. */
function equalTokens(table: readonly SystemResult[]): string {
  const equal = table.filter(({ system }) => / equal tokens\b/.test(system));
  if (equal.length === 0) return "";
  return ` Passes voted on: ${equal.map(({ system, votes }) => `${system} ${votes}`).join(", ")}.`;
}

function systemTable(table: readonly SystemResult[], reference: string): string {
  const head = [
    "system",
    "accuracy",
    "± over seeds",
    "interval",
    "tokens",
    `of ${reference}'s`,
    `${reference} is better by`,
    "interval",
    "p",
    "p (Holm)",
  ];
  const most = table.find(({ system }) => system === reference)?.tokens ?? null;
  return alignedTable(
    head,
    table.map(({ system, accuracy, overSeeds, tokens, against }) => [
      system,
      percent(overSeeds.mean),
      `${points(overSeeds.sample)} (${points(overSeeds.population)})`,
      interval(accuracy),
      tokens === null ? "–" : tokens.toFixed(0),
      tokens === null || most === null ? "–" : (tokens / most).toFixed(2),
      against ? points(against.difference.mean) : "",
      against ? interval(against.difference) : "",
      against ? pValue(against.p) : "",
      against ? pValue(against.pHolm) : "",
    ]),
  );
}

/** Differences up to this are not worth a table; a bit more than a point, for rounding. */
const onePoint = 0.01 + 1e-9;

/**
 * Accuracy under both modes of extraction, where they differ by more than a point: then more is right than is stated
 * as asked, or the flexible mode is lucky.
 * @param of what the rows are, "role" or "system"
 */
export function modes(rows: readonly ByMode[], of: string): string[] {
  if (!rows.some(({ strict, flexible }) => Math.abs(strict - flexible) > onePoint)) return [];
  return [
    alignedTable(
      [`accuracy by ${of}`, "strict", "flexible"],
      rows.map(({ name, strict, flexible }) => [name, percent(strict), percent(flexible)]),
    ),
    "strict: answers that are stated. flexible: else the last number, formula or letter of the text (--extraction).",
  ];
}

/** How often a vote had no majority, and what then decided. */
function withoutMajority(table: readonly SystemResult[]): string[] {
  const shares = table.flatMap(({ system, undecided }) =>
    undecided === null ? [] : [`${percent(undecided)} of ${system}`],
  );
  if (shares.length === 0) return [];
  return [
    wrapped(
      `Votes without a majority: ${shares.join(", ")}. No answer was then given by more than half of the passes that gave ` +
        "one: the answer given most often decides, of several the one given first.",
    ),
  ];
}

const wrapped = (text: string): string => text.replace(/(.{1,119})(?: |$)/g, "$1\n").trimEnd();

/** Figure 3. */
function turnTable(rows: readonly EvaluationRow[], systems: readonly string[], paper: Paper): string {
  const turns = [...new Set([...maltRoles().map(({ name }) => name), ...rows.map(({ turn }) => turn)])];
  const measured = systems.map((system) => {
    const own = new Map(perTurn(rows, system).map((t) => [t.turn, t.voted]));
    return [system, ...turns.map((turn) => (own.has(turn) ? percent(own.get(turn)!.mean) : "–"))];
  });
  const places = [...new Set(paper.turns.map((row) => `paper: MALT, ${row.model}, ${row.benchmark}`))];
  const printed = places.map((place) => {
    const own = paper.turns.filter((row) => place === `paper: MALT, ${row.model}, ${row.benchmark}`);
    return [place, ...turns.map((turn) => percent(own.find((row) => row.turn === turn)?.accuracy ?? Number.NaN))];
  });
  return alignedTable(
    ["accuracy after the turn, by vote", ...turns],
    [...measured, ...printed.filter((cells) => !cells.includes("–"))],
  );
}

/** Figure 2. */
function flipTable(rows: readonly EvaluationRow[], systems: readonly string[], paper: Paper): string {
  const measured = systems.map((system) => {
    const last = flips(rows, system).at(-1)!;
    const shares = [last.toCorrect, last.toIncorrect, last.ofWrong, last.ofRight];
    return [system, ...shares.map(({ mean }) => percent(mean))];
  });
  const printed = paper.flips.map(({ model, benchmark, corrected, broken, kept_right, kept_wrong }) => {
    const [gained, lost] = [corrected ?? Number.NaN, broken ?? Number.NaN];
    const shares = [gained, lost, gained / (gained + (kept_wrong ?? 0)), lost / (lost + (kept_right ?? 0))];
    return [`paper: MALT, ${model}, ${benchmark}`, ...shares.map(percent)];
  });
  const head = [
    "flips against SA+MV, at the last turn",
    "wrong → right",
    "right → wrong",
    "of the wrong",
    "of the right",
  ];
  return alignedTable(head, [...measured, ...printed]);
}

/** Measured beside published, in percent; nothing if the paper has none of the systems. */
function publishedTable1(table: readonly SystemResult[], paper: Paper): string[] {
  const { columns, rows } = besidePublished(table, paper.accuracies);
  if (rows.length === 0) return [];
  // "Llama-3.1-8B-Instruct" → "Llama-3.1-8B": the columns are narrow.
  const short = (model: string) => model.replace(/-(Instruct|Base)$/, "");
  const head = ["system", "measured here", ...columns.map(({ model, benchmark }) => `${short(model)} ${benchmark}`)];
  const lines = rows.map(({ system, measured, published }) => [
    system,
    plusMinus(measured.mean, measured.sample),
    ...published.map((row) => plusMinus(row?.accuracy ?? null, row?.std ?? null)),
  ]);
  const note =
    "The columns beside the measured one are the paper's (data/published), of its models on its benchmarks and subsets: where " +
    "model or\nbenchmark differ from those measured here, only the order of the systems can be compared, not the levels.";
  return [alignedTable(head, lines), note];
}
