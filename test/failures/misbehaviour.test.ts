import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { exportRun } from "../../src/dataset/export.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { readJournal } from "../../src/run/journal.js";
import { sampleRun } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompts.js";
import type { JournalEntry } from "../../src/types.js";
import { defaultReply, type FakeRequest, type FakeServer, type Fault, startFakeServer } from "../fake-server.js";

vi.setConfig({ testTimeout: 180_000 });

let outputs: string;
const servers: FakeServer[] = [];
beforeEach(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-misbehaviour-"));
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
  await rm(outputs, { recursive: true, force: true });
});
async function fakeServer(before?: (request: FakeRequest) => Fault | undefined): Promise<FakeServer> {
  const server = await startFakeServer(before && { before });
  servers.push(server);
  return server;
}

/** Uniform in [0, 1), the same for the same seed. */
function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

type Choice = { index: number; finish_reason: unknown; message: { content: unknown } };
const honestly = ({ body: { messages, n, seed } }: FakeRequest): Choice[] =>
  Array.from({ length: n }, (_, index) => {
    const { text, finish_reason = "stop" } = defaultReply(messages, seed + index);
    return { index, finish_reason, message: { content: text } };
  });

/** The honest stream: a choice after the other, each in two pieces and an end. */
const eventsOf = (choices: Choice[]): unknown[] =>
  choices.flatMap(({ index, finish_reason, message }) => {
    const text = String(message.content);
    const pieces = [text.slice(0, text.length >> 1), text.slice(text.length >> 1)];
    const chunk = (content: string, finish_reason: unknown = null) => ({
      id: "1",
      choices: [{ index, delta: { content }, finish_reason }],
    });
    return [...pieces.map((piece) => chunk(piece)), chunk("", finish_reason)];
  });

/** Ways to misbehave. What looks like an answer holds the word "garbled" wherever a correct server would not say it. */
const whole: ((choices: Choice[], draw: number) => Fault)[] = [
  (choices) => json({ choices, usage: { prompt_tokens: 1.5, completion_tokens: "many" } }),
  (choices) =>
    json({ choices: choices.map((each) => ({ ...each, finish_reason: "abort", message: { content: "garbled" } })) }),
  (choices) => json({ choices, error: { message: "garbled" } }),
  (choices) => json({ choices: choices.with(0, { ...choices[0]!, message: { content: ["garbled"] } }) }),
  (choices) => json({ choices: choices.map((each) => ({ ...each, index: 0, message: { content: "garbled" } })) }),
  (choices) => json({ choices: [...choices, { ...choices[0]!, message: { content: "garbled" } }] }),
  () => ({ status: 503, body: '{"detail":"no room"}' }),
  () => ({ status: 500, type: "text/html", body: `<h1>${"garbled ".repeat(20_000)}</h1>` }),
  () => ({ status: 200, body: `{"choices":[{"message":{"content":"${"garbled".repeat(400_000)}` }),
  () => ({ status: 200, headers: { "content-encoding": "br" }, body: "garbled" }),
  () => ({
    status: 200,
    headers: { "content-encoding": "br" },
    body: brotliCompressSync("garbled").toString("latin1"),
  }),
];
const streamed: ((events: unknown[], at: number) => unknown[])[] = [
  (events) => events.flatMap((event) => [event, { choices: [], usage: {} }]),
  (events) => [...events, "[DONE]", chunk(0, "garbled")],
  (events) => [...events, chunk(0, "garbled")],
  (events) => [...events, chunk(0, "", "stop")],
  (events) => [...events.slice(0, 4), chunk(0, "garbled"), ...events.slice(4)],
  (events, at) => events.toSpliced(at, 0, chunk(9, "garbled")),
  (events, at) => events.toSpliced(at, 0, { error: { message: "garbled" } }),
  (events, at) => events.toSpliced(at, 0, "{broken"),
  (events, at) => [...events.slice(0, at), "[DONE]"],
  (events, at) => events.slice(0, at),
  (events, at) => events.toSpliced(at, 1, chunk(1, "garbled".repeat(1_000_000))),
];
const json = (body: unknown): Fault => ({ status: 200, body: JSON.stringify(body) });
const chunk = (index: number, content: string, finish_reason: string | null = null) => ({
  id: "2",
  choices: [{ index, delta: { content }, finish_reason }],
});

it("a thousand requests to a server that misbehaves in every other one: nothing garbled is kept, and the counts add up", async () => {
  const questions = Array.from({ length: 77 }, (_, i) => ({
    ...{ id: `q${i}`, benchmark: "own", split: "train" as const, choices: null },
    ...{ question: `${i} + ${12 - i}?`, answer: "12" },
  }));
  const run = (name: string, { baseURL }: FakeServer, failures: string[] = []) =>
    sampleRun({
      ...{
        run: name,
        outputs,
        questions,
        model: "fake",
        promptSet: promptSet("arithmetic"),
        sampling: { max_tokens: 50 },
      },
      policy: openaiPolicy({ baseURL, maxRetries: 1, sleep: async () => {} }),
      onFailure: ({ message }) => failures.push(message),
    });
  const entries = async (name: string) => {
    const all = new Map<string, JournalEntry>();
    // Which choice of a request carries the length of the prompt, and how often it was asked, differ between servers.
    for await (const { prompt_tokens: _, completion_tokens: __, retries: ___, ...entry } of readJournal(
      join(outputs, "runs", name),
    ))
      all.set(entry.key, entry as JournalEntry);
    return all;
  };
  await run("honest", await fakeServer());
  const right = await entries("honest");
  expect(right.size).toBe(77 * 39);

  // A run of an earlier version, which took "abort" for a result.
  const file = join(outputs, "runs", "honest", "journal", "completions.jsonl");
  const lines = (await readFile(file, "utf8")).split("\n");
  const aborted = {
    ...JSON.parse(lines[100]!),
    finish_reason: "abort",
    text: "garb",
    crc: undefined,
    cached_tokens: undefined,
  };
  await writeFile(file, lines.with(100, JSON.stringify(aborted)).join("\n"));
  await expect(exportRun(join(outputs, "runs", "honest"))).rejects.toThrow(
    /line 101 ended in finish_reason "abort", which is no result: .*asks for it again/,
  );
  expect((await run("honest", await fakeServer())).session.requests).toBe(1);
  expect(await entries("honest")).toEqual(right);

  const draw = draws(14);
  let bad = 0;
  const hostile = await fakeServer((request) => {
    if (draw() < 0.5) return undefined;
    bad++;
    const choices = honestly(request);
    if (!request.body.stream) return whole[Math.floor(draw() * whole.length)]!(choices, draw());
    const events = eventsOf(choices);
    const sent = streamed[Math.floor(draw() * streamed.length)]!(events, Math.floor(draw() * events.length));
    const body = sent.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("");
    return { status: 200, type: "text/event-stream", body };
  });
  const failures: string[] = [];
  let last = 0;
  for (let ok = -1; last > ok; ) {
    ok = last;
    const { counts } = (await run("hostile", hostile, failures)).manifest;
    expect(counts.ok + counts.failed + counts.pending).toBe(counts.asked);
    const kept = await entries("hostile");
    expect(kept.size).toBe(counts.completions);
    for (const [key, entry] of kept) expect(entry).toEqual(right.get(key));
    last = counts.ok;
  }
  expect(hostile.requests.length).toBeGreaterThan(1000);
  expect(bad).toBeGreaterThan(500);
  expect(failures.length).toBeGreaterThan(100);
  // Some choices were journalled before their stream contradicted itself.
  const discarded = await readFile(join(outputs, "runs", "hostile", "journal", "discarded.txt"), "utf8");
  expect(discarded.length).toBeGreaterThan(1000);
  expect(failures.filter((message) => message.includes("no answer from"))).toEqual([]);

  const { manifest } = await run("hostile", await fakeServer());
  expect(manifest.counts).toMatchObject({ asked: 77 * 13, ok: 77 * 13, failed: 0, pending: 0, completions: 77 * 39 });
  expect(await entries("hostile")).toEqual(right);
});
