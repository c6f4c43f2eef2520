/** The files of a journal: where they are, how they are made durable, and how file system errors are reported. */
import { type FileHandle, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { RunError } from "../errors.js";

/** The folder of a run's journal. */
export const journalFolder = (dir: string): string => join(dir, "journal");

/** The file that this package appends to. Merging shards brings further `*.jsonl` files. */
export const journalFile = (dir: string): string => join(journalFolder(dir), "completions.jsonl");

/**
 * Paths of the files that hold entries, in the order in which they are read.
 * @throws RunError if there is no journal
 */
export async function journalFiles(dir: string): Promise<string[]> {
  const names = await readdir(journalFolder(dir)).catch((error) => {
    throw new RunError(`no journal in ${dir} (${error.message}); sample the run first`, { cause: error });
  });
  return names
    .filter((name) => name.endsWith(".jsonl"))
    .sort()
    .map((name) => join(journalFolder(dir), name));
}

/** Opens a file, lets `action` change it, and returns when the change is durable. */
export async function changeFile(
  path: string,
  flags: string,
  action: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const handle = await open(path, flags);
  try {
    await action(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A new file, or a new name, is durable only once its folder is synced. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Turns an error of the file system into one that says what could not be done. */
export async function failing<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    const advice = ["ENOSPC", "EDQUOT", "EFBIG"].includes(String(error.code))
      ? "; make room and run the same command again, what had finished is kept"
      : ["EACCES", "EPERM", "EROFS"].includes(String(error.code))
        ? "; make it writable and run the same command again, what had finished is kept"
        : "";
    throw new RunError(`cannot ${what}: ${error.message}${advice}`, { cause: error });
  }
}
