/** `malt train`: trains the roles of a run, continues a training that was stopped, follows or stops one. */
import { join } from "node:path";
import { type Command, Option } from "commander";
import { environment } from "../environment.js";
import { InputError } from "../errors.js";
import { modelOfProfile, profileNames } from "../models/table.js";
import { type DpoMargin, dpoMargins } from "../models/training.js";
import { interruption } from "../run/interruption.js";
import { runDir } from "../run/manifest.js";
import { trainingDisplay } from "../show/progress.js";
import { printResult, say } from "../show/terminal.js";
import { alignedTable } from "../show/text-table.js";
import { targets } from "../train/launchers/target.js";
import {
  starCompute,
  type TrainingMethod,
  type TrainingStart,
  trainingMethods,
  trainingStarts,
} from "../train/plan.js";
import { type TrainedStage, trainedStages } from "../train/record.js";
import { followToEnd, startTraining, stopTraining, type TrainRunOptions } from "../train/train.js";
import { trainingTarget } from "../train/trainer.js";
import { type TrainerFormName, trainerFormNames, writeTraining } from "../train/write.js";
import { number, oneOf } from "./options.js";
import { trainByService } from "./train-service.js";

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
  dpoSftWeight?: number;
  dpoMargin?: DpoMargin;
  batchSize?: number;
  maxLength?: number;
  saveSteps?: number;
  device?: "cpu" | "gpu";
  startFrom: TrainingStart;
  seed: number;
  on?: string;
  processes: number;
  python?: string;
  setup?: string;
  jobFlags?: string;
  oneJob?: true;
  stop?: true;
  follow?: true;
  baseUrl?: string;
  learningRateMultiplier: number;
  price?: number;
  yes?: true;
  write?: TrainerFormName;
  out?: string;
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
    .option(
      "--start-from <what>",
      "of a run that was sampled with adapters: base, fresh ones as STaR begins every round, or sampled, to train those on",
      oneOf("--start-from", trainingStarts),
      "base",
    )
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
      "--dpo-sft-weight <w>",
      "of DPO: weight of the chosen texts' own SFT loss, which keeps them likely; 1 is usual (default: 0, plain DPO)",
      number("--dpo-sft-weight", { min: 0 }),
    )
    .option(
      "--dpo-margin <rule>",
      "how a pair's difference of values enters DPO: none, offset (at least this margin), target (this margin); needs malt export --margins (default: none)",
      oneOf("--dpo-margin", dpoMargins),
    )
    .option("--batch-size <n>", "examples or pairs per step (default: 8)", whole("--batch-size"))
    .option("--max-length <n>", "tokens of prompt and completion together (default: by profile)", whole("--max-length"))
    .optionsGroup("Where:")
    .option(
      "--on <target>",
      `${targets}, or openai, a fine-tuning service (default: local); elsewhere Ctrl-C leaves the training at work, and the ` +
        "same command, or --follow, comes back to it",
    )
    .option(
      "--processes <n>",
      "processes that train a stage together, one a GPU; the batch is shared among them",
      whole("--processes"),
      1,
    )
    .option(
      "--python <command>",
      "Python there that has the trainer (default: python3; local and slurm: the project's)",
    )
    .option(
      "--setup <command>",
      "bash command there before the trainer, in the home folder, such as 'source venv/bin/activate'",
    )
    .option(
      "--job-flags <flags>",
      "for sbatch, ray job submit or sky launch, such as '--partition=gpu --time=12:00:00' (with =, no spaces in a value)",
    )
    .option("--one-job", "slurm: one job for all stages (default: a job for each, side by side where they can be)")
    .optionsGroup("Advanced:")
    .option("--save-steps <n>", "steps between two checkpoints (default: by profile)", whole("--save-steps"))
    .option("--device <name>", "cpu or gpu (default: by profile)", oneOf("--device", ["cpu", "gpu"]))
    .option(
      "--seed <n>",
      "of the order of the data and of fresh adapters",
      number("--seed", { min: 0, integer: true }),
      0,
    )
    .optionsGroup("A fine-tuning service (--on openai), after showing what is sent and what it costs:")
    .option("--base-url <url>", "of the service (default: OPENAI_BASE_URL, else OpenAI's own)")
    .option(
      "--learning-rate-multiplier <m>",
      "of the service's own learning rate",
      positive("--learning-rate-multiplier"),
      0.1,
    )
    .option("--price <dollars>", "what the service takes for a million training tokens", number("--price", { min: 0 }))
    .option("--yes", "send what was shown, and pay for it")
    .optionsGroup("Another trainer:")
    .option(
      "--write <trainer>",
      `write the plan as files of ${trainerFormNames.join(", ")}, and train nothing`,
      oneOf("--write", trainerFormNames),
    )
    .option("--out <folder>", "where they are written; new or empty")
    .optionsGroup("A training that is at work:")
    .addOption(new Option("--stop", "stop the training with a checkpoint").conflicts("follow"))
    .option("--follow", "show a training that is at work, and start none")
    .action(train);
}

async function train(flags: Flags): Promise<void> {
  const { outputs } = environment();
  const dir = runDir(flags.run, outputs);
  if (flags.write !== undefined || flags.out !== undefined) return write(flags, outputs);
  if (flags.on === "openai") return trainByService(flags, options(flags, outputs));
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
  const isHere = ((await trainingTarget(dir)) ?? "local") === "local";
  const { signal, off } = interruption();
  if (isHere) signal.addEventListener("abort", () => display.note("stopping after this step, with a checkpoint …"));
  try {
    const end = isHere ? { signal } : { leave: signal };
    const stages = await followToEnd(dir, { onProgress: display.update, onStatus: display.note, ...end });
    printResult(summary(stages, new Set(before.map(({ sha256 }) => sha256))));
  } finally {
    display.end();
    off();
  }
}

/** Writes the files for another trainer. */
async function write(flags: Flags, outputs: string): Promise<void> {
  const { write: format, out } = flags;
  if (format === undefined || out === undefined)
    throw new InputError("--write TRAINER and --out FOLDER go together; give both");
  if (flags.follow || flags.stop || flags.on !== undefined)
    throw new InputError("--write trains nothing: leave --on, --follow and --stop out");
  const { plan, files } = await writeTraining(format, out, { ...options(flags, outputs), onStatus: say });
  const next = `the commands, and how DPO's reference is chosen, are in ${join(out, "README.md")}`;
  printResult(`${plan.length} stages for ${format} in ${out}: ${files.join(", ")}\n${next}`);
}

function options(flags: Flags, outputs: string): TrainRunOptions {
  const { run, roles, stages, generatorDpo, profile, baseModel, heldOut, seed, epochs, batchSize } = flags;
  const { sftLearningRate, dpoLearningRate, beta, labelSmoothing, dpoSftWeight, dpoMargin } = flags;
  const { maxLength, saveSteps, device } = flags;
  const { on, processes, python, setup, oneJob, startFrom } = flags;
  const place = { processes, python, setup, oneJob, jobFlags: flags.jobFlags?.split(/\s+/).filter(Boolean) };
  const sizes = { sftEpochs: epochs, dpoEpochs: epochs, batchSize };
  const rates = { sftLearningRate, dpoLearningRate, beta, labelSmoothing, dpoSftWeight, dpoMargin };
  const settings = { ...sizes, ...rates, maxLength, saveSteps, device };
  const model = profile === undefined ? undefined : modelOfProfile(profile);
  const what = { run, outputs, roles, stages, generatorDpo, model, baseModel, startFrom };
  return { ...what, heldOut, seed, settings, on, place };
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
