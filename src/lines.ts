/**
 * The lines of a text file that somebody else wrote: UTF-8 with or without a byte order mark, UTF-16, any line ends,
 * compressed with gzip or not. Lines end at line feeds alone, so that a line separator inside a JSON text (U+2028) ends
 * none. What it leaves out: the journal, which may end in half a line (run/line.ts).
 */
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { InputError } from "./errors.js";

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** One line, without its end. */
export interface TextLine {
  /** As an editor counts, from 1. */
  number: number;
  text: string;
}

/**
 * Reads a file line by line; blank lines are among them.
 * @param format what the file should be, for the message about a line that is no text
 * @throws InputError naming the file, and the line if one is not UTF-8
 */
export async function* linesOf(path: string, format = "JSON"): AsyncGenerator<TextLine> {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let number = 0;
  const line = (pieces: Buffer[]): TextLine => {
    number++;
    try {
      return { number, text: utf8.decode(Buffer.concat(pieces)).replace(/\r$/, "") };
    } catch {
      throw new InputError(`${path} line ${number}: not valid ${format} (the text is not UTF-8); save it as UTF-8`);
    }
  };
  // In pieces: a long line may come in many.
  let open: Buffer[] = [];
  for await (const bytes of utf8Of(path)) {
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      yield line([...open, bytes.subarray(start, end)]);
      open = [];
      start = end + 1;
    }
    if (start < bytes.length) open.push(bytes.subarray(start));
  }
  if (open.length > 0) yield line(open);
}

/** The bytes of a file as UTF-8 without a byte order mark, whatever its encoding is; those of UTF-8 are not checked. */
async function* utf8Of(path: string): AsyncGenerator<Buffer> {
  let decoder: TextDecoder | null | undefined;
  try {
    for await (const bytes of inflated(path)) {
      const isFirst = decoder === undefined;
      if (decoder === undefined) {
        const encoding = encodingOf(bytes);
        decoder = encoding === null ? null : new TextDecoder(encoding, { fatal: true });
      }
      if (decoder) yield Buffer.from(decoder.decode(bytes, { stream: true }));
      else yield isFirst && bytes.subarray(0, 3).equals(byteOrderMark) ? bytes.subarray(3) : bytes;
    }
    decoder?.decode();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = error instanceof TypeError ? "damaged UTF-16" : (code ?? message);
    throw new InputError(`cannot read "${path}" (${why}); check the path and the file`);
  }
}

/** The bytes of a file, uncompressed. That it is compressed is told by its first bytes, whatever its name is. */
async function* inflated(path: string): AsyncGenerator<Buffer> {
  const file = createReadStream(path)[Symbol.asyncIterator]();
  const first = await file.next();
  async function* whole(): AsyncGenerator<Buffer> {
    try {
      for (let next = first; !next.done; next = await file.next()) yield next.value as Buffer;
    } finally {
      await file.return?.();
    }
  }
  const isGzip = first.value?.[0] === 0x1f && first.value[1] === 0x8b;
  // The error comes out of the loop that reads; the callback is only required.
  yield* isGzip ? pipeline(whole, createGunzip(), () => {}) : whole();
}

/** UTF-16 by its byte order mark, or by the zero byte of a first character that is ASCII; null for UTF-8. */
function encodingOf([first, second]: Buffer): string | null {
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) return "utf-16le";
  return (first === 0xfe && second === 0xff) || (first === 0 && second !== 0) ? "utf-16be" : null;
}
