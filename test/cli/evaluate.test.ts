import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { register as evaluate } from "../../src/cli/evaluate.js";
import { register as report } from "../../src/cli/report.js";
import { MaltError } from "../../src/errors.js";
import { readManifest } from "../../src/run/manifest.js";
import { type FakeOptions, type FakeServer, startFakeServer } from "../fake-server.js";
import { heldOut } from "../team.js";
import { trainingRun } from "../train/run.js";

const outputs = await mkdtemp(join(tmpdir(), "malt-cli-evaluate-"));
const questions = join(outputs, "test.jsonl");
await writeFile(
  questions,
  heldOut.map(({ id, question, answer }) => `${JSON.stringify({ id, question, answer })}\n`).join(""),
);
afterAll(() => rm(outputs, { recursive: true, force: true }));

let said = "";
beforeEach(() => {
  said = "";
  for (const name of ["OPENAI_BASE_URL", "OPENAI_API_KEY"]) vi.stubEnv(name, "");
  vi.stubEnv("MALT_OUTPUTS", outputs);
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    said += text;
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
});
const servers: FakeServer[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  for (const server of servers.splice(0)) await server.stop();
});

async function fakeServer(options: FakeOptions = {}): Promise<FakeServer> {
  const server = await startFakeServer({ models: ["malt-tiny"], ...options });
  servers.push(server);
  return server;
}

/** `malt <args>` in this process; resolves to what it prints, rejects with what the command line would print as one line. */
async function malt(...args: string[]): Promise<string> {
  const program = new Command("malt");
  for (const register of [evaluate, report]) register(program);
  await program.parseAsync(args, { from: "user" });
  return said;
}

let runs = 0;
async function run(adapters: string[] = []): Promise<string> {
  const name = `run-${runs++}`;
  const dir = await trainingRun(outputs, name);
  for (const adapter of adapters) {
    await mkdir(join(dir, "train", adapter));
    await writeFile(join(dir, "train", adapter, "done.json"), JSON.stringify({ sha256: "a".repeat(64) }));
  }
  return name;
}

describe("malt evaluate", () => {
  it("prints the systems in the order asked, and report prints them again after the server is gone", async () => {
    const server = await fakeServer();
    const name = await run();
    const args = ["--run", name, "--base-url", server.baseURL, "--questions", questions, "--seeds", "2", "--size", "3"];
    const first = await malt("evaluate", ...args, "--systems", "MA+MV, debate, SA+MV", "--seed", "7");
    expect(first).toMatch(/^MA\+MV .*\ndebate .*\nSA\+MV .*\n/m);
    // 3 questions, 2 seeds, 9 completions of the team and 6 more of the debate, which begins with the team's answers.
    expect(first).toMatch(/90 completions sampled in .* s; in .*evaluation\.parquet\n$/);
    expect((await readManifest(join(outputs, "runs", name))).evaluation!.own).toMatchObject({
      seeds: [7, 8],
      size: 3,
      prompt_set: "gsm8k",
      sampling: { temperature: 0.3, max_tokens: 1024 },
    });
    await server.stop();
    said = "";
    const printed = await malt("report", "--run", name);
    expect(printed).toContain(
      "evaluation of malt-tiny on own; turns before the last are read by the answer they state",
    );
    expect(printed).toMatch(/^debate {2,}\d+\.\d\d ± \d+\.\d\d {2,}86\.75 /m);
    expect(printed).not.toMatch(/passes that .* corrects/);
    said = "";
    const examples = await malt("report", "--run", name, "--examples", "1");
    const title =
      /^(\d+) passes that MA\+MV corrects, the first 1:\n\nMA\+MV, question test-\d, seed [78], pass [123]\n/m;
    expect(Number(title.exec(examples)?.[1])).toBeGreaterThan(0);
    expect(examples).toMatch(/^question \(answer: 12\)\n {4}Unseen \d: what is .*\ngenerator \(.*\)\n {4}/m);
    await expect(malt("report", "--run", name, "--changes")).rejects.toThrow(
      "--changes compares two runs, received 1; write --run FIRST SECOND --changes",
    );
    said = "";
    const health = await malt("report", "--run", "data/recorded-prompts/unstated-t1.0", "--health");
    expect(health).toMatch(/^Health of run unstated-t1\.0: \d+ to mend, \d+ to look at, \d+ ok$/m);
    expect(health).toMatch(/^cut off: npx malt sample --run unstated-t1\.0-2 --max-tokens 800/m);
    said = "";
    const again = await malt("evaluate", ...args, "--systems", "SA", "--seed", "7");
    expect(again).toContain("nothing was sampled");
    expect(again).toMatch(
      /replace the earlier evaluation of own: MA\+MV, debate, SA\+MV on 3 questions of .*, seeds 7, 8\./,
    );
  });

  it("asks a server that gives one choice per request for each of them, and gets the same evaluation", async () => {
    const [whole, single] = await Promise.all([run(), run()]);
    const honest = await fakeServer();
    const lean = await fakeServer({ change: (answer) => ({ ...answer, choices: answer.choices.slice(0, 1) }) });
    const args = ["--questions", questions, "--seeds", "1", "--size", "3", "--systems", "MA+MV,debate"];
    await malt("evaluate", "--run", whole, "--base-url", honest.baseURL, ...args);
    await malt("evaluate", "--run", single, "--base-url", lean.baseURL, ...args, "--request", "single");
    expect(honest.requests.some(({ body }) => body.n === 3)).toBe(true);
    expect(lean.requests.every(({ body }) => body.n === 1)).toBe(true);
    const table = (name: string) => readFile(join(outputs, "runs", name, "evaluation.parquet"));
    expect((await table(single)).equals(await table(whole))).toBe(true);
  });

  it("--on openai asks for the models that a fine-tuning service has made, by their own names", async () => {
    const server = await fakeServer({ models: ["gpt-base", "ft:generator", "ft:verifier"], owner: "openai" });
    const name = await run();
    const stage = (start: string, model: string | null) => ({
      ...{
        key: "k",
        model: start,
        job: "ftjob-1",
        status: model === null ? "failed" : "succeeded",
        fine_tuned_model: model,
      },
      file: { name: "f.jsonl", sha256: "0", bytes: 1, rows: 1, id: "file-1" },
      method: { type: "supervised" },
      ...{ trained_tokens: 1, error: null, checkpoints: [] },
    });
    const state = {
      schema: 1,
      service: server.baseURL,
      stages: {
        "generator-sft": stage("gpt-base", "ft:generator"),
        "verifier-sft": stage("gpt-base", "ft:sft"),
        "verifier-dpo": stage("ft:sft", "ft:verifier"),
        "refiner-dpo": stage("gpt-base", null),
      },
      earlier: [],
    };
    await writeFile(join(outputs, "runs", name, "train", "service.json"), JSON.stringify(state));
    const args = ["--run", name, "--on", "openai", "--questions", questions, "--seeds", "1", "--size", "2"];
    await expect(malt("evaluate", ...args, "--systems", "MALT")).rejects.toThrow(/has no trained refiner-dpo/);
    const printed = await malt("evaluate", ...args, "--systems", "SA,mix GV");
    expect(printed).toMatch(/^mix GV /m);
    const askedFor = new Set(server.requests.map(({ body }) => body.model));
    expect([...askedFor].sort()).toEqual(["ft:generator", "ft:verifier", "gpt-base"]);
  });

  it("keeps benchmarks apart, and report shows them all or one", async () => {
    const server = await fakeServer();
    const name = await run();
    const given = [
      "--run",
      name,
      "--base-url",
      server.baseURL,
      "--questions",
      questions,
      "--seeds",
      "1",
      "--size",
      "3",
    ];
    for (const benchmark of ["gsm8k", "gsm_symbolic-p1"]) {
      said = "";
      const printed = await malt("evaluate", ...given, "--systems", "SA,SA+MV", "--benchmark", benchmark);
      expect(printed).not.toContain("replace");
    }
    said = "";
    const all = await malt("report", "--run", name);
    const [first, second] = all.split("evaluation of malt-tiny on gsm_symbolic-p1;");
    expect(first).toContain("evaluation of malt-tiny on gsm8k;");
    expect(first).toMatch(/^system .* Llama-3\.1-8B GSM8K {2,}Qwen-2\.5-1\.5B GSM8K$/m);
    expect(first).not.toMatch(/MATH|Symbolic/);
    expect(second).toMatch(/^SA\+MV {2,}\d+\.\d\d {2,}73\.75 ± 2\.38/m);
    said = "";
    expect(await malt("report", "--run", name, "--benchmark", "gsm_symbolic-p1")).toBe(
      `evaluation of malt-tiny on gsm_symbolic-p1;${second}`,
    );
    await expect(malt("report", "--run", name, "--benchmark", "math")).rejects.toThrow(
      'no evaluation on benchmark "math" in ',
    );
  });

  it("asks with the prompts of a file", async () => {
    const server = await fakeServer();
    const file = join(outputs, "mine.yaml");
    const roles =
      "generator: 'G {question}'\nverifier: 'V {question} {answer}'\nrefiner: 'R {question} {answer} {critique}'\n";
    await writeFile(file, `system: {generator: You solve.}\n${roles}`);
    const args = ["--run", await run(), "--base-url", server.baseURL, "--questions", questions, "--seeds", "1"];
    await malt("evaluate", ...args, "--systems", "MA", "--prompt-set", file);
    const asked = server.requests.map(({ body }) => body.messages.map(({ content }) => content.slice(0, 10)));
    expect(asked).toContainEqual(["You solve.", expect.stringMatching(/^G Unseen/)]);
    expect(asked).toContainEqual([expect.stringMatching(/^R Unseen/)]);
  });

  it("asks another model to judge, with the key it needs", async () => {
    const [server, judge] = [
      await fakeServer(),
      await fakeServer({ models: ["gpt-4"], reply: () => ({ text: "Hm." }) }),
    ];
    vi.stubEnv("OPENAI_API_KEY", "sk-judge");
    const name = await run();
    const args = ["--run", name, "--base-url", server.baseURL, "--questions", questions, "--seeds", "1"];
    const text = await malt(
      "evaluate",
      ...args,
      "--systems",
      "MA",
      "--judge",
      "llm",
      "--judge-base-url",
      judge.baseURL,
    );
    expect(text).toContain("12 turns before the last without a verdict");
    expect(judge.requests.length).toBeGreaterThan(0);
    expect(judge.requests.every(({ headers }) => headers.authorization === "Bearer sk-judge")).toBe(true);
    said = "";
    expect(await malt("report", "--run", name)).toContain("read by gpt-4");
  });

  it("compares with another model, which answers alone at its own server, with the key it needs", async () => {
    const reply = () => ({ text: "Final Answer: 1" });
    const [server, larger] = [await fakeServer(), await fakeServer({ models: ["llama-70b"], reply })];
    vi.stubEnv("OPENAI_API_KEY", "sk-larger");
    const name = await run();
    const args = ["--run", name, "--base-url", server.baseURL, "--questions", questions, "--seeds", "1"];
    const text = await malt("evaluate", ...args, "--systems", "SA,MA", "--comparator-base-url", larger.baseURL);
    expect(text).toMatch(/^SA .*\nMA .*\nSA of llama-70b .*\n/m);
    expect(larger.requests.map(({ body }) => body.model)).toEqual(heldOut.map(() => "llama-70b"));
    expect(larger.requests[0]!.headers.authorization).toBe("Bearer sk-larger");
    const { systems } = (await readManifest(join(outputs, "runs", name))).evaluation!.own as { systems: unknown[] };
    expect(systems.at(-1)).toMatchObject({ name: "SA of llama-70b", votes: 1, model: "llama-70b" });
    const asked = server.requests.length;
    said = "";
    await malt("evaluate", ...args, "--systems", "SA,MA", "--comparator-base-url", larger.baseURL);
    expect([server.requests.length, larger.requests.length]).toEqual([asked, heldOut.length]);
  });

  it("compares with another model of the same server, and refuses the run's own", async () => {
    const server = await fakeServer({ models: ["malt-tiny", "llama-70b"] });
    const name = await run();
    const args = [
      "--run",
      name,
      "--base-url",
      server.baseURL,
      "--questions",
      questions,
      "--seeds",
      "1",
      "--systems",
      "SA",
    ];
    await malt("evaluate", ...args, "--comparator-model", "llama-70b");
    expect(server.requests.map(({ body }) => body.model).sort()).toEqual(
      ["llama-70b", "malt-tiny"].flatMap((model) => heldOut.map(() => model)),
    );
    await expect(malt("evaluate", ...args, "--comparator-model", "malt-tiny")).rejects.toThrow(
      '"malt-tiny" is the run\'s own model; a comparator is another one',
    );
    await expect(malt("evaluate", ...args, "--comparator-model", "llama-7")).rejects.toThrow(
      'model "llama-7" is not served at',
    );
  });

  it("passes adapters' folders to vLLM, and its refusal on", async () => {
    const refuse = () => ({ fault: { status: 404, body: '{"detail":"Not Found"}' } });
    const server = await fakeServer({ owner: "vllm", pages: { "/v1/load_lora_adapter": refuse } });
    const name = await run(["generator-sft"]);
    const args = ["--run", name, "--base-url", server.baseURL, "--questions", questions, "--seeds", "1"];
    const folder = join(outputs, "runs", name, "train", "generator-sft");
    await expect(malt("evaluate", ...args, "--systems", "STaR SA")).rejects.toThrow(
      `refused adapter "generator-sft-aaaaaaaaaaaa" at ${folder}`,
    );
    expect(server.requests).toEqual([]);
  });

  it.each<[string, string[], string]>([
    ["system", ["--systems", "MA,MLAT"], 'unknown system "MLAT"; known: main, debate, mixes'],
    ["team", ["--systems", "MALT"], "has no trained refiner-dpo, verifier-dpo; train with `malt train --run "],
    ["extra team", ["--systems", "generator SFT+DPO"], "--generator-dpo`, or choose --systems that need none"],
    [
      "control of it",
      ["--systems", "generator STaR"],
      "has no trained generator-star; train with `malt train --run run-",
    ],
    ["same", ["--systems", "generator STaR"], "--generator-dpo`, or choose"],
    ["vote", ["--systems", "SA+MV equal tokens"], 'the tokens of "MALT", which is not evaluated'],
    ["profile", ["--profile", "smollm2"], 'profile "smollm2" does not serve malt-tiny, which run '],
    ["judge", ["--judge-model", "gpt-4"], "--judge-base-url and --judge-model need --judge llm"],
    ["way to judge", ["--judge", "me"], '--judge must be one of own, llm, not "me"'],
    ["file", ["--questions", "nowhere.jsonl"], "nowhere.jsonl"],
    ["prompt set", ["--prompt-set", "poetry"], 'unknown prompt set "poetry"'],
    ["adapter for the embedded server", ["--systems", "STaR SA"], "has no GGUF file in"],
  ])("says in one line what is wrong with the %s, and writes nothing", async (what, args, words) => {
    const name = await run(["generator-sft"]);
    // Without a server the embedded one would be started; all of this is found before.
    const server = what === "profile" || what.startsWith("adapter") ? null : await fakeServer();
    const where = server ? ["--base-url", server.baseURL] : [];
    const given = ["--run", name, "--questions", questions, "--systems", "SA", ...where, ...args];
    const error = await malt("evaluate", ...given).catch((e: Error) => e);
    expect(error).toBeInstanceOf(MaltError);
    expect((error as Error).message).toContain(words);
    expect(server?.requests ?? []).toEqual([]);
    expect(existsSync(join(outputs, "runs", name, "evaluation.parquet"))).toBe(false);
  });

  it("asks which split of a file that holds several, and keeps that one", async () => {
    const server = await fakeServer();
    const rows = heldOut.map(({ id, question, answer }, i) => ({
      id,
      question,
      answer,
      split: i === 0 ? "train" : "test",
    }));
    const both = join(outputs, "both.jsonl");
    await writeFile(both, rows.map((row) => JSON.stringify(row)).join("\n"));
    const name = await run();
    const args = ["--run", name, "--base-url", server.baseURL, "--questions", both, "--seeds", "1", "--systems", "SA"];
    vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    await expect(malt("evaluate", ...args)).rejects.toThrow(/splits train and test; give --split test/);
    await malt("evaluate", ...args, "--split", "test", "--benchmark", "GSM8K");
    expect((await readManifest(join(outputs, "runs", name))).evaluation!.gsm8k).toMatchObject({
      benchmark: "gsm8k",
      questions: rows.length - 1,
    });
  });

  it("needs a file of questions for a benchmark that is not the project's own", async () => {
    const server = await fakeServer();
    const given = ["--run", await run(), "--base-url", server.baseURL, "--systems", "SA"];
    await expect(malt("evaluate", ...given)).rejects.toThrow(
      "benchmark sums has no default test questions; give --questions",
    );
  });
});
