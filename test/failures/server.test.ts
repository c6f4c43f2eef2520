import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { exportRun, openDataset } from "../../src/dataset/export.js";
import { type FakeOptions, type FakeServer, type Fault, startFakeServer } from "../fake-server.js";
import { files, folder, journal, malt, manifest, sample, type Workplace, workplace } from "./malt.js";

// Each test starts several processes; on a busy machine one takes seconds to load.
vi.setConfig({ testTimeout: 180_000 });

let place: Workplace;
const servers: FakeServer[] = [];
beforeEach(async () => {
  place = await workplace(2);
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
  await place.remove();
});
async function fakeServer(options: FakeOptions = {}): Promise<FakeServer> {
  const server = await startFakeServer(options);
  servers.push(server);
  return server;
}
const streamed = ["--request", "streamed"];
const about = (question: string) => (request: { body: { messages: { content: string }[] } }) =>
  request.body.messages.some(({ content }) => content.includes(question));

describe("at the start", () => {
  it("a server that is down is one line at once, and leaves no run", async () => {
    const fake = await fakeServer();
    await fake.stop();
    const { code, errors, stdout } = await sample(place, fake.baseURL, ["--model", "fake"]).ended;
    expect(code).toBe(1);
    expect(errors).toEqual([expect.stringMatching(/^malt: no answer from http:\/\/127.*is the server running\?$/)]);
    expect(stdout).toBe("");
    expect(existsSync(folder(place))).toBe(false);
  });

  it("a wrong model name lists the served ones, and asks nothing", async () => {
    const fake = await fakeServer({ models: ["llama", "llama-adapter"] });
    const wrong = await sample(place, fake.baseURL, ["--model", "lama"]).ended;
    expect(wrong.code).toBe(1);
    expect(wrong.errors).toEqual([`malt: model "lama" is not served at ${fake.baseURL}; served: llama, llama-adapter`]);
    const none = await sample(place, fake.baseURL).ended;
    expect(none.errors).toEqual([expect.stringContaining("serves 2 models: llama, llama-adapter; choose one")]);
    expect(fake.requests).toEqual([]);
  });

  it("a server without a model list is asked for --model, with a warning; without --model that is the error", async () => {
    const fake = await fakeServer({ modelsFault: { status: 404, body: "no such page" } });
    const none = await sample(place, fake.baseURL).ended;
    expect([none.code, none.errors]).toEqual([
      1,
      [`malt: ${fake.baseURL} does not list its models; name the one to ask with --model`],
    ]);
    expect(await sample(place, fake.baseURL, ["--model", "fake"]).ended).toMatchObject({
      code: 0,
      errors: [`malt: warning: ${fake.baseURL} does not list its models, so it is not known to serve "fake"`],
    });
    expect((await manifest(place)).counts).toMatchObject({ ok: 26, failed: 0 });
  });

  it("a refused key is one line with the server's words, without the key", async () => {
    const key = "sk-secret-0123456789abcdef";
    const refusal: Fault = { status: 401, body: JSON.stringify({ error: { message: `bad key ${key}` } }) };
    const fake = await fakeServer({ before: () => refusal });
    place.env.OPENAI_API_KEY = key;
    const { code, errors, stderr } = await sample(place, fake.baseURL).ended;
    expect(code).toBe(1);
    expect(errors).toEqual([expect.stringMatching(/answered HTTP 401 bad key \*\*\*; set OPENAI_API_KEY/)]);
    expect(stderr).not.toContain(key);
    expect(fake.requests.length).toBeLessThanOrEqual(2);
  });

  it.each<[string, string[], string]>([
    ["file", ["--questions", "nowhere.jsonl"], "nowhere.jsonl"],
    ["run name", ["--run", "../x"], 'run name "../x" is not allowed'],
    ["number", ["--branching", "2.5"], '--branching must be an integer ≥ 1, not "2.5"'],
    ["prompt set", ["--prompt-set", "poetry"], 'unknown prompt set "poetry"; known: arithmetic'],
    ["extra field", ["--extra-body", "{"], "--extra-body must be a JSON object"],
    ["concurrency", ["--concurrency", "many"], '--concurrency must be an integer ≥ 1, not "many"'],
    ["request mode", ["--request", "half"], '--request must be one of streamed, whole, single, not "half"'],
    ["list of prices", ["--prices", "1"], '--prices must be two or three numbers such as 0.15,0.60, not "1"'],
    ["URL", ["--base-url", "localhost:1"], 'base URL "localhost:1" is not an http(s) URL'],
  ])("a wrong %s is one line", async (_, args, words) => {
    const fake = await fakeServer();
    const { code, errors } = await sample(place, fake.baseURL, args).ended;
    expect(code).toBe(1);
    expect(errors).toEqual([expect.stringContaining(words)]);
    expect(errors[0]).toMatch(/^malt: /);
    expect(fake.requests).toEqual([]);
  });

  it("an unknown option points to the help", async () => {
    const { code, stderr } = await sample(place, "http://localhost:1", ["--temprature", "1"]).ended;
    expect(code).toBe(1);
    expect(stderr).toContain("Did you mean --temperature?");
    expect(stderr).toContain("--help");
  });
});

describe("under way", () => {
  const page = (type: string, body: string): Fault => ({ status: 200, type, body });
  const silence = new Promise<undefined>(() => {});
  const two = { choices: [0, 1].map((index) => ({ index, finish_reason: "stop", message: { content: "12" } })) };
  it.each<[string, Fault | Promise<undefined>, string, string[]?]>([
    [
      "an HTML page",
      page("text/html", "<html><script>alert(1)</script>"),
      "something that is not a completion: <html>",
    ],
    ["broken JSON", page("application/json", '{"choices": ['), "answered with broken JSON"],
    [
      "an answer without a choice",
      page("application/json", JSON.stringify(two)),
      "2 choices; choice 2 of 3 is missing",
    ],
    [
      "a stream that ends early",
      page("text/event-stream", 'data: {"choices":[]}\n\n'),
      "a stream that ended before",
      streamed,
    ],
    ["HTTP 500", { status: 500, body: '{"error":{"message":"out of memory"}}' }, "answered HTTP 500 out of memory"],
    ["a broken connection", "cut", "is the server running?"],
    ["headers that do not come", silence, "is the server running?", ["--timeout", "1"]],
    ["an answer that stops in its middle", "stall", "is the server running?", ["--stall", "1", "--request", "whole"]],
  ])(
    "%s for one state: the others go on, the failed are counted and asked by the next start",
    async (_, fault, words, more) => {
      const hit = about("1 + 11?");
      let broken = true;
      const fake = await fakeServer({ before: (r) => (broken && hit(r) && r.ordinal > 0 ? fault : undefined) });
      const { code, errors, stdout } = await sample(place, fake.baseURL, more ?? ["--request", "whole"]).ended;
      expect(code).toBe(1);
      expect(errors).toEqual([
        expect.stringMatching(/^malt: 1 of 26 requests failed, the first with: .*; run the same command/),
      ]);
      expect(errors[0]).toContain(words);
      expect(stdout).toContain("2 questions, 39 completions, 1 failed, 12 pending");
      expect((await manifest(place)).counts).toMatchObject({ asked: 26, ok: 13, failed: 1, pending: 12 });
      const first = fake.requests.length;
      broken = false;
      expect(await sample(place, fake.baseURL).ended).toMatchObject({ code: 0, errors: [] });
      expect(fake.requests.length - first).toBe(13);
      expect((await manifest(place)).counts).toMatchObject({
        asked: 26,
        ok: 26,
        failed: 0,
        pending: 0,
        completions: 78,
      });
    },
  );

  it("a question that the server refuses before anything else is named in the end; the others are sampled", async () => {
    await place.remove();
    place = await workplace(7);
    const long: Fault = { status: 400, body: '{"error":{"message":"maximum context length is 64 tokens, not 812"}}' };
    const hit = about("0 + 12?");
    const fake = await fakeServer({ before: (r) => (hit(r) ? long : undefined) });
    const first = await sample(place, fake.baseURL, ["--concurrency", "1"]).ended;
    expect(first.code).toBe(1);
    expect(first.errors).toEqual([
      `malt: 1 of 91 requests failed; refused for good: question "q0" (${fake.baseURL} answered HTTP 400 maximum context ` +
        "length is 64 tokens, not 812; serve the model with a larger context, lower --max-tokens, or leave such " +
        "questions out); malt export --run r leaves out their trees",
    ]);
    expect((await manifest(place)).counts).toMatchObject({ asked: 91, ok: 78, failed: 1, pending: 12 });

    const before = fake.requests.length;
    const again = await sample(place, fake.baseURL, ["--concurrency", "1"]).ended;
    expect([again.code, again.errors]).toEqual([1, first.errors]);
    expect(fake.requests.length - before).toBe(1);

    const { trees } = await exportRun(folder(place));
    expect(trees).toEqual({ complete: 6, incomplete: 1 });
    const dataset = await openDataset(folder(place));
    const rows = await dataset.query("SELECT question_id FROM sft UNION SELECT question_id FROM dpo ORDER BY 1");
    expect(rows.map(({ question_id }) => question_id)).toEqual(["q1", "q2", "q3", "q4", "q5", "q6"]);
    dataset.close();
  });

  it("the whole loop goes on without a question that is refused, and says so", async () => {
    const hit = about("0 + 12?");
    const fake = await fakeServer({ before: (r) => (hit(r) ? { status: 413, body: "" } : undefined) });
    const where = ["--base-url", fake.baseURL, "--questions", place.questions, "--no-train", "--run", "r"];
    const { code, stderr, stdout } = await malt(place, ["reproduce", ...where]).ended;
    expect(code).toBe(0);
    expect(stderr).toMatch(/\nmalt: going on without the refused questions: 1 of 26 requests failed.*"q0".*HTTP 413/);
    expect(stdout).toContain("1 complete trees, 1 incomplete (in no example or pair)");
  });

  it("a server that refuses every question is given up after five, which is said", async () => {
    await place.remove();
    place = await workplace(30);
    const fake = await fakeServer({
      before: () => ({ status: 400, body: '{"error":{"message":"unknown field top_k"}}' }),
    });
    const { code, errors } = await sample(place, fake.baseURL).ended;
    expect(code).toBe(1);
    expect(errors).toEqual([
      expect.stringMatching(
        /HTTP 400 unknown field top_k; change what it names.*; gave up, because 5 different questions/,
      ),
    ]);
    expect(fake.requests.length).toBeLessThanOrEqual(5 + 3);
  });

  it("a server that dies stops the run with one line, nothing lost; when it is back, the run goes on", async () => {
    const [whole, cut] = [await workplace(4), await workplace(4)];
    const reference = await fakeServer();
    await sample(whole, reference.baseURL).ended;

    const dying = await fakeServer({ before: ({ ordinal }) => (ordinal >= 9 ? "reset" : undefined) });
    const { code, errors } = await sample(cut, dying.baseURL, ["--concurrency", "1"]).ended;
    expect(code).toBe(1);
    expect(errors).toEqual([expect.stringMatching(/^malt: no answer from .*is the server running\?$/)]);
    const { counts } = await manifest(cut);
    expect(counts.ok).toBe(9);
    expect(counts.ok + counts.failed + counts.pending).toBe(52);
    expect(await journal(cut)).toHaveLength(27);

    // Another port: where it is served may change.
    const back = await fakeServer();
    expect(await sample(cut, back.baseURL).ended).toMatchObject({ code: 0, errors: [] });
    expect(back.requests).toHaveLength(43);
    expect(await journal(cut)).toEqual(await journal(whole));
    await Promise.all([whole.remove(), cut.remove()]);
  });

  it("429 with Retry-After is waited out and recorded as a retry", async () => {
    const busy: Fault = { status: 429, headers: { "retry-after": "0" }, body: '{"error":{"message":"slow down"}}' };
    const fake = await fakeServer({ before: ({ ordinal }) => (ordinal < 2 ? busy : undefined) });
    const args = ["--max-retries", "5", "--concurrency", "1"];
    expect(await sample(place, fake.baseURL, args).ended).toMatchObject({ code: 0, errors: [] });
    expect((await manifest(place)).counts).toMatchObject({ ok: 26, retries: 2 });
    expect((await journal(place)).map(({ retries }) => retries).filter(Boolean)).toEqual([2, 2, 2]);
  });

  it("empty and cut-off texts are results", async () => {
    const reply = (_: unknown, seed: number) =>
      seed % 2 === 0 ? { text: "" } : { text: "and so on", finish_reason: "length" };
    const fake = await fakeServer({ reply });
    const { code, stdout } = await sample(place, fake.baseURL).ended;
    expect(code).toBe(0);
    const cutOff = (await journal(place)).filter((entry) => entry.finish_reason === "length").length;
    expect(stdout).toContain(`78 completions, 0 failed, 0 pending, ${cutOff} truncated`);
    expect(fake.requests).toHaveLength(26);
  });

  it("ends made by a filter or a call of a tool are results, and are counted", async () => {
    const ends = ["stop", "content_filter", "tool_calls"];
    const fake = await fakeServer({ reply: (_, seed) => ({ text: `${seed}`, finish_reason: ends[seed % 3]! }) });
    const { code, stdout } = await sample(place, fake.baseURL).ended;
    expect(code).toBe(0);
    const number = (end: string) => journalled.filter((entry) => entry.finish_reason === end).length;
    const journalled = await journal(place);
    expect(stdout).toContain(
      `0 truncated, ${number("content_filter")} ended by content_filter, ${number("tool_calls")} ended in tool_calls, `,
    );
    expect((await manifest(place)).counts).toMatchObject({ content_filter: number("content_filter"), truncated: 0 });
    expect(fake.requests).toHaveLength(26);
  });

  it("the key is sent, and is in no file and no output", async () => {
    const key = "sk-secret-0123456789abcdef";
    place.env.OPENAI_API_KEY = key;
    // Refiners are kept waiting until eleven are in flight, which two questions have.
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let waiting = 0;
    const fake = await fakeServer({
      before: async (request) => {
        if (!about("Critique:")(request)) return undefined;
        if (++waiting === 11) open();
        await gate;
        return undefined;
      },
    });
    place.env.OPENAI_BASE_URL = fake.baseURL;
    const args = ["sample", "--questions", place.questions, "--run", "r"];
    const { code, stdout, stderr, errors } = await malt(place, args).ended;
    expect(code).toBe(0);
    // Nor a warning of Node, at this profile's 64 requests in flight.
    expect(errors).toEqual([]);
    expect(fake.peak).toBeGreaterThan(10);
    expect(fake.requests.every(({ headers }) => headers.authorization === `Bearer ${key}`)).toBe(true);
    for (const [path, content] of await files(place.outputs)) expect(content, path).not.toContain(key);
    expect(stdout + stderr).not.toContain(key);
  });
});
