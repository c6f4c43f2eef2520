/**
 * A fake inference server that batches as vLLM does: m slots, one per completion being decoded, and a queue in the order
 * of arrival; each choice of a request takes a slot of its own when one is free. It speaks the chat-completions API,
 * whole and streamed, and records every slot's time, so that a benchmark can tell how much of it a client left idle.
 *
 * As a process of its own: `node --import tsx bench/slots.ts '{"slots":64}'` prints `{"port":…}` and serves until its
 * standard input ends. What it leaves out: prefill, which takes no time here, and failures (test/fake-server.ts).
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pathToFileURL } from "node:url";
import { type Lengths, PrefixCache, type Prompt, readPrompt, type Said, say } from "./slots/completion.js";
import { type Interval, SlotQueue } from "./slots/queue.js";
import { type Asked, metrics, piece, roles, usageEvent, whole } from "./slots/wire.js";

export interface SlotOptions extends Lengths {
  /** m, completions that are decoded at once. */
  slots: number;
  /** 0: everything is answered at once, without slots and without a record of them. */
  msPerToken: number;
  /** Streams: `choice`, the text of a choice in one piece when it ends; `token`, one piece per token. */
  pieces: "choice" | "token";
  /** `owned_by` in the list of models: "vllm", or "llamacpp", which counts tokens by log-probabilities. */
  owner: string;
  model: string;
  /**
   * Tokens the KV cache holds: the beginnings of earlier prompts, and the total that /metrics reports usage against.
   */
  cacheTokens: number;
}

export const slotDefaults: Readonly<SlotOptions> = {
  ...{ slots: 64, msPerToken: 1, mean: 100, sigma: 0.8, max: 1_000_000, pieces: "choice" },
  ...{ owner: "vllm", model: "fake", cacheTokens: 500_000 },
};

/** What /stats answers. Times in ms. */
export interface SlotStats {
  requests: number;
  /** Choices that were decoded to their end. */
  completions: number;
  /** Choices whose client disconnected first, and the slot time they had used. */
  cancelled: number;
  wasted_ms: number;
  /** Sum of the lengths of what was decoded to its end; with `wasted_ms` all the time a slot was taken. */
  work_ms: number;
  /**
   * How long after its end a completion was reported, on average: above a few ms the machine is too busy for
   * measurements.
   */
  late_ms: number;
  /** From the arrival of the first request to the last answer sent. */
  makespan_ms: number;
  running: number;
  waiting: number;
  peak_running: number;
  peak_waiting: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
}

/** One line of /intervals: a completion in its slot. Times in ms since the first request arrived. */
export interface SlotInterval extends Pick<Prompt, "parent" | "depth" | "question"> {
  id: string;
  slot: number;
  start_ms: number;
  end_ms: number;
}

export interface SlotServer {
  /** `http://127.0.0.1:PORT/v1` */
  baseURL: string;
  port: number;
  stop(): Promise<void>;
}

/** A choice on its way through a slot. */
interface Choice {
  ms: number;
  index: number;
  said: Said;
  /** Tokens that have been sent. */
  sent: number;
  request: Request;
}

interface Request extends Asked {
  prompt: Prompt;
  response: ServerResponse;
  choices: Choice[];
  /** Choices that have not ended. */
  open: number;
  /** Whether anything has been streamed. */
  isBegun: boolean;
}

/** The state that a reset clears. */
function blank(options: SlotOptions) {
  const stats = {
    ...{ requests: 0, completions: 0, cancelled: 0, wasted_ms: 0, work_ms: 0 },
    ...{ prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 },
  };
  return {
    ...{ options, stats, intervals: [] as Interval<Choice>[], queue: new SlotQueue<Choice>(options.slots) },
    cache: new PrefixCache(Math.ceil(options.cacheTokens / 16)),
    ...{ first: null as number | null, last: 0, late: 0 },
  };
}

/** Starts the server on a free port of 127.0.0.1. Times are those of the process's clock, good to a millisecond. */
export async function startSlots(settings: Partial<SlotOptions> = {}): Promise<SlotServer> {
  let state = blank({ ...slotDefaults, ...settings });
  let timer: NodeJS.Timeout | undefined;

  /** Brings the slots up to now, answers what has ended, and sets the clock for what ends next. */
  const advance = (now: number) => {
    for (const interval of state.queue.advance(now)) {
      state.intervals.push(interval);
      state.late += now - interval.end;
      finish(interval.job);
    }
  };
  const wind = () => {
    clearTimeout(timer);
    const { next } = state.queue;
    if (next === null) return;
    const wait = Math.max(0, Math.ceil(next - performance.now()));
    const step = state.options.pieces === "token" ? Math.max(1, state.options.msPerToken) : wait;
    timer = setTimeout(tick, Math.min(wait, step));
  };
  const tick = () => {
    const now = performance.now();
    advance(now);
    if (state.options.pieces === "token")
      for (const { job, start } of state.queue.intervals)
        speak(job, Math.min(Math.floor((now - start) / state.options.msPerToken), job.said.tokens - 1));
    wind();
  };

  /** Streams those of a choice's first `tokens` tokens that have not been sent yet. */
  const speak = (choice: Choice, tokens: number) => {
    const { request, said, index, sent } = choice;
    if (!request.stream || tokens <= sent) return;
    const step = state.options.pieces === "token" ? 1 : tokens - sent;
    let text = request.isBegun ? "" : roles(request, request.choices.length);
    for (let from = sent; from < tokens; from += step) text += piece(request, index, said, from, from + step);
    request.isBegun = true;
    request.response.write(text);
    choice.sent = tokens;
  };

  const finish = (choice: Choice) => {
    const { request, said } = choice;
    const { stats } = state;
    stats.completions++;
    stats.work_ms += choice.ms;
    stats.completion_tokens += said.tokens;
    speak(choice, said.tokens);
    if (--request.open > 0) return;
    const { response } = request;
    const all = request.choices.map((each) => each.said);
    response.end(request.stream ? `${usageEvent(request, all)}data: [DONE]\n\n` : whole(request, all));
    state.last = performance.now();
  };

  const ask = (body: string, response: ServerResponse) => {
    const now = performance.now();
    advance(now);
    const { options, queue, stats, cache } = state;
    const parsed = JSON.parse(body);
    const { messages, n = 1, seed = 0, stream = false, max_tokens, max_completion_tokens } = parsed;
    const prompt = readPrompt(messages);
    const max = Math.min(options.max, max_completion_tokens ?? max_tokens ?? options.max);
    const cached = cache.take(prompt);
    const request: Request = {
      ...{ id: `chatcmpl-${prompt.digest.slice(0, 12)}`, model: options.model, stream, prompt, response, cached },
      ...{
        choices: [],
        open: n,
        isBegun: false,
        promptTokens: prompt.tokens,
        usage: parsed.stream_options?.include_usage === true,
      },
      tokenIds: options.owner === "vllm" && parsed.return_token_ids === true,
      logprobs: parsed.logprobs === true,
    };
    state.first ??= now;
    stats.requests++;
    stats.prompt_tokens += prompt.tokens;
    stats.cached_tokens += cached;
    response.writeHead(200, { "content-type": stream ? "text/event-stream" : "application/json" });
    if (stream && options.msPerToken > 0) response.flushHeaders();
    for (let index = 0; index < n; index++) {
      const said = say(prompt, seed + index, { ...options, max });
      request.choices.push({ ms: said.tokens * options.msPerToken, index, said, sent: 0, request });
    }
    if (options.msPerToken === 0) for (const choice of request.choices) finish(choice);
    else for (const choice of request.choices) queue.arrive(choice, now);
    wind();
    response.once("close", () => {
      if (response.writableFinished || state.queue !== queue) return;
      const gone = performance.now();
      advance(gone);
      for (const choice of request.choices) {
        const cut = queue.cancel(choice, gone);
        if (cut) stats.wasted_ms += cut.end - cut.start;
      }
      stats.cancelled += request.open;
      wind();
    });
  };

  const load = () => {
    const { options, queue } = state;
    const now = performance.now();
    advance(now);
    wind();
    const held = queue.intervals.map(
      ({ job, start }) => job.request.prompt.tokens + (now - start) / options.msPerToken,
    );
    const kv = held.reduce((sum, tokens) => sum + tokens, 0) / options.cacheTokens;
    return { owner: options.owner, model: options.model, running: queue.running, waiting: queue.waiting, kv };
  };

  const pages: Record<string, (body: string) => unknown> = {
    "/v1/models": () => ({
      object: "list",
      data: [{ id: state.options.model, object: "model", owned_by: state.options.owner }],
    }),
    "/version": () => ({ version: "0.0.0-slots" }),
    "/props": () => ({ build_info: "slots", total_slots: state.options.slots }),
    "/health": () => ({ status: "ok" }),
    "/stats": (): SlotStats => ({
      ...state.stats,
      late_ms: state.late / Math.max(1, state.intervals.length),
      makespan_ms: state.first === null ? 0 : state.last - state.first,
      ...{ running: state.queue.running, waiting: state.queue.waiting },
      ...{ peak_running: state.queue.peakRunning, peak_waiting: state.queue.peakWaiting },
    }),
    "/intervals": () => state.intervals.map((interval) => row(interval, state.first ?? 0)),
    // Everything is cleared; the given options replace the earlier ones.
    "/reset": (body) => {
      state = blank({ ...state.options, ...JSON.parse(body || "{}") });
      return {};
    },
  };

  const server = createServer((request, response) => {
    const answer = (body: string) => {
      if (request.url === "/v1/chat/completions") return ask(body, response);
      if (request.url === "/metrics") return response.setHeader("content-type", "text/plain").end(metrics(load()));
      const page = pages[request.url ?? ""];
      if (!page) return response.writeHead(404).end("no such page");
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(page(body)));
    };
    read(request, (body) => {
      try {
        answer(body);
      } catch (error) {
        response.writeHead(400).end(String(error));
      }
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((done) => server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, done));
  const { port } = server.address() as AddressInfo;
  const stop = () =>
    new Promise<void>((done) => {
      clearTimeout(timer);
      server.close(() => done());
      server.closeAllConnections();
    });
  return { baseURL: `http://127.0.0.1:${port}/v1`, port, stop };
}

function row({ job, slot, start, end }: Interval<Choice>, zero: number): SlotInterval {
  const { parent, depth, question } = job.request.prompt;
  return { id: job.said.id, parent, depth, question, slot, start_ms: start - zero, end_ms: end - zero };
}

function read(request: IncomingMessage, then: (body: string) => void): void {
  const chunks: Buffer[] = [];
  request.on("data", (part) => chunks.push(part));
  request.on("end", () => then(Buffer.concat(chunks).toString("utf8")));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  void startSlots(JSON.parse(process.argv[2] ?? "{}")).then(({ port }) => {
    process.stdout.write(`${JSON.stringify({ port })}\n`);
    process.stdin.on("end", () => process.exit()).resume();
  });
}
