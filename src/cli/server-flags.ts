/**
 * What commands that sample have in common: which server they use, its time limits, which model on it, and where their
 * questions are.
 */
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { download } from "../benchmarks/download.js";
import { InputError } from "../errors.js";
import { type ModelChoice, modelOfRun, namesFile, withChosenFile, withSizes } from "../models/choose.js";
import type { EmbeddedServer } from "../models/embedded.js";
import { anyModel, type Model, modelOfProfile, models, profileNames } from "../models/table.js";
import { openaiPolicy, type Policy, type PolicyOptions } from "../policy/openai.js";
import { policyPool } from "../policy/pool.js";
import type { Manifest } from "../run/manifest.js";
import type { Concurrency } from "../sample/concurrency.js";
import type { Counts } from "../sample/trees.js";
import { downloadLine, liveLine } from "../show/progress.js";
import { systemMessages } from "../team/prompts.js";
import { number, oneOf } from "./options.js";

/** How a server is queried. */
export interface ServerFlags extends Concurrency, ModelChoice {
  baseUrl?: string;
  maxRetries: number;
  timeout: number;
  stall: number;
}

/** Adds the flags that say which model the embedded server has. @param byDefault which it has without them, in words */
export function withModelFlags(command: Command, names: readonly string[], byDefault: string): Command {
  const positive = { min: 1, integer: true };
  return command
    .option(
      "--profile <name>",
      `${names.join(", ")}: the embedded server's model, and defaults (default: ${byDefault})`,
    )
    .option("--model-file <path>", "GGUF file for the embedded server; with --profile that row's settings")
    .option(
      "--hf <repo>",
      "OWNER/NAME[@REVISION][:FILE], a GGUF file on the Hugging Face hub, kept in .cache/ (HF_TOKEN, HF_ENDPOINT and " +
        "HF_HUB_OFFLINE are read)",
    )
    .option(
      "--parallel <n>",
      "completions that the embedded server decodes at the same time (default: by profile, else 4)",
      number("--parallel", positive),
    )
    .option(
      "--context <n>",
      "tokens of prompt and completion together in the embedded server (default: by profile, else 4096)",
      number("--context", positive),
    );
}

/** Adds the flags that say which model is asked, and where. */
export function withServerFlags(command: Command, byDefault: string = models[0]!.profile): Command {
  return withModelFlags(command.optionsGroup("Model and server:"), profileNames(), byDefault)
    .option(
      "--base-url <urls>",
      "OpenAI-compatible server, or several with commas (default: OPENAI_BASE_URL, else the embedded server)",
    )
    .option("--model <name>", "served name of the model (default: the only one there, or the run's)");
}

/** The flag for models whose chat template takes no system message. */
export const systemMessageFlag = [
  "--system-message <how>",
  "separate, or merged into the user message for chat templates without it (default: by profile, else separate)",
  oneOf("--system-message", systemMessages),
] as const;

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
    .option(
      "--timeout <s>",
      "seconds until an answer must begin, and from there until it must end",
      number("--timeout", { min: 1 }),
      3600,
    )
    .option("--stall <s>", "seconds that an answer may pause in its middle", number("--stall", { min: 1 }), 600);
}

/**
 * The address of a server elsewhere, if one is to be used; a model file that is named comes before the environment's.
 * @throws InputError for both a server and a model file
 */
export function serverElsewhere(flags: ModelChoice & { baseUrl?: string }, baseURL: string | null): string | null {
  if (flags.baseUrl !== undefined && namesFile(flags))
    throw new InputError(
      "--base-url names a server, and --model-file or --hf a file for the embedded one; leave one out",
    );
  return namesFile(flags) ? null : (flags.baseUrl ?? baseURL);
}

/** The policy of the embedded server, or at one URL, or at several that serve the same model, comma-separated. */
export function policyAt(
  server: EmbeddedServer | string,
  flags: ServerFlags,
  rest: Pick<PolicyOptions, "apiKey" | "adapterFolders" | "adapterModels">,
): Policy {
  const known = typeof server === "string" ? {} : { build: server.build, weights: server.weights };
  const urls = typeof server === "string" ? server : server.baseURL;
  const limits = { maxRetries: flags.maxRetries, timeout: 1000 * flags.timeout, stall: 1000 * flags.stall };
  return policyPool(urls.split(",").map((baseURL) => openaiPolicy({ baseURL, ...known, ...limits, ...rest })));
}

/** Where a source is on this machine. A URL's content is in the cache once it has been loaded. */
export async function localPath(source: string): Promise<string> {
  if (!URL.canParse(source)) return source;
  const url = new URL(source);
  if (/^https?:$/.test(url.protocol)) return download(url);
  return url.protocol === "file:" ? fileURLToPath(url) : source;
}

/** The embedded server with a model. Its download, if there is one, is shown. */
export async function startEmbedded(
  model: Model,
  options: { adapters?: readonly string[]; port?: number } = {},
): Promise<EmbeddedServer> {
  const { startServer } = await import("../models/embedded.js");
  const line = liveLine();
  const began = performance.now();
  let before: number | null = null;
  const onDownload = (done: number, total: number | null) => {
    before ??= done;
    const own = done - before;
    line.show(() => downloadLine(done, total, own, (performance.now() - began) / 1000));
  };
  try {
    return await startServer({ ...options, model, onStatus: line.note, onDownload });
  } finally {
    line.end();
  }
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

/** The model to ask for where no flag names one. @throws InputError unless exactly one is listed */
export async function onlyModel({ models, baseURL }: Policy, flag = "--model"): Promise<string> {
  const served = await models();
  const [only, another] = served;
  if (only !== undefined && another === undefined) return only;
  if (only === undefined) throw new InputError(`${baseURL} does not list its models; name the one to ask with ${flag}`);
  throw new InputError(`${baseURL} serves ${served.length} models: ${served.join(", ")}; choose one with ${flag}`);
}

/**
 * The run's model, from the file that it was sampled from, or from one that is given: the server then has the run's name
 * for it, and whoever asks compares the files.
 * @throws InputError for the profile of another model
 */
export function embeddedModel(flags: ModelChoice, { run, config, server }: Manifest): Model {
  const { model: name } = config.policy;
  const own = modelOfRun(name, server.weights);
  const chosen = flags.profile === undefined ? own : modelOfProfile(flags.profile);
  if (chosen.embedded && chosen.name !== own.name)
    throw new InputError(
      `profile "${flags.profile}" does not serve ${name}, which run "${run}" was sampled from; leave --profile out`,
    );
  if (!chosen.embedded && !namesFile(flags)) return chosen;
  return withSizes(withChosenFile(own.embedded ? own : { ...anyModel, name, weights: null }, flags), flags);
}
