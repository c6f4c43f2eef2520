/** `malt run`: does what a study's file plans, step by step, wherever its GPUs are; a step whose result is there is left out. */
import type { Command } from "commander";
import { environment } from "../environment.js";
import { IncompleteError, InputError } from "../errors.js";
import { duration } from "../format.js";
import { modelOfProfile } from "../models/table.js";
import { readExperiment } from "../plan/file.js";
import { type PlannedStep, stepsOf } from "../plan/steps.js";
import { interruptible } from "../run/interruption.js";
import { say } from "../show/terminal.js";
import { targets } from "../train/launchers/target.js";

interface Flags {
  on?: string;
  shards?: string;
  baseUrl?: string;
  serve?: string;
  processes?: string;
  python?: string;
  malt?: string;
  gpus?: string;
  retries?: string;
  setup?: string;
  jobFlags?: string;
  until?: string;
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("run")
    .summary("do what a study's file plans: sample, export, train, evaluate, report")
    .description(
      "do what a study's file plans (malt plan shows it): sample, export, train, evaluate, report; run it again to go on where " +
        "it stopped, a step whose result is there is left out",
    )
    .argument("<file>", "a study's YAML file, such as studies/paper-gsm8k.yaml; its name is the run's")
    .optionsGroup("Server:")
    .option(
      "--base-url <urls>",
      "that serves the model (default: OPENAI_BASE_URL, else the embedded one, for profiles that have it)",
    )
    .option(
      "--serve <command>",
      "a server that sampling and evaluation start themselves, such as 'vllm serve MODEL --enable-lora'",
    )
    .optionsGroup("Where:")
    .option("--on <targets>", `${targets}; training takes the first of several (default: this process)`)
    .option("--shards <n>", "of sampling and of evaluation (default: one for each target)")
    .option("--retries <n>", "how often a shard that had begun and ended too early is started again (default: 3)")
    .option("--gpus <n>", "that a shard asks for (default: with --serve 1, else 0)")
    .option("--processes <n>", "of training, one a GPU (default: 1)")
    .option("--python <command>", "Python there that has the trainer")
    .option("--malt <command>", "this command line there")
    .option("--setup <command>", "bash command there before each, such as 'source venv/bin/activate'")
    .option("--job-flags <flags>", "for sbatch, ray job submit or sky launch")
    .optionsGroup("Advanced:")
    .option("--until <step>", "the last step: sample, export, train or evaluate (default: all, and the report)")
    .action((file: string, flags: Flags) => interruptible(() => run(program, file, flags)));
}

async function run(program: Command, file: string, flags: Flags): Promise<void> {
  const study = await readExperiment(file);
  const { baseURL, outputs } = environment();
  const isServed = flags.serve !== undefined || (flags.baseUrl ?? baseURL) !== null;
  const { embedded } = modelOfProfile(study.profile);
  if (!isServed && !embedded)
    throw new InputError(
      `${file}: profile ${study.profile} has no embedded server; say where ${study.model} is served: --base-url URL, or a command ` +
        `that serves it: --serve 'vllm serve ${study.model} --enable-prefix-caching --enable-lora'`,
    );
  const given = (flag: string, value: string | undefined) => (value === undefined ? [] : [flag, value]);
  const { on, setup, jobFlags } = flags;
  const there = [...given("--setup", setup), ...given("--job-flags", jobFlags)];
  const shards = [...given("--shards", flags.shards), ...given("--retries", flags.retries)];
  const sampling = [...given("--on", on), ...shards, ...given("--gpus", flags.gpus), ...given("--malt", flags.malt)];
  const training = [...given("--on", on?.split(",")[0]), ...given("--processes", flags.processes)];
  const steps = stepsOf(study, {
    isServed,
    serving: [...given("--base-url", flags.baseUrl), ...given("--serve", flags.serve)],
    sampling: [...sampling, ...there],
    training: [...training, ...given("--python", flags.python), ...there],
  });
  const began = performance.now();
  for (const [i, step] of until(steps, flags.until).entries()) {
    const name = `[${i + 1}/${steps.length}] malt ${step.words.join(" ")}`;
    say("");
    if (await step.isDone(outputs)) {
      say(`${name}: its result is there`);
      continue;
    }
    say(name);
    const start = performance.now();
    await program.parseAsync(step.words, { from: "user" }).catch((error) => {
      // Asking again would not help, and the later steps say how many trees are incomplete.
      if (!(error instanceof IncompleteError)) throw error;
      say(`malt: going on without the refused questions: ${error.message}`);
    });
    const [own, all] = [start, began].map((from) => duration((performance.now() - from) / 1000));
    say(`      ${own}, ${all} since the start`);
  }
}

/** @throws InputError for a step that is none */
function until(steps: readonly PlannedStep[], last: string | undefined): readonly PlannedStep[] {
  if (last === undefined) return steps;
  const at = steps.findIndex(({ name }) => name === last);
  if (at < 0) throw new InputError(`--until must be one of ${steps.map(({ name }) => name).join(", ")}, not "${last}"`);
  return steps.slice(0, at + 1);
}
