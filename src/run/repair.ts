/**
 * Repairs a journal file before it is written again. A process that dies at any point during the repair leaves the file
 * either unchanged or repaired; at worst a damaged line is in damaged.txt twice.
 */
import { rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { changeFile, syncFolder } from "./files.js";
import { questionOf, readLines } from "./line.js";

/** Removes a last line whose write was cut off: its completion was never reported as finished. */
export const truncateTo = (path: string, end: number): Promise<void> =>
  changeFile(path, "r+", (handle) => handle.truncate(end));

/** Moves the damaged lines of a file to `damaged.txt` beside it, each below its file and line number. */
export async function setAside(path: string): Promise<void> {
  const folder = dirname(path);
  const draft = `${path}.draft`;
  try {
    await changeFile(join(folder, "damaged.txt"), "a", (damaged) =>
      changeFile(draft, "w", async (repaired) => {
        for await (const lines of readLines(path)) {
          const intact: Buffer[] = [];
          for (const { bytes, number } of lines) {
            const line = Buffer.concat([bytes, newline]);
            if (questionOf(bytes) !== null) intact.push(line);
            else await damaged.appendFile(Buffer.concat([Buffer.from(`${basename(path)}, line ${number}:\n`), line]));
          }
          await repaired.appendFile(Buffer.concat(intact));
        }
      }),
    );
    await syncFolder(folder);
    await rename(draft, path);
    await syncFolder(folder);
  } finally {
    await rm(draft, { force: true });
  }
}

const newline = Buffer.from("\n");
