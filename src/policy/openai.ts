/**
 * The only file that sends HTTP requests to a model: asks an OpenAI-compatible server (vLLM, llama.cpp, …) for
 * completions of a state, every sampling parameter sent. What it leaves out: when to ask and where answers are kept
 * (sample/, run/).
 */
import { setTimeout as delay } from "node:timers/promises";
import OpenAI from "openai";
import { _iterSSEMessages } from "openai/core/streaming";
import * as z from "zod";
import { InputError, RefusedError, ServerError, UnreachableError } from "../errors.js";
import { parseJson } from "../json.js";
import type { Complete, Completion, CompletionRequest, WeightsFile } from "../types.js";
import { type Adapter, adapterScales, loadAdapter, loadedAdapters, servedName } from "./adapters.js";
import { BadAnswer, completionsIn, completionsOf, type Fresh } from "./answer.js";
import { answerBounds, checkedURL, pageBeside, plainFetch, sockets } from "./connection.js";
import { type Load, loadOf } from "./load.js";
import { statusError } from "./refusal.js";
import { blotter, shownWithout } from "./words.js";

/**
 * Fields beyond the OpenAI API, set so that they change nothing: without them llama.cpp would cut the distribution to
 * top_k 40 and min_p 0.05, and vLLM would follow the model's generation_config. vLLM knows `repetition_penalty`,
 * llama.cpp `repeat_penalty`; both ignore what they do not know. A server that refuses unknown fields needs `{}`.
 */
export const neutralExtra = { top_k: -1, min_p: 0, repetition_penalty: 1, repeat_penalty: 1 } as const;

/** How to reach the server, and how patient to be. */
export interface PolicyOptions {
  /** `http://host:port/v1`; a bare host gets `/v1`. */
  baseURL: string;
  /** Version of the server software, if the caller knows it better than the server reports it. */
  build?: string | undefined;
  /** The file of the model that is served, if the caller knows it; no server tells. */
  weights?: WeightsFile | undefined;
  /** Sent as a bearer token; local servers need none. Never appears in a message or a file. */
  apiKey?: string | null;
  /** Attempts after the first one, ≥ 0; 5 by default. */
  maxRetries?: number;
  /**
   * Milliseconds until an answer must begin, else the attempt counts as a broken connection; an hour by default, since a
   * whole answer begins when it is complete, and may have waited in the server's queue before. From its beginning to its
   * end an answer may take as long again, however often it shows a sign of life.
   */
  timeout?: number;
  /** Milliseconds an answer may pause once it has begun; ten minutes by default. */
  stall?: number;
  /**
   * Folders of LoRA adapters by name, as the server sees them. If vLLM does not serve an adapter yet, it is asked to
   * load it from there when a request first names it; llama.cpp loads its adapters at its start.
   */
  adapterFolders?: ReadonlyMap<string, string>;
  /** Served names of adapters that are models of their own, as a fine-tuning service makes them. */
  adapterModels?: ReadonlyMap<string, string> | undefined;
  /** Waits between attempts; replaced in tests. */
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Uniform in [0, 1): the jitter of the waits. It never touches what is sampled. */
  random?: () => number;
}

/** What a server says about itself. */
export interface ServerInfo {
  /** LoRA adapters that llama.cpp has loaded beside the model: name (file name without its ending) → its index. */
  adapters: ReadonlyMap<string, number>;
  /** The served model names, adapters among them; none where the server does not list them. */
  models: string[];
  /** Addresses of servers that do not list their models, so that no name can be checked there; none by default. */
  unlisted?: readonly string[];
  /** `owned_by` of the first model: "vllm", "llamacpp", …; null if it does not say. */
  owner: string | null;
  /** Version of the server software, null if it does not say. */
  build: string | null;
}

/** A language model at an address, which is asked for completions. */
export interface Policy {
  /** Where it is; of a pool all addresses, with commas between them. */
  readonly baseURL: string;
  /** The file of the model that is served, where it is known. */
  readonly weights?: WeightsFile | undefined;
  complete: Complete;
  /** The served model names. @throws ServerError */
  models(): Promise<string[]>;
  /** @throws ServerError if the server cannot be reached or does not answer like one */
  info(): Promise<ServerInfo>;
  /** How busy the server is now; null where it does not report it. Never throws. */
  load(): Promise<Load | null>;
}

const reserved = ["model", "lora", "messages", "n", "seed", "stream", "temperature", "top_p", "max_tokens"];
const backoff = { first: 500, most: 8_000, retryAfterMost: 120_000 };

const modelList = z.object({
  data: z.array(
    z
      .object({ id: z.string(), owned_by: z.string().nullish().catch(null) })
      .nullable()
      .catch(null),
  ),
});

/**
 * A policy served over HTTP. A request with `onChoice` is streamed, so that each choice is reported as soon as it is
 * finished; a server that cannot stream still returns whole answers.
 * @throws InputError if the base URL is not one, or carries a password
 */
export function openaiPolicy(options: PolicyOptions): Policy {
  const { maxRetries = 5, timeout = 3_600_000, stall = 600_000, random = Math.random } = options;
  const sleep = options.sleep ?? ((ms, signal) => delay(ms, undefined, { signal }));
  const baseURL = checkedURL(options.baseURL);
  const apiKey = options.apiKey || "none";
  // The client's own time limit would fire before ours; retries are counted here.
  const limits = { headers: timeout, stall };
  const dispatcher = sockets(limits);
  const http = { fetch: plainFetch as never, fetchOptions: { dispatcher } as never };
  // llama.cpp closes the connection after a stream although it announces keep-alive, so the next request would break.
  const once = { dispatcher: sockets(limits, false) };
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 2 ** 31 - 1, logLevel: "off", ...http });

  const shown = shownWithout(options.apiKey ?? null);
  const blot = blotter(options.apiKey ?? null);
  const words = (error: unknown): string =>
    shown(error instanceof Error ? [error.message, causes(error)].filter(Boolean).join(": ") : String(error));

  // The error of the client is not kept as the cause: its text is the server's, as it came.
  const failure = (error: unknown): ServerError => {
    if (error instanceof ServerError) return error;
    if (error instanceof BadAnswer) {
      const said = error.said === undefined ? "" : `: ${shown(error.said) || "nothing"}`;
      return new ServerError(`${baseURL} ${error.message}${said}`);
    }
    if (error instanceof OpenAI.APIError && error.status !== undefined) {
      const said = `${baseURL} answered HTTP ${words(error)}`;
      if (error.status >= 400) return statusError(said, error.status, words(error));
      const help = "give its address as the base URL if you trust it";
      return new RefusedError(`${said}; ${help}`, error.status, { refusal: "address" });
    }
    // A connection cut in the middle of an answer surfaces as a bare TypeError("terminated"), not as an error of the
    // client.
    return new UnreachableError(`no answer from ${baseURL} (${words(error)}); is the server running?`);
  };

  let known: Promise<ServerInfo> | undefined;
  const info = (): Promise<ServerInfo> => {
    known ??= ask().catch((error) => {
      known = undefined;
      throw failure(error);
    });
    return known;
  };
  const ask = async (): Promise<ServerInfo> => {
    const page = await client
      .get("/models")
      .asResponse()
      .then(
        (response) => response.text(),
        (error) => {
          if (error instanceof OpenAI.APIError && listsNothing.includes(error.status)) return "null";
          throw error;
        },
      );
    const answer = parseJson(page);
    if (answer === undefined && !/^\s*($|[[{])/.test(page))
      throw new ServerError(
        `${baseURL} answered with something that is not a list of models: ${shown(page)}; check the base URL`,
      );
    // Some servers send the list bare.
    const list = modelList.safeParse(Array.isArray(answer) ? { data: answer } : answer);
    const listed = (list.data?.data ?? []).filter((model) => model !== null);
    const owner = listed[0]?.owned_by ?? null;
    const [build, adapters] = await Promise.all([
      serverBuild(baseURL, apiKey, owner),
      owner === "llamacpp" ? loadedAdapters(baseURL, apiKey) : new Map<string, number>(),
    ]);
    return {
      models: listed.map(({ id }) => blot(id)),
      unlisted: listed.length === 0 ? [baseURL] : [],
      owner: owner && blot(owner),
      build: options.build ?? (build && blot(build)),
      adapters: new Map([...adapters].map(([name, id]) => [blot(name), id])),
    };
  };

  const loading = new Map<string, Promise<string>>();
  /** Name under which a server other than llama.cpp serves an adapter; see {@link servedName}. */
  const served = async (adapter: Adapter, { models, owner }: ServerInfo): Promise<string> => {
    const own = options.adapterModels?.get(adapter.name);
    if (own !== undefined) return own;
    const folder = owner === "vllm" ? options.adapterFolders?.get(adapter.name) : undefined;
    const name = servedName(adapter);
    if (models.includes(name)) return name;
    if (folder === undefined) return adapter.name;
    const load = () =>
      loadAdapter(baseURL, options.apiKey ?? null, name, folder).then(
        () => name,
        (error) => {
          // A server that loads nothing at run time may have been started with the adapter, under its plain name.
          if (error instanceof RefusedError && models.includes(adapter.name)) return adapter.name;
          loading.delete(name);
          throw error;
        },
      );
    const loaded = loading.get(name) ?? load();
    loading.set(name, loaded);
    return loaded;
  };

  interface Listener {
    isWanted(choice: number): boolean;
    onChoice(choice: number, completion: Fresh): void;
  }
  const attempt = async (request: CompletionRequest, controller: AbortController, listener: Listener | null) => {
    const about = await info();
    const { owner } = about;
    const { model, adapter } = request.policy;
    const chosen =
      owner === "llamacpp"
        ? { model, ...adapterScales(adapter, about.adapters, baseURL) }
        : { model: adapter ? await served(adapter, about) : model };
    const { extra, ...sampling } = request.sampling;
    const counted = owner === "vllm" ? { return_token_ids: true } : { logprobs: true, top_logprobs: 1 };
    const streamed = listener ? { stream: true, stream_options: { include_usage: true } } : { stream: false };
    const { n, seed } = request;
    const body = {
      ...counted,
      ...extra,
      ...sampling,
      ...chosen,
      messages: [...request.messages],
      n,
      seed,
      ...streamed,
    };
    const { signal } = controller;
    const bounds = answerBounds(Buffer.byteLength(JSON.stringify(body.messages)), n, sampling.max_tokens, timeout);
    const kept = listener && owner === "llamacpp" ? once : { dispatcher };
    const how = { signal, fetchOptions: { ...kept, bounds } as never };
    const response = await client.chat.completions.create(body, how).asResponse();
    const type = response.headers.get("content-type") ?? "";
    if (listener && type.toLowerCase().startsWith("text/event-stream"))
      return completionsIn(eventsOf(response, controller), n, listener.isWanted, listener.onChoice);
    return completionsOf(await response.text(), n);
  };

  const complete: Complete = async (request, signal, onChoice, onWithdrawn) => {
    const clash = reserved.find((name) => Object.hasOwn(request.sampling.extra, name));
    if (clash) throw new InputError(`extra sampling field "${clash}" has an option of its own; set that instead`);
    // Choices that an attempt finished before it broke off are kept; a later attempt's versions of them are ignored.
    const finished: Completion[] = [];
    /** Those that are finished and not reported yet, as they were finished. */
    const held: number[] = [];
    const report = () => {
      for (const choice of held.splice(0)) onChoice?.(choice, finished[choice]!);
    };
    const withdraw = (attempt: number) => {
      for (const [choice, completion] of finished.entries()) {
        if (completion?.retries !== attempt) continue;
        delete finished[choice];
        if (!held.includes(choice)) onWithdrawn?.(choice);
      }
      held.length = 0;
    };
    for (let retries = 0; ; retries++) {
      const finish = (choice: number, completion: Fresh) => {
        if (finished[choice]) return;
        // What is journalled is exported and published.
        if (isLong(options.apiKey) && completion.text.includes(options.apiKey))
          throw new BadAnswer("answered with a completion that holds the API key");
        finished[choice] = { ...completion, retries };
        held.push(choice);
        if (onWithdrawn) report();
      };
      // The client never takes its abort listener off the signal it is given, so each attempt gets its own.
      const controller = new AbortController();
      const abort = () => controller.abort(signal?.reason);
      signal?.throwIfAborted();
      signal?.addEventListener("abort", abort, { once: true });
      try {
        const listener = onChoice ? { isWanted: (choice: number) => !finished[choice], onChoice: finish } : null;
        const fresh = await attempt(request, controller, listener);
        for (const [choice, completion] of fresh.entries()) finish(choice, completion);
        report();
        return finished;
      } catch (cause) {
        if (cause instanceof BadAnswer && cause.leaves === "none") withdraw(retries);
        else report();
        signal?.throwIfAborted();
        const error = failure(cause);
        if (error instanceof RefusedError || retries >= maxRetries) throw error;
        const wait = Math.min(backoff.first * 2 ** retries, backoff.most) * (1 - random() / 2);
        await sleep(retryAfter(cause) ?? wait, signal);
      } finally {
        signal?.removeEventListener("abort", abort);
      }
    }
  };

  const load = async (): Promise<Load | null> => {
    const page = await pageBeside(baseURL, "metrics", apiKey).catch(() => null);
    return page === null ? null : loadOf(page);
  };

  return { baseURL, weights: options.weights, complete, info, load, models: async () => (await info()).models };
}

/** Statuses of /models that say only that there is no such page, or that this key may not see it. */
const listsNothing: readonly (number | undefined)[] = [400, 403, 404, 405, 406, 410, 501];

/**
 * Checks that a model is served: llama.cpp answers for any name, so a wrong one must be seen here. Where a server does
 * not list its models, a warning on stderr says so, once.
 * @throws InputError if it is not served
 */
export async function requireModel(model: string, policy: Pick<Policy, "baseURL" | "info">): Promise<void> {
  const { models, unlisted = [] } = await policy.info();
  if (!models.includes(model) && (unlisted.length === 0 || models.length > 0))
    throw new InputError(`model "${model}" is not served at ${policy.baseURL}; served: ${models.join(", ") || "none"}`);
  if (unlisted.length === 0 || warned.has(policy)) return;
  warned.add(policy);
  const where = unlisted.join(", ");
  process.emitWarning(`${where} does not list its models, so it is not known to serve "${model}"`, "MaltWarning");
}
const warned = new WeakSet<object>();

/** Milliseconds the server asks to wait, if it does (seconds or a date, RFC 9110 section 10.2.3). */
function retryAfter(error: unknown): number | null {
  const header = error instanceof OpenAI.APIError ? error.headers?.get("retry-after") : null;
  if (!header) return null;
  const ms = /^\d+(\.\d+)?$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), backoff.retryAfterMost) : null;
}

/** vLLM tells its version at /version, llama.cpp at /props, both beside /v1. Useful, but never required. */
async function serverBuild(baseURL: string, apiKey: string, owner: string | null): Promise<string | null> {
  const path = owner === "vllm" ? "version" : owner === "llamacpp" ? "props" : null;
  if (path === null) return null;
  const page = await pageBeside(baseURL, path, apiKey).catch(() => null);
  const answer = z.object({ version: z.string().optional(), build_info: z.string().optional() });
  const { data } = answer.safeParse(parseJson(page ?? ""));
  return data?.version ?? data?.build_info ?? null;
}

/** The data of a stream's events. The package's own reader of whole streams prints what is broken to the console. */
async function* eventsOf(response: Response, controller: AbortController): AsyncGenerator<string> {
  for await (const { data } of _iterSSEMessages(response, controller)) yield data;
}

/** A key that no text holds by chance. */
const isLong = (key: string | null | undefined): key is string => (key?.length ?? 0) >= 16;

function causes(error: Error): string {
  const cause = error.cause;
  return cause instanceof Error ? [cause.message, causes(cause)].filter(Boolean).join(": ") : "";
}
