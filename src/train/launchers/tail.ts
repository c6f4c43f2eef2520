/** Reading files that grow. */
import { open } from "node:fs/promises";

/** Reads a growing file: each call gives the lines that were completed since the last one. */
export function tail(path: string): () => Promise<string[]> {
  let position = 0;
  let half = Buffer.alloc(0);
  return async () => {
    const handle = await open(path, "r").catch(() => null);
    if (!handle) return [];
    try {
      const { size } = await handle.stat();
      const { buffer, bytesRead } = await handle.read(
        Buffer.alloc(Math.max(0, size - position)),
        0,
        undefined,
        position,
      );
      position += bytesRead;
      const whole = Buffer.concat([half, buffer.subarray(0, bytesRead)]);
      const end = whole.lastIndexOf(10) + 1;
      half = whole.subarray(end);
      return whole.toString("utf8", 0, end).split("\n").slice(0, -1);
    } finally {
      await handle.close();
    }
  };
}
