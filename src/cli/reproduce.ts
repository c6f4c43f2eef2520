/** `malt reproduce`: the paper's whole loop in one command, as the other commands do it one after another. */

import type { Command } from "commander";
import { arithmetic } from "../paths.js";
import { number } from "./options.js";

interface Flags {
  run: string;
  questions: string;
  test?: string;
  limit: number;
  profile: string;
  baseUrl?: string;
  model?: string;
  baseModel?: string;
  systems: string;
  size: number;
  seeds: number;
  seed: number;
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  const positive = { min: 1, integer: true };
  program
    .command("reproduce")
    .description("sample, export, train, evaluate and report in one go; run it again to go on where it stopped")
    .requiredOption("--run <name>", "name of the run, the folder outputs/runs/<name>")
    .option("--questions <file>", "training questions (default: those of the arithmetic benchmark)", arithmetic.train)
    .option("--test <file>", "held-out questions (default: those of the arithmetic benchmark, for runs on it)")
    .option("--limit <n>", "how many training questions", number("--limit", positive), 200)
    .option("--profile <name>", "tiny, smollm2 or vllm", "tiny")
    .option("--base-url <url>", "OpenAI-compatible server (default: OPENAI_BASE_URL, else the embedded server)")
    .option("--model <name>", "served name of the model")
    .option("--base-model <model>", "folder or hub name of its weights, for the trainer")
    .option("--systems <names>", "systems to compare, as for malt evaluate", "main,debate")
    .option("--size <n>", "held-out questions per seed", number("--size", positive), 400)
    .option("--seeds <n>", "how many evaluation seeds", number("--seeds", positive), 4)
    .option(
      "--seed <n>",
      "master seed of sampling, training and evaluation",
      number("--seed", { min: 0, integer: true }),
      0,
    )
    .action(async (flags: Flags) => {
      for (const args of commands(flags)) {
        process.stderr.write(`malt ${args.join(" ")}\n`);
        await program.parseAsync(args, { from: "user" });
      }
    });
}

/** The commands that it runs, with their arguments. Evaluation seeds of different master seeds do not overlap. */
export function commands(flags: Flags): string[][] {
  const given = (flag: string, value: string | undefined) => (value === undefined ? [] : [flag, value]);
  const run = ["--run", flags.run];
  const seed = ["--seed", String(flags.seed)];
  const url = given("--base-url", flags.baseUrl);
  const model = given("--model", flags.model);
  const profile = ["--profile", flags.profile];
  const limit = ["--limit", String(flags.limit)];
  const first = ["--seed", String(flags.seed * flags.seeds)];
  const size = ["--size", String(flags.size), "--seeds", String(flags.seeds), "--systems", flags.systems];
  return [
    ["sample", ...run, "--questions", flags.questions, ...limit, ...seed, ...profile, ...url, ...model],
    ["export", ...run],
    ["train", ...run, ...seed, ...profile, ...given("--base-model", flags.baseModel)],
    ["evaluate", ...run, ...first, ...size, ...given("--questions", flags.test), ...profile, ...url, ...model],
    ["report", ...run],
  ];
}
