/**
 * What commands that sample have in common: which server they ask, which model on it, and where their questions lie.
 */
import { fileURLToPath } from "node:url";
import { download } from "../benchmarks/download.js";
import { profile } from "../config.js";
import { InputError } from "../errors.js";
import type { Server } from "../server.js";

/** Where a source lies on this machine; loading it has put a URL's content into the cache. */
export async function localPath(source: string): Promise<string> {
  if (!URL.canParse(source)) return source;
  const url = new URL(source);
  if (/^https?:$/.test(url.protocol)) return download(url);
  return url.protocol === "file:" ? fileURLToPath(url) : source;
}

/** The embedded server of a profile, unless another server is named. */
export async function startEmbedded(
  baseURL: string | null,
  name: string,
  adapters: readonly string[] = [],
): Promise<Server | null> {
  if (baseURL) return null;
  if (!profile(name).embedded)
    throw new InputError(`profile "${name}" has no embedded server; give --base-url or set OPENAI_BASE_URL`);
  const { startServer } = await import("../server.js");
  return startServer({ profile: name, adapters, onStatus: (text) => process.stderr.write(`${text}\n`) });
}

/** The model to ask for where none is named. @throws InputError unless exactly one is served */
export async function onlyModel(served: readonly string[], baseURL: string): Promise<string> {
  const [only, another] = served;
  if (only !== undefined && another === undefined) return only;
  throw new InputError(`${baseURL} serves ${served.length} models: ${served.join(", ")}; choose one with --model`);
}
