/** `malt plan`: what a study takes, before it is begun, and the commands that do it. */
import type { Command } from "commander";
import { environment } from "../environment.js";
import { publishedFor, publishedTable } from "../evaluate/published.js";
import { modelOfProfile } from "../models/table.js";
import { estimateExperiment } from "../plan/estimate.js";
import { type Experiment, readExperiment } from "../plan/file.js";
import { pilotRates, statedRates } from "../plan/pilot.js";
import { stepsOf } from "../plan/steps.js";
import { runDir } from "../run/manifest.js";
import { planText } from "../show/plan.js";
import { printResult } from "../show/terminal.js";
import { quoted } from "../train/launchers/launcher.js";

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
  printResult(
    `\n${commands(study).join("\n")}\n\nor all of it, wherever its GPUs are: npx malt run ${quoted(file)}${isServed(study) ? " --base-url URL" : ""} [--on TARGET]`,
  );
}

/** Whether a study's model is served by what the person starts, and not by the embedded server. */
const isServed = ({ profile }: Experiment): boolean => modelOfProfile(profile).embedded === null;

/** The commands of a study, for a shell. */
const commands = (study: Experiment): string[] =>
  stepsOf(study, { isServed: isServed(study), serving: isServed(study) ? ["--base-url", "URL"] : [] }).map(
    ({ words }) => `npx malt ${words.map(quoted).join(" ")}`,
  );
