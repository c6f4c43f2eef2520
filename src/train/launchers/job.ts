/**
 * The life of a job, wherever it works: start it, find it again, follow it, stop it, and bring home what it made. Its working
 * folder has its events, its log and its record; the launchers beside this file know the places. What it leaves out: what the
 * job does.
 */
import { appendFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunError } from "../../errors.js";
import { lockSoon } from "../../run/lock.js";
import { parseEvent, statusReader, type TrainingStatus } from "../status.js";
import { BusyError, type Job, jobFiles, type Launcher, type Work } from "./launcher.js";
import { local } from "./local.js";
import { stagedList, stageFiles, stagingFolder } from "./staging.js";
import { tail } from "./tail.js";
import { launcherOf } from "./target.js";

/** The content of a record; beside this `on`, the target if it is not local, and what the launcher knows the job by. */
interface JobRecord extends Record<string, Job[string]> {
  /** ISO 8601. */
  started: string;
  /** Names of its parts, in order. */
  stages: readonly string[];
  /** The work's own. */
  key: string;
  /** Paths in the working folder that come home. */
  results: readonly string[];
}

/** The longest wait for the end after a request to stop, in milliseconds. */
const patience = 300_000;

const path = (folder: string, name: "events" | "log" | "record") => join(folder, jobFiles(folder)[name]);

/**
 * Starts the work's program in its place.
 * @param adopts whether the same work that is in hand there is taken for it, if the place tells
 * @throws RunError if the place cannot be reached or cannot do the work
 */
export async function startJob(
  work: Work,
  launcher: Launcher,
  onStatus: (text: string) => void,
  adopts = false,
): Promise<void> {
  const { folder } = work;
  await mkdir(folder, { recursive: true });
  const begin = () => Promise.all((["events", "log"] as const).map((name) => writeFile(path(folder, name), "")));
  if (launcher.stageIn) {
    const paths = await stageFiles(work);
    onStatus(`copying to ${launcher.place}: ${stagedList(paths)} (all of it is in ${stagingFolder(folder)})`);
    try {
      await launcher.stageIn(work, stagingFolder(folder));
    } catch (error) {
      if (!adopts || !(error instanceof BusyError)) throw error;
      onStatus("is at work there already: following it");
      await begin();
      return note(work, launcher, error.job);
    }
  }
  await begin();
  await note(work, launcher, await launcher.submit(work));
}

/** Writes the record, as a whole. */
async function note({ folder, parts, results, key }: Work, launcher: Launcher, job: Job): Promise<void> {
  const on = launcher.target === local.target ? {} : { on: launcher.target };
  const started = new Date().toISOString();
  const record = { ...job, ...on, started, stages: parts.map(({ name }) => name), results, key };
  const draft = `${path(folder, "record")}.draft`;
  await writeFile(draft, `${JSON.stringify(record)}\n`);
  await rename(draft, path(folder, "record"));
}

interface LastJob {
  record: JobRecord;
  launcher: Launcher;
}

/** The job last started in a folder; null if there was none. */
async function lastJob(folder: string): Promise<LastJob | null> {
  const text = await readFile(path(folder, "record"), "utf8").catch(() => null);
  if (text === null) return null;
  const record = JSON.parse(text) as JobRecord;
  // Records of earlier versions name no results: they are the stages.
  record.results ??= record.stages;
  return { record, launcher: launcherOf((record.on as string | undefined) ?? local.target) };
}

/** Where a folder's job is or was: a target; null if there was none. */
export async function jobTarget(folder: string): Promise<string | null> {
  return (await lastJob(folder))?.launcher.target ?? null;
}

/**
 * Whether a folder's job is in a queue or at work. One that has reported its end and is only exiting does not count.
 * @throws RunError if its place cannot be seen from here, and it has not reported its end
 */
export async function isAtWork(folder: string): Promise<boolean> {
  const last = await lastJob(folder);
  return last !== null && !(await hasEnded(folder)) && last.launcher.isWorking(folder, last.record);
}

async function hasEnded(folder: string): Promise<boolean> {
  const lines = await tail(path(folder, "events"))();
  return parseEvent(lines.at(-1) ?? "")?.event === "end";
}

/**
 * Brings home what the last job of a folder made, if it worked elsewhere, has ended and nobody has done so: work that goes on
 * starts from what is here.
 * @throws RunError if its place cannot be reached
 */
export async function bringJobHome(folder: string, onStatus: (text: string) => void): Promise<void> {
  const last = await lastJob(folder);
  if (!last?.launcher.collect || (await hasEnded(folder))) return;
  onStatus(`what the last job made is brought home from ${last.launcher.place} …`);
  await collect(folder, last, { event: "end", state: "stopped", stage: last.record.stages[0] ?? "" });
}

/** Whether the last job of a folder did this work to its end. */
export async function hasDone({ folder, key }: Work): Promise<boolean> {
  const last = await lastJob(folder);
  if (last?.record.key !== key) return false;
  const lines = await tail(path(folder, "events"))();
  const end = parseEvent(lines.at(-1) ?? "");
  return end?.event === "end" && end.state === "done";
}

/** Brings files home, once for all who follow, and makes sure that the events end with an end. */
async function collect(folder: string, { launcher, record }: LastJob, end: object): Promise<void> {
  if (!launcher.collect) return;
  const unlock = await lockSoon(join(folder, "lock"), 600);
  try {
    if (await hasEnded(folder)) return;
    await launcher.collect(folder, record);
    if (!(await hasEnded(folder))) await appendFile(path(folder, "events"), `${JSON.stringify(end)}\n`);
  } finally {
    await unlock();
  }
}

/**
 * Follows a folder's job from its first event to its end, also one that another process started, or that has already ended.
 * The last status has the state `done`, `stopped` or `failed`, unless `signal` ends the following; that leaves the job alone.
 * What was made elsewhere is here when that status comes.
 * @param options onNote: told of waiting in a queue, and of a lost connection
 * @returns whether there is or was a job
 * @throws RunError if its results cannot be brought home
 */
export async function* followJob(
  folder: string,
  options: { signal?: AbortSignal | undefined; onNote?: ((text: string) => void) | undefined } = {},
): AsyncGenerator<TrainingStatus, boolean> {
  const last = await lastJob(folder);
  if (!last) return false;
  const { launcher, record } = last;
  const { signal, onNote = () => {} } = options;
  const read = statusReader(record.stages);
  let status: TrainingStatus | null = null;
  // What has ended elsewhere is here, and its place may be gone.
  const isHome = launcher.collect !== null && (await hasEnded(folder));
  const news = isHome ? replay(folder) : launcher.follow(folder, record, signal);
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
      if (!isHome) await collect(folder, last, event);
      if (event.state === "failed") status = { ...status, error: await reason(folder, event.error) };
      yield status;
      // Ends what the launcher has still at work, such as a connection.
      await news.return(null);
      return true;
    }
    yield status;
  }
  if (signal?.aborted) return true;
  const stage = status?.stage ?? record.stages[0] ?? "";
  const why = next.value ?? "it was killed (by hand, or for want of memory)";
  await collect(folder, last, { event: "end", state: "failed", stage, error: why });
  yield { ...read({ event: "end", stage, state: "failed" }), error: await reason(folder, why) };
  return true;
}

async function* replay(folder: string): AsyncGenerator<{ line: string }, null> {
  for (const line of await tail(path(folder, "events"))()) yield { line };
  return null;
}

/** What went wrong, with the last lines of the job's log: without progress bars and the marks below a traceback's code. */
async function reason(folder: string, what = "unknown error"): Promise<string> {
  const log = await readFile(path(folder, "log"), "utf8").catch(() => "");
  const noise = /\r|^\[transformers\]|^[\s^~]*$/;
  const last = log.split("\n").filter((line) => !noise.test(line));
  const lines = last.slice(-3).map((line) => line.trim());
  // If the program refused to start, its reason is the last line already.
  const said = lines.some((line) => line.includes(what)) ? lines : [what, ...lines];
  return `${said.join(" | ")}; whole log: ${path(folder, "log")}`;
}

/**
 * Asks a folder's job to save what it has and end, and waits until it has.
 * @returns whether there was one
 * @throws RunError if it takes longer than five minutes; it then ends later, without this call waiting for it
 */
export async function stopJob(folder: string): Promise<boolean> {
  const last = await lastJob(folder);
  if (!last) return false;
  const { launcher, record } = last;
  const isWorking = () => launcher.isWorking(folder, record);
  const isHome = launcher.collect !== null && (await hasEnded(folder));
  if (isHome || !(await isWorking())) return false;
  await launcher.cancel(folder, record);
  const every = launcher === local ? 100 : 1000;
  for (const end = Date.now() + patience; await isWorking(); await sleep(every)) {
    if (Date.now() > end)
      throw new RunError(
        `the ${jobFiles(folder).stem} is still at its step after ${patience / 60_000} minutes; it will save a checkpoint and end, or ` +
          `end it now with \`${launcher.killCommand(record)}\`, which loses what came after the last checkpoint`,
      );
  }
  return true;
}

/** Removes the record of a job that is gone, so that its last events are not taken for the next one's. */
export async function forgetJob(folder: string): Promise<void> {
  await rm(path(folder, "record"), { force: true });
}
