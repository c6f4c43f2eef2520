/**
 * What commands that sample have in common: which server they use, its time limits, which model on it, and where their
 * questions are.
 */
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { download } from "../benchmarks/download.js";
import { InputError } from "../errors.js";
import type { EmbeddedServer } from "../models/embedded.js";
import { type Model, models, profileNames } from "../models/table.js";
import { openaiPolicy, type Policy, type PolicyOptions } from "../policy/openai.js";
import { policyPool } from "../policy/pool.js";
import type { Concurrency } from "../sample/concurrency.js";
import type { Counts } from "../sample/trees.js";
import { number } from "./options.js";

/** How a server is queried. */
export interface ServerFlags extends Concurrency {
  baseUrl?: string;
  maxRetries: number;
  timeout: number;
  stall: number;
}

/** Adds the flags that say which model is asked, and where. */
export function withServerFlags(command: Command, byDefault: string | null = models[0]!.profile): Command {
  const names = profileNames().join(", ");
  return command
    .optionsGroup("Model and server:")
    .option("--profile <name>", `${names}: the embedded server's model, and defaults`, byDefault ?? undefined)
    .option(
      "--base-url <urls>",
      "OpenAI-compatible server, or several with commas (default: OPENAI_BASE_URL, else the embedded server)",
    )
    .option("--model <name>", "served name of the model (default: the only one there, or the run's)");
}

/** Adds the flags for the number of requests in flight, retries and time limits. */
export function withPatienceFlags(command: Command): Command {
  const positive = { min: 1, integer: true };
  const fixed = number("--concurrency", positive);
  return command
    .optionsGroup("Advanced:")
    .option("--concurrency <n>", "requests in flight, or auto (default: by profile)", (text: string) =>
      text === "auto" ? text : fixed(text),
    )
    .option("--max-concurrency <n>", "bound that auto never passes", number("--max-concurrency", positive), 1024)
    .option("--max-retries <n>", "further attempts of a request", number("--max-retries", { min: 0, integer: true }), 5)
    .option("--timeout <s>", "seconds until an answer must begin", number("--timeout", { min: 1 }), 3600)
    .option("--stall <s>", "seconds that an answer may pause in its middle", number("--stall", { min: 1 }), 600);
}

/** The policy of the embedded server, or at one URL, or at several that serve the same model, comma-separated. */
export function policyAt(
  server: EmbeddedServer | string,
  flags: ServerFlags,
  rest: Pick<PolicyOptions, "apiKey" | "adapterFolders">,
): Policy {
  const [urls, build] = typeof server === "string" ? [server] : [server.baseURL, server.build];
  const limits = { maxRetries: flags.maxRetries, timeout: 1000 * flags.timeout, stall: 1000 * flags.stall };
  return policyPool(urls.split(",").map((baseURL) => openaiPolicy({ baseURL, build, ...limits, ...rest })));
}

/** Where a source is on this machine. A URL's content is in the cache once it has been loaded. */
export async function localPath(source: string): Promise<string> {
  if (!URL.canParse(source)) return source;
  const url = new URL(source);
  if (/^https?:$/.test(url.protocol)) return download(url);
  return url.protocol === "file:" ? fileURLToPath(url) : source;
}

/** The embedded server with a model, unless another server is named. */
export async function startEmbedded(
  baseURL: string | null,
  model: Model,
  adapters: readonly string[] = [],
): Promise<EmbeddedServer | null> {
  if (baseURL) return null;
  const { startServer } = await import("../models/embedded.js");
  return startServer({ model, adapters, onStatus: (text) => process.stderr.write(`${text}\n`) });
}

/** What a journal's damaged lines, and those without a result, have cost, for the line at the end; nothing if there were none. */
export function damageNote(damaged: number): string {
  if (damaged === 0) return "";
  const lines = damaged === 1 ? "line" : "lines";
  return `${damaged} damaged journal ${lines} set aside in journal/damaged.txt and asked for again; `;
}

/** How completions ended, for the line at the end; those that stopped are the rest. */
export function endingsNote({ truncated, content_filter = 0, tool_calls = 0 }: Counts): string {
  const filtered = content_filter > 0 ? `, ${content_filter} ended by content_filter` : "";
  return `${truncated} truncated${filtered}${tool_calls > 0 ? `, ${tool_calls} ended in tool_calls` : ""}`;
}

/** The model to ask for where none is named. @throws InputError unless exactly one is served */
export async function onlyModel({ models, baseURL }: Policy): Promise<string> {
  const served = await models();
  const [only, another] = served;
  if (only !== undefined && another === undefined) return only;
  throw new InputError(`${baseURL} serves ${served.length} models: ${served.join(", ")}; choose one with --model`);
}
