/** A server that misbehaves at random in every way that is known of servers, from a seed, for a thousand requests and more. */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import { loadQuestions } from "../../src/benchmarks/load.js";
import { exportRun } from "../../src/dataset/export.js";
import { ServerError } from "../../src/errors.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, messages } from "../../src/team/prompts.js";
import type { JournalEntry, Message, Question, Turn } from "../../src/types.js";
import {
  defaultReply,
  type FakeRequest,
  type FakeServer,
  type Fault,
  startFakeServer,
  tokensOf,
} from "../fake-server.js";
import { folder, journal, manifest, sample, type Workplace, workplace } from "./malt.js";

vi.setConfig({ testTimeout: 120_000 });

const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** Uniform in [0, 1), a function of its arguments: no order of requests changes it. */
const draw = (...what: unknown[]): number =>
  createHash("sha256").update(JSON.stringify(what)).digest().readUInt32BE(0) / 2 ** 32;

/** A piece of JSON with anything in it. */
type Json = Record<string, unknown>;
const garbled = "GARBLED: this text must never be kept.\nFinal Answer: 12";

/** The right choices of a request, as the fake server gives them too. */
const right = ({ body }: FakeRequest): Json[] =>
  Array.from({ length: body.n }, (_, index) => {
    const { text, finish_reason = "stop" } = defaultReply(body.messages, body.seed + index);
    const logprobs = { content: Array(tokensOf(text)).fill({ token: "t", logprob: -1 }) };
    return { index, finish_reason, logprobs, message: { role: "assistant", content: text } };
  });
const wrong = (choice: Json): Json => ({ ...choice, message: { role: "assistant", content: garbled } });
const said = (choice: Json) => (choice.message as Message).content;

const whole = (choices: unknown, usage: unknown, more: Json = {}): Fault => ({
  status: 200,
  body: JSON.stringify({ object: "chat.completion", choices, usage, ...more }),
});
const chunks = (list: Json[]): Fault => ({
  status: 200,
  type: "text/event-stream",
  body: `${list.map((each) => `data: ${JSON.stringify(each)}\n\n`).join("")}data: [DONE]\n\n`,
});
const chunk = (...choices: Json[]): Json => ({ object: "chat.completion.chunk", choices });
const text = ({ index, logprobs, ...choice }: Json) => chunk({ index, logprobs, delta: { content: said(choice) } });
const end = ({ index, finish_reason }: Json, reason = finish_reason) =>
  chunk({ index, delta: {}, finish_reason: reason });
/** Choices as the request wants them: as a whole answer or as a stream. */
const answer = (
  asked: FakeRequest,
  choices: Json[],
  usage: unknown = { prompt_tokens: 7, completion_tokens: 1 },
): Fault =>
  asked.body.stream
    ? chunks([...choices.map(text), ...choices.map((each) => end(each)), { ...chunk(), usage }])
    : whole(choices, usage);
const pick = <T>(list: readonly T[], at: number): T => list[Math.floor(at * list.length)]!;

const words = "words of the server";
const errorBodies = [
  { error: { message: words, code: 1 } },
  { error: words },
  { object: "error", message: words, code: 1 },
  { detail: words },
  { detail: [{ loc: ["body"], msg: words }] },
  { message: words },
  words,
].map((body) => (typeof body === "string" ? body : JSON.stringify(body)));
const oversized = Buffer.from(
  JSON.stringify({
    choices: [0, 1, 2].map((index) => ({
      index,
      finish_reason: "stop",
      message: { content: garbled.repeat(130_000) },
    })),
  }),
);

type Way = (asked: FakeRequest, at: number, elsewhere: string) => Fault | undefined;
/** Wrong answers, none of which may be kept: they are asked again. `at` in [0, 1) chooses a variant. */
const faults: Record<string, Way> = {
  "an end that is an error": (asked, at) =>
    answer(
      asked,
      right(asked).map((each, i) =>
        i === 0 ? { ...wrong(each), finish_reason: pick(["error", "abort", "ERROR"], at) } : each,
      ),
    ),
  "an error in a choice": (asked) => {
    const [first, ...rest] = right(asked);
    if (!asked.body.stream) return whole([{ ...wrong(first!), error: { message: "boom", code: 500 } }, ...rest], null);
    return chunks([
      text(wrong(first!)),
      chunk({ index: 0, delta: {}, finish_reason: "stop", error: { message: "boom" } }),
    ]);
  },
  "an error in place of choices": (asked) =>
    asked.body.stream
      ? chunks([text(wrong(right(asked)[0]!)), { error: { message: words } }])
      : whole([], null, { error: { message: words } }),
  "a contradiction": (asked, at) => {
    const [first, ...rest] = right(asked);
    const bad = wrong(first!);
    const variants: Json[][] = [
      [text(bad), end(bad), text(bad)],
      [text(bad), end(bad), end(bad, "length")],
      [text(bad), { ...end(bad), choices: [...(end(bad).choices as Json[]), ...(text(bad).choices as Json[])] }],
      [text({ ...bad, index: 3 })],
      [text({ ...bad, index: -1 })],
      [text(bad), text({ ...bad, index: 0.5 })],
    ];
    if (asked.body.stream) return chunks([...pick(variants, at), ...rest.map(text), ...rest.map((each) => end(each))]);
    return whole(
      pick(
        [
          [bad, first!, ...rest],
          [{ ...bad, index: 3 }, ...rest],
          [bad, ...rest, { ...bad, index: -1 }],
        ],
        at,
      ),
      null,
    );
  },
  "an HTTP error": (_, at) => ({
    status: pick([500, 502, 503, 429], at),
    headers: { "retry-after": "0" },
    body: pick(errorBodies, (at * 97) % 1),
  }),
  "a web page": () => ({ status: 200, type: "text/html", body: `<html>${garbled}</html>` }),
  "broken JSON": (asked) => ({ status: 200, body: JSON.stringify({ choices: right(asked).map(wrong) }).slice(0, -2) }),
  "too few choices": (asked) => (asked.body.stream ? chunks([text(wrong(right(asked)[0]!))]) : whole([], null)),
  "a cut connection": (_, at) => pick(["cut", "reset"] as const, at),
  "a body that is too large": () => ({ status: 200, body: oversized }),
  "a redirect to another host": (_, __, elsewhere) => ({ status: 307, headers: { location: elsewhere }, body: "" }),
};
/** Right answers in odd clothes: they are kept at once. */
const oddities: Record<string, Way> = {
  "odd usage": (asked, at) =>
    answer(
      asked,
      right(asked),
      pick([{}, null, [], "none", 7, { prompt_tokens: 7 }, { prompt_tokens: 3.5, completion_tokens: null }], at),
    ),
  "no usage": (asked) => answer(asked, right(asked), undefined),
  "a compressed body": (asked) => {
    const plain = answer(asked, right(asked)) as Exclude<Fault, string>;
    return { ...plain, headers: { "content-encoding": "gzip" }, body: gzipSync(plain.body) };
  },
};
const ways = { ...faults, ...oddities };

/** Starts the server, and another host that must never see a prompt. */
async function misbehaving(way: (asked: FakeRequest, nth: number, elsewhere: string) => Promise<Fault | undefined>) {
  const thief = await startFakeServer({ reply: () => ({ text: garbled }) });
  const elsewhere = `http://localhost:${thief.port}/v1/chat/completions`;
  const times = new Map<string, number>();
  const server = await startFakeServer({
    models: [],
    before: (asked) => {
      const nth = times.get(asked.key) ?? 0;
      times.set(asked.key, nth + 1);
      return way(asked, nth, elsewhere);
    },
  });
  cleanUp.push(thief.stop, server.stop);
  return { server, thief };
}

async function place(questions: number): Promise<Workplace> {
  const made = await workplace(questions);
  cleanUp.push(made.remove);
  return made;
}

/** One start of the run, without waits between attempts. @returns the error that ended it, if one did */
async function start(at: Workplace, server: FakeServer, maxRetries: number): Promise<unknown> {
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const policy = openaiPolicy({ baseURL: server.baseURL, maxRetries, sleep: async () => {} });
  const questions = await loadQuestions(at.questions, {});
  const error = await sampleRun({
    ...{ run: "r", outputs: at.outputs, questions, policy, model: "fake", concurrency: 8, request: "streamed" },
  }).then(
    () => null,
    (e: unknown) => e,
  );
  expect(warn.mock.calls.map(([text]) => text)).toEqual([expect.stringContaining("does not list its models")]);
  warn.mockRestore();
  return error;
}

/** Starts it again and again until it has sampled what it can, and checks the books each time. */
async function untilDone(at: Workplace, server: FakeServer, ok: number, maxRetries: number): Promise<void> {
  for (let i = 0; i < 60; i++) {
    const error = await start(at, server, maxRetries);
    // A start may give up; it may not break.
    if (error !== null) expect(error).toBeInstanceOf(ServerError);
    const { counts } = await manifest(at);
    expect(counts.ok + counts.failed + counts.pending).toBe(counts.asked);
    expect(counts.completions).toBe((await journal(at)).length);
    if (counts.ok === ok) return;
  }
  throw new Error("the run does not end");
}

/** Every completion is the fake server's answer to exactly the messages and the seed it is filed under. */
function expectHonest(entries: readonly JournalEntry[], questions: readonly Question[]): void {
  const byPlace = new Map(entries.map((entry) => [`${entry.question_id} ${entry.node_id}`, entry]));
  expect(byPlace.size).toBe(entries.length);
  expect(new Set(entries.map(({ key }) => key)).size).toBe(entries.length);
  const roles = maltRoles();
  for (const entry of entries) {
    const path = entry.node_id.split(".");
    const turns = path.slice(0, -1).map((_, i): Turn => {
      const { role, text } = byPlace.get(`${entry.question_id} ${path.slice(0, i + 1).join(".")}`)!;
      return { role, text };
    });
    const question = questions.find(({ id }) => id === entry.question_id)!;
    const { text, finish_reason = "stop" } = defaultReply(
      messages(promptSet("gsm8k"), roles[turns.length]!, question, turns),
      entry.seed,
    );
    // Short, so that a failure is not a screenful of what was garbled.
    expect(entry.text.slice(0, 200)).toBe(text);
    expect(entry.finish_reason).toBe(finish_reason);
    expect([null, tokensOf(text)]).toContain(entry.completion_tokens);
    expect([null, 7]).toContain(entry.prompt_tokens);
  }
}

describe("a server that answers every request first with", () => {
  it.each(Object.keys(ways))("%s", async (name) => {
    const at = await place(2);
    const { server, thief } = await misbehaving(async (asked, nth, elsewhere) =>
      nth === 0 ? ways[name]!(asked, draw(asked.key), elsewhere) : undefined,
    );
    await untilDone(at, server, 26, 2);
    const entries = await journal(at);
    expect(entries).toHaveLength(78);
    expectHonest(entries, await loadQuestions(at.questions, {}));
    expect(thief.requests).toEqual([]);
    // What is right in odd clothes is never asked again.
    if (name in oddities) expect(server.requests).toHaveLength(26);
    else expect(server.requests.length).toBeGreaterThanOrEqual(2 * 26);
  });
});

it("more than a thousand requests to a server that misbehaves at random: counts add up, nothing garbled, the refused are named", async () => {
  const size = 90;
  const at = await place(size);
  const questions = await loadQuestions(at.questions, {});
  // Refused for good: some questions as a whole, the first among them, and the critiques of others.
  const numbered = (messages: Message[]) => Number(/(\d+) \+ -?\d+\?/.exec(messages.at(-1)!.content)![1]);
  const refuse = ({ body }: FakeRequest): Fault | undefined => {
    const i = numbered(body.messages);
    const deep = body.messages.at(-1)!.content.includes("Proposed solution:");
    if (i % 30 === 0)
      return {
        status: 400,
        body: `{"object":"error","message":"maximum context length is 64 tokens, not ${900 + i}"}`,
      };
    if (i % 30 === 7 && deep) return { status: 403, body: '{"detail":"Your input was flagged"}' };
    return undefined;
  };
  let served = 0;
  const { server, thief } = await misbehaving(async (asked, nth, elsewhere) => {
    const refused = refuse(asked);
    if (refused) return refused;
    // Refusals come before the first success.
    if (served++ < 8) await delay(50);
    const chance = draw("whether", asked.key, nth);
    if (chance < 0.05) await delay(5);
    if (chance < 0.5) return undefined;
    const large = chance > 0.997;
    const names = Object.keys(ways).filter((name) => (name === "a body that is too large") === large);
    return ways[pick(names, draw("which", asked.key, nth))]!(asked, draw("how", asked.key, nth), elsewhere);
  });

  const [whole, deep] = [size / 30, size / 30];
  const counts = {
    asked: 13 * size,
    ok: 13 * (size - whole - deep) + deep,
    failed: whole + 3 * deep,
    pending: 12 * whole + 9 * deep,
  };
  await untilDone(at, server, counts.ok, 3);
  expect(server.requests.length).toBeGreaterThan(1_000);
  const entries = await journal(at);
  expect(entries).toHaveLength(39 * (size - whole - deep) + 3 * deep);
  expectHonest(entries, questions);
  expect(thief.requests).toEqual([]);

  // The command, started once more, asks the refused states alone and says which they are.
  const before = server.requests.length;
  const { code, errors, stdout } = await sample(at, server.baseURL, ["--model", "fake"]).ended;
  expect(server.requests.length - before).toBe(whole + 3 * deep);
  expect(code).toBe(1);
  expect(errors).toHaveLength(2);
  expect(errors[0]).toContain("does not list its models");
  expect(errors[1]).toMatch(
    new RegExp(`^malt: ${counts.failed} of ${counts.asked} requests failed; refused for good: `),
  );
  for (const id of ["q0", "q30", "q60", "q7", "q37", "q67"]) expect(errors[1]!.split(`"${id}"`)).toHaveLength(2);
  for (const said of ["maximum context length is 64 tokens", "Your input was flagged"])
    expect(errors[1]).toContain(said);
  expect(errors[1]).not.toContain("run the same command");
  expect(stdout).toContain(`${entries.length} completions, ${counts.failed} failed, ${counts.pending} pending`);
  expect((await manifest(at)).counts).toMatchObject({ ...counts, completions: entries.length });
  expect(await journal(at)).toEqual(entries);
  expect((await exportRun(folder(at))).trees).toEqual({ complete: size - whole - deep, incomplete: whole + deep });
});
