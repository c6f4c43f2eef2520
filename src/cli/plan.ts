/** `malt plan`: what a study takes, before it is begun, and the commands that do it. */
import type { Command } from "commander";
import { environment } from "../environment.js";
import { publishedFor, publishedTable } from "../evaluate/published.js";
import { estimateExperiment } from "../plan/estimate.js";
import { type Experiment, readExperiment } from "../plan/file.js";
import { pilotRates, statedRates } from "../plan/pilot.js";
import { runDir } from "../run/manifest.js";
import { planText } from "../show/plan.js";
import { printResult } from "../show/terminal.js";

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("plan")
    .summary("what a study takes: completions, tokens, hours, disk, dollars, power")
    .description("compute what a study takes, from the numbers in its file or from a pilot run of some 20 questions")
    .argument("<file>", "a study's YAML file, such as studies/paper-gsm8k.yaml")
    .option("--pilot <run>", "an exported run, sampled and best also trained on the same hardware")
    .action(plan);
}

async function plan(file: string, { pilot }: { pilot?: string }): Promise<void> {
  const study = await readExperiment(file);
  const rates =
    pilot === undefined ? statedRates(study) : await pilotRates(runDir(pilot, environment().outputs), study);
  const { benchmark } = study.evaluate;
  const published = publishedFor(await publishedTable(1), { benchmark, model: study.model });
  printResult(planText(study, rates, estimateExperiment(study, rates, published)));
  printResult(`\n${commands(study).join("\n")}`);
}

/** The commands of a study, for a shell. */
function commands({ study, model, profile, sample, train, evaluate }: Experiment): string[] {
  const run = `--run ${study}`;
  const epochs = train.epochs === undefined ? "" : ` --epochs ${train.epochs}`;
  const dpo = train.generator_dpo ? " --generator-dpo" : "";
  return [
    `npx malt sample ${run} --questions ${quoted(sample.questions)} --limit ${sample.size} --model ${quoted(model)} --branching ` +
      `${sample.branching} --temperature ${sample.temperature} --max-tokens ${sample.max_tokens} --base-url URL`,
    `npx malt export ${run}`,
    `npx malt train ${run} --profile ${profile} --stages ${train.stages.join(",")}${dpo}${epochs} --base-model ${quoted(model)}`,
    `npx malt evaluate ${run} --questions ${quoted(evaluate.questions)} --systems ${quoted(evaluate.systems.join(","))} ` +
      `--size ${evaluate.size} --seeds ${evaluate.seeds} --base-url URL`,
    `npx malt report ${run}`,
  ];
}

/** A word for a POSIX shell. */
const quoted = (word: string): string => (/^[\w./:@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
