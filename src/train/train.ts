/**
 * Training the roles (paper, Section 4.3): SFT on the positives, then DPO from the SFT policy, and the STaR baseline.
 * TRL does the training, in a Python process that may outlive this one; this file plans, starts, follows and records it.
 * What it leaves out: serving and evaluating what was trained.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { InputError, RunError } from "../errors.js";
import { trainableWeights } from "../models/weights.js";
import { pythonScript } from "../paths.js";
import { lock } from "../run/lock.js";
import { runDir } from "../run/manifest.js";
import type { WorkPlace } from "./launchers/launcher.js";
import { local } from "./launchers/local.js";
import { launcherOf } from "./launchers/target.js";
import type { TrainingStage } from "./plan.js";
import { bringStarts, type PlannedOptions, plannedTraining, portable } from "./planned.js";
import { recordTraining, type TrainedStage } from "./record.js";
import { reuseStages } from "./reuse.js";
import { stageFile } from "./stage-file.js";
import type { TrainingStatus } from "./status.js";
import {
  bringHome,
  ensureTrainer,
  followTraining,
  forgetTrainer,
  isTraining,
  startTrainer,
  stopTrainer,
  trainingTarget,
} from "./trainer.js";

/** Options of {@link trainRun}. */
export interface TrainRunOptions extends PlannedOptions {
  /** Folders of other runs: stages that were trained there on the same data with the same settings are copied (reuse.ts). */
  reuse?: readonly string[] | undefined;
  /** Where: a target of launchers/target.ts; default `local`, this machine. */
  on?: string | undefined;
  /** What is to be said about that place. */
  place?: { [K in keyof WorkPlace]?: WorkPlace[K] | undefined };
  /** Called with the status after every event of the training. */
  onProgress?: (status: TrainingStatus) => void;
  /** Called with a message when something takes long, such as a download. */
  onStatus?: (text: string) => void;
  /** Aborting it stops the trainer with a checkpoint. */
  signal?: AbortSignal | undefined;
  /** Aborting it ends the following; the trainer goes on. For trainers elsewhere. */
  leave?: AbortSignal | undefined;
  /**
   * Whether the trainer goes on when this process ends, so that a cell that is run again joins it; default true.
   * Otherwise it then stops with a checkpoint. One elsewhere always goes on.
   */
  outlives?: boolean;
}

/**
 * Trains a run's roles and waits for the end; joins a training that is already running. Stages that are done with the
 * same data and settings are skipped; an interrupted stage continues from its last checkpoint.
 * @returns all trained stages of the run
 * @throws InputError on a wrong option, a test question, nothing to train; RunError if the run is not exported, or the
 * training failed or was stopped
 */
export async function trainRun(options: TrainRunOptions): Promise<TrainedStage[]> {
  const dir = runDir(options.run, options.outputs);
  await startTraining(options);
  return followToEnd(dir, options);
}

/**
 * Follows a run's training to its end and records it, without starting one.
 * @throws RunError if there is none, it failed or was stopped
 */
export async function followToEnd(
  dir: string,
  options: Pick<TrainRunOptions, "onProgress" | "onStatus" | "signal" | "leave">,
): Promise<TrainedStage[]> {
  const { onProgress = () => {}, onStatus, signal, leave } = options;
  let stopping: Promise<unknown> = Promise.resolve();
  const stop = () => {
    stopping = stopTrainer(dir);
    // Its failure is thrown below; until then it must not count as unhandled.
    stopping.catch(() => {});
  };
  if (signal?.aborted) stop();
  else signal?.addEventListener("abort", stop, { once: true });
  let last: TrainingStatus | null = null;
  try {
    for await (const status of followTraining(dir, { signal: leave, onNote: onStatus })) {
      last = status;
      onProgress(status);
    }
    await stopping;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  if (leave?.aborted && (last === null || !["done", "stopped", "failed"].includes(last.state)))
    throw new RunError(
      `the training goes on on ${await trainingTarget(dir)}; \`malt train --follow\` shows it again, \`malt train --stop\` stops it`,
    );
  const { state, stage, step, steps, error } = last!;
  const where = steps > 0 ? `${stage} after step ${step} of ${steps}` : stage;
  const advice = "run the same command again to go on from the last checkpoint";
  if (state === "done") return recordTraining(dir);
  // Stages that finished before are recorded too. If that fails, the error above is the one to report.
  await recordTraining(dir).catch(() => {});
  if (state === "stopped") throw new RunError(`training was stopped in ${where}; ${advice}`);
  throw new RunError(`training failed in ${where}: ${error}; once that is mended, ${advice}`);
}

/**
 * Starts the training of a run and returns as soon as the trainer works; does nothing if one is already running.
 * @returns the plan, or null if a training was already running
 * @throws as {@link trainRun}
 */
export async function startTraining(options: TrainRunOptions): Promise<TrainingStage[] | null> {
  const { onStatus = () => {}, seed = 0 } = options;
  const dir = runDir(options.run, options.outputs);
  if (await isTraining(dir)) {
    const where = await trainingTarget(dir);
    const elsewhere = where === local.target ? "" : ` on ${where}`;
    onStatus(`a training of run "${options.run}" is at work already${elsewhere}: following it`);
    return null;
  }
  const { plan, folder, settings, sampled, sampledAdapters, exampleWeights } = await plannedTraining(options);
  const launcher = launcherOf(options.on ?? local.target);
  const place: WorkPlace = {
    processes: options.place?.processes ?? 1,
    gpu: settings.device === "gpu",
    python: options.place?.python,
    setup: options.place?.setup,
    jobFlags: options.place?.jobFlags ?? [],
    oneJob: options.place?.oneJob ?? false,
  };
  if (settings.batchSize % place.processes !== 0)
    throw new InputError(
      `a batch of ${settings.batchSize} cannot be shared by ${place.processes} processes; choose a divisor of it, or another ` +
        "--batch-size",
    );
  // Elsewhere there is a trainer; a GGUF file is converted by the one that is here.
  const { weights } = sampled;
  const isConverted = !options.baseModel && weights && !(weights.from === "files" && weights.trainable !== null);
  if (isConverted || (launcher.stageIn === null && place.python === undefined)) await ensureTrainer(onStatus);
  const base = await trainableWeights(sampled, options.baseModel, onStatus);
  await bringHome(dir, onStatus);
  // Only one process may start the trainer; the others then find it running.
  const unlock = await lock(join(folder, "lock"));
  try {
    if (await isTraining(dir)) return null;
    await forgetTrainer(dir);
    await mkdir(folder, { recursive: true });
    const seen = (path: string) => portable(folder, path);
    const form = { baseModel: seen(base), settings, seed, exampleWeights, trainer: seen(pythonScript("train.py")) };
    for (const stage of plan) await writeFile(join(folder, `${stage.name}.yaml`), stageFile(stage, form));
    await bringStarts(folder, { plan, sampledAdapters });
    const { outlives = true, run } = options;
    const work = { run, dir: resolve(dir), stages: plan, baseModel: base, jobs: settings.jobs, outlives, place };
    await reuseStages(folder, plan, options.reuse ?? []);
    // llama.cpp serves only the embedded models; vLLM reads PEFT's own format.
    await startTrainer({ ...work, gguf: sampled.embedded !== null }, launcher, onStatus);
  } finally {
    await unlock();
  }
  return plan;
}

/**
 * Stops the training of a run; resolves when its checkpoint is written and here, and the process is gone.
 * @returns whether one was running
 * @throws RunError if it does not end
 */
export async function stopTraining(run: string, outputs?: string): Promise<boolean> {
  const dir = runDir(run, outputs);
  const stopped = await stopTrainer(dir);
  await bringHome(dir);
  return stopped;
}
