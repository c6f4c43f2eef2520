/**
 * `malt reproduce`: the paper's whole loop in one command, which runs the other commands one after another. `npm start`
 * runs this after the set-up.
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { Command, Option } from "commander";
import { openDataset } from "../dataset/export.js";
import { mixedQuestion } from "../dataset/open.js";
import { environment } from "../environment.js";
import { IncompleteError, MaltError } from "../errors.js";
import { treeFigure } from "../figures/index.js";
import { duration } from "../format.js";
import { chosenModel, type ModelChoice, nameOfFile, namesFile } from "../models/choose.js";
import { installExtra } from "../models/packages.js";
import { profileNames, servedElsewhere } from "../models/table.js";
import { arithmetic } from "../paths.js";
import { interruptible } from "../run/interruption.js";
import { runDir } from "../run/manifest.js";
import { saveFigure } from "../show/notebook.js";
import { printResult, say } from "../show/terminal.js";
import { textTree } from "../show/text-tree.js";
import type { SystemMessage } from "../team/prompts.js";
import { trainerInstalled } from "../train/trainer.js";
import { number } from "./options.js";
import { promptSetHelp } from "./prompt-set.js";
import { serverElsewhere, systemMessageFlag, withModelFlags } from "./server-flags.js";
import { teamHelp } from "./team.js";

/** The flags, as given. */
export interface Flags extends ModelChoice {
  run?: string;
  fresh?: true;
  questions?: string;
  test?: string;
  limit?: number;
  promptSet?: string;
  team?: string;
  baseUrl?: string;
  model?: string;
  baseModel?: string;
  systemMessage?: SystemMessage;
  train?: boolean;
  systems: string;
  size: number;
  seeds: number;
  seed: number;
}

/** The flags with every default put in. */
type Settled = Omit<Flags, "fresh"> & {
  run: string;
  questions: string;
  limit: number;
  train: boolean;
};

/** Adds the command to the command line. */
export function register(program: Command): void {
  const positive = { min: 1, integer: true };
  const command = program
    .command("reproduce")
    .summary("the whole loop: sample, export, train, evaluate, report")
    .description("all of it: sample, export, train, evaluate, report; run it again to go on where it stopped")
    .optionsGroup("What:")
    .option("--questions <path>", "training questions (default: those of the arithmetic benchmark)")
    .option(
      "--limit <n>",
      "how many of them, from the first on (default: by profile; tiny 200)",
      number("--limit", positive),
    )
    .option("--prompt-set <name or file>", `prompts to use: ${promptSetHelp} (default: by benchmark)`)
    .option("--team <name or file>", `who speaks, and who sees whom: ${teamHelp} (default: malt)`)
    .option("--test <path>", "held-out questions (default: those of the arithmetic benchmark, for runs on it)")
    .option("--run <name>", "name of the run (default: made of profile, file, limit and seed)")
    .option("--fresh", "start a new run in place of going on with the one of that name")
    .option(
      "--seed <n>",
      "master seed of sampling, training and evaluation",
      number("--seed", { min: 0, integer: true }),
      0,
    )
    .optionsGroup("Model and server:");
  withModelFlags(command, profileNames(), "tiny, of another server vllm")
    .option("--base-url <url>", "OpenAI-compatible server (default: OPENAI_BASE_URL, else the embedded server)")
    .option("--model <name>", "served name of the model")
    .option("--base-model <model>", "folder or hub name of its weights, for the trainer")
    .option(...systemMessageFlag)
    .optionsGroup("Training and evaluation:")
    .addOption(new Option("--train", "train and evaluate also with a profile that does not by default"))
    .option("--no-train", "stop after the dataset")
    .option("--systems <names>", "systems to compare, as for malt evaluate", "main")
    .option("--size <n>", "held-out questions per seed; the paper's 100", number("--size", positive), 100)
    .option("--seeds <n>", "how many evaluation seeds; the paper's 4", number("--seeds", positive), 4)
    .action(async (flags: Flags) => {
      const settled = settle(flags);
      await interruptible(() => reproduce(program, settled)).catch((error) => {
        // The same command would start yet another run.
        if (flags.fresh && error instanceof MaltError)
          error.message += `; with --run ${settled.run} in place of --fresh`;
        throw error;
      });
    });
}

/**
 * Puts in the defaults. The name of the run is derived from the flags, so the same flags continue the same run.
 * @throws InputError for an unknown profile
 */
export function settle({ fresh, ...flags }: Flags): Settled {
  const { baseURL, outputs } = environment();
  const isElsewhere = flags.profile === undefined && serverElsewhere(flags, baseURL) !== null;
  const { profile, loop } = isElsewhere ? servedElsewhere() : chosenModel(flags);
  const { modelFile, hf } = flags;
  // A model's own name, or what is known of it before it is downloaded.
  const named =
    flags.profile ?? (modelFile === undefined ? hf?.replace(/^.*[/]|\.gguf$/gi, "") : nameOfFile(modelFile));
  const limit = flags.limit ?? loop.questions;
  const subject = flags.questions ? `-${basename(flags.questions).replace(/\.[^.]*$/, "")}` : "";
  const suffix = flags.seed === 0 ? "" : `-seed-${flags.seed}`;
  const team = flags.team === undefined ? "" : `-${basename(flags.team).replace(/\.[^.]*$/, "")}`;
  const name = flags.run ?? runName(named ?? profile, `${subject}${team}-${limit}${suffix}`);
  const run = fresh ? unused(name, outputs) : name;
  const train = flags.train ?? (loop.train || flags.baseModel !== undefined);
  const row = namesFile(flags) ? flags.profile : profile;
  return { ...flags, run, limit, profile: row, train, questions: flags.questions ?? arithmetic.train };
}

/** The name of a run of a model; of a long one the model's part is cut. */
function runName(model: string, rest: string): string {
  const allowed = (text: string) => text.toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
  const end = allowed(rest);
  return (
    allowed(model)
      .replace(/^[._-]+/, "")
      .slice(0, Math.max(8, 64 - end.length)) + end
  );
}

/** The first of name, name-2, name-3 … that no run has yet. */
function unused(name: string, outputs: string): string {
  for (let i = 1; ; i++) {
    const candidate = i === 1 ? name : `${name}-${i}`;
    if (!existsSync(runDir(candidate, outputs))) return candidate;
  }
}

async function reproduce(program: Command, flags: Settled): Promise<void> {
  const steps = commands(flags);
  const began = performance.now();
  // The trainer's packages are installed while the server already samples.
  const packages = flags.train && !(await trainerInstalled()) ? installExtra("train") : null;
  // The code that awaits it later sees the failure. Until then it must not end the process.
  packages?.catch(() => {});
  for (const [i, args] of steps.entries()) {
    const [command] = args;
    const start = performance.now();
    say("");
    say(`[${i + 1}/${steps.length}] malt ${args.join(" ")}`);
    if (command === "train" && packages) await waitFor(packages);
    await program.parseAsync(args, { from: "user" }).catch((error) => {
      // Asking again would not help, and the later steps say how many trees are incomplete.
      if (!(error instanceof IncompleteError)) throw error;
      say(`malt: going on without the refused questions: ${error.message}`);
    });
    if (command === "export") await showTree(flags.run);
    const [own, all] = [start, began].map((from) => duration((performance.now() - from) / 1000));
    say(`      ${own}, ${all} since the start`);
  }
}

/** Says every 15 seconds that the packages are still being installed. */
async function waitFor(packages: Promise<void>): Promise<void> {
  const begin = performance.now();
  const still = setInterval(() => {
    const seconds = (performance.now() - begin) / 1000;
    say(`      … the trainer (PyTorch and TRL, 3 GB on Linux) is being fetched, ${duration(seconds)}`);
  }, 15_000);
  await packages.finally(() => clearInterval(still));
}

/** A result to show while the roles are trained: one tree, in the terminal and as a picture in the run's folder. */
async function showTree(run: string): Promise<void> {
  const dir = runDir(run);
  const data = await openDataset(dir);
  try {
    const [nodes, questions] = [await data.nodes(), await data.questions()];
    if (nodes.length === 0) return;
    const id = mixedQuestion(nodes);
    const question = questions.find((each) => each.id === id)!;
    const tree = nodes.filter(({ question_id }) => question_id === id);
    await saveFigure(treeFigure(tree, { question }), join(dir, "tree"));
    printResult(`\n${textTree(question, tree)}\npicture of this tree: ${join(dir, "tree.png")}`);
  } finally {
    data.close();
  }
}

/** The commands that it runs, with their arguments. Evaluation seeds of different master seeds do not overlap. */
export function commands(flags: Settled): string[][] {
  const given = (flag: string, value: string | number | undefined) => (value === undefined ? [] : [flag, `${value}`]);
  const run = ["--run", flags.run];
  const seed = ["--seed", String(flags.seed)];
  const url = given("--base-url", flags.baseUrl);
  const model = given("--model", flags.model);
  const profile = given("--profile", flags.profile);
  const sizes = [...given("--parallel", flags.parallel), ...given("--context", flags.context)];
  // The later steps find the file in run.json, also when a branch of the hub has moved on since.
  const file = [...given("--model-file", flags.modelFile), ...given("--hf", flags.hf)];
  const limit = ["--limit", String(flags.limit)];
  const system = given("--system-message", flags.systemMessage);
  const prompts = [...given("--prompt-set", flags.promptSet), ...given("--team", flags.team)];
  const first = ["--seed", String(flags.seed * flags.seeds)];
  const size = ["--size", String(flags.size), "--seeds", String(flags.seeds), "--systems", flags.systems];
  const trained = [
    ["train", ...run, ...seed, ...profile, ...given("--base-model", flags.baseModel)],
    [
      "evaluate",
      ...run,
      ...first,
      ...size,
      ...given("--questions", flags.test),
      ...profile,
      ...sizes,
      ...url,
      ...model,
    ],
  ];
  return [
    [
      ...[
        "sample",
        ...run,
        "--questions",
        flags.questions,
        ...limit,
        ...prompts,
        ...seed,
        ...profile,
        ...file,
        ...sizes,
        ...url,
        ...model,
      ],
      ...system,
    ],
    ["export", ...run],
    ...(flags.train ? trained : []),
    ["report", ...run],
  ];
}

/**
 * Parses a list of command-line arguments without running the command; for `npm start`, which does more work
 * afterwards.
 */
export async function settled(words: readonly string[]): Promise<Settled> {
  const program = new Command();
  register(program);
  let flags: Flags | undefined;
  program.commands[0]!.action((given: Flags) => {
    flags = given;
  });
  await program.parseAsync(["reproduce", ...words], { from: "user" });
  return settle(flags!);
}
