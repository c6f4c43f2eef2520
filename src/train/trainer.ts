/**
 * The trainer of a run, wherever it works: a job (launchers/job.ts) in the run's train/. It reports its status in
 * train/trainer.jsonl and everything else in train/trainer.log; train/trainer.json identifies it.
 */
import { join, resolve } from "node:path";
import { RunError } from "../errors.js";
import { hasModules, installExtra, type OnStatus } from "../models/packages.js";
import { bringJobHome, followJob, forgetJob, isAtWork, jobTarget, startJob, stopJob } from "./launchers/job.js";
import type { Launcher } from "./launchers/launcher.js";
import { local } from "./launchers/local.js";
import type { TrainingStatus } from "./status.js";
import { type TrainingJob, trainingWork } from "./work.js";

const folderOf = (dir: string) => join(resolve(dir), "train");

/** Whether the Python packages that training needs are installed. */
export const trainerInstalled = (): Promise<boolean> =>
  hasModules("torch", "transformers", "trl", "peft", "gguf", "yaml");

/** Installs them if they are missing. @throws RunError if that fails */
export async function ensureTrainer(onStatus: OnStatus): Promise<void> {
  if (await trainerInstalled()) return;
  onStatus("The trainer (torch, TRL, PEFT) is installed once; on Linux that is a download of 3 GB …");
  await installExtra("train");
}

/**
 * Starts python/train.py in a place.
 * @param training its stages' YAML files are in train/
 * @throws RunError if the place cannot be reached or cannot train
 */
export const startTrainer = (
  training: TrainingJob,
  launcher: Launcher = local,
  onStatus: OnStatus = () => {},
): Promise<void> => startJob(trainingWork(training), launcher, onStatus);

/** Where a run is or was trained: a target of `malt train --on`; null if it never was. */
export const trainingTarget = (dir: string): Promise<string | null> => jobTarget(folderOf(dir));

/** Whether a trainer is in a queue or at work for a run. @throws as isAtWork */
export const isTraining = (dir: string): Promise<boolean> => isAtWork(folderOf(dir));

/** Brings home what the last trainer of a run made: a training that goes on starts from what is here. @throws as bringJobHome */
export const bringHome = (dir: string, onStatus: OnStatus = () => {}): Promise<void> =>
  bringJobHome(folderOf(dir), onStatus);

/**
 * Follows the training of a run from its first event to its end, see {@link followJob}.
 * @param dir a run folder
 * @throws RunError if the run was never trained, or its results cannot be brought home
 */
export async function* followTraining(
  dir: string,
  options: { signal?: AbortSignal | undefined; onNote?: ((text: string) => void) | undefined } = {},
): AsyncGenerator<TrainingStatus> {
  if (!(yield* followJob(folderOf(dir), options)))
    throw new RunError(`${dir} was never trained; run \`malt train\` first`);
}

/** Asks a run's trainer to save a checkpoint and end, and waits until it has. @throws as stopJob */
export const stopTrainer = (dir: string): Promise<boolean> => stopJob(folderOf(dir));

/** Removes the record of a trainer that is gone, so that its last events are not taken for the next one's. */
export const forgetTrainer = (dir: string): Promise<void> => forgetJob(folderOf(dir));
