/**
 * The trainer of a run, wherever it works. Scope: start it, find it again, follow it, stop it, and bring home what it made;
 * launchers/ knows the places. It reports its status in train/trainer.jsonl and everything else in train/trainer.log;
 * train/trainer.json identifies it.
 */
import { appendFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunError } from "../errors.js";
import { hasModules, installExtra, type OnStatus } from "../models/packages.js";
import { lockSoon } from "../run/lock.js";
import { eventFile, type Job, type Launcher, logFile, type Work } from "./launchers/launcher.js";
import { local } from "./launchers/local.js";
import { stagedList, stageFiles, stagingFolder } from "./launchers/staging.js";
import { tail } from "./launchers/tail.js";
import { launcherOf } from "./launchers/target.js";
import { parseEvent, statusReader, type TrainingStatus } from "./status.js";

/** The content of train/trainer.json; beside this `on`, the target if it is not local, and what the launcher knows the job by. */
interface Trainer extends Record<string, Job[string]> {
  /** ISO 8601. */
  started: string;
  /** Stage names in order. */
  stages: readonly string[];
}

/** The longest wait for a checkpoint after a request to stop, in milliseconds. */
const patience = 300_000;

const file = (dir: string, name: "trainer.json" | typeof eventFile | typeof logFile) =>
  join(resolve(dir), "train", name);

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
 * @param work its stages' YAML files are in train/
 * @throws RunError if the place cannot be reached or cannot train
 */
export async function startTrainer(
  work: Work,
  launcher: Launcher = local,
  onStatus: OnStatus = () => {},
): Promise<void> {
  const { dir, stages } = work;
  await mkdir(join(dir, "train"), { recursive: true });
  if (launcher.stageIn) {
    const paths = await stageFiles(work);
    onStatus(`copying to ${launcher.place}: ${stagedList(paths)} (all of it is in ${stagingFolder(dir)})`);
    await launcher.stageIn(work, stagingFolder(dir));
  }
  await Promise.all([eventFile, logFile].map((name) => writeFile(file(dir, name as typeof eventFile), "")));
  const job = await launcher.submit(work);
  const { target } = launcher;
  const started = new Date().toISOString();
  const on = target === local.target ? {} : { on: target };
  const trainer = { ...job, ...on, started, stages: stages.map(({ name }) => name) };
  const draft = `${file(dir, "trainer.json")}.draft`;
  await writeFile(draft, `${JSON.stringify(trainer)}\n`);
  await rename(draft, file(dir, "trainer.json"));
}

interface LastTrainer {
  trainer: Trainer;
  launcher: Launcher;
}

/** The trainer last started on a run; null if there was none. */
async function lastTrainer(dir: string): Promise<LastTrainer | null> {
  const text = await readFile(file(dir, "trainer.json"), "utf8").catch(() => null);
  if (text === null) return null;
  const trainer = JSON.parse(text) as Trainer;
  return { trainer, launcher: launcherOf((trainer.on as string | undefined) ?? local.target) };
}

/** Where a run is or was trained: a target of `malt train --on`; null if it never was. */
export async function trainingTarget(dir: string): Promise<string | null> {
  return (await lastTrainer(dir))?.launcher.target ?? null;
}

/**
 * Whether a trainer is in a queue or at work for a run. One that has reported its end and is only exiting does not count.
 * @throws RunError if its place cannot be seen from here, and it has not reported its end
 */
export async function isTraining(dir: string): Promise<boolean> {
  const last = await lastTrainer(dir);
  return last !== null && !(await hasEnded(dir)) && last.launcher.isWorking(resolve(dir), last.trainer);
}

async function hasEnded(dir: string): Promise<boolean> {
  const lines = await tail(file(dir, eventFile))();
  return parseEvent(lines.at(-1) ?? "")?.event === "end";
}

/**
 * Brings home what the last trainer of a run made, if it worked elsewhere, has ended and nobody has done so: a training that
 * goes on starts from what is here.
 * @throws RunError if its place cannot be reached
 */
export async function bringHome(dir: string, onStatus: OnStatus = () => {}): Promise<void> {
  const last = await lastTrainer(dir);
  if (!last?.launcher.collect || (await hasEnded(dir))) return;
  onStatus(`what the last training made is brought home from ${last.launcher.place} …`);
  await collect(dir, last, { event: "end", state: "stopped", stage: last.trainer.stages[0] ?? "" });
}

/** Brings files home, once for all who follow, and makes sure that the events end with an end. */
async function collect(dir: string, { launcher, trainer }: LastTrainer, end: object): Promise<void> {
  if (!launcher.collect) return;
  const unlock = await lockSoon(join(resolve(dir), "train", "lock"), 600);
  try {
    if (await hasEnded(dir)) return;
    await launcher.collect(resolve(dir), trainer);
    if (!(await hasEnded(dir))) await appendFile(file(dir, eventFile), `${JSON.stringify(end)}\n`);
  } finally {
    await unlock();
  }
}

/**
 * Follows the training of a run from its first event to its end, also one that another process started, or that has
 * already ended. The last status has the state `done`, `stopped` or `failed`, unless `signal` ends the following; that
 * leaves the trainer alone. What was trained elsewhere is here when that status comes.
 * @param dir a run folder
 * @param options onNote: told of waiting in a queue, and of a lost connection
 * @throws RunError if the run was never trained, or its results cannot be brought home
 */
export async function* followTraining(
  dir: string,
  options: { signal?: AbortSignal | undefined; onNote?: ((text: string) => void) | undefined } = {},
): AsyncGenerator<TrainingStatus> {
  const last = await lastTrainer(dir);
  if (!last) throw new RunError(`${dir} was never trained; run \`malt train\` first`);
  const { launcher, trainer } = last;
  const { signal, onNote = () => {} } = options;
  const read = statusReader(trainer.stages);
  let status: TrainingStatus | null = null;
  // What has ended elsewhere is here, and its place may be gone.
  const isHome = launcher.collect !== null && (await hasEnded(dir));
  const news = isHome ? replay(dir) : launcher.follow(resolve(dir), trainer, signal);
  let next = await news.next();
  for (; !next.done; next = await news.next()) {
    if ("note" in next.value) {
      onNote(next.value.note);
      continue;
    }
    const event = parseEvent(next.value.line);
    if (!event) continue;
    status = read(event);
    if (event.event === "end") {
      if (!isHome) await collect(dir, last, event);
      if (event.state === "failed") status = { ...status, error: await reason(dir, event.error) };
      yield status;
      // Ends what the launcher has still at work, such as a connection.
      await news.return(null);
      return;
    }
    yield status;
  }
  if (signal?.aborted) return;
  const stage = status?.stage ?? trainer.stages[0] ?? "";
  const why = next.value ?? "it was killed (by hand, or for want of memory)";
  await collect(dir, last, { event: "end", state: "failed", stage, error: why });
  yield { ...read({ event: "end", stage, state: "failed" }), error: await reason(dir, why) };
}

async function* replay(dir: string): AsyncGenerator<{ line: string }, null> {
  for (const line of await tail(file(dir, eventFile))()) yield { line };
  return null;
}

/** What went wrong, with the last lines of the trainer's log: without progress bars and the marks below a traceback's code. */
async function reason(dir: string, what = "unknown error"): Promise<string> {
  const log = await readFile(file(dir, logFile), "utf8").catch(() => "");
  const noise = /\r|^\[transformers\]|^[\s^~]*$/;
  const last = log.split("\n").filter((line) => !noise.test(line));
  const lines = last.slice(-3).map((line) => line.trim());
  // If the trainer refused to start, its reason is the last line already.
  const said = lines.some((line) => line.includes(what)) ? lines : [what, ...lines];
  return `${said.join(" | ")}; whole log: ${file(dir, logFile)}`;
}

/**
 * Asks a run's trainer to save a checkpoint and end, and waits until it has.
 * @returns whether there was one
 * @throws RunError if its step takes longer than five minutes; it then ends later, without this call waiting for it
 */
export async function stopTrainer(dir: string): Promise<boolean> {
  const last = await lastTrainer(dir);
  if (!last) return false;
  const { launcher, trainer } = last;
  const isWorking = () => launcher.isWorking(resolve(dir), trainer);
  const isHome = launcher.collect !== null && (await hasEnded(dir));
  if (isHome || !(await isWorking())) return false;
  await launcher.cancel(resolve(dir), trainer);
  const every = launcher === local ? 100 : 1000;
  for (const end = Date.now() + patience; await isWorking(); await sleep(every)) {
    if (Date.now() > end)
      throw new RunError(
        `the trainer is still at its step after ${patience / 60_000} minutes; it will save a checkpoint and end, or end it ` +
          `now with \`${launcher.killCommand(trainer)}\`, which loses what came after the last checkpoint`,
      );
  }
  return true;
}

/** Removes the record of a trainer that is gone, so that its last events are not taken for the next one's. */
export async function forgetTrainer(dir: string): Promise<void> {
  await rm(file(dir, "trainer.json"), { force: true });
}
