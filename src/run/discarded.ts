/**
 * `discarded.txt`: keys of entries that are no longer valid, one per line. Each cancels one entry of its key, the first
 * that is not cancelled yet, so a completion that is sampled again under the same key is valid.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { changeFile, syncFolder } from "./files.js";

/** The discarded keys of a journal. */
export interface Discarded {
  /** How many there are. */
  size(): number;
  /** For one pass over the entries in file order: whether the next entry of a key is valid. */
  pass(): (key: string) => boolean;
  /** Durable when it resolves. */
  add(keys: readonly string[]): Promise<void>;
}

/**
 * Reads the keys in a journal's folder.
 * @param repair removes a last key whose write was cut off; only for the process that holds the run's lock
 */
export async function readDiscarded(folder: string, repair = false): Promise<Discarded> {
  const path = join(folder, "discarded.txt");
  const bytes = await readFile(path).catch((error) => {
    if (error.code === "ENOENT") return Buffer.alloc(0);
    throw error;
  });
  const end = bytes.lastIndexOf(10) + 1;
  if (repair && end < bytes.length) await changeFile(path, "r+", (handle) => handle.truncate(end));
  const counts = new Map<string, number>();
  let size = 0;
  const count = (keys: readonly string[]) => {
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    size += keys.length;
  };
  count(bytes.toString("utf8", 0, end).split("\n").slice(0, -1));
  return {
    size: () => size,
    pass() {
      const met = new Map<string, number>();
      return (key) => {
        const times = counts.get(key);
        if (times === undefined) return true;
        const before = met.get(key) ?? 0;
        met.set(key, before + 1);
        return before >= times;
      };
    },
    async add(keys) {
      await changeFile(path, "a", (handle) => handle.appendFile(keys.map((key) => `${key}\n`).join("")));
      await syncFolder(folder);
      count(keys);
    },
  };
}
