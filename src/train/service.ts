/**
 * Training by a fine-tuning service: uploads the files, creates a job a stage, each from the model that the stage before it
 * made, and follows them. The jobs go on when this process ends; the same command finds them again. Scope: order, state and
 * follow-up. The requests are in policy/fine-tuning.ts, the jobs in service-jobs.ts.
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { RefusedError, RunError, ServerError } from "../errors.js";
import type { FineTuningEvent, FineTuningJob, FineTuningService } from "../policy/fine-tuning.js";
import { failing } from "../run/files.js";
import { lock } from "../run/lock.js";
import { hash, readManifest, writeManifest } from "../run/manifest.js";
import { hyperparametersOf, type ServiceJob } from "./service-jobs.js";
import {
  isOver,
  readServiceState,
  type ServiceStage,
  type ServiceState,
  serviceStatePath,
  writeServiceState,
} from "./service-state.js";
import type { TrainingEvent } from "./status.js";

/** Options of {@link trainOnService}. */
export interface ServiceOptions {
  run: string;
  /** The run's folder. */
  dir: string;
  service: FineTuningService;
  /** The service's name of the model to start from. */
  model: string;
  /** In training order. None: the jobs that exist are followed, and none is created. */
  jobs: readonly ServiceJob[];
  seed: number;
  onEvent: (event: TrainingEvent) => void;
  /** A line that stays. */
  onNote: (text: string) => void;
  /** Aborting it ends the following; the jobs go on. */
  signal?: AbortSignal | undefined;
  /** Waits between two looks at the jobs; replaced in tests. */
  sleep?: ((ms: number, signal?: AbortSignal) => Promise<unknown>) | undefined;
}

/** Milliseconds between two looks at the jobs. */
const every = 10_000;

/**
 * Trains stages at a service, those that do not wait for one another at the same time, and waits for their ends. A stage that
 * was trained from the same model, file and settings is skipped; one whose job failed or was cancelled gets a new one.
 * @returns the state of all stages, also in train/service.json and in run.json
 * @throws RunError if a job failed or was cancelled, or the folder cannot be written; ServerError if the service refuses
 */
export async function trainOnService(options: ServiceOptions): Promise<ServiceState> {
  const { run, dir, service, jobs, seed, signal, onEvent, onNote } = options;
  const sleep = options.sleep ?? ((ms, signal) => delay(ms, undefined, { signal }).catch(() => {}));
  const unlock = await lock(join(dir, "train", "lock"));
  const save = () => failing(`write into ${join(dir, "train")}`, () => writeServiceState(dir, state));
  const state: ServiceState = await stateAt(dir, service.baseURL).catch(async (error) => {
    await unlock();
    throw error;
  });
  const follow = follower(service, onEvent, onNote);

  /** The model that a stage starts from; null while it does not exist yet. */
  const startOf = ({ stage }: ServiceJob): string | null =>
    stage.start === null ? options.model : (state.stages[stage.start]?.fine_tuned_model ?? null);

  const begin = async (job: ServiceJob, model: string): Promise<void> => {
    const { stage, file, method } = job;
    const { content, ...about } = file;
    const key = hash(JSON.stringify([service.baseURL, model, method, about.sha256, seed])).slice(0, 32);
    const before = state.stages[stage.name];
    const isSame = before?.key === key;
    if (isSame && before.status === "succeeded") return onEvent({ event: "skip", stage: stage.name });
    // With the same key, and no answer or no end on record, the service may have what was asked for.
    const mayExist = isSame && !isOver(before.status);
    const uploaded = Object.values(state.stages).find((each) => each.file.name === about.name && each.file.id)?.file.id;
    const next: ServiceStage = {
      key,
      model,
      file: { ...about, bytes: content.length, id: uploaded ?? null },
      method,
      job: mayExist ? before.job : null,
      ...{ status: null, fine_tuned_model: null, trained_tokens: null, error: null, checkpoints: [] },
    };
    if (before && !isSame && before.status === "succeeded") state.earlier.push({ ...before, stage: stage.name });
    state.stages[stage.name] = next;
    await save();
    if (next.job === null) {
      if (next.file.id === null) {
        next.file.id = await service.file(about.name, content, before !== undefined);
        await save();
        onNote(`${stage.name}: ${about.name} is uploaded (${next.file.id})`);
      }
      const suffix = `malt-${run}-${stage.name}`.slice(0, 64);
      const metadata = { malt_key: key, malt_run: run, malt_stage: stage.name };
      const request = { model, training_file: next.file.id, method, seed, suffix, metadata };
      const created = await service.create(request, mayExist);
      next.job = created.id;
      next.status = created.status;
      await save();
      onNote(`${stage.name}: job ${created.id} on ${model}, ${hyperparametersOf(method).n_epochs} epochs`);
    } else onNote(`${stage.name}: job ${next.job} is found again`);
  };

  const look = async (name: string, stage: ServiceStage): Promise<void> => {
    const job = await service.job(stage.job!);
    await follow(name, job);
    stage.status = job.status;
    if (!isOver(job.status)) return;
    stage.fine_tuned_model = job.status === "succeeded" ? (job.fine_tuned_model ?? null) : null;
    stage.trained_tokens = job.trained_tokens ?? null;
    const { code, message } = job.error ?? {};
    stage.error = job.status === "failed" ? [code, message].filter(Boolean).join(": ") || "no reason given" : null;
    const checkpoints = await service.checkpoints(job.id);
    stage.checkpoints = checkpoints.map((each) => ({
      step: each.step_number,
      model: each.fine_tuned_model_checkpoint,
    }));
    await save();
    if (job.status === "succeeded" && stage.fine_tuned_model === null)
      throw new RunError(`job ${job.id} of ${name} succeeded without a model; ask ${service.baseURL} for its name`);
    if (job.status === "succeeded") {
      onNote(`${name}: ${stage.fine_tuned_model}, ${stage.trained_tokens ?? "unknown"} tokens trained`);
      onEvent({ event: "done", stage: name });
    } else onNote(`${name}: job ${job.id} ${job.status}${stage.error === null ? "" : `: ${stage.error}`}`);
  };

  try {
    let waiting = [...jobs];
    const watched = new Set(jobs.length > 0 ? [] : Object.keys(state.stages));
    while (!signal?.aborted) {
      for (const job of waiting) {
        const model = startOf(job);
        const start = job.stage.start === null ? undefined : state.stages[job.stage.start];
        // A start that is being trained anew may still have the model of an earlier training on record.
        if (model === null || (start && start.status !== "succeeded")) continue;
        if (job.stage.start !== null && waiting.some(({ stage }) => stage.name === job.stage.start)) continue;
        await begin(job, model);
        watched.add(job.stage.name);
        waiting = waiting.filter((each) => each !== job);
      }
      const active = [...watched].filter((name) => {
        const { job, status } = state.stages[name]!;
        return job !== null && !isOver(status);
      });
      if (active.length === 0) break;
      for (const name of active) {
        await look(name, state.stages[name]!).catch((error) => {
          // The jobs go on meanwhile: a connection may be gone for an hour, or this machine asleep.
          if (!(error instanceof ServerError) || error instanceof RefusedError) throw error;
          onNote(`${name}: ${error.message}; looking again until it answers`);
        });
      }
      // A job that has just made a model lets the next one begin at once.
      if (active.every((name) => !isOver(state.stages[name]!.status))) await sleep(every, signal);
    }
    if (signal?.aborted) return state;
    await record(dir, state);
    const bad = [...watched].filter((name) => state.stages[name]!.status !== "succeeded");
    const said = bad.map((name) => {
      const { job, status, error } = state.stages[name]!;
      return `job ${job} of ${name} ${status}${error === null ? "" : ` (${error})`}`;
    });
    const left = waiting.map(({ stage }) => stage.name);
    const after = left.length > 0 ? `; not begun: ${left.join(", ")}` : "";
    if (said.length > 0)
      throw new RunError(`${said.join(", ")}${after}; the same command begins them anew and keeps what succeeded`);
    return state;
  } finally {
    await unlock();
  }
}

/** The state of a run at one service. @throws RunError if its jobs are at another one, or the file is damaged */
async function stateAt(dir: string, service: string): Promise<ServiceState> {
  const known = await readServiceState(dir);
  if (known === null) return { schema: 1, service, stages: {}, earlier: [] };
  if (known.service === service) return known;
  throw new RunError(
    `this run's jobs are at ${known.service}: give it with --base-url, or move ${serviceStatePath(dir)} away to begin anew ` +
      `at ${service}`,
  );
}

/** Reports what is new about a job: its state, its steps, its messages. */
function follower(service: FineTuningService, onEvent: ServiceOptions["onEvent"], onNote: ServiceOptions["onNote"]) {
  const seen = new Set<string>();
  const states = new Map<string, string>();
  return async (stage: string, job: FineTuningJob): Promise<void> => {
    if (states.get(stage) !== job.status) {
      onNote(`${stage}: ${job.status.replaceAll("_", " ")}`);
      states.set(stage, job.status);
    }
    for (const event of await service.events(job.id)) {
      if (seen.has(event.id)) continue;
      seen.add(event.id);
      if (event.data) onEvent(step(stage, job, event, event.data));
      else if (event.level !== "info") onNote(`${stage}: ${event.level}: ${event.message}`);
    }
  };
}

function step(stage: string, job: FineTuningJob, event: FineTuningEvent, data: NonNullable<FineTuningEvent["data"]>) {
  const seconds = Math.max(0, event.created_at - job.created_at);
  const left = job.estimated_finish
    ? job.estimated_finish - event.created_at
    : (seconds / data.step) * (data.total_steps - data.step);
  return {
    event: "step" as const,
    stage,
    step: data.step,
    steps: data.total_steps,
    loss: data.train_loss,
    seconds,
    seconds_left: Math.max(0, left),
  };
}

/**
 * Cancels a run's jobs that have not ended.
 * @returns the stages that were cancelled
 */
export async function cancelOnService(dir: string, service: FineTuningService): Promise<string[]> {
  const state = await stateAt(dir, service.baseURL);
  const cancelled: string[] = [];
  for (const [name, stage] of Object.entries(state.stages)) {
    if (stage.job === null || isOver(stage.status)) continue;
    stage.status = (await service.cancel(stage.job)).status;
    await writeServiceState(dir, state);
    cancelled.push(name);
  }
  return cancelled;
}

/** Keeps what a service made in run.json. */
async function record(dir: string, { service, stages }: ServiceState): Promise<void> {
  const unlock = await lock(join(dir, "lock"));
  try {
    const manifest = await readManifest(dir);
    await writeManifest(dir, { ...manifest, training_service: { service, stages } });
  } finally {
    await unlock();
  }
}
