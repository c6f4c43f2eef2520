/**
 * The client of a fine-tuning service that speaks OpenAI's protocol: files, jobs, their events and checkpoints. What is
 * created costs money, so it is never created twice: where an answer may have been lost, the service is first asked what it
 * has. What it leaves out: what is trained and in which order (train/service.ts).
 */
import { setTimeout as delay } from "node:timers/promises";
import OpenAI, { toFile } from "openai";
import * as z from "zod";
import { InputError, RefusedError, ServerError, UnreachableError } from "../errors.js";
import { parseJson } from "../json.js";
import { BadAnswer } from "./answer.js";
import { checkedURL, plainFetch, sockets } from "./connection.js";
import { blotter, shownWithout } from "./words.js";

/** How to reach the service. */
export interface FineTuningOptions {
  baseURL: string;
  /** Sent as a bearer token; never in a message or a file. */
  apiKey: string | null;
  /** Attempts after the first one, ≥ 0; 5 by default. */
  maxRetries?: number;
  /** Waits between attempts; replaced in tests. */
  sleep?: (ms: number) => Promise<unknown>;
}

/** A job to create; the fields of the API's method objects. */
export interface JobRequest {
  model: string;
  training_file: string;
  method: FineTuningMethod;
  seed: number;
  /** Up to 64 characters of the new model's name. */
  suffix: string;
  /** Kept with the job; `malt_key` identifies it. */
  metadata: { malt_key: string; malt_run: string; malt_stage: string };
}

/** Of a job: passes over the data (1 to 50), rows a step (1 to 256), factor of the service's own learning rate (> 0). */
export interface Hyperparameters {
  n_epochs: number;
  batch_size: number;
  learning_rate_multiplier: number;
}

export type FineTuningMethod =
  | { type: "supervised"; supervised: { hyperparameters: Hyperparameters } }
  | { type: "dpo"; dpo: { hyperparameters: Hyperparameters & { beta: number } } };

const jobShape = z.object({
  id: z.string(),
  /** The API's words: validating_files, queued, running, paused, succeeded, failed, cancelled. */
  status: z.string(),
  created_at: z.number(),
  fine_tuned_model: z.string().nullish(),
  trained_tokens: z.number().nullish(),
  estimated_finish: z.number().nullish(),
  error: z.object({ code: z.string().nullish(), message: z.string().nullish(), param: z.string().nullish() }).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
});
export type FineTuningJob = z.infer<typeof jobShape>;

const eventShape = z.object({
  id: z.string(),
  created_at: z.number(),
  level: z.string().catch("info"),
  message: z.string(),
  type: z.string().nullish(),
  data: z.looseObject({ step: z.number(), total_steps: z.number(), train_loss: z.number() }).nullish().catch(null),
});
export type FineTuningEvent = z.infer<typeof eventShape>;

const checkpointShape = z.object({ step_number: z.number(), fine_tuned_model_checkpoint: z.string() });
export type FineTuningCheckpoint = z.infer<typeof checkpointShape>;

const fileShape = z.object({ id: z.string(), bytes: z.number(), filename: z.string(), status: z.string().nullish() });

/** A fine-tuning service. Every method throws ServerError with the service's words, RefusedError if asking again would not help. */
export interface FineTuningService {
  readonly baseURL: string;
  /**
   * The id of an uploaded file, uploaded if need be.
   * @param mayExist whether to look first for a file of this name and size
   */
  file(name: string, content: Buffer, mayExist: boolean): Promise<string>;
  /** A job, created if need be. @param mayExist whether to look first for a living one with its `malt_key` */
  create(request: JobRequest, mayExist: boolean): Promise<FineTuningJob>;
  job(id: string): Promise<FineTuningJob>;
  /** The newest events, at most 100, oldest first. */
  events(id: string): Promise<FineTuningEvent[]>;
  /** Models of intermediate steps; none where the service has no such page. */
  checkpoints(id: string): Promise<FineTuningCheckpoint[]>;
  cancel(id: string): Promise<FineTuningJob>;
}

const backoff = { first: 1_000, most: 30_000 };
/** A service answers about itself in seconds; an upload of half a gigabyte may take minutes. */
const limits = { headers: 600_000, stall: 600_000 };
/** Older files and jobs of an account are not searched. */
const searched = 1_000;

/** @throws InputError if the base URL is not one, or there is no key */
export function fineTuningService(options: FineTuningOptions): FineTuningService {
  const { maxRetries = 5, sleep = delay } = options;
  const baseURL = checkedURL(options.baseURL);
  const key = options.apiKey;
  if (!key) throw new InputError(`${baseURL} needs a key; set OPENAI_API_KEY`);
  const http = { fetch: fetched as never, fetchOptions: { dispatcher: sockets(limits) } as never };
  const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 0, timeout: limits.headers, logLevel: "off", ...http });
  const shown = shownWithout(key);
  const blot = blotter(key);

  const failure = (error: unknown): ServerError => {
    if (error instanceof ServerError) return error;
    if (error instanceof BadAnswer) return new ServerError(`${baseURL} ${error.message}: ${shown(error.said ?? "")}`);
    const words = shown(error instanceof Error ? error.message : String(error));
    if (error instanceof OpenAI.APIError && error.status !== undefined) {
      const said = `${baseURL} answered HTTP ${words}`;
      const mayPass = [408, 409, 429].includes(error.status) || error.status >= 500;
      if (mayPass && !/quota|billing|credit|payment/i.test(words)) return new ServerError(said);
      return new RefusedError(
        `${said}; ${help[error.status] ?? "change what it names, and run the same command again"}`,
        error.status,
      );
    }
    return new UnreachableError(`no answer from ${baseURL} (${words}); run the same command again to go on`);
  };

  /** Asks until there is an answer. `lost` is called before asking again; what it finds is the answer. */
  const ask = async <T>(action: () => Promise<T>, lost: () => Promise<T | null> = async () => null): Promise<T> => {
    for (let retries = 0; ; retries++) {
      try {
        return await action();
      } catch (cause) {
        const error = failure(cause);
        if (error instanceof RefusedError || retries >= maxRetries) throw error;
        await sleep(waitOf(cause, retries));
        const found = await lost().catch(() => null);
        if (found !== null) return found;
      }
    }
  };

  const read = <T>(shape: z.ZodType<T>, answer: unknown): T => {
    const parsed = shape.safeParse(answer);
    if (parsed.success) return parsed.data;
    const { path, message } = parsed.error.issues[0]!;
    throw new ServerError(
      `${baseURL} answered with something that is not what the API documents (${path.join(".")}: ${message}): ` +
        shown(JSON.stringify(answer) ?? "nothing"),
    );
  };
  /** A job's own words may quote the key of whoever asked. */
  const job = (answer: unknown): FineTuningJob => {
    const { error, ...rest } = read(jobShape, answer);
    const words = error?.message ? { ...error, message: blot(error.message) } : error;
    return { ...rest, error: words };
  };

  /** The first of a list's newest rows that fits; null also where the service has no such list. */
  const search = async <T>(
    pages: () => AsyncIterable<unknown>,
    fits: (row: unknown) => T | null,
  ): Promise<T | null> => {
    let left = searched;
    try {
      for await (const row of pages()) {
        const found = fits(row);
        if (found !== null) return found;
        if (--left === 0) return null;
      }
      return null;
    } catch (error) {
      if (error instanceof OpenAI.APIError && listsNothing.includes(error.status)) return null;
      throw error;
    }
  };

  return {
    baseURL,
    file(name, content, mayExist) {
      const find = () =>
        search(
          () => client.files.list({ purpose: "fine-tune", limit: 100 }),
          (row) => {
            const { data } = fileShape.safeParse(row);
            return data?.filename === name && data.bytes === content.length && data.status !== "error" ? data.id : null;
          },
        );
      const make = async () => {
        const file = await toFile(content, name, { type: "application/jsonl" });
        return read(fileShape, await client.files.create({ file, purpose: "fine-tune" })).id;
      };
      return ask(async () => (mayExist ? await find() : null) ?? (await make()), find);
    },
    create(request, mayExist) {
      const find = () =>
        search(
          () => client.fineTuning.jobs.list({ limit: 100 }),
          (row) => {
            const { data } = jobShape.safeParse(row);
            const isOurs = data?.metadata?.malt_key === request.metadata.malt_key;
            return isOurs && !["failed", "cancelled"].includes(data!.status) ? job(data) : null;
          },
        );
      const make = async () => job(await client.fineTuning.jobs.create(request));
      return ask(async () => (mayExist ? await find() : null) ?? (await make()), find);
    },
    job: (id) => ask(async () => job(await client.fineTuning.jobs.retrieve(id))),
    events: (id) =>
      ask(async () => {
        const page = await client.fineTuning.jobs.listEvents(id, { limit: 100 });
        const rows = read(z.array(eventShape), page.data).map((each) => ({ ...each, message: blot(each.message) }));
        return rows.sort((a, b) => a.created_at - b.created_at);
      }),
    checkpoints: (id) =>
      ask(async () => {
        try {
          const page = await client.fineTuning.jobs.checkpoints.list(id, { limit: 100 });
          const rows = read(z.array(checkpointShape), page.data);
          return rows.sort((a, b) => a.step_number - b.step_number);
        } catch (error) {
          if (error instanceof OpenAI.APIError && listsNothing.includes(error.status)) return [];
          throw error;
        }
      }),
    cancel: (id) => ask(async () => job(await client.fineTuning.jobs.cancel(id))),
  };
}

const help: Readonly<Record<number, string>> = {
  401: "set OPENAI_API_KEY to a key this service accepts",
  402: "pay for more at the service, and run the same command again",
  403: "set OPENAI_API_KEY to a key that may fine-tune this model",
  404: "check the base URL, the model's name, and whether this service offers fine-tuning",
  413: "sample or select fewer questions: the file is larger than the service takes",
  429: "pay for more at the service, or raise its limit, and run the same command again",
};

/** Statuses that say only that a service has no such list. */
const listsNothing: readonly (number | undefined)[] = [404, 405, 501];

/** As long as the service asks for, else longer each time. */
function waitOf(error: unknown, retries: number): number {
  const header = error instanceof OpenAI.APIError ? error.headers?.get("retry-after") : null;
  const asked = Number(header ?? Number.NaN) * 1000;
  return Math.min(asked >= 0 ? asked : backoff.first * 2 ** retries, backoff.most);
}

type Asked = Parameters<typeof plainFetch>[1];

/** The package's form data as the bytes that plain requests send, and answers as the JSON that the package reads. */
async function fetched(url: string, asked: Asked) {
  const answer = await plainFetch(url, { ...asked, ...(await formBytes(asked)) });
  const json = async () => {
    const text = await answer.text();
    const value = parseJson(text);
    if (value === undefined) throw new BadAnswer("answered with something that is not JSON", text);
    return value;
  };
  return { ...answer, json };
}

async function formBytes({ body, headers }: { body?: unknown; headers: Asked["headers"] }) {
  if (!(body instanceof FormData)) return {};
  const form = new Response(body);
  const all = new Headers(headers as never);
  all.set("content-type", form.headers.get("content-type")!);
  return { body: Buffer.from(await form.arrayBuffer()) as never, headers: all as never };
}
