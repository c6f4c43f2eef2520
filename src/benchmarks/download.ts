/**
 * Fetches a benchmark file once. The copy is kept in the project's cache, next to a record of its source and its
 * SHA-256. A copy that no longer matches its record is rejected.
 */

import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { InputError } from "../errors.js";
import { cachePath } from "../paths.js";
import { failureReason, saveBody, sha256OfFile } from "../transfer.js";
import { filesOf } from "./rows.js";

/** Where downloads are kept: inside the project, ignored by git. */
export const defaultCache = cachePath("benchmarks");

/** A server that sends nothing for this long has failed; milliseconds. */
const TIMEOUT_MS = 120_000;

/** Far above any benchmark; bytes. */
const LONGEST = 2 ** 30;

/**
 * SHA-256 of a file's bytes, as 64 hexadecimal digits; of a folder that of its question files' SHA-256s and names, in the
 * order they are read in.
 * @throws InputError if it cannot be read
 */
export async function fileSha256(path: string): Promise<string> {
  try {
    if (!(await stat(path)).isDirectory()) return await sha256OfFile(path);
    const hash = createHash("sha256");
    for (const file of await filesOf(path))
      hash.update(`${await fileSha256(file)}  ${relative(path, file).split(sep).join("/")}\n`);
    return hash.digest("hex");
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`cannot read "${path}" (${(error as NodeJS.ErrnoException).code}); check the path`);
  }
}

/**
 * Downloads an http(s) URL unless it is in the cache, and returns the local path. A fragment `#sha256=<64 hex digits>`
 * pins the expected content.
 * @param longest bytes, once decompressed, above which it fails
 * @throws InputError if the download fails or the content is not what was recorded or pinned
 */
export async function download(url: URL, cache: string = defaultCache, longest: number = LONGEST): Promise<string> {
  const pin = /^#sha256=([0-9a-f]{64})$/i.exec(url.hash)?.[1]?.toLowerCase();
  const address = new URL(url);
  address.hash = "";
  const folder = join(cache, createHash("sha256").update(address.href).digest("hex").slice(0, 16));
  // The name keeps its extension, which tells the format. No other part of the URL reaches the file system.
  const name =
    basename(address.pathname)
      .replace(/[^\w.-]/g, "_")
      .replace(/^\.+/, "_")
      .slice(-100) || "file";
  const path = join(folder, name);
  const record = join(folder, "source.json");
  const recorded = await readFile(record, "utf8").then(
    (text) => (JSON.parse(text) as { sha256: string }).sha256,
    () => null,
  );
  if (recorded === null) {
    await mkdir(folder, { recursive: true });
    const partial = `${path}.${process.pid}.partial`;
    try {
      await fetchTo(address, partial, longest);
      check(address, pin, await fileSha256(partial));
      await rename(partial, path);
    } finally {
      await rm(partial, { force: true });
    }
    // Written last: without it the download counts as not done.
    await writeFile(record, `${JSON.stringify({ url: address.href, sha256: await fileSha256(path) })}\n`);
    return path;
  }
  const found = await fileSha256(path);
  if (found !== recorded) {
    throw new InputError(
      `"${path}" has SHA-256 ${found}, but ${recorded} was downloaded; delete its folder to fetch it again`,
    );
  }
  check(address, pin, found);
  return path;
}

function check(address: URL, pin: string | undefined, found: string): void {
  if (pin !== undefined && pin !== found) {
    throw new InputError(
      `${address.href} has SHA-256 ${found}, but ${pin} was asked for; check the address or the pin`,
    );
  }
}

async function fetchTo(address: URL, path: string, longest: number): Promise<void> {
  // The time limit is for the answer to begin; its body may take longer, as long as something arrives.
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new Error(`no answer for ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
  try {
    const response = await fetch(address, { signal: limit.signal }).finally(() => clearTimeout(timer));
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    await saveBody(response, path, { longest, stall: TIMEOUT_MS });
  } catch (error) {
    throw new InputError(
      `cannot download ${address.href} (${failureReason(error)}); check the address, or download it and give its path`,
    );
  }
}
