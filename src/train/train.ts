/**
 * Training the roles (paper, Section 4.3): SFT on the positives, then DPO from the SFT policy, and the STaR baseline.
 * TRL does the training, in a Python process that may outlive this one; this file plans, starts, follows and records it.
 * What it leaves out: serving and evaluating what was trained.
 */

import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { checkHeldOut } from "../benchmarks/held-out.js";
import { loadQuestions } from "../benchmarks/load.js";
import { RunError } from "../errors.js";
import { modelOfRun } from "../models/choose.js";
import { type Model, models } from "../models/table.js";
import { type TrainingSettings, trainingSettings } from "../models/training.js";
import { trainableWeights } from "../models/weights.js";
import { arithmetic, isInPackage, pythonScript } from "../paths.js";
import { lock } from "../run/lock.js";
import { readManifest, readQuestions, runDir } from "../run/manifest.js";
import { speaksAs } from "../team/teams.js";
import type { Question } from "../types.js";
import { checkTrainingPrompts } from "./leak.js";
import { type TrainingMethod, type TrainingStage, trainingPlan } from "./plan.js";
import { recordTraining, type TrainedStage } from "./record.js";
import { reuseStages } from "./reuse.js";
import { stageFile } from "./stage-file.js";
import type { TrainingStatus } from "./status.js";
import { tokensPerRow } from "./tokens.js";
import { ensureTrainer, followTraining, forgetTrainer, isTraining, startTrainer, stopTrainer } from "./trainer.js";

/** Options of {@link trainRun}. */
export interface TrainRunOptions {
  /** Name of the run, the folder `<outputs>/runs/<run>`. */
  run: string;
  outputs?: string;
  /** Roles to train; default all of the run. */
  roles?: readonly string[] | undefined;
  /** Default sft, dpo and star. */
  stages?: readonly TrainingMethod[] | undefined;
  /** See {@link trainingPlan}; default false. */
  generatorDpo?: boolean | undefined;
  /** Changes to the model's settings. */
  settings?: { [K in keyof TrainingSettings]?: TrainingSettings[K] | undefined };
  /** Row of the table of models to take defaults and weights from; default: by the model that was sampled. */
  model?: Model | undefined;
  /** Folder or hub name of the weights that were sampled; default the model's own, where it has any. */
  baseModel?: string | undefined;
  /** Seed of the data order and of new adapters; default 0. */
  seed?: number | undefined;
  /**
   * Files of questions that must not be trained on; by default the arithmetic benchmark's test questions for that
   * benchmark.
   */
  heldOut?: readonly string[] | undefined;
  /** Folders of other runs: stages that were trained there on the same data with the same settings are copied (reuse.ts). */
  reuse?: readonly string[] | undefined;
  /** Called with the status after every event of the training. */
  onProgress?: (status: TrainingStatus) => void;
  /** Called with a message when something takes long, such as a download. */
  onStatus?: (text: string) => void;
  /** Aborting it stops the trainer with a checkpoint. */
  signal?: AbortSignal | undefined;
  /**
   * Whether the trainer goes on when this process ends, so that a cell that is run again joins it; default true.
   * Otherwise it then stops with a checkpoint.
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
  options: Pick<TrainRunOptions, "onProgress" | "signal">,
): Promise<TrainedStage[]> {
  const { onProgress = () => {}, signal } = options;
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
    for await (const status of followTraining(dir)) {
      last = status;
      onProgress(status);
    }
    await stopping;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
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
  const manifest = await readManifest(dir);
  if (await isTraining(dir)) {
    onStatus(`a training of run "${options.run}" is at work already: following it`);
    return null;
  }
  const table = options.model ? [options.model, ...models] : models;
  const own = modelOfRun(manifest.config.policy.model, manifest.server.weights, table);
  const model = options.model ?? own;
  const settings = trainingSettings(model.training, options.settings);
  const folder = join(resolve(dir), "train");
  if (manifest.export && manifest.export.prompt_set_hash !== manifest.prompt_set_hash)
    throw new RunError(
      `the files in ${folder} were not exported with the prompts that run "${options.run}" was sampled with (SHA-256 ` +
        `${manifest.prompt_set_hash}); run \`malt export --run ${options.run}\` again, with the same options`,
    );
  const roles = manifest.config.roles;
  const questions = await readQuestions(dir);
  checkHeldOut(questions, await heldOutQuestions(questions, options.heldOut));
  const speakers = [...new Set(roles.map(speaksAs))];
  const wanted = speakers.flatMap((name) => [`${name}-sft.jsonl`, `${name}-dpo.jsonl`]);
  const missing = wanted.find((name) => !existsSync(join(folder, name)));
  if (missing)
    throw new RunError(`${join(folder, missing)} does not exist; run \`malt export --run ${options.run}\` first`);
  const rows = await checkTrainingPrompts(
    wanted.map((name) => join(folder, name)),
    questions,
  );
  const { roles: only, stages, generatorDpo } = options;
  const counted = await tokensPerRow(dir, settings.maxLength, roles);
  const sizes = { rows: (file: string) => rows.get(file)!, tokens: (file: string) => counted.get(file) };
  const plan = trainingPlan({ roles, settings, ...sizes, only, stages, generatorDpo });

  await ensureTrainer(onStatus);
  // A row that is named for its settings must not bring its weights along: those that were sampled are trained.
  const sampled = manifest.server.weights || model.name === own.name ? own : model;
  const base = await trainableWeights(sampled, options.baseModel, onStatus);
  // Only one process may start the trainer; the others then find it running.
  const unlock = await lock(join(folder, "lock"));
  try {
    if (await isTraining(dir)) return null;
    await forgetTrainer(dir);
    await mkdir(folder, { recursive: true });
    const seen = (path: string) => portable(folder, path);
    const form = { baseModel: seen(base), settings, seed, trainer: seen(pythonScript("train.py")) };
    for (const stage of plan) await writeFile(join(folder, `${stage.name}.yaml`), stageFile(stage, form));
    await reuseStages(folder, plan, options.reuse ?? []);
    // llama.cpp serves only the embedded models; vLLM reads PEFT's own format.
    const { outlives = true } = options;
    const launch = { gguf: sampled.embedded !== null, offline: isAbsolute(base), jobs: settings.jobs, outlives };
    await startTrainer(
      dir,
      plan.map(({ name }) => name),
      launch,
    );
  } finally {
    await unlock();
  }
  return plan;
}

/**
 * Stops the training of a run; resolves when its checkpoint is written and the process is gone.
 * @returns whether one was running
 * @throws RunError if it does not end
 */
export function stopTraining(run: string, outputs?: string): Promise<boolean> {
  return stopTrainer(runDir(run, outputs));
}

/** The questions training must not see, by file. */
async function heldOutQuestions(questions: readonly Question[], files?: readonly string[]) {
  const own = arithmetic.test;
  const applies = questions.some(({ benchmark }) => benchmark === "arithmetic") && existsSync(own);
  const held = new Map<string, Question[]>();
  for (const file of files ?? (applies ? [own] : [])) held.set(file, await loadQuestions(file));
  return held;
}

/** A path as seen from a folder of the same checkout, so that both can be moved together; otherwise unchanged. */
function portable(folder: string, path: string): string {
  if (!isAbsolute(path) || !isInPackage(folder) || !isInPackage(path)) return path;
  return relative(folder, path).split(sep).join("/");
}
