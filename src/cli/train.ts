/** `malt train`: trains the roles of a run, goes on with a training that was stopped, follows or stops one. */
import { type Command, Option } from "commander";
import { environment } from "../models/table.js";
import { runDir } from "../run/manifest.js";
import { alignedTable } from "../show/text-table.js";
import { trainingDisplay } from "../show/training.js";
import { type TrainedStage, trainedStages } from "../train/record.js";
import {
  followToEnd,
  stopTraining,
  type TrainingMethod,
  type TrainRunOptions,
  trainingDefaults,
  trainingMethods,
  trainRun,
} from "../train/train.js";
import { number, oneOf } from "./options.js";

interface Flags {
  run: string;
  roles?: string[];
  stages?: TrainingMethod[];
  generatorDpo: boolean;
  profile?: keyof typeof trainingDefaults;
  baseModel?: string;
  heldOut?: string[];
  epochs?: number;
  sftRate?: number;
  dpoRate?: number;
  beta?: number;
  batch?: number;
  maxLength?: number;
  saveSteps?: number;
  device?: "cpu" | "gpu";
  seed: number;
  stop?: true;
  follow?: true;
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  const positive = (flag: string) => number(flag, { min: Number.MIN_VALUE });
  const whole = (flag: string) => number(flag, { min: 1, integer: true });
  const profiles = Object.keys(trainingDefaults) as (keyof typeof trainingDefaults)[];
  program
    .command("train")
    .description("train a run's roles on its exported data; run it again to go on where it stopped")
    .requiredOption("--run <name>", "name of the run, the folder outputs/runs/<name>")
    .option("--roles <names>", "roles to train, with commas between (default: all)", list)
    .option("--stages <names>", `${trainingMethods.join(", ")}, with commas between (default: all)`, (text) =>
      list(text).map(oneOf("--stages", trainingMethods)),
    )
    .option(
      "--generator-dpo",
      "DPO for the generator too (the paper found that it helps some models and hurts others)",
      false,
    )
    .option(
      "--profile <name>",
      `${profiles.join(", ")}: defaults (default: by the model that was sampled)`,
      oneOf("--profile", profiles),
    )
    .option("--base-model <model>", "folder or hub name of the weights that were sampled (default: the profile's own)")
    .option(
      "--held-out <files...>",
      "question files that training must not see (default: the arithmetic benchmark's test file)",
    )
    .option(
      "--epochs <n>",
      "passes over the data of every stage (default: 1 to 10, by the size of the data)",
      positive("--epochs"),
    )
    .option("--sft-rate <r>", "peak learning rate of SFT and STaR (default: by profile)", positive("--sft-rate"))
    .option("--dpo-rate <r>", "peak learning rate of DPO (default: by profile)", positive("--dpo-rate"))
    .option("--beta <β>", "how strongly DPO holds the policy to its reference (default: 0.2)", positive("--beta"))
    .option("--batch <n>", "examples or pairs per step (default: 8)", whole("--batch"))
    .option("--max-length <n>", "tokens of prompt and completion together (default: by profile)", whole("--max-length"))
    .option("--save-steps <n>", "steps between two checkpoints (default: by profile)", whole("--save-steps"))
    .option("--device <name>", "cpu or gpu (default: by profile)", oneOf("--device", ["cpu", "gpu"]))
    .option(
      "--seed <n>",
      "of the order of the data and of fresh adapters",
      number("--seed", { min: 0, integer: true }),
      0,
    )
    .addOption(new Option("--stop", "stop the training with a checkpoint").conflicts("follow"))
    .option("--follow", "show a training that is at work, and start none")
    .action(train);
}

async function train(flags: Flags): Promise<void> {
  const { outputs } = environment();
  const dir = runDir(flags.run, outputs);
  if (flags.stop) {
    const stopped = await stopTraining(flags.run, outputs);
    const how = "with a checkpoint; run `malt train` again to go on from it";
    process.stdout.write(
      stopped ? `training of run "${flags.run}" is stopped ${how}\n` : `run "${flags.run}" is not being trained\n`,
    );
    return;
  }
  const interrupted = new AbortController();
  const interrupt = () => {
    display.note("stopping after this step, with a checkpoint …");
    interrupted.abort();
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const display = trainingDisplay(process.stderr);
  try {
    const watch = { onProgress: display.update, signal: interrupted.signal };
    const before = await trainedStages(dir);
    const stages = flags.follow
      ? await followToEnd(dir, watch)
      : await trainRun({ ...options(flags, outputs), ...watch, onStatus: display.note });
    process.stdout.write(`${summary(stages, new Set(before.map(({ sha256 }) => sha256)))}\n`);
  } finally {
    display.end();
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

function options(flags: Flags, outputs: string): TrainRunOptions {
  const { run, roles, stages, generatorDpo, profile, baseModel, heldOut, seed, epochs, batch } = flags;
  const { sftRate, dpoRate, beta, maxLength, saveSteps, device } = flags;
  const sizes = { sftEpochs: epochs, dpoEpochs: epochs, batch };
  const settings = { ...sizes, sftRate, dpoRate, beta, maxLength, saveSteps, device };
  return { run, outputs, roles, stages, generatorDpo, profile, baseModel, heldOut, seed, settings };
}

/** What is trained now: one line per adapter. */
function summary(stages: readonly TrainedStage[], before: ReadonlySet<string>): string {
  const rows = stages.map(({ name, sha256, current, record }) => {
    const { examples, pairs, steps, loss, seconds } = record;
    const state = current ? (before.has(sha256) ? "kept" : "new") : "of older data";
    const [rows, last, time] = [examples ?? pairs ?? 0, loss?.toFixed(3) ?? "–", seconds?.toFixed(0) ?? "–"];
    return [name, state, rows, steps, last, time, sha256.slice(0, 12)];
  });
  return alignedTable(["adapter", "", "rows", "steps", "loss", "seconds", "sha256"], rows);
}

/** "generator,verifier" */
const list = (text: string): string[] => text.split(",").map((name) => name.trim());
