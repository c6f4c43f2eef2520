import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServerError } from "../../src/errors.js";
import { BadAnswer, completionsIn, completionsOf, type Fresh } from "../../src/policy/answer.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { defaultSampling } from "../../src/sample/sample.js";
import type { Completion } from "../../src/types.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";

const choice = (index: number, more: object = {}) => ({
  index,
  finish_reason: "stop",
  message: { role: "assistant", content: `said ${index}` },
  ...more,
});
const whole = (choices: object[], more: object = {}) => JSON.stringify({ choices, ...more });

/** One chunk of a stream, for one choice. */
const chunk = (index: unknown, content: unknown, more: object = {}, top: object = {}) =>
  JSON.stringify({ choices: [{ index, delta: { content }, finish_reason: null, ...more }], ...top });
const end = (index: unknown, finish_reason: unknown = "stop") => chunk(index, "", { finish_reason });
const done = "[DONE]";

/** Reads a stream of two choices; what was reported, and how it ended. */
async function read(events: readonly string[], n = 2) {
  const told: [number, Fresh][] = [];
  async function* all() {
    yield* events;
  }
  const result = await completionsIn(
    all(),
    n,
    () => true,
    (...each) => told.push(each),
  ).catch((error: BadAnswer) => error);
  return { told, result };
}
const honest = [chunk(0, "a"), chunk(1, "b"), chunk(0, "A"), end(0), chunk(1, "B"), end(1), done];

describe("an end", () => {
  it.each(["stop", "length", "content_filter", "tool_calls", "function_call"])("%s is a result", async (reason) => {
    expect(completionsOf(whole([choice(0, { finish_reason: reason })]), 1)).toMatchObject([{ finish_reason: reason }]);
    expect((await read([chunk(0, "a"), end(0, reason), done], 1)).result).toMatchObject([{ finish_reason: reason }]);
  });

  it.each(["error", "abort", "eos_token", "repetition", "STOP", "unknown"])("%s is a failure, by its name", async (reason) => {
    const said = `finish_reason "${reason}"`;
    const failure = { message: "ended choice 1 of 2 without a result", said };
    expect(() => completionsOf(whole([choice(0), choice(1, { finish_reason: reason })]), 2)).toThrow(
      expect.objectContaining(failure),
    );
    const { told, result } = await read([chunk(0, "a"), end(0), chunk(1, "b"), end(1, reason), done]);
    expect(result).toMatchObject({ ...failure, leaves: "finished" });
    expect(told.map(([, { text }]) => text)).toEqual(["a"]);
  });

  it.each([null, undefined, "", 1, ["stop"]])("%j of a whole answer is none", (reason) => {
    expect(() => completionsOf(whole([choice(0, { finish_reason: reason })]), 1)).toThrow(BadAnswer);
  });

  it.each<[string, object, object]>([
    ["a choice", { error: { message: "out of memory", code: 502 } }, {}],
    ["an answer", {}, { error: { message: "out of memory" } }],
    ["an answer, as a text", {}, { error: "out of memory" }],
  ])("beside an error in %s is no end", async (_, inChoice, inAnswer) => {
    const failure = { message: "ended its answer with an error", said: "out of memory" };
    expect(() => completionsOf(whole([choice(0, inChoice)], inAnswer), 1)).toThrow(expect.objectContaining(failure));
    const { result } = await read([chunk(0, "a"), chunk(0, "b", { finish_reason: "stop", ...inChoice }, inAnswer), done], 1);
    expect(result).toMatchObject(failure);
  });

  it.each([null, false, ""])("beside the error %j is one", (error) => {
    expect(completionsOf(whole([choice(0, { error })], { error }), 1)).toHaveLength(1);
  });
});

describe("a text", () => {
  it.each<[string, object, string]>([
    ["the content", { content: "12" }, "12"],
    ["empty", { content: "" }, ""],
    ["empty where there is none", { content: null }, ""],
    ["empty beside tool calls", { content: null, tool_calls: [{ id: "1" }] }, ""],
    ["empty beside tool calls that are all", { tool_calls: [{ id: "1" }] }, ""],
    ["the refusal where there is no content", { content: null, refusal: "I cannot" }, "I cannot"],
    ["the content without its thoughts", { content: "12", reasoning_content: "5 + 7" }, "12"],
    ["empty where there are only thoughts", { content: null, reasoning_content: "5 + 7" }, ""],
  ])("is %s", async (_, message, text) => {
    expect(completionsOf(whole([choice(0, { message })]), 1)[0]!.text).toBe(text);
    const events = [chunk(0, "", { delta: message }), end(0), done];
    expect((await read(events, 1)).result).toMatchObject([{ text }]);
  });

  it.each([{ content: 12 }, { content: ["12"] }, { content: [{ type: "text", text: "12" }] }, { content: true }, {}, null, "12"])(
    "is not in %j",
    (message) => expect(() => completionsOf(whole([choice(0, { message })]), 1)).toThrow(BadAnswer),
  );
});

describe("a whole answer", () => {
  it.each<[string, object[], string]>([
    ["too few choices", [choice(0)], "1 choices; choice 1 of 2 is missing"],
    ["too many", [choice(0), choice(1), choice(2)], "3 choices, of 2 that were asked for"],
    ["one twice", [choice(0), choice(0)], "2 choices; choice 1 of 2 is missing"],
    ["one twice beside all", [choice(0), choice(1), choice(1)], "3 choices, of 2 that were asked for"],
    ["others", [choice(1), choice(2)], "2 choices; choice 0 of 2 is missing"],
    ["a fractional index", [choice(0), choice(0.5)], "something that is not a completion"],
    ["a text as index", [choice(0), choice(1, { index: "1" })], "something that is not a completion"],
    ["no index", [choice(0), choice(1, { index: undefined })], "something that is not a completion"],
    ["chunks", [0, 1].map((index) => choice(index, { message: undefined, delta: { content: "x" } })), "something that is not"],
  ])("with %s is none", (_, choices, words) => {
    expect(() => completionsOf(whole(choices), 2)).toThrow(words);
  });

  it.each(["", "[]", "null", "12", '"12"', "{}", '{"choices":{}}', "data: {}\n\n", `${"[".repeat(100_000)}`])("is not %j", (text) => {
    expect(() => completionsOf(text, 1)).toThrow(BadAnswer);
  });
});

describe("a count that cannot be read", () => {
  const unreadable = [{}, null, [], "7", 7, { prompt_tokens: null }, ...[1.5, -1, "7", 1e300, 2 ** 53, [], {}].map((count) => ({ prompt_tokens: count, completion_tokens: count, prompt_tokens_details: { cached_tokens: count } }))];
  it.each(unreadable)("is null, and the texts are kept: usage %j", async (usage) => {
    const none = { prompt_tokens: null, cached_tokens: null, completion_tokens: null };
    expect(completionsOf(whole([choice(0)], { usage }), 1)).toEqual([{ text: "said 0", finish_reason: "stop", ...none }]);
    // Every choice is there, whether the usage comes between them, at the end, or with them.
    const between = [chunk(0, "a", {}, { usage }), end(0), JSON.stringify({ choices: [], usage }), chunk(1, "b"), end(1), JSON.stringify({ choices: [], usage }), done];
    const { result, told } = await read(between);
    expect(result).toEqual(["a", "b"].map((text) => ({ text, finish_reason: "stop", ...none })));
    expect(told).toHaveLength(2);
  });

  it("leaves those that can", () => {
    const usage = { prompt_tokens: 7, completion_tokens: 2.5, prompt_tokens_details: "none" };
    expect(completionsOf(whole([choice(0)], { usage }), 1)).toMatchObject([{ prompt_tokens: 7, completion_tokens: null, cached_tokens: null }]);
    const more = { prompt_tokens: 7, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 8 } };
    expect(completionsOf(whole([choice(0)], { usage: more }), 1)).toMatchObject([{ prompt_tokens: 7, completion_tokens: 3, cached_tokens: null }]);
  });

  it.each(["many", 3, { content: "many" }, { content: {} }, [], { content: [] }])("is null beside a text: logprobs or token_ids %j", async (list) => {
    for (const counts of [{ logprobs: list }, { token_ids: list }]) {
      if (Array.isArray(list) === false && "token_ids" in counts && Array.isArray((list as { content?: unknown }).content)) continue;
      expect(completionsOf(whole([0, 1].map((i) => choice(i, counts))), 2)[1]!.completion_tokens).toBeNull();
      const { result } = await read([chunk(0, "a", counts), end(0), chunk(1, "b", counts), end(1), done]);
      expect(result).toMatchObject([{ completion_tokens: null }, { completion_tokens: null }]);
    }
  });
});

describe("a stream", () => {
  it("is read choice by choice", async () => {
    const { told, result } = await read(honest);
    expect(told.map(([index, { text }]) => [index, text])).toEqual([[0, "aA"], [1, "bB"]]);
    expect(result).toMatchObject([{ text: "aA" }, { text: "bB" }]);
  });

  it("may hold what other servers send beside the text", async () => {
    const role = (index: number) => chunk(index, "", { delta: { role: "assistant", content: null, tool_calls: [] } });
    const azure = JSON.stringify({ id: "", model: "", choices: [], prompt_filter_results: [] });
    // SGLang has an id for each choice; LiteLLM sends the usage with an empty choice.
    const sglang = [0, 1].map((i) => chunk(i, `x${i}`, {}, { id: `id-${i}`, model: "m" }));
    const late = JSON.stringify({ choices: [{ index: 0, delta: { content: "" }, finish_reason: null }], usage: { prompt_tokens: 7, completion_tokens: 4 } });
    const { result } = await read(["", azure, role(0), role(1), ...sglang, chunk(0, "y"), end(0), end(1), late, done]);
    expect(result).toMatchObject([{ text: "x0y", prompt_tokens: null }, { text: "x1", prompt_tokens: 7 }]);
    const roles = [0, 1, 2].map((i) => chunk(0, "", { delta: { role: "assistant", content: `${i}` } }));
    expect((await read([...roles, end(0), done], 1)).result).toMatchObject([{ text: "012" }]);
  });

  const told = (index: number) => chunk(index, "", { delta: { role: "assistant", content: "" } });
  it.each<[string, string[], string]>([
    ["text after an end", [chunk(0, "a"), end(0), chunk(0, "A"), chunk(1, "b"), end(1), done], "goes on with choice 0 after its end"],
    ["text long after an end", [chunk(0, "a"), end(0), chunk(1, "b"), chunk(1, "B"), chunk(0, "A"), end(1), done], "goes on with choice 0 after its end"],
    ["text after the last end", [...honest.slice(0, -1), chunk(1, "C"), done], "goes on with choice 1 after its end"],
    ["thoughts after an end", [chunk(0, "a"), end(0), chunk(0, "", { delta: { reasoning_content: "hm" } }), chunk(1, "b"), end(1), done], "after its end"],
    ["a second end", [chunk(0, "a"), end(0), end(0), chunk(1, "b"), end(1), done], "goes on with choice 0 after its end"],
    ["another end", [chunk(0, "a"), end(0), end(0, "length"), chunk(1, "b"), end(1), done], "goes on with choice 0 after its end"],
    ["an end after all ends", [...honest.slice(0, -1), end(0), done], "goes on with choice 0 after its end"],
    ["an end before the text", [end(0), chunk(0, "a"), chunk(1, "b"), end(1), done], "goes on with choice 0 after its end"],
    ["a choice too many", [...honest.slice(0, -1), chunk(2, "c"), end(2), done], "choice 2, of 2 that were asked for"],
    ["a negative index", [chunk(-1, "a"), ...honest], "choice -1, of 2"],
    ["a fractional index", [chunk(0.5, "a"), ...honest], "not a chunk"],
    ["a text as index", [chunk("0", "a"), ...honest], "not a chunk"],
    ["no index", [chunk(undefined, "a"), ...honest], "not a chunk"],
    ["one choice twice in a chunk", [JSON.stringify({ choices: [0, 0].map((index) => ({ index, delta: { content: "a" } })) }), ...honest], "one choice twice"],
    ["content that is no text", [chunk(0, ["a"]), ...honest], "not a chunk"],
    ["content that is a number", [chunk(0, 12), ...honest], "not a chunk"],
    ["an end that is no text", [chunk(0, "a", { finish_reason: 1 }), ...honest], "not a chunk"],
    ["a whole choice", [JSON.stringify({ choices: [choice(0)] }), ...honest], "not a chunk"],
    ["a plain completion", [JSON.stringify({ choices: [{ index: 0, text: "a", finish_reason: "stop" }] }), ...honest], "not a chunk"],
    ["two ids in a choice", [chunk(0, "a", {}, { id: "1" }), chunk(0, "A", {}, { id: "2" }), end(0), chunk(1, "b"), end(1), done], "id of choice 0 changes"],
    ["two models in a choice", [chunk(0, "a", {}, { model: "m" }), chunk(0, "A", {}, { model: "n" }), end(0), chunk(1, "b"), end(1), done], "model of choice 0 changes"],
    ["a second beginning", [told(0), chunk(0, "a"), told(0), chunk(0, "aA"), end(0), chunk(1, "b"), end(1), done], "choice 0 begins anew"],
    ["something after its end", [...honest, chunk(0, "x")], "went on after the end of its stream"],
    ["a second stream", [...honest, ...honest], "went on after the end of its stream"],
    ["an early end", [chunk(0, "a"), end(0), chunk(1, "b"), done], "ended before choice 1 of 2 was finished"],
    ["broken JSON", [chunk(0, "a"), end(0), '{"choices":[{"index":1,', end(1), done], "broken JSON"],
    ["null", ["null", ...honest], "not a chunk"],
  ])("with %s is refused as a whole", async (_, events, words) => {
    const { result } = await read(events);
    expect(result).toBeInstanceOf(BadAnswer);
    expect(result).toMatchObject({ leaves: "none" });
    expect((result as BadAnswer).message).toContain(words);
  });

  it("reports no choice before the server has moved on without contradicting it", async () => {
    const { told } = await read([chunk(0, "a"), end(0), chunk(0, "A"), chunk(1, "b"), end(1), done]);
    expect(told).toEqual([]);
  });

  it("that breaks off leaves what it had finished", async () => {
    const { told, result } = await read([chunk(0, "a"), end(0), chunk(1, "b")]);
    expect(told.map(([, { text }]) => text)).toEqual(["a"]);
    expect(result).toMatchObject({ leaves: "finished" });
  });
});

describe("a server that misbehaves at random", () => {
  const n = 3;
  /** What it says in its honest moments. */
  const saying = (seed: number) => [`Final Answer: ${seed % 100}`, "", `one ${seed}\u2028two`].map((text, i) => ({ text, finish_reason: i === 1 ? "length" : "stop" }));
  const tokens = (text: string) => Array(text.length + 1).fill({ token: "t" });

  /** Its stream, one piece of text a chunk, the choices mixed by the draws. */
  function honestly(seed: number, draw: () => number): string[] {
    const lines = saying(seed).map(({ text, finish_reason }, index) => {
      const cut = Math.floor(draw() * (text.length + 1));
      return [
        chunk(index, "", { delta: { role: "assistant", content: "" } }, { id: "1" }),
        chunk(index, text.slice(0, cut), {}, { id: "1" }),
        chunk(index, text.slice(cut), { logprobs: { content: tokens(text) } }, { id: "1" }),
        chunk(index, null, { finish_reason }, { id: "1" }),
      ];
    });
    const events: string[] = [];
    while (lines.some(({ length }) => length > 0)) {
      const left = lines.filter(({ length }) => length > 0);
      events.push(left[Math.floor(draw() * left.length)]!.shift()!);
    }
    return [...events, JSON.stringify({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 1 } }), done];
  }

  /** Each contradicts the stream, breaks it off, or does not touch its texts. */
  const faults: ((events: string[], at: number) => string[])[] = [
    (events) => events,
    (events) => events.map((event) => event.replace('"usage":{"prompt_tokens":7', '"usage":{"prompt_tokens":7.5')),
    (events, at) => events.toSpliced(at, 0, JSON.stringify({ choices: [], usage: {} })),
    (events, at) => events.toSpliced(at, 0, ""),
    (events, at) => events.slice(0, at),
    (events, at) => [...events.slice(0, at), done],
    (events, at) => events.toSpliced(at, 0, done),
    (events, at) => events.toSpliced(at, 0, end(at % n, "stop")),
    (events, at) => events.toSpliced(at, 0, end(at % n, "abort")),
    (events, at) => events.toSpliced(at, 0, chunk(at % n, "garbled", {}, { id: "2" })),
    (events, at) => events.toSpliced(at, 0, chunk(n + at, "garbled")),
    (events, at) => events.toSpliced(at, 0, chunk(at % n, { text: "garbled" })),
    (events, at) => events.toSpliced(at, 0, '{"error":{"message":"garbled"}}'),
    (events, at) => events.toSpliced(at, 0, '{"choices":[{"index":0,"delta"'),
    (events, at) => events.toSpliced(-2 - (at % 2), 0, chunk(at % n, "garbled", {}, { id: "1" })),
    (events) => [...events, chunk(0, "garbled")],
    (events) => [...events, ...events],
    (events) => events.map((event) => event.replace('"finish_reason":"length"', '"finish_reason":"error"')),
    (events) => events.map((event) => event.replace('"finish_reason":"stop"', '"finish_reason":"stopped"')),
  ];

  let server: FakeServer;
  let attempts: { seed: number; body: string }[] = [];
  beforeAll(async () => {
    server = await startFakeServer({ before: () => ({ status: 200, type: "text/event-stream", body: attempts.shift()!.body }) });
  });
  afterAll(() => server.stop());

  it("never has a completion accepted that is not what a correct server said", async () => {
    const policy = openaiPolicy({ baseURL: server.baseURL, maxRetries: 3, sleep: async () => {} });
    const draws = fc.array(fc.record({ fault: fc.nat(faults.length - 1), at: fc.double({ min: 0, max: 0.999, noNaN: true }), mix: fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 8, maxLength: 8 }) }), { minLength: 4, maxLength: 4 });
    let [accepted, withdrawn, refused] = [0, 0, 0];
    await fc.assert(
      fc.asyncProperty(fc.nat(10_000), draws, async (seed, drawn) => {
        attempts = drawn.map(({ fault, at, mix }) => {
          let i = 0;
          const events = honestly(seed, () => mix[i++ % mix.length]!);
          const sent = faults[fault]!(events, Math.floor(at * events.length));
          return { seed, body: sent.map((event) => `data: ${event}\n\n`).join(": still here\n\n") };
        });
        const told = new Map<number, Completion>();
        const request = { policy: { model: "fake", adapter: null }, messages: [{ role: "user" as const, content: "?" }], n, seed, sampling: { ...defaultSampling, max_tokens: 50 } };
        const said = await policy
          .complete(
            request,
            undefined,
            (choice, completion) => {
              expect(told.has(choice)).toBe(false);
              told.set(choice, completion);
            },
            (choice) => {
              withdrawn++;
              expect(told.delete(choice)).toBe(true);
            },
          )
          .catch((error) => error);
        const right = saying(seed);
        for (const [choice, { text, finish_reason }] of told) expect({ text, finish_reason }).toEqual(right[choice]);
        accepted += told.size;
        if (!(said instanceof ServerError)) return expect([...told].sort(([a], [b]) => a - b)).toEqual([...said.entries()]);
        refused++;
        expect(said.message).not.toContain("is the server running?");
      }),
      { seed: 3, numRuns: 400 },
    );
    // All three happen, or the test shows nothing.
    expect(Math.min(accepted, withdrawn, refused)).toBeGreaterThan(10);
  });
});
