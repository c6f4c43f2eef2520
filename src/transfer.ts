/**
 * An HTTP answer's body into a file, and the SHA-256 of a file: what downloads of benchmarks and of models share. What it
 * leaves out: which address, whether it may be asked, and where copies are kept.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** How a body is written. */
export interface Saving {
  /** Whether it goes to the end of what the file already holds. */
  append?: boolean;
  /** Bytes, once decompressed, above which it fails. */
  longest: number;
  /** Milliseconds without a byte after which it fails. */
  stall: number;
  /** Called with the number of bytes of each piece. */
  onBytes?: (bytes: number) => void;
}

/**
 * Writes a body to a file. What has arrived stays in the file when it fails.
 * @throws RangeError for a body that is too long, and Error with the reason
 */
export async function saveBody(response: Response, path: string, saving: Saving): Promise<void> {
  const { append = false, longest, stall, onBytes } = saving;
  if (!response.body) throw new Error("an answer without a body");
  const silence = new AbortController();
  const watch = setTimeout(() => silence.abort(new Error(`nothing arrived for ${stall / 1000} s`)), stall);
  const bounded = async function* (pieces: AsyncIterable<Buffer>) {
    let bytes = 0;
    for await (const piece of pieces) {
      watch.refresh();
      bytes += piece.length;
      if (bytes > longest) throw new RangeError(`more than ${longest.toLocaleString("en-US")} bytes`);
      onBytes?.(piece.length);
      yield piece;
    }
  };
  try {
    const file = createWriteStream(path, { flags: append ? "a" : "w" });
    await pipeline(Readable.fromWeb(response.body as never), bounded, file, { signal: silence.signal });
  } catch (error) {
    throw silence.signal.aborted ? silence.signal.reason : error;
  } finally {
    clearTimeout(watch);
  }
}

/** Why a request or a transfer failed, in a few words: the system's code where there is one. */
export function failureReason(error: unknown): string {
  const { message, cause, code } = error as Error & { code?: string; cause?: { code?: string; message?: string } };
  return cause?.code ?? code ?? cause?.message ?? message;
}

/** SHA-256 of a file's bytes, as 64 hexadecimal digits. @throws the file system's error */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash);
  return hash.digest("hex");
}
