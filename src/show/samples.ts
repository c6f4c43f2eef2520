/** What several runs sampled, side by side: for choosing prompts and a temperature. */
import type { SampleSummary } from "../credit/samples.js";
import type { Estimate } from "../stats/means.js";
import { oneLine } from "../visible.js";
import { alignedTable } from "./text-table.js";

/** A row: how a run was sampled, and what came of it. */
export interface SampledRow {
  model: string;
  prompts: string;
  temperature: number;
  sample: SampleSummary;
}

const share = ({ mean, n }: Estimate) => (n === 0 ? "–" : (100 * mean).toFixed(0));
const counted = (estimate: Estimate) => (estimate.n === 0 ? "–" : `${share(estimate)} of ${estimate.n}`);

/** The table, and below it how to read its columns. All shares are in percent; a dash means that there was no case. */
export function sampleTable(rows: readonly SampledRow[]): string {
  const roles = [...new Set(rows.flatMap(({ sample }) => sample.roles.map(({ role }) => role)))];
  const short = (role: string) => role[0]!.toUpperCase();
  const critics = roles.slice(1);
  const head = [
    ...["prompts", "T"],
    ...roles.map((role) => `${short(role)} right`),
    ...roles.map((role) => `${short(role)} tokens`),
    ...["cut off", "agrees with wrong", "repaired: right critique", "other critique"],
    ...critics.map((role) => `${short(role)} states with pairs`),
  ];
  const body = rows.map(({ prompts, temperature, sample }) => {
    const of = (role: string) => sample.roles.find((each) => each.role === role);
    const pairs = (role: string) => sample.pairs.find((each) => each.role === role)?.doubtful;
    const cut = Math.max(...sample.roles.map(({ truncated }) => truncated));
    return [
      ...[prompts, temperature],
      ...roles.map((role) => (of(role) ? share(of(role)!.accuracy) : "–")),
      ...roles.map((role) => of(role)?.tokens?.toFixed(0) ?? "–"),
      (100 * cut).toFixed(0),
      counted(sample.agreesWithWrong),
      ...[sample.repaired.rightCritique, sample.repaired.otherCritique].map(counted),
      ...critics.map((role) => (pairs(role) ? counted(pairs(role)!) : "–")),
    ];
  });
  const questions = [...new Set(rows.map(({ sample }) => sample.roles[0]?.accuracy.clusters ?? 0))].join(" or ");
  return [
    `Untrained ${[...new Set(rows.map(({ model }) => oneLine(model)))].join(", ")}, ${questions} questions for each row; shares in percent.`,
    alignedTable(head, body),
    [
      "right: of all outputs of the role; one that states no answer is wrong. cut off: of the role with the most.",
      "agrees with wrong: of the critiques of wrong answers, those that state the same answer, or approve it.",
      "repaired: of the refinements of wrong answers, those that are right, below right critiques and below all others.",
      "states with pairs: of what the role saw, on questions that the generator got wrong at least once.",
    ].join("\n"),
  ].join("\n\n");
}
