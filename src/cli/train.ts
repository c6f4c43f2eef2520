/** `malt train`: trains the roles of a run, continues a training that was stopped, follows or stops one. */
import { type Command, Option } from "commander";
import { environment } from "../environment.js";
import { modelOfProfile, profileNames } from "../models/table.js";
import { type DpoMargin, dpoMargins } from "../models/training.js";
import { interruption } from "../run/interruption.js";
import { runDir } from "../run/manifest.js";
import { trainingDisplay } from "../show/progress.js";
import { printResult } from "../show/terminal.js";
import { alignedTable } from "../show/text-table.js";
import { starCompute, type TrainingMethod, trainingMethods } from "../train/plan.js";
import { type TrainedStage, trainedStages } from "../train/record.js";
import { followToEnd, startTraining, stopTraining, type TrainRunOptions } from "../train/train.js";
import { number, oneOf } from "./options.js";

interface Flags {
  run: string;
  roles?: string[];
  stages?: TrainingMethod[];
  generatorDpo: boolean;
  profile?: string;
  baseModel?: string;
  heldOut?: string[];
  epochs?: number;
  sftLearningRate?: number;
  dpoLearningRate?: number;
  beta?: number;
  labelSmoothing?: number;
  dpoMargin?: DpoMargin;
  batchSize?: number;
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
  program
    .command("train")
    .summary("train a run's roles: SFT, DPO and the STaR baseline")
    .description("train a run's roles on its exported data; run it again to go on where it stopped")
    .optionsGroup("What:")
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
    .optionsGroup("Model:")
    .option("--profile <name>", `${profileNames().join(", ")}: defaults (default: by the model that was sampled)`)
    .option("--base-model <model>", "folder or hub name of the weights that were sampled (default: the profile's own)")
    .optionsGroup("What:")
    .option(
      "--held-out <files...>",
      "question files that training must not see (default: the arithmetic benchmark's test file)",
    )
    .optionsGroup("Hyper-parameters:")
    .option(
      "--epochs <n>",
      "passes over the data of every stage (default: 1 to 10, by the size of the data)",
      positive("--epochs"),
    )
    .option(
      "--sft-learning-rate <r>",
      "peak learning rate of SFT and STaR (default: by profile)",
      positive("--sft-learning-rate"),
    )
    .option(
      "--dpo-learning-rate <r>",
      "peak learning rate of DPO (default: by profile)",
      positive("--dpo-learning-rate"),
    )
    .option("--beta <β>", "how strongly DPO holds the policy to its reference (default: 0.2)", positive("--beta"))
    .option(
      "--label-smoothing <ε>",
      "of DPO: how often a preference may be the wrong way round, 0 to 0.5; gives the margin an optimum (default: 0)",
      number("--label-smoothing", { min: 0, max: 0.5 }),
    )
    .option(
      "--dpo-margin <rule>",
      "how a pair's difference of values enters DPO: none, offset (at least this margin), target (this margin); needs malt export --margins (default: none)",
      oneOf("--dpo-margin", dpoMargins),
    )
    .option("--batch-size <n>", "examples or pairs per step (default: 8)", whole("--batch-size"))
    .option("--max-length <n>", "tokens of prompt and completion together (default: by profile)", whole("--max-length"))
    .optionsGroup("Advanced:")
    .option("--save-steps <n>", "steps between two checkpoints (default: by profile)", whole("--save-steps"))
    .option("--device <name>", "cpu or gpu (default: by profile)", oneOf("--device", ["cpu", "gpu"]))
    .option(
      "--seed <n>",
      "of the order of the data and of fresh adapters",
      number("--seed", { min: 0, integer: true }),
      0,
    )
    .optionsGroup("A training that is at work:")
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
    printResult(
      stopped ? `training of run "${flags.run}" is stopped ${how}` : `run "${flags.run}" is not being trained`,
    );
    return;
  }
  const before = await trainedStages(dir);
  const display = trainingDisplay();
  // Until the trainer is at work there is nothing to end gently.
  if (!flags.follow) await startTraining({ ...options(flags, outputs), outlives: false, onStatus: display.note });
  const { signal, off } = interruption();
  signal.addEventListener("abort", () => display.note("stopping after this step, with a checkpoint …"));
  try {
    const stages = await followToEnd(dir, { onProgress: display.update, signal });
    printResult(summary(stages, new Set(before.map(({ sha256 }) => sha256))));
  } finally {
    display.end();
    off();
  }
}

function options(flags: Flags, outputs: string): TrainRunOptions {
  const { run, roles, stages, generatorDpo, profile, baseModel, heldOut, seed, epochs, batchSize } = flags;
  const { sftLearningRate, dpoLearningRate, beta, labelSmoothing, dpoMargin, maxLength, saveSteps, device } = flags;
  const sizes = { sftEpochs: epochs, dpoEpochs: epochs, batchSize };
  const rates = { sftLearningRate, dpoLearningRate, beta, labelSmoothing, dpoMargin };
  const settings = { ...sizes, ...rates, maxLength, saveSteps, device };
  const model = profile === undefined ? undefined : modelOfProfile(profile);
  return { run, outputs, roles, stages, generatorDpo, model, baseModel, heldOut, seed, settings };
}

/** What is trained now: one line per adapter. */
function summary(stages: readonly TrainedStage[], before: ReadonlySet<string>): string {
  const rows = stages.map(({ name, sha256, current, record }) => {
    const { examples, pairs, steps, loss, tokens, seconds } = record;
    const state = current ? (before.has(sha256) ? "kept" : "new") : "of older data";
    const [rows, last, time] = [examples ?? pairs ?? 0, loss?.toFixed(3) ?? "–", seconds?.toFixed(0) ?? "–"];
    return [name, state, rows, steps, tokens ?? "–", last, time, sha256.slice(0, 12)];
  });
  const shares = [...starCompute(stages.filter(({ current }) => current))].map(
    ([role, share]) => `${share.toFixed(2)} (${role})`,
  );
  const note = shares.length === 0 ? "" : `\n\nSTaR's compute as a share of DPO's: ${shares.join(", ")}`;
  return alignedTable(["adapter", "", "rows", "steps", "tokens", "loss", "seconds", "sha256"], rows) + note;
}

/** "generator,verifier" */
const list = (text: string): string[] => text.split(",").map((name) => name.trim());
