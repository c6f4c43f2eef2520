/**
 * One line of the journal: an entry as JSON whose last field is a CRC-32 over the rest, so that a flipped bit is never
 * taken for a model's output. Lines of journals older than the checksum lack it; they count if they have exactly an
 * entry's shape.
 */
import { open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import * as z from "zod";
import { finishReasons } from "../policy/answer.js";
import type { JournalEntry } from "../types.js";

const count = z.number().int().nonnegative();
const shape = z.object({
  key: z.string(),
  question_id: z.string(),
  node_id: z.string(),
  role: z.string(),
  seed: count,
  model: z.string(),
  text: z.string(),
  // An end that is no result, such as "abort", was journalled by earlier versions.
  finish_reason: z.string().refine((reason) => finishReasons.includes(reason)),
  prompt_tokens: count.nullable(),
  completion_tokens: count.nullable(),
  cached_tokens: count.nullable().default(null),
  retries: count,
}) satisfies z.ZodType<JournalEntry>;

/** For lines without a valid checksum: an unknown field there may be a damaged `crc` or a damaged known name. */
const strictShape = z.strictObject(shape.shape);

/** How a line ends: `,"crc":"0123abcd"}`. JSON escapes quotes, so nothing inside a text can look like it. */
const checksum = /^,"crc":"([0-9a-f]{8})"\}$/;
const checksumBytes = 18;

/** The line of an entry, its newline included. */
export function encode(entry: JournalEntry): string {
  const json = JSON.stringify(shape.parse(entry));
  return `${json.slice(0, -1)},"crc":"${crc32(json).toString(16).padStart(8, "0")}"}\n`;
}

/** The entry of a line without its newline; null if the line is damaged or its completion did not end in a result. */
export function decode(line: Buffer): JournalEntry | null {
  try {
    return (isIntact(line) ? shape : strictShape).parse(JSON.parse(line.toString()));
  } catch {
    return null;
  }
}

/** {@link encode} writes the key first, then the question; {@link decode} reads ids with special characters. */
const head = /^\{"key":"[^"\\]*","question_id":"([ !#-[\]-~]*)"/;

/** How a line goes on behind its text if that ended in a result; inside a text the quotes would be escaped. */
const result = new RegExp(`","finish_reason":"(?:${finishReasons.join("|")})","prompt_tokens":`);

/** The question of a line, null as {@link decode}: all an index needs, much faster. */
export function questionOf(line: Buffer): string | null {
  const isPlain = isIntact(line) && result.test(line.toString("latin1", Math.max(0, line.length - 256)));
  const plain = isPlain ? head.exec(line.toString("latin1", 0, 256)) : null;
  return plain ? plain[1]! : (decode(line)?.question_id ?? null);
}

/** Whether there is a checksum and it matches. */
function isIntact(line: Buffer): boolean {
  const end = Math.max(0, line.length - checksumBytes);
  const written = checksum.exec(line.toString("latin1", end))?.[1];
  return written !== undefined && crc32("}", crc32(line.subarray(0, end))) === Number.parseInt(written, 16);
}

/** A complete line of a file. */
export interface Line {
  /** Without the newline. Valid only until the next piece is read. */
  bytes: Buffer;
  /** Position of its first byte in the file. */
  at: number;
  /** 1, 2, 3, … */
  number: number;
}

/**
 * The lines of a file that end in a newline, in pieces of about a megabyte. Split at that byte alone: a model may write
 * U+2028, which JSON.stringify does not escape and node:readline takes for the end of a line.
 */
export async function* readLines(path: string): AsyncGenerator<Line[]> {
  const handle = await open(path);
  try {
    let buffer = Buffer.allocUnsafe(1 << 20);
    // The front of the buffer: the beginning of a line whose end has not been read yet.
    let held = 0;
    for (let at = 0, number = 0; ; ) {
      if (held === buffer.length) buffer = Buffer.concat([buffer], 2 * held);
      const { bytesRead } = await handle.read(buffer, held, buffer.length - held, at + held);
      if (bytesRead === 0) return;
      const filled = buffer.subarray(0, held + bytesRead);
      const lines: Line[] = [];
      let start = 0;
      for (let end = filled.indexOf(10, held); end >= 0; end = filled.indexOf(10, start)) {
        lines.push({ bytes: filled.subarray(start, end), at: at + start, number: ++number });
        start = end + 1;
      }
      yield lines;
      held = filled.copy(buffer, 0, start);
      at += start;
    }
  } finally {
    await handle.close();
  }
}
