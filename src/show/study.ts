/** A study as text tables, for `malt study`. */
import { duration, thousands } from "../format.js";
import type { Estimate } from "../stats/means.js";
import type { CellResult } from "../study/results.js";
import type { StudyResult } from "../study/tables.js";
import { oneLine } from "../visible.js";
import { pValue } from "./results.js";
import { alignedTable } from "./text-table.js";

const points = (share: number | null | undefined) =>
  share === null || share === undefined || Number.isNaN(share) ? "–" : (100 * share).toFixed(1);
const interval = (estimate: Estimate | null | undefined) =>
  estimate && !Number.isNaN(estimate.low) ? `${points(estimate.low)} to ${points(estimate.high)}` : "–";
const whole = (value: number | null) => (value === null ? "–" : thousands(Math.round(value)));

/** The table of cells, how to read it, teams at equal tokens where votes vary, and what was shared. */
export function studyText(study: StudyResult): string {
  const { definition, axes } = study.plan;
  const names = axes.map(({ name }) => name);
  const repeats = study.plan.cells[0]?.replicas.length ?? 1;
  const reference = study.results.find(({ isReference }) => isReference);
  return [
    ...(definition.title ? [oneLine(definition.title)] : []),
    cellTable(study.results, names, repeats > 1),
    `Accuracy in percent, with 95 % intervals clustered by question${repeats > 1 ? `, over ${repeats} repeats` : ""}. better by: the cell minus the reference, cell ${reference?.cell ?? "–"}\n` +
      "(marked *), on the same questions; p: sign-flip test, p (Holm): adjusted for all comparisons. tokens: completion tokens\n" +
      "of an answer. Then the cost of a cell if nothing is shared: tokens of its trees, examples, pairs, and tokens trained on.",
    ...(repeats > 1
      ? [
          "± over repeats: standard deviation of the accuracy, and of the difference, over the repeats. Intervals and p take the\n" +
            "trained teams as given, so they say nothing about other trainings.",
        ]
      : []),
    ...(reference?.accuracy === null ? ["The reference has no result, so no cell is compared with it."] : []),
    ...reasons(study.results),
    ...(study.equalTokens.length > 0 ? [equalTable(study)] : []),
    workText(study),
  ].join("\n\n");
}

function cellTable(results: readonly CellResult[], axes: readonly string[], isRepeated: boolean): string {
  const ifRepeated = (text: string) => (isRepeated ? [text] : []);
  const spread = ifRepeated("± over repeats");
  const head = ["cell", ...axes, "accuracy", "interval", ...spread, "tokens", "better by"];
  const cost = ["sampled", "examples", "pairs", "trained on"];
  const rows = results.map((result) => [
    `${result.cell}${result.isReference ? "*" : ""}`,
    ...axes.map((name) => result.values[name]!),
    points(result.accuracy?.mean),
    interval(result.accuracy),
    ...ifRepeated(points(result.overRepeats)),
    whole(result.tokens),
    result.against ? points(result.against.difference.mean) : "",
    result.against ? interval(result.against.difference) : "",
    ...ifRepeated(result.against ? points(result.against.overRepeats) : ""),
    result.against ? pValue(result.against.p) : "",
    result.against ? pValue(result.against.pHolm) : "",
    whole(result.cost.sampled_tokens),
    whole(result.cost.sft_examples),
    whole(result.cost.pairs),
    whole(result.cost.training_tokens),
  ]);
  return alignedTable([...head, "interval", ...spread, "p", "p (Holm)", ...cost], rows);
}

/** Why cells have no result. */
function reasons(results: readonly CellResult[]): string[] {
  const lines = results.flatMap(({ cell, reason }) => (reason === null ? [] : [oneLine(`cell ${cell}: ${reason}`)]));
  return lines.length > 0 ? [lines.join("\n")] : [];
}

function equalTable({ equalTokens }: StudyResult): string {
  const names = Object.keys(equalTokens[0]!.values);
  const head = ["tokens", ...names, "votes", "accuracy", "interval", "behind by", "interval", "p"];
  const rows = equalTokens.map(({ budget, values, votes, accuracy, against }) => [
    budget.toFixed(0),
    ...names.map((name) => values[name]!),
    votes.toFixed(2),
    points(accuracy.mean),
    interval(accuracy),
    against ? points(against.difference.mean) : "",
    against ? interval(against.difference) : "",
    against ? pValue(against.p) : "",
  ]);
  return (
    `At exactly equal tokens\n\n${alignedTable(head, rows)}\n\n` +
    "The tokens are those of the reference's team at each number of votes. The others vote on so many passes on average: some\n" +
    "questions get one pass more than the rest. behind by: the reference's team minus this one. p is not adjusted."
  );
}

function workText({ work, left, dir }: StudyResult): string {
  const { completions, stages, passes, seconds } = work;
  const share = (name: string, { needed, made }: typeof stages) => `${whole(made)} of ${whole(needed)} ${name}`;
  return (
    `Made once: ${share("completions of trees", completions)}, ${share("training stages", stages)}, ` +
    `${share("completions of passes", passes)}.\n` +
    `Time: ${duration(seconds.sampling)} sampling, ${duration(seconds.training)} training, ${duration(seconds.evaluation)} evaluating.` +
    `${left > 0 ? ` ${left} cells are left.` : ""}\nwritten to ${dir}: results.parquet, outcomes.parquet, study.json`
  );
}
