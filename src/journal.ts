/**
 * The journal: one line per finished completion, appended, durable, never changed. It is the only truth of a run; every
 * other file is derived from it. What it leaves out: what to ask (tree.ts) and what a line is worth (values.ts).
 */
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { RunError } from "./errors.js";
import { lock } from "./journal/lock.js";
import type { JournalEntry } from "./types.js";

/** A run's journal, opened for writing by one process. */
export interface Journal {
  /** The completion kept under a key, if it had finished when the journal was opened. */
  get(key: string): JournalEntry | undefined;
  /**
   * Adds finished completions; they are on disk when it resolves. A key that is kept already stands unchanged.
   * @throws RunError if they cannot be written (disk full, no permission); then nothing more is accepted
   */
  append(entries: readonly JournalEntry[]): Promise<void>;
  /** Writes what is under way, then lets go of the run. */
  close(): Promise<void>;
}

const count = z.number().int().nonnegative();
const entryShape = z.object({
  key: z.string(),
  question_id: z.string(),
  node_id: z.string(),
  role: z.string(),
  seed: count,
  model: z.string(),
  text: z.string(),
  finish_reason: z.string(),
  prompt_tokens: count.nullable(),
  completion_tokens: count.nullable(),
  retries: count,
}) satisfies z.ZodType<JournalEntry>;

const folder = (dir: string) => join(dir, "journal");
const file = (dir: string) => join(folder(dir), "completions.jsonl");

/**
 * Opens the journal of a run folder, creating it if need be. A last line that was cut off in mid-write is removed:
 * its completion was never reported as finished.
 * @throws RunError if another process writes it, if it cannot be written, or if a line inside it is damaged
 */
export async function openJournal(dir: string): Promise<Journal> {
  return failing(`open the journal in ${dir}`, async () => {
    await mkdir(folder(dir), { recursive: true });
    const unlock = await lock(join(dir, "lock"));
    let handle: FileHandle | undefined;
    try {
      handle = await open(file(dir), "a+");
      await dropTornLine(handle);
      await syncFolder(folder(dir));
      const kept = new Map<string, JournalEntry>();
      for await (const entry of readJournal(dir)) kept.set(entry.key, entry);
      return writer(dir, handle, kept, unlock);
    } catch (error) {
      await handle?.close();
      await unlock();
      throw error;
    }
  });
}

function writer(
  dir: string,
  handle: FileHandle,
  kept: Map<string, JournalEntry>,
  unlock: () => Promise<void>,
): Journal {
  const written = new Set(kept.keys());
  let waiting: string[] = [];
  let next: Promise<void> | null = null;
  let last: Promise<void> = Promise.resolve();
  let broken: unknown = null;

  // Group commit: whatever arrives while one write is being made durable goes into the next, with a single fsync.
  const commit = async () => {
    await last;
    const lines = waiting.join("");
    waiting = [];
    next = null;
    if (broken) throw broken;
    last = failing(`write the journal in ${dir}`, async () => {
      await handle.appendFile(lines);
      await handle.datasync();
    }).catch((error) => {
      broken = error;
    });
    await last;
    if (broken) throw broken;
  };

  return {
    get: (key) => kept.get(key),
    async append(entries) {
      for (const entry of entries) {
        if (written.has(entry.key)) continue;
        written.add(entry.key);
        waiting.push(`${JSON.stringify(entryShape.parse(entry))}\n`);
      }
      next ??= commit();
      await next;
    },
    async close() {
      await (next ?? last).catch(() => {});
      await handle.close();
      await unlock();
    },
  };
}

/**
 * Every finished completion of a run, in the order they were written, the first of each key only. Needs no lock, so a
 * run can be read while it is sampled; a last line that is still being written is skipped.
 * @throws RunError that names file and line if a complete line is damaged
 */
export async function* readJournal(dir: string): AsyncGenerator<JournalEntry> {
  const seen = new Set<string>();
  const names = await readdir(folder(dir)).catch((error) => {
    throw new RunError(`no journal in ${dir} (${error.message}); sample the run first`, { cause: error });
  });
  for (const name of names.filter((name) => name.endsWith(".jsonl")).sort()) {
    const path = join(folder(dir), name);
    for await (const [number, line] of completeLines(path)) {
      const entry = parse(line);
      if (!entry)
        throw new RunError(
          `${path}, line ${number} is not a journal entry: ${line.slice(0, 60)}; restore or remove it`,
        );
      if (seen.has(entry.key)) continue;
      seen.add(entry.key);
      yield entry;
    }
  }
}

/**
 * Numbered lines of a file that end in a newline. Split at that byte alone: a model may write U+2028, which
 * JSON.stringify leaves as it is and node:readline takes for the end of a line.
 */
async function* completeLines(path: string): AsyncGenerator<[number: number, line: string]> {
  let number = 0;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path)) {
    const bytes = Buffer.concat([rest, chunk as Buffer]);
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      yield [++number, bytes.toString("utf8", start, end)];
      start = end + 1;
    }
    rest = bytes.subarray(start);
  }
}

function parse(line: string): JournalEntry | null {
  try {
    return entryShape.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

/** Position just after the last newline; 0 if there is none. */
async function lastNewline(handle: FileHandle): Promise<number> {
  const chunk = Buffer.alloc(64 * 1024);
  for (let end = (await handle.stat()).size; end > 0; ) {
    const start = Math.max(0, end - chunk.length);
    const { bytesRead } = await handle.read(chunk, 0, end - start, start);
    const at = chunk.subarray(0, bytesRead).lastIndexOf(10);
    if (at >= 0) return start + at + 1;
    end = start;
  }
  return 0;
}

async function dropTornLine(handle: FileHandle): Promise<void> {
  const end = await lastNewline(handle);
  if (end === (await handle.stat()).size) return;
  await handle.truncate(end);
  await handle.datasync();
}

/** A new file is durable only once its folder is. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Turns an error of the file system into one that says what could not be done. */
async function failing<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    const full = ["ENOSPC", "EDQUOT", "EFBIG"].includes(String(error.code));
    const advice = full ? "; make room and run the same command again, what had finished is kept" : "";
    throw new RunError(`cannot ${what}: ${error.message}${advice}`, { cause: error });
  }
}
