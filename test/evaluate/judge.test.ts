import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { ServerError, UnreachableError } from "../../src/errors.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { judgePrompt, llmJudge, ownAnswer, parseVerdict } from "../../src/evaluate/judge.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { readManifest } from "../../src/run/manifest.js";
import { maltRoles } from "../../src/team/prompts.js";
import { findSystems } from "../../src/team/systems.js";
import { type FakeOptions, type FakeServer, startFakeServer } from "../fake-server.js";
import { hashes, heldOut, team } from "../team.js";
import { trainingRun } from "../train/run.js";

const outputs = await mkdtemp(join(tmpdir(), "malt-judge-"));
afterAll(() => rm(outputs, { recursive: true, force: true }));
const open: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.stop();
});
let folders = 0;

const [question] = heldOut as [(typeof heldOut)[0]];
const [, verifier] = maltRoles();

/** A judge served by the fake server, which replies by what it is shown. */
async function setUp(options: FakeOptions, dir = join(outputs, `judge-${folders++}`)) {
  const server: FakeServer = await startFakeServer({ models: ["gpt-4"], ...options });
  open.push(server);
  const policy = openaiPolicy({ baseURL: server.baseURL, maxRetries: 0 });
  const judge = await llmJudge({ dir, policy, model: "gpt-4" });
  open.push({ stop: judge.close });
  return { server, judge, dir };
}

describe("a verdict", () => {
  it.each<[string, boolean | null]>([
    ["The sum is right.\nVerdict: correct", true],
    ["**Verdict:** *Incorrect*.", false],
    ["Verdict: correct … no, I see.\nVerdict: incorrect", false],
    ["Correct.", true],
    ["incorrect", false],
    ["Verdict: not correct", null],
    ["That is correct, I think.", null],
    ["Verdict:", null],
    ["", null],
  ])("%j reads as %j", (reply, verdict) => expect(parseVerdict(reply)).toBe(verdict));
});

describe("a model as judge", () => {
  it("is shown problem, reference and step, greedily and under one seed, without fields beyond the OpenAI API", async () => {
    const { server, judge } = await setUp({ reply: () => ({ text: "Verdict: correct" }) });
    await judge.read(question, verifier!, "The solution stands.");
    const { body } = server.requests[0]!;
    expect(body).toMatchObject({ model: "gpt-4", n: 1, temperature: 0, top_p: 1 });
    expect(body).not.toHaveProperty("top_k");
    expect(body.messages).toEqual(judgePrompt(question, verifier!, "The solution stands."));
    for (const part of [question.question, "Reference answer: 12", "verifier", "The solution stands."])
      expect(body.messages[0]!.content).toContain(part);
  });

  it.each<[string, string, { answer: string | null; correct: boolean | null }]>([
    ["correct", "I agree.", { answer: "12", correct: true }],
    ["incorrect", "Final Answer: 7", { answer: "7", correct: false }],
    ["incorrect", "Final Answer: 12", { answer: null, correct: false }],
    ["incorrect", "No idea.", { answer: null, correct: false }],
    ["hard to say", "Final Answer: 12", { answer: null, correct: null }],
  ])("that says %s of %j lets the turn vote accordingly", async (word, text, reading) => {
    const { judge } = await setUp({ reply: () => ({ text: `Verdict: ${word}` }) });
    expect(await judge.read(question, verifier!, text)).toEqual(reading);
  });

  it("is asked once about a text, in this process and in later ones", async () => {
    const first = await setUp({ reply: () => ({ text: "Verdict: correct" }) });
    const texts = ["a", "b", "a", "a"];
    await Promise.all(texts.map((text) => first.judge.read(question, verifier!, text)));
    await first.judge.read(question, verifier!, "b");
    expect(first.server.requests).toHaveLength(2);
    await first.judge.close();
    open.pop();
    const later = await setUp({ reply: () => ({ text: "Verdict: incorrect" }) }, first.dir);
    expect(await later.judge.read(question, verifier!, "a")).toMatchObject({ correct: true });
    expect(later.server.requests).toEqual([]);
  });

  it("that does not answer is an error, and closing waits for no one", async () => {
    const { judge } = await setUp({ before: () => ({ status: 500, body: "{}" }) });
    const asked = ["a", "b", "c"].map((text) => judge.read(question, verifier!, text));
    await expect(Promise.all(asked)).rejects.toBeInstanceOf(ServerError);
    await Promise.allSettled(asked);
  });
});

describe("an evaluation with a judge", () => {
  it("that refuses some turns judges the others, then names the questions and writes nothing", async () => {
    await trainingRun(outputs, "refused");
    let refuses = true;
    const long = { status: 400, body: '{"error":{"message":"maximum context length is 64 tokens"}}' };
    const hit = (content: string) => refuses && /Unseen [01]:/.test(content);
    const { judge, server } = await setUp({
      reply: () => ({ text: "Verdict: correct" }),
      before: ({ body }) => (hit(body.messages[0]!.content) ? long : undefined),
    });
    const options = {
      ...{ run: "refused", outputs, questions: heldOut, source: { path: "test.jsonl", sha256: null } },
      ...{ systems: findSystems(["MA"]), seeds: [0], policy: team().policy, adapters: hashes(), judge },
    };
    await expect(evaluateRun(options)).rejects.toThrow(
      /^4 requests of "the judge" failed at http.*; refused for good: questions "test-0", "test-1" \(.*64 tokens; .*\); or/,
    );
    const before = server.requests.length;
    expect(before).toBe(6 * 2);
    refuses = false;
    await judge.close();
    const { judge: later, server: back } = await setUp({}, join(outputs, "judge-refused"));
    expect((await evaluateRun({ ...options, judge: later })).rows).toHaveLength(6 * 3);
    expect(back.requests.length).toBeGreaterThan(0);
  });

  it("that is gone is asked no further after the third time", async () => {
    let asked = 0;
    const complete = () => {
      asked++;
      return Promise.reject(new UnreachableError("nobody there"));
    };
    const policy = team({ complete: () => complete, models: ["gpt-4"] }).policy;
    const judge = await llmJudge({ dir: join(outputs, `judge-${folders++}`), policy, model: "gpt-4", concurrency: 1 });
    open.push({ stop: judge.close });
    const reads = ["a", "b", "c", "d", "e"].map((text) =>
      judge.read(question, verifier!, text).catch((e) => e.message),
    );
    expect(await Promise.all(reads)).toEqual(Array(5).fill("nobody there"));
    expect(asked).toBe(3);
  });

  it("leaves the last turn to the rule, counts turns without a verdict as wrong, and says who judged", async () => {
    await trainingRun(outputs, "judged");
    const unsure = (content: string) => content.includes("Step of the verifier");
    const { judge, server } = await setUp({
      reply: ([message]) => ({ text: unsure(message!.content) ? "Who knows." : "Verdict: correct" }),
    });
    const options = {
      run: "judged",
      outputs,
      questions: heldOut,
      source: { path: "test.jsonl", sha256: null },
      systems: findSystems(["MA+MV", "SA+MV"]),
      seeds: [0],
      policy: team().policy,
      adapters: hashes(),
    };
    const own = await evaluateRun(options);
    expect((await readManifest(own.dir)).evaluation).toMatchObject({ judge: ownAnswer.about });
    const judged = await evaluateRun({ ...options, judge });
    const turns = (rows: typeof own.rows, turn: string, system = "MA+MV") =>
      rows.filter((row) => row.turn === turn && row.system === system);
    expect(judged.sampled).toBe(0);
    expect(turns(judged.rows, "generator").every(({ voted_correct }) => voted_correct)).toBe(true);
    expect(turns(judged.rows, "verifier").some((row) => row.correct || row.voted_answer !== null)).toBe(false);
    expect(turns(judged.rows, "refiner")).toEqual(turns(own.rows, "refiner"));
    expect(turns(judged.rows, "generator", "SA+MV")).toEqual(turns(own.rows, "generator", "SA+MV"));
    expect(judged.unclear).toBe(18);
    expect(server.requests.length).toBeLessThanOrEqual(36);
    expect(server.requests.some(({ body }) => body.messages[0]!.content.includes("Step of the refiner"))).toBe(false);
    const { evaluation } = await readManifest(own.dir);
    expect(evaluation).toMatchObject({
      judge: {
        kind: "llm",
        model: "gpt-4",
        unclear: 18,
        prompt: expect.stringContaining("Step of the {role}:\n{text}"),
      },
    });
  });
});
