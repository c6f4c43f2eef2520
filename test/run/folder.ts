/** A run folder of its own, and what its journal holds. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { openJournal, readJournal } from "../../src/run/journal.js";
import { encode } from "../../src/run/line.js";
import type { JournalEntry } from "../../src/types.js";

export const entry = (key: string, changes: Partial<JournalEntry> = {}): JournalEntry => ({
  key,
  question_id: "q",
  node_id: "g0",
  role: "generator",
  seed: 1,
  model: "fake",
  text: `text of ${key}`,
  finish_reason: "stop",
  prompt_tokens: 3,
  completion_tokens: null,
  retries: 0,
  ...({ cached_tokens: null } as object),
  ...changes,
});

/** A line as it was written before there were checksums and counts of cached tokens. */
export const oldLine = (entry: JournalEntry): string =>
  `${JSON.stringify(entry, (key, value) => (key === "cached_tokens" ? undefined : value))}\n`;

/** A new folder, removed after the test; `files` are those of its journal. */
export function runFolder(files: Record<string, string | Buffer> = {}) {
  const dir = mkdtempSync(join(tmpdir(), "malt-journal-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const path = (name: string) => join(dir, "journal", name);
  const put = (name: string, content: string | Buffer) => {
    mkdirSync(join(dir, "journal"), { recursive: true });
    writeFileSync(path(name), content);
  };
  for (const [name, content] of Object.entries(files)) put(name, content);
  return {
    dir,
    path,
    put,
    file: path("completions.jsonl"),
    text: (name: string) => readFile(path(name), "utf8"),
    read: () => read(dir),
    keys: async () => (await read(dir)).map(({ key }) => key),
    /** Opens the journal, appends, closes it; how many lines opening set aside. */
    async write(...entries: JournalEntry[]): Promise<number> {
      const journal = await openJournal(dir);
      await journal.append(entries);
      await journal.close();
      return journal.damaged;
    },
  };
}

/** Everything that stands, in the order it was written. */
async function read(dir: string): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of readJournal(dir)) entries.push(entry);
  return entries;
}

export const lines = (...entries: JournalEntry[]): string => entries.map(encode).join("");
