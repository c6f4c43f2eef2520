/**
 * The trainer as a process that may outlive the one that started it. Scope: start it, find it again, follow it, stop it.
 * It reports its status in train/trainer.jsonl and everything else in train/trainer.log; train/trainer.json identifies
 * its process.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { endWithThis } from "../child.js";
import { withoutKey } from "../environment.js";
import { RunError } from "../errors.js";
import { hasModules, installExtra, type OnStatus } from "../models/packages.js";
import { cachePath, python, pythonScript } from "../paths.js";
import { parseEvent, statusReader, type TrainingStatus } from "./status.js";

/** The content of train/trainer.json. */
interface Trainer {
  pid: number;
  host: string;
  /** ISO 8601. */
  started: string;
  /** Stage names in order. */
  stages: readonly string[];
}

/** Milliseconds between two reads of the files; the longest wait for a checkpoint after a request to stop. */
const every = 250;
const patience = 300_000;

const trainDir = (dir: string) => join(resolve(dir), "train");
const file = (dir: string, name: "trainer.json" | "trainer.jsonl" | "trainer.log") => join(trainDir(dir), name);

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
 * Starts python/train.py in a session of its own, so that neither Ctrl-C nor a kernel's end reaches it.
 * @param stages names of the YAML files in train/
 * @param options gguf: whether each adapter is also written for llama.cpp; jobs: how many stages are trained at a time;
 *   outlives: whether it goes on when this process ends, true by default
 * @throws RunError if Python cannot be started
 */
export async function startTrainer(
  dir: string,
  stages: readonly string[],
  options: { gguf: boolean; offline: boolean; jobs?: number; outlives?: boolean },
): Promise<void> {
  const { outlives = true } = options;
  await mkdir(trainDir(dir), { recursive: true });
  const [out, err] = await Promise.all([open(file(dir, "trainer.jsonl"), "w"), open(file(dir, "trainer.log"), "w")]);
  try {
    const env = withoutKey(
      // A base model in a folder needs no hub, and without a network a request to one would only delay the start.
      options.offline ? { HF_HUB_OFFLINE: "1", HF_HOME: cachePath("huggingface") } : {},
    );
    const files = stages.map((stage) => join(trainDir(dir), `${stage}.yaml`));
    const args = [
      pythonScript("train.py"),
      "--jobs",
      `${options.jobs ?? 1}`,
      ...(options.gguf ? ["--gguf"] : []),
      ...(outlives ? [] : ["--tied"]),
      ...files,
    ];
    // Its stdin closes with this process, however that ends.
    const stdin = outlives ? "ignore" : "pipe";
    const child = spawn(python, args, { cwd: trainDir(dir), detached: true, stdio: [stdin, out.fd, err.fd], env });
    await once(child, "spawn").catch((error: Error) => {
      throw new RunError(`the trainer cannot be started (${error.message}); run \`npm run setup\` first`, {
        cause: error,
      });
    });
    child.unref();
    if (!outlives) endWithThis(child);
    const trainer: Trainer = { pid: child.pid!, host: hostname(), started: new Date().toISOString(), stages };
    const draft = `${file(dir, "trainer.json")}.draft`;
    await writeFile(draft, `${JSON.stringify(trainer)}\n`);
    await rename(draft, file(dir, "trainer.json"));
  } finally {
    await Promise.all([out.close(), err.close()]);
  }
}

/** The trainer last started on a run; null if there was none. */
async function lastTrainer(dir: string): Promise<Trainer | null> {
  const text = await readFile(file(dir, "trainer.json"), "utf8").catch(() => null);
  return text === null ? null : (JSON.parse(text) as Trainer);
}

/**
 * Whether a trainer is running on a run. One that has reported its end and is only exiting does not count.
 * @throws RunError if it was started on another machine, whose processes cannot be seen from here, and has not ended
 */
export async function isTraining(dir: string): Promise<boolean> {
  const trainer = await lastTrainer(dir);
  return trainer !== null && !(await hasEnded(dir)) && alive(dir, trainer);
}

async function hasEnded(dir: string): Promise<boolean> {
  const lines = await tail(file(dir, "trainer.jsonl"))();
  return parseEvent(lines.at(-1) ?? "")?.event === "end";
}

async function alive(dir: string, { pid, host }: Trainer): Promise<boolean> {
  if (host !== hostname()) {
    if (await hasEnded(dir)) return false;
    throw new RunError(
      `${dir} is being trained on ${host} (process ${pid}); wait for it, or remove ${file(dir, "trainer.json")} if it is gone`,
    );
  }
  // Where there is /proc it also tells our trainer from a later process of the same number, and from a zombie, which
  // has no command line.
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => null);
  if (command !== null) return command.includes("train.py") && command.includes(trainDir(dir));
  if (existsSync("/proc/self")) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Reads a growing file: each call gives the lines that were completed since the last one. */
function tail(path: string): () => Promise<string[]> {
  let position = 0;
  let half = Buffer.alloc(0);
  return async () => {
    const handle = await open(path, "r").catch(() => null);
    if (!handle) return [];
    try {
      const { size } = await handle.stat();
      const { buffer, bytesRead } = await handle.read(
        Buffer.alloc(Math.max(0, size - position)),
        0,
        undefined,
        position,
      );
      position += bytesRead;
      const whole = Buffer.concat([half, buffer.subarray(0, bytesRead)]);
      const end = whole.lastIndexOf(10) + 1;
      half = whole.subarray(end);
      return whole.toString("utf8", 0, end).split("\n").slice(0, -1);
    } finally {
      await handle.close();
    }
  };
}

/**
 * Follows the training of a run from its first event to its end, also one that another process started, or that has
 * already ended. The last status has the state `done`, `stopped` or `failed`, unless `signal` ends the following; that
 * leaves the trainer alone.
 * @param dir a run folder
 * @throws RunError if the run was never trained
 */
export async function* followTraining(
  dir: string,
  options: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<TrainingStatus> {
  const trainer = await lastTrainer(dir);
  if (!trainer) throw new RunError(`${dir} was never trained; run \`malt train\` first`);
  const read = statusReader(trainer.stages);
  const news = tail(file(dir, "trainer.jsonl"));
  let status: TrainingStatus | null = null;
  while (!options.signal?.aborted) {
    // Checked before reading: then everything it wrote before it ended is in the file.
    const working = await alive(dir, trainer);
    for (const line of await news()) {
      const event = parseEvent(line);
      if (!event) continue;
      status = read(event);
      if (event.event === "end" && event.state === "failed")
        status = { ...status, error: await reason(dir, event.error) };
      yield status;
      if (event.event === "end") return;
    }
    if (!working) {
      const stage = status?.stage ?? trainer.stages[0] ?? "";
      const killed = "it was killed (by hand, or for want of memory)";
      yield { ...read({ event: "end", stage, state: "failed" }), error: await reason(dir, killed) };
      return;
    }
    await sleep(every, undefined, { signal: options.signal }).catch(() => {});
  }
}

/** What went wrong, with the last lines of the trainer's log: without progress bars and the marks below a traceback's code. */
async function reason(dir: string, what = "unknown error"): Promise<string> {
  const log = await readFile(file(dir, "trainer.log"), "utf8").catch(() => "");
  const noise = /\r|^\[transformers\]|^[\s^~]*$/;
  const last = log.split("\n").filter((line) => !noise.test(line));
  const lines = last.slice(-3).map((line) => line.trim());
  // If the trainer refused to start, its reason is the last line already.
  const said = lines.some((line) => line.includes(what)) ? lines : [what, ...lines];
  return `${said.join(" | ")}; whole log: ${file(dir, "trainer.log")}`;
}

/**
 * Asks a run's trainer to save a checkpoint and end, and waits until it has.
 * @returns whether there was one
 * @throws RunError if its step takes longer than five minutes; it then ends later, without this call waiting for it
 */
export async function stopTrainer(dir: string): Promise<boolean> {
  const trainer = await lastTrainer(dir);
  if (!trainer || !(await alive(dir, trainer))) return false;
  try {
    process.kill(trainer.pid, "SIGTERM");
  } catch (error) {
    // It has just ended by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
  for (const end = Date.now() + patience; await alive(dir, trainer); await sleep(100)) {
    if (Date.now() > end)
      throw new RunError(
        `the trainer (process ${trainer.pid}) is still at its step after ${patience / 60_000} minutes; it will save a ` +
          `checkpoint and end, or end it now with \`kill -9 ${trainer.pid}\`, which loses what came after the last checkpoint`,
      );
  }
  return true;
}

/** Removes the record of a trainer that is gone, so that its last events are not taken for the next one's. */
export async function forgetTrainer(dir: string): Promise<void> {
  await rm(file(dir, "trainer.json"), { force: true });
}
