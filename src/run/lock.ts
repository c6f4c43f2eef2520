/**
 * One writer per run folder. The lock file names its holder; a lock whose holder is gone, say after kill -9, is taken
 * over. If the holder is still alive, taking the lock is an error, at once or after a while.
 */
import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { RunError } from "../errors.js";

interface Holder {
  pid: number;
  host: string;
  /** When the process began, as the kernel counts it: tells a holder from a later process with the same number. */
  started: string | null;
}

const heldHere = new Set<string>();

/**
 * Takes the lock at `path`; resolves to the function that releases it.
 * @throws RunError if a living process holds it
 */
export async function lock(path: string): Promise<() => Promise<void>> {
  const mine: Holder = { pid: process.pid, host: hostname(), started: await started(process.pid) };
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, JSON.stringify(mine));
  try {
    // Linking is atomic and the file already has its content, so a lock always names its holder.
    for (;;) {
      try {
        await link(draft, path);
        break;
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      }
      const text = await readFile(path, "utf8").catch(() => null);
      if (text === null) continue;
      const holder = parse(text);
      if (holder && (await alive(holder, path))) throw taken(path, holder);
      await discard(path, text);
    }
  } finally {
    await rm(draft, { force: true });
  }
  heldHere.add(path);
  return async () => {
    heldHere.delete(path);
    await rm(path, { force: true });
  };
}

/**
 * Takes a lock that others hold for moments only.
 * @param seconds to wait for it
 * @throws RunError if it is still held then
 */
export async function lockSoon(path: string, seconds = 10): Promise<() => Promise<void>> {
  for (let left = 5 * seconds; ; left--) {
    try {
      return await lock(path);
    } catch (error) {
      if (!(error instanceof RunError) || left === 0) throw error;
      await sleep(200);
    }
  }
}

/** Removes a stale lock, unless another process has taken it over between our check and our rename. */
async function discard(path: string, stale: string): Promise<void> {
  const aside = `${path}.${process.pid}.stale`;
  await rename(path, aside).catch(() => {});
  const moved = await readFile(aside, "utf8").catch(() => stale);
  if (moved !== stale) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}

async function alive(holder: Holder, path: string): Promise<boolean> {
  if (holder.host !== hostname()) return true;
  if (holder.pid === process.pid) return heldHere.has(path);
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  const now = await started(holder.pid);
  return now === null || holder.started === null || now === holder.started;
}

/**
 * Field 22 of /proc/<pid>/stat; the name in field 2 may hold spaces. null where there is no /proc. A zombie (a killed
 * process that its parent has not waited for, as happens in containers) still has a number, and counts as never begun.
 */
async function started(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields?.[0] === "Z" ? "never" : (fields?.[19] ?? null);
}

function parse(text: string): Holder | null {
  try {
    const { pid, host, started } = JSON.parse(text) as Holder;
    return Number.isInteger(pid) && typeof host === "string" ? { pid, host, started: started ?? null } : null;
  } catch {
    return null;
  }
}

function taken(path: string, { pid, host }: Holder): RunError {
  const where = host === hostname() ? `process ${pid}` : `process ${pid} on ${host}`;
  return new RunError(`${where} is writing this run; wait for it, or remove ${path} if it is gone`);
}
