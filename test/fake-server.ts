/**
 * The one fake OpenAI-compatible server of the tests. Its replies are a function of (messages, seed of the choice), so
 * a run against it can be repeated to the byte; it counts what it is asked, and fails in the ways it is told to.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Message } from "../src/types.js";

/** Body of a chat-completions request, as the server read it. */
export interface FakeRequest {
  /** 0 for the first chat-completions request. */
  ordinal: number;
  /** Identifies the state: equal for equal (messages, seed). */
  key: string;
  /** One per choice: equal for equal (messages, seed + index). */
  choices: string[];
  body: { model: string; messages: Message[]; n: number; seed: number } & Record<string, unknown>;
  headers: IncomingMessage["headers"];
}

/**
 * An answer in place of the completion: an HTTP answer of one's own, a connection broken before or in mid-answer, or an
 * answer that stops in its middle and never goes on.
 */
export type Fault =
  | "reset"
  | "cut"
  | "stall"
  | { status: number; type?: string; headers?: Record<string, string>; body: string | Buffer };

export interface FakeOptions {
  models?: string[];
  owner?: string;
  /** Which per-choice token counts it returns: OpenAI's logprobs, vLLM's token ids, or none. */
  tokens?: "logprobs" | "token_ids" | "none";
  reply?: (messages: Message[], seed: number) => { text: string; finish_reason?: string };
  /** Awaited before the answer: the place for faults, for delays, and for killing the client. */
  before?: (request: FakeRequest) => Fault | undefined | Promise<Fault | undefined>;
  /** Whether it streams where it is asked to; default true. Otherwise it answers whole. */
  streams?: boolean;
  /** In a stream, awaited before a choice is finished: the place for its length. */
  beforeChoice?: (request: FakeRequest, choice: number) => void | Promise<void>;
  /** Changes the answer's JSON. */
  change?: (answer: Answer, request: FakeRequest) => unknown;
  /** Answer of /v1/models in place of the list. */
  modelsFault?: Fault;
  /** Further pages by path: from the body that was sent, the JSON to answer with or a fault. */
  pages?: Record<string, (body: string) => { json: unknown } | { fault: Fault }>;
  port?: number;
}

type Answer = ReturnType<typeof answerOf>;

export interface FakeServer {
  baseURL: string;
  port: number;
  requests: FakeRequest[];
  /** How often each choice was asked, by its key. */
  asked: Map<string, number>;
  /** Most requests that were in flight at once. */
  peak: number;
  stop(): Promise<void>;
}

/** Starts the server on a free port of 127.0.0.1. */
export async function startFakeServer(options: FakeOptions = {}): Promise<FakeServer> {
  const { models = ["fake"], owner = "fake", before, change, modelsFault, streams = true } = options;
  let active = 0;
  const fake = { requests: [] as FakeRequest[], asked: new Map<string, number>(), peak: 0 };

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const data = await body(request);
    if (request.url === "/v1/models") {
      if (modelsFault) return fail(modelsFault, response);
      return send(response, { object: "list", data: models.map((id) => ({ id, object: "model", owned_by: owner })) });
    }
    const page = options.pages?.[request.url ?? ""]?.(data);
    if (page) return "fault" in page ? fail(page.fault, response) : send(response, page.json);
    if (request.url !== "/v1/chat/completions") return fail({ status: 404, body: "no such page" }, response);
    fake.peak = Math.max(fake.peak, ++active);
    response.once("close", () => active--);
    const parsed = JSON.parse(data) as FakeRequest["body"];
    const asked: FakeRequest = {
      ordinal: fake.requests.length,
      key: digest([parsed.messages, parsed.seed]),
      choices: Array.from({ length: parsed.n }, (_, i) => digest([parsed.messages, parsed.seed + i])),
      body: parsed,
      headers: request.headers,
    };
    fake.requests.push(asked);
    for (const choice of asked.choices) fake.asked.set(choice, (fake.asked.get(choice) ?? 0) + 1);
    const fault = await before?.(asked);
    const answer = answerOf(asked, options);
    if (parsed.stream && streams && (!fault || typeof fault === "string"))
      return stream(response, answer, asked, options, fault);
    if (fault) return fail(fault, response, JSON.stringify(answer));
    send(response, change ? change(answer, asked) : answer);
  };

  const server = createServer((request, response) => {
    handle(request, response).catch((error) => response.destroy(error));
  });
  await new Promise<void>((done) => server.listen(options.port ?? 0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  return Object.assign(fake, { baseURL: `http://127.0.0.1:${port}/v1`, port, stop });
}

/** A reply that is right about half of the time if the right answer is 12, and now and then empty or cut off. */
export function defaultReply(messages: Message[], seed: number): { text: string; finish_reason?: string } {
  const draw = Number.parseInt(digest([messages, seed]).slice(0, 8), 16);
  if (draw % 29 === 0) return { text: "" };
  if (draw % 23 === 0) return { text: `Let me think about ${draw}: first`, finish_reason: "length" };
  return { text: `Considering draw ${draw}.\u2028\nFinal Answer: ${draw % 2 === 0 ? 12 : draw % 10}` };
}

function answerOf({ body: { messages, n, seed, model } }: FakeRequest, { tokens = "logprobs", reply }: FakeOptions) {
  const choices = Array.from({ length: n }, (_, index) => {
    const { text, finish_reason = "stop" } = (reply ?? defaultReply)(messages, seed + index);
    const count = tokensOf(text);
    return {
      index,
      finish_reason,
      message: { role: "assistant", content: text },
      ...(tokens === "logprobs" && { logprobs: { content: Array(count).fill({ token: "t", logprob: -1 }) } }),
      ...(tokens === "token_ids" && { token_ids: Array(count).fill(1) }),
    };
  });
  // Like llama.cpp: the first choice only. Whoever splits or trusts this number for n > 1 is wrong.
  const usage = { prompt_tokens: 7, completion_tokens: tokensOf(choices[0]!.message.content), total_tokens: 0 };
  return { id: "chatcmpl-fake", object: "chat.completion", created: 0, model, choices, usage };
}

/** Tokens of the fake model: words, and one for the end. */
export const tokensOf = (text: string): number => text.split(/\s+/).filter(Boolean).length + 1;

const digest = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex");

function send(response: ServerResponse, answer: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
}

/** Streams an answer: each choice in two pieces, then its end; the usage last, as vLLM and llama.cpp do. */
async function stream(
  response: ServerResponse,
  answer: Answer,
  asked: FakeRequest,
  { beforeChoice }: FakeOptions,
  fault: Fault | undefined,
): Promise<void> {
  if (fault === "reset") return void response.destroy();
  response.writeHead(200, { "content-type": "text/event-stream" });
  const chunk = (choices: unknown[], more = {}) =>
    response.write(`data: ${JSON.stringify({ id: answer.id, object: "chat.completion.chunk", choices, ...more })}\n\n`);
  const say = async ({ index, finish_reason, message: { content }, ...counts }: Answer["choices"][number]) => {
    const half = content.length >> 1;
    chunk([{ index, delta: { role: "assistant", content: content.slice(0, half) }, finish_reason: null }]);
    await beforeChoice?.(asked, index);
    chunk([{ index, delta: { content: content.slice(half) }, finish_reason: null, ...counts }]);
    // A fault strikes when the first choice is finished and the others are not.
    if (!fault || index === 0) chunk([{ index, delta: {}, finish_reason }]);
  };
  await Promise.all(answer.choices.map(say));
  if (fault === "cut") response.write("data: {", () => response.destroy());
  if (fault) return;
  if ((asked.body.stream_options as { include_usage?: boolean } | undefined)?.include_usage)
    chunk([], { usage: answer.usage });
  response.end("data: [DONE]\n\n");
}

function fail(fault: Fault, response: ServerResponse, whole = ""): void {
  if (fault === "reset") response.destroy();
  else if (fault === "cut" || fault === "stall") {
    response.writeHead(200, { "content-type": "application/json", "content-length": whole.length });
    response.write(whole.slice(0, whole.length / 2), () => fault === "cut" && response.destroy());
  } else {
    const { status, headers, type = "application/json", body } = fault;
    response.writeHead(status, { "content-type": type, ...headers }).end(body);
  }
}

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
