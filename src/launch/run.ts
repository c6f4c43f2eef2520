/**
 * Shards at their places, each a job: started, found again, followed, started again after a failure, stopped. What it leaves
 * out: merging what they leave, which sampling and evaluation do each in their own way.
 */
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { RunError } from "../errors.js";
import { parseJson } from "../json.js";
import { findManifest } from "../run/manifest.js";
import { bringJobHome, followJob, forgetJob, hasDone, isAtWork, startJob, stopJob } from "../train/launchers/job.js";
import { launcherOf } from "../train/launchers/target.js";
import { type ShardedWork, shardDirs, shardJobFolder, shardResult, shardWork } from "./work.js";

/** Options of {@link runShards}. */
export interface ShardsOptions {
  work: ShardedWork;
  /** Targets of launchers/target.ts; the shards take turns. */
  targets: readonly string[];
  /** How often a shard that had begun to ask is started again. */
  retries: number;
  /** Requests that have ended, and all of them as far as the shards have said it. */
  onProgress: (done: number, total: number) => void;
  onStatus: (text: string) => void;
  /** Aborting it stops shards on this machine, and ends the following of the others. */
  signal: AbortSignal;
}

/**
 * Does all shards. One that is done already is not begun again; one that is at work is followed.
 * @throws RunError that says which shards failed, were stopped, or go on elsewhere
 */
export async function runShards({
  work,
  targets,
  retries,
  onProgress,
  onStatus,
  signal,
}: ShardsOptions): Promise<void> {
  const progress = new Map<number, { step: number; steps: number }>();
  /** Shards on other machines that are no longer followed. */
  const left = new Set<number>();
  const show = () => {
    const all = [...progress.values()];
    const sum = (key: "step" | "steps") => all.reduce((total, each) => total + each[key], 0);
    onProgress(sum("step"), sum("steps"));
  };
  const one = async (index: number): Promise<void> => {
    const shard = shardWork(work, index);
    const target = targets[(index - 1) % targets.length]!;
    const launcher = launcherOf(target, work.of);
    const { folder } = shard;
    const say = (text: string) => onStatus(`shard ${index}: ${text}`);
    for (let tries = retries; ; tries--) {
      if (await isAtWork(folder)) say(`is at work already on ${target}: following it`);
      else {
        await bringJobHome(folder, say);
        if (await isDone(work, index)) return;
        if (signal.aborted) throw new RunError("it was not begun");
        for (const dir of shardDirs(work, index)) await forgetLock(dir);
        await forgetJob(folder);
        await startJob(shard, launcher, say, true);
      }
      const end = await followed(index, folder, target, say);
      if (end === null) return;
      if (!end.hasBegun || tries <= 0 || signal.aborted) throw new RunError(end.error);
      say(`${end.error}; it is started again`);
    }
  };

  /** Follows a shard to its end. @returns null if it is done, else why not, and whether it had begun to ask */
  const followed = async (index: number, folder: string, target: string, say: (text: string) => void) => {
    const isHere = target === "local";
    const stop = () => void stopJob(folder).catch((error: Error) => say(error.message));
    if (isHere) signal.addEventListener("abort", stop, { once: true });
    let hasBegun = false;
    let last: { state: string; error: string | null; step: number } | null = null;
    for await (const status of followJob(folder, { ...(!isHere && { signal }), onNote: say })) {
      last = status;
      if (status.steps === 0) continue;
      hasBegun = true;
      progress.set(index, status);
      show();
    }
    signal.removeEventListener("abort", stop);
    if (last?.state === "done") return null;
    if (signal.aborted && !isHere) {
      left.add(index);
      return { hasBegun: false, error: `it goes on on ${target}` };
    }
    return {
      hasBegun,
      error: last?.state === "stopped" ? "it was stopped" : (last?.error ?? "it ended without a word"),
    };
  };

  const indices = Array.from({ length: work.of }, (_, i) => i + 1);
  const ends = await Promise.allSettled(indices.map(one));
  const failed = ends.flatMap((end, i) =>
    end.status === "rejected" ? [{ index: i + 1, error: end.reason as Error }] : [],
  );
  if (failed.length === 0) return;
  // What is no failure of a shard, such as a wrong target, is the same for all.
  const other = failed.find(({ error }) => !(error instanceof RunError));
  if (other) throw other.error;
  const messages = [...new Set(failed.map(({ error }) => error.message))];
  const names = failed.map(({ index }) => index).join(", ");
  const goesOn = failed.every(({ index }) => left.has(index));
  throw new RunError(
    `shard${failed.length > 1 ? "s" : ""} ${names} of ${work.of}: ${messages.join("; ")}; the same command ` +
      (goesOn ? "comes back to it, with --stop it stops it" : "goes on"),
  );
}

/**
 * Stops all shards that are at work.
 * @returns how many there were
 */
export async function stopShards(work: ShardedWork): Promise<number> {
  const folders = Array.from({ length: work.of }, (_, i) => shardJobFolder(work, i + 1));
  const stopped = await Promise.all(
    folders.map(async (folder) => {
      const was = await stopJob(folder);
      await bringJobHome(folder, () => {});
      return was;
    }),
  );
  return stopped.filter(Boolean).length;
}

async function isDone(work: ShardedWork, index: number): Promise<boolean> {
  if (work.kind === "evaluate") return hasDone(shardWork(work, index));
  const manifest = await findManifest(shardResult(work, index));
  return manifest !== null && manifest.counts.ok === manifest.counts.asked;
}

/** A shard that is not at work has no writer: a lock of another machine, whose processes cannot be seen from here, is left over. */
async function forgetLock(dir: string): Promise<void> {
  const path = join(dir, "lock");
  if (!existsSync(path)) return;
  const holder = parseJson(await readFile(path, "utf8").catch(() => "null")) as { host?: string } | null;
  if (holder?.host !== hostname()) await rm(path, { force: true });
}
