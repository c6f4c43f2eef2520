import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { ServerError, UnreachableError } from "../../src/errors.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { type Judge, judgePrompt, llmJudge, ownAnswer, parseVerdict, type Reading } from "../../src/evaluate/judge.js";
import { rowsOf } from "../../src/evaluate/rows.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { readManifest } from "../../src/run/manifest.js";
import { maltRoles } from "../../src/team/prompts.js";
import { findSystems } from "../../src/team/systems.js";
import type { JournalEntry } from "../../src/types.js";
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
    ["Verdict: correct or incorrect", null],
    ['I must end with "Verdict: correct" or "Verdict: incorrect".', null],
    ["Verdict: correct/incorrect", null],
    ["Verdict: correct?", null],
    ["Verdict: incorrect, since the correct answer is 12.", false],
    ["<think>Verdict: correct</think>\nVerdict: incorrect", false],
    ["<think>The step says 12. Verdict: correct", null],
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

  it("is shown what a critique is about, and asked again where the same critique is about something else", async () => {
    const { server, judge } = await setUp({
      reply: ([message]) => ({ text: `Verdict: ${message!.content.includes("makes 12") ? "" : "in"}correct` }),
    });
    const about = (text: string) => judge.read(question, verifier!, "No mistakes.", [{ role: "generator", text }]);
    expect(await about("It makes 12.\nFinal Answer: 12")).toEqual({ answer: "12", correct: true });
    // Rated wrong, it means the answer that it approves.
    expect(await about("It makes 7.\nFinal Answer: 7")).toEqual({ answer: "7", correct: false });
    expect(server.requests).toHaveLength(2);
    expect(server.requests[1]!.body.messages[0]!.content).toMatch(
      /the generator wrote:\nIt makes 7[\s\S]*No mistakes\./,
    );
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

describe("the rule", () => {
  const critique = (text: string, solution: string, role = verifier!) =>
    ownAnswer.read(question, role, text, [{ role: "generator", text: solution }]);

  it("reads an approval as the answer it approves, and what a critique states itself as its own", async () => {
    expect(await critique("The solution is correct.", "Final Answer: 12")).toEqual({ answer: "12", correct: true });
    expect(await critique("No mistakes.", "Final Answer: 7")).toEqual({ answer: "7", correct: false });
    expect(await critique("The solution is correct.\nFinal Answer: 7", "Final Answer: 12")).toMatchObject({
      answer: "7",
    });
  });

  it("reads nothing into an objection, an approval of no answer, or a refinement", async () => {
    const nothing = { answer: null, correct: null };
    expect(await critique("The solution is not correct.", "Final Answer: 12")).toEqual(nothing);
    expect(await critique("The solution is correct.", "Who knows.")).toEqual(nothing);
    expect(await ownAnswer.read(question, verifier!, "The solution is correct.")).toEqual(nothing);
    expect(await critique("The solution is correct.", "Final Answer: 12", maltRoles()[2]!)).toEqual(nothing);
  });
});

describe("a vote on what a judge said", () => {
  const [system] = findSystems(["MA+MV"]);
  const entry = (role: string, text: string) => ({ role, text, completion_tokens: 1 }) as JournalEntry;
  /** The verifier's rows of three passes, each rated and stating as given. */
  const votes = async (kind: "own" | "llm", readings: readonly Reading[]) => {
    const passes = readings.map((_, i) =>
      ["generator", "verifier", "refiner"].map((role) => entry(role, `${role} ${i}`)),
    );
    const judge: Judge = {
      about: kind === "own" ? { kind } : { kind, model: "gpt-4", base_url: "", prompt: "" },
      read: async (_, __, text) => readings[Number(text.at(-1))]!,
    };
    const { rows } = await rowsOf(system!, 0, [question], new Map([[question.id, passes]]), judge);
    const own = rows.filter(({ turn }) => turn === "verifier");
    return [own[0]!.voted_answer, own[0]!.voted_correct, own.map(({ correct }) => correct)];
  };
  const right = { answer: "12", correct: true };
  const wrong = (answer: string | null = null) => ({ answer, correct: false });
  const unclear = { answer: null, correct: null };

  it.each<[string, Reading[], [string | null, boolean, boolean[]]]>([
    [
      "wrong turns without an answer outvote a right one",
      [right, wrong(), wrong()],
      [null, false, [true, false, false]],
    ],
    ["so do wrong turns of different answers", [right, wrong("7"), wrong("8")], ["7", false, [true, false, false]]],
    [
      "whose most frequent answer is the vote's",
      [wrong(), wrong("8"), wrong("7"), wrong("7")],
      ["7", false, Array(4).fill(false)],
    ],
    ["two right turns outvote a wrong one", [wrong("7"), right, right], ["12", true, [false, true, true]]],
    ["a turn without a verdict does not vote", [unclear, right, unclear], ["12", true, [false, true, false]]],
    ["of equal sides the first wins, here wrong", [unclear, wrong(), right], [null, false, [false, false, true]]],
    ["of equal sides the first wins, here right", [right, wrong("7"), unclear], ["12", true, [true, false, false]]],
    ["no verdict, no vote", [unclear, unclear, unclear], [null, false, [false, false, false]]],
  ])("%s", async (_, readings, expected) => expect(await votes("llm", readings)).toEqual(expected));

  it("is one of answers where the turns' own answers are read", async () => {
    expect(await votes("own", [right, wrong("7"), wrong("8")])).toEqual(["12", true, [true, false, false]]);
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
    expect((await readManifest(own.dir)).evaluation!.sums).toMatchObject({ judge: ownAnswer.about });
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
    const shown = server.requests.map(({ body }) => body.messages[0]!.content);
    expect(shown.some((content) => content.includes("Step of the refiner"))).toBe(false);
    for (const content of shown.filter(unsure))
      expect(content).toMatch(/Earlier, the generator wrote:\n(?:I draw|Not sure)/);
    const { evaluation } = await readManifest(own.dir);
    expect(evaluation!.sums).toMatchObject({
      judge: {
        kind: "llm",
        model: "gpt-4",
        unclear: 18,
        prompt: expect.stringMatching(
          /Earlier, the {earlier role} wrote:\n{earlier text}\n\nStep of the {role}:\n{text}/,
        ),
      },
    });
  });
});
