import { appendFile, cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { questionList } from "../../src/benchmarks/list.js";
import { exportRun } from "../../src/dataset/export.js";
import { InputError, RunError } from "../../src/errors.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { readManifest, readQuestions, runDir } from "../../src/run/manifest.js";
import { type SampleRunOptions, sampleRun } from "../../src/sample/sample.js";
import { mergeShards, parseShard, shardOf } from "../../src/sample/shards.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Question } from "../../src/types.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";

/** Seven questions, which three shards share as 3 + 2 + 2; every third has choices and is of another benchmark. */
const questions = Array.from(
  { length: 7 },
  (_, i): Question => ({
    id: `q${i}`,
    benchmark: i % 3 === 0 ? "choice" : "own",
    split: "train",
    question: `${i} + ${12 - i}?`,
    choices: i % 3 === 0 ? ["12", "13"] : null,
    answer: i % 3 === 0 ? "A" : "12",
  }),
);

let fake: FakeServer;
let home: string;
/** Outputs folders with the shards of "run", and with "run" sampled as a whole. */
let original: string;
let unsharded: string;
/** A copy of it, made for each test. */
let outputs: string;
let refuse = new Set<string>();

const sample = (at: string, part: Pick<SampleRunOptions, "run" | "questions" | "promptSet" | "shard">) =>
  sampleRun({
    ...part,
    outputs: at,
    source: { path: "questions.jsonl", sha256: null },
    policy: openaiPolicy({ baseURL: fake.baseURL, apiKey: null, maxRetries: 0 }),
    model: "fake",
    roles: maltRoles(2),
    concurrency: 4,
  });
const shard = async (index: number, of = 3, run = "run", all = questions) =>
  shardOf(run, await questionList(all), { index, of });
/** Name of the run that samples a shard. */
const named = (index: number, of = 3) => `run.shard-${index}-of-${of}`;
const folder = (name: string) => runDir(name, outputs);

beforeAll(async () => {
  fake = await startFakeServer({
    before: ({ body }) =>
      [...refuse].some((text) => JSON.stringify(body.messages).includes(text))
        ? { status: 500, body: "busy" }
        : undefined,
  });
  home = await mkdtemp(join(tmpdir(), "malt-shards-"));
  [original, unsharded] = [join(home, "original"), join(home, "unsharded")];
  await sample(unsharded, { run: "run", questions });
  for (const index of [1, 2, 3]) await sample(original, await shard(index));
});
beforeEach(async () => {
  refuse = new Set();
  outputs = await mkdtemp(join(home, "copy-"));
  await cp(original, outputs, { recursive: true });
});
afterAll(async () => {
  await fake.stop();
  await rm(home, { recursive: true, force: true });
});

/** Every exported file of a run with its content. */
async function exported(dir: string): Promise<Map<string, string>> {
  const { files } = await exportRun(dir);
  const contents = files.map(async (file) => [file, await readFile(join(dir, file), "latin1")] as const);
  return new Map(await Promise.all(contents));
}

const whole = () => readManifest(runDir("run", unsharded));
const isHidden = (name: string) => name.startsWith(".");

describe("a shard", () => {
  it("is every N-th question, from the i-th on, and knows the run it belongs to", async () => {
    const ids = async (index: number) => (await readQuestions(folder(named(index)))).map(({ id }) => id);
    expect(await Promise.all([1, 2, 3].map(ids))).toEqual([
      ["q0", "q3", "q6"],
      ["q1", "q4"],
      ["q2", "q5"],
    ]);
    const manifest = await readManifest(folder("run.shard-2-of-3"));
    const { questions_sha256 } = (await whole()).benchmark;
    expect(manifest.shard).toEqual({ index: 2, of: 3, run: "run", questions: 7, questions_sha256 });
    expect(manifest.counts).toMatchObject({ asked: 14, ok: 14, completions: 28 });
    expect(manifest.prompt_set_hash).toBe((await whole()).prompt_set_hash);
  });

  it("is a run like any other: it resumes, and exports", async () => {
    const before = fake.requests.length;
    expect(await sample(outputs, await shard(2))).toMatchObject({ wasComplete: true });
    expect(fake.requests).toHaveLength(before);
    expect((await exported(folder("run.shard-2-of-3"))).get("README.md")).toContain("All 2 trees are complete");
  });

  it("of a run that has grown is another one, though its own questions are the same", async () => {
    const more = [...questions, { ...questions[1]!, id: "q7" }];
    const [other, own] = [await shard(1, 3, "run", more), await shard(1)];
    expect(other.questions.sha256).toBe(own.questions.sha256);
    await expect(sample(outputs, await shard(1, 3, "run", more))).rejects.toThrow("shard.questions: 7 → 8");
  });

  it.each(["0/4", "5/4", "a/b", "1/0", "1", "1/2/3", "-1/2", "1.5/2", "", " 1/2", "01/2"])("%j is refused", (text) => {
    expect(() => parseShard(text)).toThrow(InputError);
    expect(() => parseShard(text)).toThrow(`--shard must be i/N with 1 ≤ i ≤ N, such as 2/8, not "${text}"`);
  });

  it("without questions, or with a name that is too long, is refused", async () => {
    expect(parseShard("7/7")).toEqual({ index: 7, of: 7 });
    expect((await shard(7, 7)).questions).toHaveLength(1);
    await expect(shard(1, 8)).rejects.toThrow("7 questions cannot be divided into 8 shards");
    await expect(shard(4, 3)).rejects.toThrow(InputError);
    expect(runDir((await shard(1, 3, "a".repeat(51))).run)).toContain(".shard-1-of-3");
    await expect(shard(1, 3, "a".repeat(52))).rejects.toThrow("is too long for 3 shards; use at most 51 characters");
  });
});

describe("merging", () => {
  it("gives, byte for byte, the files that the unsharded run exports", async () => {
    const { dir } = await mergeShards({ run: "run", outputs });
    const [merged, expected] = [await exported(dir), await exported(runDir("run", unsharded))];
    expect([...merged.keys()]).toEqual([...expected.keys()]);
    expect(merged.size).toBeGreaterThan(12);
    expect([...merged.keys()].filter((file) => merged.get(file) !== expected.get(file))).toEqual([]);
    const ids = (await readFile(join(dir, "questions.jsonl"), "utf8")).match(/"id":"q\d"/g);
    expect(ids).toEqual(questions.map(({ id }) => `"id":"${id}"`));
  });

  it("adds up the counts and the seconds, and says what was merged", async () => {
    const { dir, manifest } = await mergeShards({ run: "run", outputs });
    const parts = await Promise.all([1, 2, 3].map((index) => readManifest(folder(named(index)))));
    expect(await readManifest(dir)).toEqual(manifest);
    expect(manifest.counts).toEqual((await whole()).counts);
    expect(manifest.usage).toEqual((await whole()).usage);
    expect(manifest.benchmark).toEqual((await whole()).benchmark);
    expect(manifest.wall_seconds).toBeCloseTo(parts.reduce((sum, { wall_seconds }) => sum + wall_seconds, 0));
    expect(manifest.shards?.map(({ run }) => run)).toEqual([1, 2, 3].map((index) => named(index)));
    expect(manifest.shard).toBeUndefined();
    expect((await readdir(join(dir, "journal"))).sort()).toEqual([1, 2, 3].map((i) => `shard-${i}-of-3.jsonl`));
    expect((await readdir(join(outputs, "runs"))).filter(isHidden)).toEqual([]);
  });

  it("leaves a run that sampling finds complete", async () => {
    await mergeShards({ run: "run", outputs });
    const before = fake.requests.length;
    expect(await sample(outputs, { run: "run", questions })).toMatchObject({ wasComplete: true });
    expect(fake.requests).toHaveLength(before);
  });

  it("again does nothing, and does not overwrite another run", async () => {
    const first = await mergeShards({ run: "run", outputs });
    expect(first.wasMerged).toBe(false);
    await exportRun(folder("run"));
    const before = await readFile(join(folder("run"), "run.json"), "utf8");
    expect(await mergeShards({ run: "run", outputs })).toMatchObject({ wasMerged: true, dir: first.dir });
    expect(await readFile(join(folder("run"), "run.json"), "utf8")).toBe(before);

    const journal = join(folder("run.shard-1-of-3"), "journal", "completions.jsonl");
    await writeFile(journal, (await readFile(journal, "utf8")).trimEnd().split("\n").reverse().join("\n").concat("\n"));
    await expect(mergeShards({ run: "run", outputs })).rejects.toThrow(/was merged from other shards/);
    await rm(folder("run"), { recursive: true });
    await cp(runDir("run", unsharded), folder("run"), { recursive: true });
    await expect(mergeShards({ run: "run", outputs })).rejects.toThrow(/is there and was not merged from shards/);
  });

  it("takes the shards from wherever they are said to lie", async () => {
    const elsewhere = join(outputs, "copies");
    for (const index of [2, 3]) await rename(folder(named(index)), join(outputs, `copy-${index}`));
    await expect(mergeShards({ run: "run", outputs })).rejects.toThrow(/shards 2, 3 are missing of the 3/);
    const from = [join(outputs, "copy-3"), "run.shard-1-of-3", join(outputs, "copy-2")];
    await expect(mergeShards({ run: "run", outputs, from: [...from, elsewhere] })).rejects.toThrow(InputError);
    expect((await mergeShards({ run: "run", outputs, from })).manifest.counts.ok).toBe(49);
  });

  it("into an outputs folder that is not there yet makes it", async () => {
    const from = [1, 2, 3].map((index) => folder(named(index)));
    const { dir } = await mergeShards({ run: "run", outputs: join(outputs, "new"), from });
    expect(await readdir(dir)).toEqual(["journal", "questions.jsonl", "run.json"]);
  });

  it("takes away what an interrupted merge left", async () => {
    const staging = join(outputs, "runs", ".run.merging");
    await cp(runDir("run", unsharded), staging, { recursive: true });
    await mergeShards({ run: "run", outputs });
    expect((await readdir(folder("run"))).sort()).toEqual(["journal", "questions.jsonl", "run.json"]);
    expect((await readdir(join(outputs, "runs"))).filter(isHidden)).toEqual([]);
  });

  it("is done by one process at a time", async () => {
    const lock = join(outputs, "runs", ".run.merging.lock");
    await writeFile(lock, JSON.stringify({ pid: 7, host: "elsewhere", started: null }));
    await expect(mergeShards({ run: "run", outputs })).rejects.toThrow(/process 7 on elsewhere is writing this run/);
    expect(await readdir(join(outputs, "runs"))).not.toContain("run");
  });
});

describe("merging refuses", () => {
  const refused = (options: { from?: string[]; incomplete?: boolean } = {}) =>
    expect(mergeShards({ run: "run", outputs, ...options })).rejects;
  const all = [1, 2, 3].map((index) => named(index));

  it("a run without shards, or with some of them only", async () => {
    await expect(mergeShards({ run: "other", outputs })).rejects.toThrow(/no shards of run "other"/);
    await rm(folder("run.shard-2-of-3"), { recursive: true });
    await refused().toThrow(/^shard 2 is missing of the 3 of run "run"/);
    await refused({ incomplete: true }).toBeInstanceOf(RunError);
  });

  it("a shard twice, one of another run, and what is no shard", async () => {
    await refused({ from: [...all, all[1]!] }).toThrow(/are the same shard; leave one of them out/);
    await sample(outputs, { run: "small", questions: questions.slice(0, 1) });
    await refused({ from: [...all, "small"] }).toThrow(/small is not a shard/);
    await sample(outputs, await shard(3, 3, "other"));
    await refused({ from: [all[0]!, all[1]!, "other.shard-3-of-3"] }).toThrow(
      /is a shard of run "other", not of "run"/,
    );
  });

  it("shards of different divisions or of different parameters", async () => {
    await sample(outputs, await shard(1, 2));
    await refused().toThrow(/one of 3 shards|one of 2 shards/);
    await rm(folder("run.shard-1-of-2"), { recursive: true });
    const path = join(folder("run.shard-3-of-3"), "run.json");
    await writeFile(path, (await readFile(path, "utf8")).replace('"temperature": 0.3', '"temperature": 0.7'));
    await refused().toThrow(/are not shards of the same run \(sampling.temperature: 0.3 → 0.7\)/);
  });

  it("a journal that was copied in part, leaving nothing behind", async () => {
    const path = join(folder("run.shard-2-of-3"), "journal", "completions.jsonl");
    const lines = (await readFile(path, "utf8")).split("\n");
    await writeFile(path, lines.slice(0, 20).join("\n"));
    await refused().toThrow(/shard-2-of-3 holds 19 completions of 28, though its run.json says complete/);
    await refused({ incomplete: true }).toThrow(/copy it again/);
    expect((await readdir(join(outputs, "runs"))).sort()).toEqual(all);
  });

  it("a journal with a damaged line, whose shard sampling can still repair", async () => {
    const path = join(folder("run.shard-2-of-3"), "journal", "completions.jsonl");
    await writeFile(path, (await readFile(path, "utf8")).replace("Answer: 1", "Answer: 7"));
    await refused().toThrow(/run.shard-2-of-3.journal.completions.jsonl, line \d+ is damaged/);
    expect(await sample(outputs, await shard(2))).toMatchObject({ damaged: 1 });
    const { dir } = await mergeShards({ run: "run", outputs });
    expect(await readFile(join(dir, "journal", "damaged.txt"), "utf8")).toMatch(/^completions.jsonl, line \d+:\n/);
  });
});

describe("a shard that is not complete", () => {
  beforeEach(async () => {
    await rm(folder("run.shard-2-of-3"), { recursive: true });
    refuse = new Set(["4 + 8?"]);
    await sample(outputs, await shard(2));
    refuse = new Set();
  });

  it("is not merged unless asked for; the merged run then goes on where the shard was", async () => {
    await expect(mergeShards({ run: "run", outputs })).rejects.toThrow(/^shard 2 is not complete, 7 requests are left/);
    // A line that is still being written is not a completion yet.
    await appendFile(join(folder("run.shard-2-of-3"), "journal", "completions.jsonl"), '{"key":"torn');
    const { manifest } = await mergeShards({ run: "run", outputs, incomplete: true });
    expect(manifest.counts).toMatchObject({ asked: 49, ok: 42, failed: 1, pending: 6, completions: 84 });

    const before = fake.requests.length;
    const { manifest: after } = await sample(outputs, { run: "run", questions });
    expect(fake.requests.length - before).toBe(7);
    expect(after.counts).toEqual((await whole()).counts);
    expect(after.shards).toEqual(manifest.shards);
    expect(await mergeShards({ run: "run", outputs, incomplete: true })).toMatchObject({ wasMerged: true });
    const [merged, expected] = [await exported(folder("run")), await exported(runDir("run", unsharded))];
    expect([...expected.keys()].filter((file) => merged.get(file) !== expected.get(file))).toEqual([]);
  });

  it("keeps what its sampler discarded", async () => {
    const journal = join(folder("run.shard-2-of-3"), "journal");
    const [line] = (await readFile(join(journal, "completions.jsonl"), "utf8")).split("\n");
    await writeFile(join(journal, "discarded.txt"), `${JSON.parse(line!).key}\n`);
    await mergeShards({ run: "run", outputs, incomplete: true });
    const before = fake.requests.length;
    await sample(outputs, { run: "run", questions });
    expect(fake.requests.length - before).toBe(8);
    const [merged, expected] = [await exported(folder("run")), await exported(runDir("run", unsharded))];
    expect([...expected.keys()].filter((file) => merged.get(file) !== expected.get(file))).toEqual([]);
  });

  it("that is finished after the merge is not merged over it", async () => {
    await mergeShards({ run: "run", outputs, incomplete: true });
    await sample(outputs, await shard(2));
    await expect(mergeShards({ run: "run", outputs })).rejects.toThrow(/or when they held less; move .* away first/);
  });
});
