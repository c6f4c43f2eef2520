import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { RefusedError, ServerError, UnreachableError } from "../../src/errors.js";
import { loadAdapter } from "../../src/policy/adapters.js";
import { openaiPolicy, type Policy, type PolicyOptions } from "../../src/policy/openai.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { startFakeServer } from "../fake-server.js";

type Page = (request: IncomingMessage, response: ServerResponse, body: string) => void;

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

/** A server with these pages; the others are those of an honest server of the model "m". */
async function serve(pages: Record<string, Page>, options: Partial<PolicyOptions> = {}) {
  const asked: string[] = [];
  /** Answers that the client did not wait for the end of. */
  const left = { count: 0 };
  const server = createServer(async (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.on("error", () => {});
    response.on("close", () => response.writableFinished || left.count++);
    let body = "";
    for await (const piece of request) body += piece;
    const page = pages[request.url!];
    if (page) return page(request, response, body);
    if (request.url === "/v1/models") return void response.end(JSON.stringify(models));
    response.writeHead(request.url === "/v1/chat/completions" ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(answer));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  servers.push(server);
  const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const policy = openaiPolicy({ baseURL, maxRetries: 0, sleep: async () => {}, ...options });
  return { baseURL, asked, left, policy };
}

const models = { data: [{ id: "m", owned_by: "vllm" }] };
const answer = { choices: [{ index: 0, finish_reason: "stop", message: { content: "Final Answer: 12 — ja" } }] };
const chat = "/v1/chat/completions";
const request = {
  policy: { model: "m", adapter: null },
  messages: [{ role: "user" as const, content: "What is 5 + 7?" }],
  n: 1,
  seed: 1,
  sampling: { ...defaultSampling, max_tokens: 16 },
};
const ask = (policy: Policy) => policy.complete(request);
const stream = (policy: Policy) => policy.complete({ ...request, n: 2 }, undefined, () => {});

/** Sends pieces for ever. */
const endless =
  (head: string, piece: string, type = "application/json", headers = {}): Page =>
  (_, response) => {
    response.writeHead(200, { "content-type": type, ...headers });
    response.write(head);
    const more = () => {
      while (!response.destroyed && response.write(piece));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
  };

describe("an answer without end", () => {
  const text = "x".repeat(65_536);
  const chunk = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
  it.each<[string, Page, (policy: Policy) => Promise<unknown>, string]>([
    ["whole", endless('{"choices":[{"message":{"content":"', text), ask, "more than 1,114,"],
    ["white space before it", endless("", " ".repeat(65_536)), ask, "more than 1,114,"],
    ["a stream of chunks", endless("", chunk("x".repeat(1000)), "text/event-stream"), stream, "more than 1,180,"],
    ["one event", endless("data: ", text, "text/event-stream"), stream, "a line of more than 1,114,"],
    ["comments", endless("", `: ${"still here ".repeat(90)}\n\n`, "text/event-stream"), stream, "more than 1,180,"],
    ["empty lines", endless("", "\n".repeat(65_536), "text/event-stream"), stream, "more than 1,180,"],
  ])("fails with what was exceeded, and its connection is closed: %s", async (_, page, send, words) => {
    const { policy, left } = await serve({ [chat]: page });
    const error = await send(policy).catch((e) => e);
    expect(error).toBeInstanceOf(ServerError);
    expect(error.message).toContain(words);
    await expect.poll(() => left.count).toBe(1);
  });

  it("may be as long as its prompt, its choices and their tokens can make it", async () => {
    const content = "y".repeat(4096 * 16);
    const long = { choices: [{ ...answer.choices[0], message: { content } }] };
    const { policy } = await serve({ [chat]: (_, response) => response.end(JSON.stringify(long)) });
    expect((await ask(policy))[0]!.text).toBe(content);
  });

  it("is bounded on error pages and on every page beside the answers", async () => {
    const page: Page = (_, response) => {
      response.statusCode = 500;
      const more = () => {
        while (!response.destroyed && response.write("x".repeat(65_536)));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    };
    const failing = await serve({ [chat]: page });
    await expect(ask(failing.policy)).rejects.toThrow(/HTTP 500 answered with more than 65,536 bytes/);
    const listing = await serve({ "/v1/models": endless('{"data":[', '{"id":"m"},'.repeat(6000)) });
    await expect(listing.policy.models()).rejects.toThrow("more than 4,194,304 bytes");
    const metrics = await serve({ "/metrics": endless("", "a 1\n".repeat(16_384), "text/plain") });
    expect(await metrics.policy.load()).toBeNull();
    const version = await serve({ "/version": endless('{"version":"', text) });
    expect(await version.policy.info()).toMatchObject({ build: null });
    const llama = { data: [{ id: "m", owned_by: "llamacpp" }] };
    const adapters = await serve({
      "/v1/models": (_, response) => response.end(JSON.stringify(llama)),
      "/lora-adapters": endless("[", " ".repeat(65_536)),
    });
    await expect(adapters.policy.info()).rejects.toThrow("more than 4,194,304 bytes");
    const loading = await serve({ "/v1/load_lora_adapter": page });
    await expect(loadAdapter(loading.baseURL, null, "a", "/a")).rejects.toThrow("more than 65,536 bytes");
  });

  it("that is slow ends too, however often it shows a sign of life", async () => {
    const drip: Page = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const timer = setInterval(() => response.write(": still here\n\n"), 20);
      response.once("close", () => clearInterval(timer));
    };
    const { policy, left } = await serve({ [chat]: drip }, { timeout: 300, stall: 10_000 });
    const error = await stream(policy).catch((e) => e);
    expect(error).toBeInstanceOf(UnreachableError);
    expect(error.message).toContain("did not end within 0.3 s");
    await expect.poll(() => left.count).toBe(1);
  });

  it("of headers is none", async () => {
    const { policy } = await serve({
      [chat]: (_, response) => {
        for (let i = 0; i < 100; i++) response.setHeader(`x-${i}`, "y".repeat(1000));
        response.end("{}");
      },
    });
    await expect(ask(policy)).rejects.toBeInstanceOf(ServerError);
  });
});

describe("a compressed answer", () => {
  const bytes = Buffer.from(JSON.stringify(answer));
  const compressed = (encoding: string, body: Buffer, status = 200): Page => {
    return (_, response) =>
      response.writeHead(status, { "content-encoding": encoding, "content-type": "application/json" }).end(body);
  };
  it.each<[string, Buffer]>([
    ["gzip", gzipSync(bytes)],
    ["X-GZIP", gzipSync(bytes)],
    ["deflate", deflateSync(bytes)],
    ["br", brotliCompressSync(bytes)],
    ["identity", bytes],
    ["deflate, gzip", gzipSync(deflateSync(bytes))],
  ])("is read: %s", async (encoding, body) => {
    const { policy } = await serve({ [chat]: compressed(encoding, body) });
    expect((await ask(policy))[0]!.text).toBe("Final Answer: 12 — ja");
  });

  it("is not asked for", async () => {
    let accepted: string | undefined;
    const { policy } = await serve({
      [chat]: (asked, response) => {
        accepted = asked.headers["accept-encoding"] as string;
        response.end(JSON.stringify(answer));
      },
    });
    await ask(policy);
    expect(accepted).toBe("identity");
  });

  it("is read from a stream, a list of models and an error page", async () => {
    const events = [0, 1].map(
      (index) =>
        `data: ${JSON.stringify({ choices: [{ index, delta: { content: "é" }, finish_reason: "stop" }] })}\n\n`,
    );
    const streaming = await serve({
      [chat]: (_, response) =>
        response
          .writeHead(200, { "content-encoding": "gzip", "content-type": "text/event-stream" })
          .end(gzipSync(events.join(""))),
    });
    expect((await stream(streaming.policy)).map(({ text }) => text)).toEqual(["é", "é"]);
    const listing = await serve({ "/v1/models": compressed("br", brotliCompressSync(JSON.stringify(models))) });
    expect(await listing.policy.models()).toEqual(["m"]);
    const failing = await serve({ [chat]: compressed("gzip", gzipSync('{"detail":"no room"}'), 503) });
    await expect(ask(failing.policy)).rejects.toThrow("answered HTTP 503 no room");
  });

  it.each<[string, string, Buffer, RegExp]>([
    ["is larger than it may be", "gzip", gzipSync(Buffer.alloc(2 ** 26)), /more than 1,114,\d+ bytes/],
    [
      "is larger than it may be, twice compressed",
      "gzip, gzip",
      gzipSync(gzipSync(Buffer.alloc(2 ** 26))),
      /more than 1,114,\d+ bytes/,
    ],
    ["holds nothing, for ever", "gzip", Buffer.concat(Array(80_000).fill(gzipSync(""))), /more than 1,114,\d+ bytes/],
    ["is none", "gzip", bytes, /content-encoding gzip, which cannot be decoded/],
    ["is none of brotli", "br", bytes, /content-encoding br, which cannot be decoded/],
    ["is cut off", "gzip", gzipSync(bytes).subarray(0, 30), /cannot be decoded/],
    ["is compressed in an unknown way", "zip", bytes, /a content-encoding that cannot be decoded: zip/],
  ])("that %s fails its request", async (_, encoding, body, words) => {
    const { policy } = await serve({ [chat]: compressed(encoding, body) });
    const error = await ask(policy).catch((e) => e);
    expect(error).toBeInstanceOf(ServerError);
    expect(error.message).toMatch(words);
  });
});

it("bytes that are not UTF-8 are no answer, whole or streamed", async () => {
  const broken = Buffer.concat([
    Buffer.from('{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"'),
    Buffer.from([0xff]),
    Buffer.from('"}}]}'),
  ]);
  const whole = await serve({ [chat]: (_, response) => response.end(broken) });
  await expect(ask(whole.policy)).rejects.toThrow("bytes that are not UTF-8");
  const event = Buffer.concat([
    Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"'),
    Buffer.from([0xc3]),
    Buffer.from('"}}]}\n\n'),
  ]);
  const streamed = await serve({
    [chat]: (_, response) => response.writeHead(200, { "content-type": "text/event-stream" }).end(event),
  });
  await expect(stream(streamed.policy)).rejects.toThrow("bytes that are not UTF-8");
});

describe("a redirect to another server", () => {
  const to =
    (location: string, status = 307): Page =>
    (_, response) =>
      response.writeHead(status, { location }).end("moved");

  it.each([301, 302, 303, 307, 308])("(%i) is an error that names it, and nothing is sent there", async (status) => {
    const other = await startFakeServer();
    const target = `${other.baseURL.replace("http://", "http://user:word@")}/chat/completions?token=secret#part`;
    const { policy } = await serve({ [chat]: to(target, status) });
    const error = await ask(policy).catch((e) => e);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error.message).toContain(
      `HTTP ${status} a redirect to ${other.baseURL}/chat/completions, which is not followed`,
    );
    expect(error.message).toContain("give its address as the base URL if you trust it");
    expect(error.message).not.toMatch(/word|secret/);
    expect(other.requests).toEqual([]);
    await other.stop();
  });

  it("is refused for the list of models, streams, adapters and pages beside them", async () => {
    const other = await serve({});
    const elsewhere = `${other.baseURL.replace(/\/v1$/, "")}/x`;
    const all = Object.fromEntries(
      ["/v1/models", chat, "/metrics", "/version", "/v1/load_lora_adapter"].map((path) => [path, to(elsewhere)]),
    );
    const { policy, baseURL } = await serve(all);
    await expect(policy.models()).rejects.toThrow(`a redirect to ${elsewhere}`);
    expect(await policy.load()).toBeNull();
    await expect(loadAdapter(baseURL, "k", "a", "/a")).rejects.toThrow(`a redirect to ${elsewhere}`);
    const { "/v1/models": _, ...later } = all;
    const streamed = await serve(later);
    await expect(stream(streamed.policy)).rejects.toThrow(`a redirect to ${elsewhere}`);
    const llama = { data: [{ id: "m", owned_by: "llamacpp" }] };
    const adapters = await serve({
      "/v1/models": (_, response) => response.end(JSON.stringify(llama)),
      "/lora-adapters": to(elsewhere),
    });
    await expect(adapters.policy.info()).rejects.toThrow(`HTTP 307 for /lora-adapters: a redirect to ${elsewhere}`);
    expect(other.asked).toEqual([]);
  });

  it("is told from one to the same server, of which there may be a few", async () => {
    const { policy, asked } = await serve({
      [chat]: to("/v2/chat"),
      "/v2/chat": (_, response) => response.end(JSON.stringify(answer)),
    });
    expect((await ask(policy))[0]!.text).toBe("Final Answer: 12 — ja");
    expect(asked.slice(-2)).toEqual([`POST ${chat}`, "POST /v2/chat"]);
    const round = await serve({ [chat]: to(chat) });
    await expect(ask(round.policy)).rejects.toThrow(/a redirect to http:\/\/127/);
    // As a GET it would be another request.
    const got = await serve({ [chat]: to("/v2/chat", 302) });
    await expect(ask(got.policy)).rejects.toThrow("HTTP 302 a redirect to");
    const odd = await serve({ [chat]: to("http://[") });
    await expect(ask(odd.policy)).rejects.toThrow("a redirect to http://[");
  });
});

describe("the server's own words", () => {
  it.each<[string, string, string]>([
    [
      "application/json",
      '{"object":"error","message":"the prompt is too long","code":400}',
      "HTTP 400 the prompt is too long",
    ],
    ["application/json", '{"detail":"Not Found"}', "HTTP 400 Not Found"],
    ["text/plain", '{"detail":[{"loc":["body","n"],"msg":"too large"}]}', "HTTP 400 n: too large"],
    ["application/json", "plain words", "HTTP 400 plain words"],
    ["application/json", "<html><h1>Bad gateway</h1></html>", "HTTP 400 Bad gateway"],
    ["text/html", "", "HTTP 400 status code (no body)"],
  ])("are in the error (%s: %s)", async (type, body, words) => {
    const { policy } = await serve({
      [chat]: (_, response) => response.writeHead(400, { "content-type": type }).end(body),
    });
    await expect(ask(policy)).rejects.toThrow(words);
    const { policy: streamed } = await serve({
      [chat]: (_, response) => response.writeHead(400, { "content-type": type }).end(body),
    });
    await expect(stream(streamed)).rejects.toThrow(words);
  });

  const key = "sk-very-secret-1234567890";
  it.each<[string, Page]>([
    [
      "an error that is cut within it",
      (_, response) => response.writeHead(401).end(JSON.stringify({ detail: `${"x".repeat(280)} ${key}` })),
    ],
    [
      "an error with white space in it",
      (_, response) => response.writeHead(500).end(`${key.slice(0, 10)}\n\n${key.slice(10)}`),
    ],
    ["an answer of another form", (_, response) => response.end(JSON.stringify({ said: `${"x".repeat(280)} ${key}` }))],
    [
      "an error beside the choices",
      (_, response) => response.end(JSON.stringify({ ...answer, error: { message: key } })),
    ],
    [
      "an end",
      (_, response) => response.end(JSON.stringify({ choices: [{ ...answer.choices[0], finish_reason: key }] })),
    ],
    ["a redirect", (_, response) => response.writeHead(307, { location: `http://localhost:1/${key}` }).end()],
    [
      "a completion",
      (_, response) => response.end(JSON.stringify({ choices: [{ ...answer.choices[0], message: { content: key } }] })),
    ],
    ["a content-encoding", (_, response) => response.writeHead(200, { "content-encoding": key }).end("{}")],
    ["the list of models", (_, response) => response.end(key)],
  ])("hold no piece of the key, nor does any cause: %s", async (what, page) => {
    const path = what === "the list of models" ? "/v1/models" : chat;
    const { policy } = await serve({ [path]: page }, { apiKey: key });
    const error = await ask(policy).catch((e) => e);
    expect(error).toBeInstanceOf(ServerError);
    expect(error.cause).toBeUndefined();
    for (let i = 0; i + 8 <= key.length; i++) expect(error.message).not.toContain(key.slice(i, i + 8));
  });

  it("are kept without the key where they are facts about the server", async () => {
    const said = { data: [{ id: `m-${key}`, owned_by: `by ${key}` }] };
    const { policy } = await serve(
      { "/v1/models": (_, response) => response.end(JSON.stringify(said)) },
      { apiKey: key },
    );
    expect(JSON.stringify(await policy.info())).not.toContain("secret");
  });
});
