/**
 * Finds the entries of one question in the files of a journal without holding their texts: one scan when it is opened
 * keeps where each line is, and lines are read back when their question is asked for.
 */
import { type FileHandle, open } from "node:fs/promises";
import { RunError } from "../errors.js";
import type { JournalEntry } from "../types.js";
import type { Discarded } from "./discarded.js";
import { decode, type Line, questionOf, readLines } from "./line.js";
import { collectOffsets, type Offsets, offsetsOf } from "./offsets.js";

/** What one scan of a file found. */
export interface ScannedFile {
  path: string;
  offsets: Offsets;
  /** Just after the last complete line. */
  end: number;
}

/** Reads a file once; `onDamaged` is called for each damaged line, which then is not in the index. */
export async function scan(path: string, onDamaged: (line: Line) => void): Promise<ScannedFile> {
  const offsets = collectOffsets();
  let end = 0;
  for await (const lines of readLines(path)) {
    for (const line of lines) {
      const questionId = questionOf(line.bytes);
      if (questionId === null) onDamaged(line);
      else offsets.add(questionId, line.at);
      end = line.at + line.bytes.length + 1;
    }
  }
  return { path, offsets: offsets.sorted(), end };
}

/** Entries by question. */
export interface JournalReader {
  /** Completions that were valid when it was opened; of two with one key both count. */
  readonly completions: number;
  /**
   * The valid entries of a question, in the order they were written; of two with one key the first.
   * @throws RunError if they cannot be read any more
   */
  kept(questionId: string): Promise<JournalEntry[]>;
  close(): Promise<void>;
}

/** Opens scanned files for reading by question. */
export async function readByQuestion(files: readonly ScannedFile[], discarded: Discarded): Promise<JournalReader> {
  const handles: FileHandle[] = [];
  const close = async () => {
    for (const handle of handles.splice(0)) await handle.close();
  };
  try {
    for (const { path } of files) handles.push(await open(path));
  } catch (error) {
    await close();
    throw error;
  }
  const block = blocks(handles);

  /** The line at a position, without its newline. */
  const lineAt = async (file: number, at: number): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for (let i = Math.floor(at / blockBytes), from = at % blockBytes; ; i++, from = 0) {
      const bytes = await block(file, i);
      const end = bytes.indexOf(10, from);
      parts.push(bytes.subarray(from, end < 0 ? bytes.length : end));
      if (end >= 0 || bytes.length < blockBytes) return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    }
  };

  return {
    completions: files.reduce((sum, { offsets }) => sum + offsets.length, 0) - discarded.size(),
    close,
    async kept(questionId) {
      const entries = new Map<string, JournalEntry>();
      const stands = discarded.pass();
      for (const [file, { path, offsets }] of files.entries()) {
        for (const at of offsetsOf(offsets, questionId)) {
          const entry = decode(await lineAt(file, at));
          if (!entry)
            throw new RunError(`${path} was changed at byte ${at} since it was opened; run the same command again`);
          if (entry.question_id !== questionId || !stands(entry.key) || entries.has(entry.key)) continue;
          entries.set(entry.key, entry);
        }
      }
      return [...entries.values()];
    },
  };
}

const blockBytes = 1 << 16;
const blocksHeld = 256;

/**
 * Blocks of the files, the most recently used in memory (16 MiB at most): lines of questions that follow each other are
 * close together, so that asking for one question after another reads a file about once.
 */
function blocks(handles: readonly FileHandle[]): (file: number, block: number) => Promise<Buffer> {
  const held = new Map<number, Promise<Buffer>>();
  const read = async (file: number, block: number) => {
    const buffer = Buffer.allocUnsafe(blockBytes);
    let length = 0;
    for (let more = -1; more !== 0 && length < blockBytes; length += more) {
      const position = block * blockBytes + length;
      more = (await handles[file]!.read(buffer, length, blockBytes - length, position)).bytesRead;
    }
    return buffer.subarray(0, length);
  };
  return (file, block) => {
    const name = file * 2 ** 32 + block;
    let bytes = held.get(name);
    if (!bytes) {
      bytes = read(file, block);
      // A failed read is tried again on the next request.
      bytes.catch(() => held.delete(name));
    }
    held.delete(name);
    held.set(name, bytes);
    if (held.size > blocksHeld) held.delete(held.keys().next().value!);
    return bytes;
  };
}
