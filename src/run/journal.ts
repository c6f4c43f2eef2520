/**
 * The journal: one line per finished completion, appended, durable, never changed. It is the only source of truth of a
 * run; every other file is derived from it. What it leaves out: what to ask (sample/) and what a line is worth
 * (credit/).
 *
 * Its size is not bounded by memory: an open journal holds where each line is, 8 bytes per completion, and reads the
 * lines of a question back when they are asked for.
 */
import { type FileHandle, mkdir, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { RunError } from "../errors.js";
import type { JournalEntry } from "../types.js";
import { type Discarded, readDiscarded } from "./discarded.js";
import { failing, journalFile, journalFiles, journalFolder, syncFolder } from "./files.js";
import { decode, encode, type Line, readLines } from "./line.js";
import { lock } from "./lock.js";
import { type JournalReader, readByQuestion, type ScannedFile, scan } from "./reader.js";
import { setAside, truncateTo } from "./repair.js";

/** A run's journal, opened for writing by one process. */
export interface Journal extends JournalReader {
  /**
   * Lines that are damaged, or whose completion did not end in a result, that opening set aside in `journal/damaged.txt`;
   * their completions must be asked for again.
   */
  readonly damaged: number;
  /**
   * The completions of a question that were valid when the journal was opened and still are, in the order they were
   * written. What is appended after that is not among them.
   * @throws RunError if they cannot be read
   */
  kept(questionId: string): Promise<JournalEntry[]>;
  /**
   * Adds finished completions, whose keys must not be in the journal yet; they are on disk when it resolves.
   * @throws RunError if they cannot be written (disk full, no permission); then nothing more is accepted
   */
  append(entries: readonly JournalEntry[]): Promise<void>;
  /**
   * Marks entries as no longer valid, for example because their parent was lost to damage and its new sample has a
   * different text. They stay in the file and are skipped by all readers. Durable when it resolves.
   * @throws as `append`
   */
  discard(entries: readonly JournalEntry[]): Promise<void>;
  /** Finishes pending writes, then releases the run. */
  close(): Promise<void>;
}

/**
 * Opens the journal of a run folder, creating it if need be. A last line whose write was cut off is removed: its
 * completion was never reported as finished. Damaged lines are set aside.
 * @throws RunError if another process writes it, or if it cannot be read or written
 */
export async function openJournal(dir: string): Promise<Journal> {
  return failing(`open the journal in ${dir}`, async () => {
    await mkdir(journalFolder(dir), { recursive: true });
    const unlock = await lock(join(dir, "lock"));
    let reader: JournalReader | undefined;
    let handle: FileHandle | undefined;
    try {
      let damaged = 0;
      const files: ScannedFile[] = [];
      for (const path of await journalFiles(dir)) {
        const repaired = await scanAndRepair(path);
        damaged += repaired.damaged;
        files.push(repaired.file);
      }
      const discarded = await readDiscarded(journalFolder(dir), true);
      reader = await readByQuestion(files, discarded);
      handle = await open(journalFile(dir), "a");
      await syncFolder(journalFolder(dir));
      return { damaged, completions: reader.completions, ...writer({ dir, handle, reader, discarded, unlock }) };
    } catch (error) {
      await reader?.close();
      await handle?.close();
      await unlock();
      throw error;
    }
  });
}

async function scanAndRepair(path: string): Promise<{ file: ScannedFile; damaged: number }> {
  let damaged = 0;
  const file = await scan(path, () => damaged++);
  if (file.end < (await stat(path)).size) await truncateTo(path, file.end);
  if (damaged === 0) return { file, damaged };
  await setAside(path);
  return { file: await scan(path, refuse(path)), damaged };
}

/**
 * Opens the journal for reading by question. Needs no lock, so a run can be read while it is sampled: a last line that is
 * still being written is skipped.
 * @throws RunError if there is none, or one that names file and line if a line is damaged
 */
export async function openJournalReader(dir: string): Promise<JournalReader> {
  return failing(`read the journal in ${dir}`, async () => {
    const files: ScannedFile[] = [];
    for (const path of await journalFiles(dir)) files.push(await scan(path, refuse(path)));
    return readByQuestion(files, await readDiscarded(journalFolder(dir)));
  });
}

/**
 * Every valid completion of a run, in the order they were written; a key that is there twice comes twice.
 * Needs no lock, and holds only one piece of a file in memory.
 * @throws as {@link openJournalReader}
 */
export async function* readJournal(dir: string): AsyncGenerator<JournalEntry> {
  const stands = (await readDiscarded(journalFolder(dir))).pass();
  for (const path of await journalFiles(dir)) {
    for await (const lines of readLines(path)) {
      for (const line of lines) {
        const entry = decode(line.bytes);
        if (!entry) refuse(path)(line);
        else if (stands(entry.key)) yield entry;
      }
    }
  }
}

/** A reader of a journal cannot sample again what is damaged. */
const refuse = (path: string) => (line: Line) => {
  throw new RunError(
    `${path}, line ${line.number} is damaged: ${JSON.stringify(line.bytes.toString("utf8", 0, 60))}; ` +
      "the `malt sample` command that made the run sets it aside and asks for it again",
  );
};

interface Opened {
  dir: string;
  handle: FileHandle;
  reader: JournalReader;
  discarded: Discarded;
  unlock: () => Promise<void>;
}

function writer({ dir, handle, reader, discarded, unlock }: Opened): Omit<Journal, "damaged" | "completions"> {
  const writing = `write the journal in ${dir}`;
  let waiting: string[] = [];
  let next: Promise<void> | null = null;
  let last: Promise<void> = Promise.resolve();
  let broken: unknown = null;

  // After a failed write the file may end in a partial line, so nothing may be appended.
  const write = async (action: () => Promise<void>) => {
    if (broken) throw broken;
    await failing(writing, action).catch((error) => {
      broken = error;
      throw error;
    });
  };

  // Group commit: whatever arrives in one turn of the event loop, or while a write is being made durable, goes into the
  // next write, with a single fsync.
  const commit = async () => {
    await Promise.all([last, setImmediate()]);
    const lines = waiting.join("");
    waiting = [];
    next = null;
    const written = write(async () => {
      await handle.appendFile(lines);
      await handle.datasync();
    });
    last = written.catch(() => {});
    await written;
  };

  return {
    kept: (questionId) => failing(`read the journal in ${dir}`, () => reader.kept(questionId)),
    async append(entries) {
      if (entries.length === 0) return;
      for (const line of entries.map(encode)) waiting.push(line);
      next ??= commit();
      await next;
    },
    async discard(entries) {
      if (entries.length > 0) await write(() => discarded.add(entries.map(({ key }) => key)));
    },
    async close() {
      await (next ?? last).catch(() => {});
      await handle.close();
      await reader.close();
      await unlock();
    },
  };
}
