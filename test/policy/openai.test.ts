import { afterEach, describe, expect, it, vi } from "vitest";
import { onlyModel } from "../../src/cli/server-flags.js";
import { RefusedError, ServerError, UnreachableError } from "../../src/errors.js";
import { loadAdapter } from "../../src/policy/adapters.js";
import { neutralExtra, openaiPolicy, type Policy, requireModel } from "../../src/policy/openai.js";
import { defaultSampling } from "../../src/sample/sample.js";
import type { Completion, CompletionRequest } from "../../src/types.js";
import {
  defaultReply,
  type FakeOptions,
  type FakeServer,
  type Fault,
  startFakeServer,
  tokensOf,
} from "../fake-server.js";

const servers: FakeServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

/** A fake server and a policy that records its waits in place of waiting. */
async function setUp(options: FakeOptions = {}, apiKey: string | null = null, adapterFolders?: Map<string, string>) {
  const server = await startFakeServer(options);
  servers.push(server);
  const waits: number[] = [];
  const sleep = async (ms: number) => void waits.push(ms);
  const policy = openaiPolicy({
    baseURL: server.baseURL,
    apiKey,
    maxRetries: 3,
    sleep,
    random: () => 0,
    stall: 300,
    adapterFolders,
  });
  return { server, policy, waits };
}

const request: CompletionRequest = {
  policy: { model: "fake", adapter: null },
  messages: [{ role: "user", content: "What is 5 + 7?" }],
  n: 3,
  seed: 41,
  sampling: { ...defaultSampling, temperature: 0.7, max_tokens: 50 },
};
const texts = [41, 42, 43].map((seed) => defaultReply([...request.messages], seed).text);

/** Fails the first `times` requests. */
const failing = (fault: Fault, times = Number.POSITIVE_INFINITY): FakeOptions => ({
  before: ({ ordinal }) => (ordinal < times ? fault : undefined),
});
const status = (code: number, message = "words of the server", headers = {}): Fault => ({
  status: code,
  headers,
  body: JSON.stringify({ error: { message } }),
});

describe("a request", () => {
  it("sends every sampling parameter, so that no server default decides", async () => {
    const { server, policy } = await setUp();
    await policy.complete(request);
    expect(server.requests[0]!.body).toEqual({
      model: "fake",
      messages: request.messages,
      n: 3,
      seed: 41,
      stream: false,
      temperature: 0.7,
      top_p: 1,
      max_tokens: 50,
      presence_penalty: 0,
      frequency_penalty: 0,
      ...neutralExtra,
      logprobs: true,
      top_logprobs: 1,
    });
  });

  it("passes the extra fields on, and refuses one that has an option of its own", async () => {
    const { server, policy } = await setUp();
    await policy.complete({ ...request, sampling: { ...request.sampling, extra: { mirostat: 2 } } });
    expect(server.requests[0]!.body).toMatchObject({ mirostat: 2 });
    expect(server.requests[0]!.body).not.toHaveProperty("top_k");
    for (const [name, value] of Object.entries({ seed: 1, lora: [{ id: 0, scale: 1 }] })) {
      const clash = policy.complete({ ...request, sampling: { ...request.sampling, extra: { [name]: value } } });
      await expect(clash).rejects.toThrow(`extra sampling field "${name}"`);
    }
    expect(server.requests).toHaveLength(1);
  });

  it("returns the choices in index order, whatever the order in the answer", async () => {
    const { policy } = await setUp({ change: (answer) => ({ ...answer, choices: answer.choices.toReversed() }) });
    expect((await policy.complete(request)).map(({ text }) => text)).toEqual(texts);
  });

  it("goes with a redirect, its body included", async () => {
    const moved = (location: string) => () => ({ fault: status(307, "moved", { location }) });
    const pages = {
      "/old/models": moved("/v1/models"),
      "/old/chat/completions": moved("/v1/chat/completions"),
    };
    const { server } = await setUp({ pages });
    const policy = openaiPolicy({ baseURL: server.baseURL.replace(/v1$/, "old") });
    expect((await policy.complete(request)).map(({ text }) => text)).toEqual(texts);
  });

  it("takes empty text and finish_reason length as results", async () => {
    const { server, policy } = await setUp({
      reply: (_, seed) => (seed === 41 ? { text: "" } : { text: "so far", finish_reason: "length" }),
      change: (answer) => {
        (answer.choices[2]!.message as { content: unknown }).content = null;
        return answer;
      },
    });
    const completions = await policy.complete(request);
    expect(completions.map(({ text, finish_reason }) => [text, finish_reason])).toEqual([
      ["", "stop"],
      ["so far", "length"],
      ["", "length"],
    ]);
    expect(server.requests).toHaveLength(1);
  });
});

describe("tokens", () => {
  it.each([
    ["logprobs", "llamacpp"],
    ["token_ids", "vllm"],
  ] as const)("are counted per choice by %s from a server owned by %s", async (tokens, owner) => {
    const { server, policy } = await setUp({ tokens, owner });
    const completions = await policy.complete(request);
    expect(completions.map((c) => c.completion_tokens)).toEqual(texts.map(tokensOf));
    expect(completions.map((c) => c.prompt_tokens)).toEqual([7, 7, 7]);
    expect("return_token_ids" in server.requests[0]!.body).toBe(owner === "vllm");
    expect("logprobs" in server.requests[0]!.body).toBe(owner !== "vllm");
  });

  it("are null rather than guessed where a server gives only the usage of several choices", async () => {
    const { policy } = await setUp({ tokens: "none" });
    expect((await policy.complete(request)).map((c) => c.completion_tokens)).toEqual([null, null, null]);
    const [single] = await policy.complete({ ...request, n: 1 });
    expect(single!.completion_tokens).toBe(tokensOf(texts[0]!));
  });
});

describe("a fault that may pass", () => {
  const notJson: Fault = { status: 200, type: "text/html", body: "<html>Bad gateway</html>" };
  it.each<[string, Fault]>([
    ["connection reset", "reset"],
    ["connection cut in mid-answer", "cut"],
    ["408", status(408)],
    ["409", status(409)],
    ["429", status(429)],
    ["500", status(500)],
    ["503", status(503)],
    ["HTML with status 200", notJson],
    ["broken JSON", { status: 200, body: '{"choices": [' }],
    ["JSON without choices", { status: 200, body: "{}" }],
    ["an error with status 200", { status: 200, body: '{"error":{"message":"overloaded"}}' }],
  ])("%s is asked again, and the retries are recorded", async (_, fault) => {
    const { server, policy, waits } = await setUp(failing(fault, 2));
    const completions = await policy.complete(request);
    expect(completions.map(({ text }) => text)).toEqual(texts);
    expect(completions.map(({ retries }) => retries)).toEqual([2, 2, 2]);
    expect(server.requests).toHaveLength(3);
    expect(waits).toEqual([500, 1000]);
  });

  it("is asked a bounded number of times, then ends in the server's words", async () => {
    const { server, policy, waits } = await setUp(failing(status(500)));
    await expect(policy.complete(request)).rejects.toThrow(/answered HTTP 500 words of the server/);
    expect(server.requests).toHaveLength(4);
    expect(waits).toEqual([500, 1000, 2000]);
  });

  it("fewer choices than asked for is no answer", async () => {
    const { server, policy } = await setUp({
      change: (answer) => ({ ...answer, choices: answer.choices.slice(0, 2) }),
    });
    await expect(policy.complete(request)).rejects.toThrow("answered with 2 choices; choice 2 of 3 is missing");
    expect(server.requests).toHaveLength(4);
  });

  it.each(["finish_reason", "message"])("a choice without %s is no answer", async (field) => {
    const { policy } = await setUp({
      change: (answer) => ({ ...answer, choices: answer.choices.map((choice) => ({ ...choice, [field]: undefined })) }),
    });
    await expect(policy.complete(request)).rejects.toThrow("something that is not a completion");
  });

  it("waits as long as Retry-After says", async () => {
    const { policy, waits } = await setUp(failing(status(429, "slow down", { "retry-after": "7" }), 1));
    await policy.complete(request);
    expect(waits).toEqual([7000]);
  });

  it("a broken connection is an UnreachableError that says so", async () => {
    const { server, policy } = await setUp(failing("cut"));
    await expect(policy.complete(request)).rejects.toBeInstanceOf(UnreachableError);
    await server.stop();
    await expect(policy.complete(request)).rejects.toThrow(/no answer from http.*is the server running\?/);
  });
});

describe("a refusal", () => {
  it.each([400, 401, 403, 404, 422])("%i is not asked again and carries the server's words", async (code) => {
    const { server, policy, waits } = await setUp(failing(status(code)));
    const error = await policy.complete(request).catch((e) => e);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toMatchObject({ status: code });
    expect(error.message).toContain("words of the server");
    expect(server.requests).toHaveLength(1);
    expect(waits).toEqual([]);
  });

  it("never shows the API key, even where the server repeats it", async () => {
    const key = "sk-very-secret-1234567890";
    const { server, policy } = await setUp(failing(status(401, `Incorrect API key: ${key}`)), key);
    const error = await policy.complete(request).catch((e) => e);
    expect(server.requests[0]!.headers.authorization).toBe(`Bearer ${key}`);
    expect(error.message).toContain("Incorrect API key: ***");
    expect(error.message).not.toContain(key);
  });
});

describe("a server", () => {
  it("lists its models; one it does not serve is an error that names them", async () => {
    const { policy, server } = await setUp({ models: ["base", "adapter-1"] });
    expect(await policy.models()).toEqual(["base", "adapter-1"]);
    await requireModel("adapter-1", policy);
    await expect(requireModel("other", policy)).rejects.toThrow(
      `model "other" is not served at ${server.baseURL}; served: base, adapter-1`,
    );
  });

  const json = (status: number, body: string): Fault => ({ status, body });
  it.each<[string, FakeOptions]>([
    ["no such page", { modelsFault: json(404, '{"detail":"Not Found"}') }],
    ["no such method", { modelsFault: json(405, "Method Not Allowed") }],
    ["a page that this key may not see", { modelsFault: json(403, "{}") }],
    ["nothing", { modelsFault: json(200, "") }],
    ["broken JSON", { modelsFault: json(200, '{"data":[') }],
    ["an empty list", { models: [] }],
    ["null", { modelsFault: json(200, "null") }],
    ["a list of another form", { modelsFault: json(200, '{"models":[{"name":"fake"}]}') }],
    ["entries without names", { modelsFault: json(200, '{"data":[{"id":7},null,"fake"]}') }],
  ])("that answers /models with %s is asked for the named model, after one warning", async (_, options) => {
    const { policy, server } = await setUp(options);
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    for (const model of ["fake", "fake"]) await requireModel(model, policy);
    expect((await policy.complete(request)).map(({ text }) => text)).toEqual(texts);
    expect(warn.mock.calls).toEqual([
      [`${server.baseURL} does not list its models, so it is not known to serve "fake"`, "MaltWarning"],
    ]);
    warn.mockRestore();
    await expect(onlyModel(policy)).rejects.toThrow(
      `${server.baseURL} does not list its models; name the one to ask with --model`,
    );
  });

  it("may list its models bare, or with entries that are none", async () => {
    const list = '{"data":[null,{"id":"fake","owned_by":5}]}';
    const plain: Fault = { status: 200, type: "text/plain", body: list };
    for (const modelsFault of [json(200, '[{"id":"fake"}]'), json(200, list), plain]) {
      const { policy } = await setUp({ modelsFault });
      expect(await policy.info()).toMatchObject({ models: ["fake"], unlisted: [], owner: null });
    }
  });

  it("that refuses the key for its list is an error", async () => {
    const { policy } = await setUp({ modelsFault: status(401) });
    await expect(requireModel("fake", policy)).rejects.toThrow(/HTTP 401 words of the server; set OPENAI_API_KEY/);
  });

  it("that is down or is none is an error at once", async () => {
    const { policy, server, waits } = await setUp();
    await server.stop();
    await expect(policy.models()).rejects.toThrow("is the server running?");
    const page: Fault = { status: 200, type: "text/html", body: "<html>Welcome</html>" };
    const { policy: other } = await setUp({ modelsFault: page });
    await expect(other.models()).rejects.toThrow(/not a list of models: <html>Welcome/);
    await expect(other.models()).rejects.toBeInstanceOf(ServerError);
    expect(waits).toEqual([]);
  });

  it("is named by an http URL without a password", () => {
    for (const baseURL of ["localhost:8000", "ftp://host/v1", "", "http://user:word@host/v1", "http://host/v1?key=1"])
      expect(() => openaiPolicy({ baseURL })).toThrow(/base URL/);
    expect(() => openaiPolicy({ baseURL: "http://user:word@host/v1" })).not.toThrow(/word@/);
  });
});

describe("an adapter", () => {
  const of = (name: string, sha256 = "0123456789abcdef".repeat(4)) => ({
    ...request,
    policy: { model: "base", adapter: { name, sha256 } },
  });
  const base = { ...request, policy: { model: "base", adapter: null } };
  const loras = (...names: string[]): FakeOptions => ({
    owner: "llamacpp",
    pages: { "/lora-adapters": () => ({ json: names.map((path, i) => ({ id: i + 4, path, scale: 1 })) }) },
  });

  it("of llama.cpp is chosen by scale, and the base model by explicit zeros, since what is left out counts fully", async () => {
    const { server, policy } = await setUp(loras("/a/train/generator-sft.gguf", "C:\\b\\verifier-dpo.gguf"));
    expect((await policy.info()).adapters).toEqual(
      new Map([
        ["generator-sft", 4],
        ["verifier-dpo", 5],
      ]),
    );
    for (const each of [base, of("generator-sft"), of("verifier-dpo")]) await policy.complete(each);
    const scales = server.requests.map(({ body }) => [body.model, body.lora]);
    expect(scales).toEqual(
      [
        [0, 0],
        [1, 0],
        [0, 1],
      ].map(([first, second]) => [
        "base",
        [
          { id: 4, scale: first },
          { id: 5, scale: second },
        ],
      ]),
    );
  });

  it("that llama.cpp has not loaded is refused at once, with what there is", async () => {
    const { server, policy, waits } = await setUp(loras("/a/generator-sft.gguf"));
    const error = await policy.complete(of("refiner-dpo")).catch((e) => e);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error.message).toBe(
      `adapter "refiner-dpo" is not loaded at ${server.baseURL}; loaded: generator-sft; ` +
        "start llama.cpp with --lora refiner-dpo.gguf",
    );
    expect([server.requests, waits]).toEqual([[], []]);
  });

  it("is none where llama.cpp knows of none; a list that is none, or two of one name, is no answer", async () => {
    const { server, policy } = await setUp({ owner: "llamacpp" });
    await policy.complete(base);
    expect(server.requests[0]!.body).not.toHaveProperty("lora");
    const odd = await setUp({ owner: "llamacpp", pages: { "/lora-adapters": () => ({ json: { error: "no" } }) } });
    await expect(odd.policy.complete(base)).rejects.toThrow("something that is not a list of adapters");
    const twins = await setUp(loras("/a/v.gguf", "/b/v.gguf"));
    await expect(twins.policy.complete(base)).rejects.toThrow("two adapters with one file name");
  });

  const served = "generator-sft-0123456789ab";
  const folders = new Map([["generator-sft", "/runs/r/train/generator-sft"]]);

  it("of vLLM is a model: under its name and hash where that is served, else under its name", async () => {
    for (const [models, model] of [
      [["base", "generator-sft"], "generator-sft"],
      [["base", "generator-sft", served], served],
    ] as const) {
      const { server, policy } = await setUp({ owner: "vllm", models: [...models] });
      await policy.complete(base);
      await policy.complete(of("generator-sft"));
      expect(server.requests.map(({ body }) => body.model)).toEqual(["base", model]);
      expect(server.requests[1]!.body).not.toHaveProperty("lora");
    }
  });

  it("that vLLM lacks is loaded once, by name and hash, so that retrained weights are never taken for the old ones", async () => {
    const loaded: unknown[] = [];
    const load = (body: string) => {
      loaded.push(JSON.parse(body));
      return { json: "Success" };
    };
    const options = { owner: "vllm", models: ["base", "generator-sft"], pages: { "/v1/load_lora_adapter": load } };
    const { server, policy } = await setUp(options, null, folders);
    await Promise.all([of("generator-sft"), of("generator-sft"), base].map((each) => policy.complete(each)));
    await policy.complete(of("generator-sft", "f".repeat(64)));
    expect(loaded).toEqual([
      { lora_name: served, lora_path: "/runs/r/train/generator-sft" },
      { lora_name: "generator-sft-ffffffffffff", lora_path: "/runs/r/train/generator-sft" },
    ]);
    const models = server.requests.map(({ body }) => body.model);
    expect(models.sort()).toEqual(["base", served, served, "generator-sft-ffffffffffff"].sort());
  });

  it("that vLLM may not load is the one it was started with, or a refusal that says how to allow it", async () => {
    const no: Fault = { status: 404, body: '{"detail":"Not Found"}' };
    const pages = { "/v1/load_lora_adapter": () => ({ fault: no }) };
    const started = await setUp({ owner: "vllm", models: ["base", "generator-sft"], pages }, null, folders);
    await started.policy.complete(of("generator-sft"));
    expect(started.server.requests.map(({ body }) => body.model)).toEqual(["generator-sft"]);
    const { server, policy, waits } = await setUp({ owner: "vllm", models: ["base"], pages }, null, folders);
    const error = await policy.complete(of("generator-sft")).catch((e) => e);
    expect(error).toMatchObject({ status: 404, name: "RefusedError" });
    expect(error.message).toMatch(
      /load_lora_adapter refused adapter "generator-sft-0123456789ab" at \/runs\/r.*Not Found/,
    );
    expect(error.message).toContain("start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True");
    expect([server.requests, waits]).toEqual([[], []]);
  });

  it("that vLLM has loaded already stays, and the key is in no message", async () => {
    const there = "The lora adapter 'x' has already been loaded.";
    const answers = [there, "bad key sk-secret"].map((message) => ({ status: 400, body: JSON.stringify({ message }) }));
    const { server } = await setUp({ pages: { "/v1/load_lora_adapter": () => ({ fault: answers.shift()! }) } });
    await expect(loadAdapter(server.baseURL, "sk-secret", "x", "/x")).resolves.toBeUndefined();
    await expect(loadAdapter(server.baseURL, "sk-secret", "x", "/x")).rejects.toThrow("bad key ***");
    await server.stop();
    await expect(loadAdapter(server.baseURL, null, "x", "/x")).rejects.toBeInstanceOf(UnreachableError);
  });
});

it("stops when it is told to, also while it waits", async () => {
  const server = await startFakeServer(failing(status(503)));
  servers.push(server);
  const stop = new AbortController();
  const reason = new Error("told to");
  const sleep = (_: number, signal?: AbortSignal) =>
    new Promise<void>((_, reject) => {
      signal!.addEventListener("abort", () => reject(signal!.reason));
      stop.abort(reason);
    });
  const policy = openaiPolicy({ baseURL: server.baseURL, sleep });
  await expect(policy.complete(request, stop.signal)).rejects.toBe(reason);
  expect(server.requests).toHaveLength(1);
});

describe("a streamed request", () => {
  /** Asks for a stream; what is heard of, in its order. */
  async function stream(policy: Policy, asked = request) {
    const heard: [choice: number, completion: Completion][] = [];
    const completions = await policy.complete(asked, undefined, (...each) => heard.push(each));
    return { heard, completions };
  }
  /** Finishes the choices in this order. */
  const inOrder = (...order: number[]): FakeOptions => {
    const gates = order.map(() => {
      let open = () => {};
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      return { open, opened };
    });
    gates[0]!.open();
    return {
      beforeChoice: async (_, choice) => {
        const turn = order.indexOf(choice);
        await gates[turn]!.opened;
        setImmediate(() => gates[turn + 1]?.open());
      },
    };
  };

  it("tells of each choice as soon as it is finished, and gives the same completions as a whole one", async () => {
    const { server, policy } = await setUp(inOrder(2, 0, 1));
    const { heard, completions } = await stream(policy);
    expect(heard.map(([choice]) => choice)).toEqual([2, 0, 1]);
    expect(heard.map(([choice, { text }]) => text === texts[choice])).toEqual([true, true, true]);
    const { policy: other } = await setUp();
    const whole = await other.complete(request);
    expect(completions.map(({ prompt_tokens, ...rest }) => rest)).toEqual(
      whole.map(({ prompt_tokens, ...rest }) => rest),
    );
    // The server says at the end of the stream how long the prompt was, so the last choice carries it.
    expect(completions.map(({ prompt_tokens }) => prompt_tokens)).toEqual([null, 7, null]);
    expect(server.requests[0]!.body).toMatchObject({ stream: true, stream_options: { include_usage: true } });
  });

  it("takes the usage that llama.cpp sends after each choice, whose end has no log-probability", async () => {
    const chunk = (choices: unknown[], more = {}) => `data: ${JSON.stringify({ choices, ...more })}\n\n`;
    const say = (index: number) => {
      const logprobs = { content: [{ token: "t", logprob: -1 }] };
      const usage = { completion_tokens: 2, prompt_tokens: 9, prompt_tokens_details: { cached_tokens: index } };
      return (
        chunk([{ index, delta: { content: `said ${index}` }, finish_reason: null, logprobs }]) +
        chunk([{ index, delta: {}, finish_reason: "stop" }]) +
        chunk([], { usage })
      );
    };
    const body = `${say(1)}${say(0)}${say(2)}data: [DONE]\n\n`;
    const { server, policy } = await setUp({
      owner: "llamacpp",
      ...failing({ status: 200, type: "text/event-stream", body }),
    });
    const { heard, completions } = await stream(policy);
    expect(heard.map(([choice]) => choice)).toEqual([1, 0, 2]);
    const about = { finish_reason: "stop", prompt_tokens: 9, completion_tokens: 2, retries: 0 };
    expect(completions).toEqual([0, 1, 2].map((i) => ({ ...about, text: `said ${i}`, cached_tokens: i })));
    expect(server.requests[0]!.headers.connection).toBe("close");
  });

  it("is taken whole from a server that does not stream", async () => {
    const { policy } = await setUp({ streams: false });
    const { heard, completions } = await stream(policy);
    expect(heard).toEqual([...completions.entries()]);
    expect(completions.map(({ text }) => text)).toEqual(texts);
  });

  it.each<[string, Fault]>([
    ["cut off", "cut"],
    ["that stalls", "stall"],
  ])("%s is asked again; what it had finished stands, and is told of once", async (_, fault) => {
    const { server, policy } = await setUp({
      before: ({ ordinal }) => (ordinal === 0 ? fault : undefined),
      // Other words the second time, as a server has whose sums depend on its batch.
      reply: (_, seed) => ({ text: `${seed} in attempt ${server.requests.length}` }),
    });
    const { heard, completions } = await stream(policy);
    expect(completions.map(({ text, retries }) => [text, retries])).toEqual([
      ["41 in attempt 1", 0],
      ["42 in attempt 2", 1],
      ["43 in attempt 2", 1],
    ]);
    // One of those that the second attempt brought says how long the prompt was, whichever choice ended last in it.
    expect(completions.filter(({ prompt_tokens }) => prompt_tokens === 7)).toHaveLength(1);
    expect(heard.map(([choice]) => choice).sort()).toEqual([0, 1, 2]);
  });

  it("of chunks that are none, or of choices nobody asked for, is no answer", async () => {
    for (const [data, words] of [
      ["{}", "a stream with something that is not a chunk: {}"],
      ['{"choices":[{"index":3,"delta":{"content":"x"}}]}', "a stream with choice 3, of 3 that were asked for"],
      ['{"choices":[]}', "a stream that ended before choice 0 of 3 was finished"],
      ['{"error":{"message":"out of memory"}}', "ended its answer with an error: out of memory"],
      ["{", "broken JSON"],
    ] as const) {
      const fault: Fault = { status: 200, type: "text/event-stream", body: `data: ${data}\n\ndata: [DONE]\n\n` };
      const { server, policy } = await setUp(failing(fault));
      await expect(stream(policy)).rejects.toThrow(words);
      await expect(stream(policy)).rejects.not.toBeInstanceOf(RefusedError);
      expect(server.requests).toHaveLength(8);
    }
  });
});

describe("patience", () => {
  it.each<[string, { timeout?: number; stall?: number }, FakeOptions]>([
    ["headers that do not come", { timeout: 100 }, { before: () => new Promise<undefined>(() => {}) }],
    ["an answer that stops in its middle", { stall: 100 }, { before: () => "stall" as const }],
  ])("ends at %s, as a broken connection", async (_, limits, fault) => {
    const server = await startFakeServer(fault);
    servers.push(server);
    const policy = openaiPolicy({ baseURL: server.baseURL, maxRetries: 0, ...limits });
    await expect(policy.complete(request)).rejects.toBeInstanceOf(UnreachableError);
  });
});

describe("the load", () => {
  const vllm = [
    "# HELP vllm:num_requests_running Number of requests in model execution batches.",
    'vllm:num_requests_running{engine="0",model_name="m"} 12.0',
    'vllm:num_requests_running{engine="1",model_name="m"} 5.0',
    'vllm:num_requests_waiting{engine="0",model_name="m"} 3.0',
    'vllm:num_requests_waiting{engine="1",model_name="m"} 0.0',
    'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25',
    'vllm:kv_cache_usage_perc{engine="1",model_name="m"} 7.5e-01',
  ].join("\n");
  const llama = "llamacpp:requests_processing 4\nllamacpp:requests_deferred 2\n";
  it.each([
    [vllm, { running: 17, waiting: 3, cache: 0.75 }],
    [llama, { running: 4, waiting: 2, cache: null }],
    ["process_cpu_seconds_total 3\n", null],
  ])("is read from /metrics", async (page, load) => {
    const { policy } = await setUp({
      pages: { "/metrics": () => ({ fault: { status: 200, type: "text/plain", body: page } }) },
    });
    expect(await policy.load()).toEqual(load);
  });

  it("is unknown where there is no such page, or no server", async () => {
    const { policy, server } = await setUp();
    expect(await policy.load()).toBeNull();
    await server.stop();
    expect(await policy.load()).toBeNull();
  });
});
