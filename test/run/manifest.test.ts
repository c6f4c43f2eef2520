import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { questionsJsonl } from "../../src/benchmarks/list.js";
import { InputError, RunError } from "../../src/errors.js";
import { differences, requireSame } from "../../src/run/differences.js";
import {
  hash,
  type Manifest,
  promptSetOf,
  readManifest,
  readQuestions,
  runDir,
  streamQuestions,
  writeManifest,
  writeQuestions,
} from "../../src/run/manifest.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, type PromptSet, promptSetHash, type Template } from "../../src/team/prompts.js";
import type { Question } from "../../src/types.js";

const questions: Question[] = [
  { id: "a", benchmark: "own", split: "train", question: "2 + 2?", choices: null, answer: "4" },
  { id: "b", benchmark: "own", split: "train", question: "U+2028:\u2028", choices: ["x", "y"], answer: "A" },
];
const manifest: Manifest = {
  schema: 1,
  run: "first",
  created: "2026-01-01T00:00:00.000Z",
  config: {
    base_url: "http://localhost:8000/v1",
    policy: { model: "fake", adapter: null },
    sampling: defaultSampling,
    roles: maltRoles(),
    prompt_set: "gsm8k",
    seed: 0,
    concurrency: 16,
  },
  benchmark: {
    name: "own",
    source: "questions.jsonl",
    sha256: hash("file"),
    questions: 2,
    questions_sha256: hash(questionsJsonl(questions)),
  },
  prompt_set_hash: hash("prompts"),
  server: { owner: "vllm", build: "0.11.0" },
  versions: { malt: "0.1.0", node: "20.20.2", git: null },
  counts: {
    asked: 26,
    ok: 0,
    failed: 0,
    pending: 26,
    completions: 0,
    truncated: 0,
    retries: 0,
    completion_tokens: 0,
  },
  wall_seconds: 0,
};

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "malt-run-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("a run's name", () => {
  it("is a folder under outputs/runs", () => {
    expect(runDir("gsm8k-n3.v2_a", "out")).toBe(join("out", "runs", "gsm8k-n3.v2_a"));
    expect(runDir("a".repeat(64), "out")).toContain("a".repeat(64));
  });
  it.each(["", ".", "..", "../x", "a/b", "A", "-a", ".a", "a b", "ä", "a\n", "a".repeat(65)])(
    "%j is refused",
    (name) => {
      expect(() => runDir(name)).toThrow(InputError);
    },
  );
});

describe("the manifest", () => {
  it("is read back as it was written, with sections of later steps, leaving no draft behind", async () => {
    const extended = { ...manifest, export: { nodes: 78 } };
    await writeManifest(dir, manifest);
    await writeManifest(dir, extended);
    expect(await readManifest(dir)).toEqual(extended);
    expect(await readdir(dir)).toEqual(["run.json"]);
  });

  it("that is missing or damaged is a RunError", async () => {
    await expect(readManifest(dir)).rejects.toThrow(/no run.json in .*; sample the run first/);
    for (const text of ["", "{", "[]", JSON.stringify({ ...manifest, schema: 2 })]) {
      await writeFile(join(dir, "run.json"), text);
      await expect(readManifest(dir)).rejects.toBeInstanceOf(RunError);
    }
    await writeFile(join(dir, "run.json"), JSON.stringify({ ...manifest, config: { ...manifest.config, seed: "x" } }));
    await expect(readManifest(dir)).rejects.toThrow("config.seed");
  });
});

describe("a resume", () => {
  const { config, benchmark } = manifest;
  it("may change where and how fast it samples", () => {
    const moved = { ...config, base_url: "http://elsewhere/v1", concurrency: 2 };
    expect(differences(manifest, { ...manifest, config: moved, wall_seconds: 9, created: "later" })).toEqual([]);
    const reordered = JSON.parse(JSON.stringify(manifest)) as Manifest;
    reordered.config.sampling.extra = Object.fromEntries(Object.entries(defaultSampling.extra).reverse());
    expect(differences(manifest, reordered)).toEqual([]);
  });

  it.each<[string, Manifest, string]>([
    [
      "temperature",
      { ...manifest, config: { ...config, sampling: { ...defaultSampling, temperature: 0.7 } } },
      "sampling.temperature: 0.3 → 0.7",
    ],
    [
      "a field beyond the API",
      {
        ...manifest,
        config: { ...config, sampling: { ...defaultSampling, extra: { ...defaultSampling.extra, top_k: 5 } } },
      },
      "sampling.extra.top_k: -1 → 5",
    ],
    ["seed", { ...manifest, config: { ...config, seed: 1 } }, "seed: 0 → 1"],
    [
      "model",
      { ...manifest, config: { ...config, policy: { model: "other", adapter: null } } },
      'policy.model: "fake" → "other"',
    ],
    [
      "adapter",
      { ...manifest, config: { ...config, policy: { model: "fake", adapter: { name: "v1", sha256: "00" } } } },
      'policy.adapter.name: none → "v1"',
    ],
    ["branching", { ...manifest, config: { ...config, roles: maltRoles(2) } }, "roles.0.branching: 3 → 2"],
    ["roles", { ...manifest, config: { ...config, roles: maltRoles().slice(0, 2) } }, 'roles.2.name: "refiner" → none'],
    ["prompts", { ...manifest, prompt_set_hash: hash("reworded") }, "prompt_set_hash"],
    ["questions", { ...manifest, benchmark: { ...benchmark, questions: 3 } }, "benchmark.questions: 2 → 3"],
  ])("under another %s is refused with the difference shown", (_, next, line) => {
    expect(differences(manifest, next).join("; ")).toContain(line);
    expect(() => requireSame(manifest, next)).toThrow(line);
    expect(() => requireSame(manifest, next)).toThrow(RunError);
  });
});

describe("the prompts of a run", () => {
  const set = promptSet("gsm8k");
  const sampledWith = (prompts: PromptSet, kept = true): Manifest => ({
    ...manifest,
    config: { ...manifest.config, prompt_set: prompts.name, ...(kept && { prompts }) },
    prompt_set_hash: promptSetHash(prompts),
  });
  const mine = { ...set, generator: "Solve this: {question}" };

  it("are those in run.json, whatever set has their name, field by field as they were given", async () => {
    const odd = { ...mine, emptyCritique: "", system: { refiner: "R", verifier: "", generator: "G" }, note: "a field" };
    await writeManifest(dir, sampledWith(odd));
    expect(promptSetOf(await readManifest(dir))).toEqual(odd);
  });

  it("of an earlier version are the built-in ones of their name, if these have not changed since", () => {
    expect(promptSetOf(sampledWith(set, false))).toBe(set);
    const words = new RegExp(
      `run "first" was sampled with prompt set "gsm8k" of SHA-256 ${promptSetHash(mine)}, and this version's has ` +
        `${promptSetHash(set)}; export it with the set .*--prompt-set FILE`,
    );
    expect(() => promptSetOf(sampledWith(mine, false))).toThrow(words);
    expect(() => promptSetOf(sampledWith(mine, false))).toThrow(RunError);
    expect(promptSetOf(sampledWith(mine, false), mine)).toBe(mine);
    expect(() => promptSetOf(sampledWith(mine, false), set)).toThrow("the set that is given has");
  });

  it.each(["poetry", "constructor"])("of an earlier version and the unknown name %s are asked for", (name) => {
    expect(() => promptSetOf(sampledWith({ ...mine, name }, false))).toThrow(
      "neither run.json nor this version has a set of that name; export it with",
    );
  });

  it("are refused where run.json was edited, its hash or its texts", () => {
    const edited = { ...sampledWith(mine), prompt_set_hash: promptSetHash(set) };
    expect(() => promptSetOf(edited)).toThrow(
      /the set in its run\.json has [0-9a-f]{64}; restore run\.json, or export/,
    );
    const retouched = { ...sampledWith(mine), config: { ...sampledWith(mine).config, prompts: set } };
    expect(() => promptSetOf(retouched)).toThrow(RunError);
    expect(promptSetOf(retouched, mine)).toBe(mine);
  });

  it("that were changed are refused on resuming, and it is shown which texts differ, and where", () => {
    const system = { ...(set.system as Record<Template, string>), verifier: "You are kind." };
    const next = { ...set, system, refiner: set.refiner.replace("step by step", "in one step") };
    const lines = differences(sampledWith(set), sampledWith(next));
    expect(lines.map((line) => line.split(":")[0])).toEqual([
      ...["prompts.system.verifier", "prompts.refiner", "prompt_set_hash"],
    ]);
    expect(lines[1]).toMatch(/^prompts\.refiner: ….*step by step.*… → ….*in one step.*…$/);
    expect(lines[1]!.length).toBeLessThan(200);
    expect(() => requireSame(sampledWith(set), sampledWith(next))).toThrow('→ "You are kind."');
  });

  it("may be missing in a run of an earlier version that is resumed", () => {
    expect(differences(sampledWith(set, false), sampledWith(set))).toEqual([]);
    expect(differences(sampledWith(set, false), sampledWith(mine)).join()).toContain("prompt_set_hash");
  });

  it("told a refiner without a critic in earlier versions that there is no critique", async () => {
    const roles = maltRoles().filter(({ name }) => name !== "verifier");
    const alone = roles.map((role) => ({ ...role, critique: null }));
    const run = (prompts: boolean) => ({
      ...sampledWith(set, prompts),
      config: { ...sampledWith(set, prompts).config, roles: alone },
    });
    await writeManifest(dir, run(false));
    expect((await readManifest(dir)).config.roles.map((role) => role.missingCritique)).toEqual([undefined, "told"]);
    await writeManifest(dir, run(true));
    expect((await readManifest(dir)).config.roles).toEqual(alone);
  });
});

describe("the questions of a run", () => {
  it("are read back as they were written", async () => {
    await writeManifest(dir, manifest);
    await writeQuestions(dir, questions);
    expect(await readQuestions(dir)).toEqual(questions);
  });
  it("are written and read as a stream, counted and hashed on the way", async () => {
    const many = Array.from({ length: 1000 }, (_, i): Question => ({ ...questions[i % 2]!, id: `${i}` }));
    async function* source() {
      yield* many;
    }
    const written = await writeQuestions(dir, source());
    expect(written).toEqual({ questions: 1000, questions_sha256: hash(questionsJsonl(many)) });
    expect(await readFile(join(dir, "questions.jsonl"), "utf8")).toBe(questionsJsonl(many));
    await writeManifest(dir, { ...manifest, benchmark: { ...manifest.benchmark, ...written } });
    const read: Question[] = [];
    for await (const question of streamQuestions(dir)) read.push(question);
    expect(read).toEqual(many);
  });
  it("that cannot be read to the end leave what was there, and no draft", async () => {
    await writeQuestions(dir, questions);
    async function* source() {
      yield questions[1]!;
      throw new InputError("line 2 is no question");
    }
    await expect(writeQuestions(dir, source())).rejects.toThrow(new InputError("line 2 is no question"));
    expect(await readdir(dir)).toEqual(["questions.jsonl"]);
    expect(await readFile(join(dir, "questions.jsonl"), "utf8")).toBe(questionsJsonl(questions));
  });
  it("that are missing are a RunError before the first", async () => {
    await writeManifest(dir, manifest);
    await expect(streamQuestions(dir).next()).rejects.toThrow(
      /cannot read .*questions.jsonl: .*; sample the run first/,
    );
  });
  it("that were changed afterwards are refused", async () => {
    await writeManifest(dir, manifest);
    await writeQuestions(dir, questions);
    const path = join(dir, "questions.jsonl");
    await writeFile(path, (await readFile(path, "utf8")).replace("2 + 2", "2 + 3"));
    await expect(readQuestions(dir)).rejects.toThrow(/is not the file this run was sampled from/);
  });
});
