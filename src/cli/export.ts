/** `malt export`: turns a run's journal into its dataset, under any threshold, without sampling again. */
import type { Command } from "commander";
import { distillForms, distillSelections } from "../credit/distill.js";
import { estimatorNames } from "../credit/estimators.js";
import { pairings, sftSelections } from "../credit/pairs.js";
import { incompletes, poolings } from "../credit/values.js";
import { weightings } from "../credit/weights.js";
import { exportRun } from "../dataset/export.js";
import type { ExportOptions, ExportSummary } from "../dataset/rules.js";
import { runDir } from "../run/manifest.js";
import { progressLine } from "../show/progress.js";
import { printResult } from "../show/terminal.js";
import { alignedTable } from "../show/text-table.js";
import { extractionOption, number } from "./options.js";
import { readPromptSet } from "./prompt-set.js";

type Flags = { run: string; promptSet?: string } & Omit<ExportOptions, "promptSet">;

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("export")
    .summary("score a run and write its dataset")
    .description("score a run and write its dataset under any threshold, without sampling again")
    .optionsGroup("What:")
    .requiredOption("--run <name>", "name of the run, the folder outputs/runs/<name>")
    .optionsGroup("Credit:")
    .option("--estimator <name>", `what a node's credit is: ${estimatorNames.join(", ")}`, "value")
    .option(
      "--threshold <θ>",
      "a node is good if its credit is above this (default: 0.5; 0 for an advantage or a gain: rloo, grpo, coma, gae, gain)",
      number("--threshold"),
    )
    .option(
      "--lambda <λ>",
      "of td and gae: 0 trusts the answers stated on the way, 1 the leaves",
      number("--lambda"),
      0.95,
    )
    .option("--confidence <p>", "of posterior: how certain a label must be", number("--confidence"), 0.9)
    .option(...extractionOption)
    .option("--pooling <rule>", `how values are backed up: ${poolings.join(", ")}`, "mean")
    .optionsGroup("Pairs and examples:")
    .option("--pairing <rule>", `which siblings are paired: ${pairings.join(", ")}`, "all")
    .option(
      "--min-gap <gap>",
      "least difference of values in a pair, 0 to 1",
      number("--min-gap", { min: 0, max: 1 }),
      0,
    )
    .option("--identical <rule>", "pairs of byte-identical texts: drop, keep", "drop")
    .option("--dedupe", "keep repeated examples and pairs of one state once", false)
    .option(
      "--examples <rule>",
      `which outputs are SFT examples: ${sftSelections.join(", ")} (default: positives; all with --weights advantage)`,
    )
    .option("--weights <rule>", `how much an example counts in SFT: ${weightings.join(", ")}`, "none")
    .option(
      "--weight-temperature <τ>",
      "weights are exp(advantage / τ): the smaller, the more the best outputs count",
      number("--weight-temperature", { min: Number.MIN_VALUE }),
      0.2,
    )
    .option("--margins", "give each pair its difference of values, for malt train --dpo-margin", false)
    .optionsGroup("Distillation:")
    .option(
      "--distill <rule>",
      `also write good trajectories as one model's reasoning, train/distilled.jsonl: ${distillSelections.join(", ")}`,
    )
    .option("--distill-form <form>", `how the turns are put together: ${distillForms.join(", ")}`, "think")
    .option(
      "--distill-limit <n>",
      "at most so many of one question, the best first (default: all)",
      number("--distill-limit", { min: 1, integer: true }),
    )
    .optionsGroup("Advanced:")
    .option("--incomplete <rule>", `partly sampled trees: ${incompletes.join(", ")}`, "skip")
    .option(
      "--eval-fraction <share>",
      "share of the questions held out in train/*-eval.jsonl",
      number("--eval-fraction", { min: 0, max: 1 }),
      0,
    )
    .option("--split-seed <n>", "seed of that split", number("--split-seed"), 0)
    .option("--openai", "also write the files of OpenAI's fine-tuning service", false)
    .option(
      "--prompt-set <name or file>",
      "the prompts it was sampled with, for a run of an earlier version, which recorded only their hash",
    )
    .action(async ({ run, promptSet: given, ...options }: Flags) => {
      const dir = runDir(run);
      const promptSet = given === undefined ? undefined : await readPromptSet(given);
      const line = progressLine("exporting questions");
      const { files, ...summary } = await exportRun(dir, { ...options, promptSet, onProgress: line.update }).finally(
        line.end,
      );
      const tables = files.filter((file) => !file.startsWith("train"));
      const written = [...tables, `train/ (${files.length - tables.length} files)`].join(", ");
      printResult(`${exportReport(summary)}\n\nwritten to ${dir}: ${written}`);
    });
}

/** The counts as an aligned table, with a line about the trees they come from. */
export function exportReport({ trees, roles, options, distilled }: ExportSummary): string {
  const good = options.estimator === "value" ? `value > ${options.threshold}` : `good by ${options.estimator}`;
  const head = ["role", "nodes", "valued", good, "SFT", "pairs"];
  const rows = roles.map((r) => [r.role, r.nodes, r.valued, r.positive, r.sft, r.pairs]);
  const partial = trees.incomplete === 0 ? "" : `, ${trees.incomplete} incomplete (${rule[options.incomplete]})`;
  const whole = distilled === undefined ? "" : `\n\n${distilled} whole trajectories for one model`;
  return `${trees.complete} complete trees${partial}\n\n${alignedTable(head, rows)}${whole}`;
}

const rule = {
  skip: "in no example or pair",
  available: "values are means over what is there",
};
