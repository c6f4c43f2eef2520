import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { tableFromIPC } from "apache-arrow";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { questionsJsonl } from "../../src/benchmarks/list.js";
import { exportReport } from "../../src/cli/export.js";
import { preferencePairs, sftExamples, splitOf } from "../../src/credit/pairs.js";
import { scoreTrees, treeSize } from "../../src/credit/score.js";
import { exportRun, openDataset } from "../../src/dataset/export.js";
import type { ExportSummary } from "../../src/dataset/rules.js";
import { InputError, RunError } from "../../src/errors.js";
import { openJournal, readJournal } from "../../src/run/journal.js";
import { hash, type Manifest, readManifest, readQuestions, writeManifest } from "../../src/run/manifest.js";
import { sampleRun } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, type PromptSet, promptSetHash } from "../../src/team/prompts.js";
import type { JournalEntry, Message, Question, Role } from "../../src/types.js";
import { team } from "../team.js";

const scratch = mkdtempSync(join(tmpdir(), "malt-dataset-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let folders = 0;

const question = (id: string, answer = "5"): Question => ({
  ...{ id, benchmark: "own", split: "train", question: `What is ${id}?`, choices: null, answer },
});

/** The completions of one full tree; `says` gives the text of each path. */
function entries(id: string, roles: readonly Role[], says: (path: string) => string): JournalEntry[] {
  let above: string[] = [""];
  return roles.flatMap((role) => {
    const level = above.flatMap((parent) =>
      Array.from({ length: role.branching }, (_, i) => `${parent && `${parent}.`}${role.name[0]}${i}`),
    );
    above = level;
    return level.map((node_id, i) => ({
      key: createHash("sha256").update(`${id}/${node_id}`).digest("hex"),
      ...{ question_id: id, node_id, role: role.name, text: says(node_id), finish_reason: "stop" },
      ...{ prompt_tokens: 10 + i, completion_tokens: null, retries: 0, seed: 1000 + i, model: "test-model" },
    }));
  });
}

/** Writes a run folder by hand, as sampling leaves it. */
function runFolder(questions: Question[], roles: Role[], journal: readonly JournalEntry[], name = "run"): string {
  const dir = join(scratch, String(folders++), name);
  mkdirSync(join(dir, "journal"), { recursive: true });
  const text = questionsJsonl(questions);
  const set = promptSet("arithmetic");
  const sampling = { temperature: 0.3, top_p: 1, max_tokens: 99, presence_penalty: 0, frequency_penalty: 0, extra: {} };
  const manifest: Manifest = {
    schema: 1,
    run: "run",
    created: "2025-01-01T00:00:00.000Z",
    config: {
      ...{ base_url: "http://127.0.0.1:1/v1", policy: { model: "test-model", adapter: null }, sampling, roles },
      ...{ prompt_set: set.name, seed: 0, concurrency: 1 },
    },
    benchmark: {
      ...{ name: "own", source: "own.jsonl", sha256: null, questions: questions.length, questions_sha256: hash(text) },
    },
    prompt_set_hash: promptSetHash(set),
    server: { owner: null, build: null },
    versions: { malt: "0.1.0", node: "v20", git: null },
    counts: {
      ...{ asked: 0, ok: 0, failed: 0, pending: 0, completions: 0, truncated: 0, retries: 0, completion_tokens: 0 },
    },
    wall_seconds: 1,
  };
  writeFileSync(join(dir, "run.json"), JSON.stringify(manifest));
  writeFileSync(join(dir, "questions.jsonl"), text);
  writeFileSync(join(dir, "journal", "completions.jsonl"), journal.map((e) => `${JSON.stringify(e)}\n`).join(""));
  return dir;
}

/** All derived bytes of a run folder by file name. */
function bytes(dir: string): Record<string, string> {
  const names = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => /\.\w+$/.test(name));
  return Object.fromEntries(names.sort().map((name) => [name, hash(readFileSync(join(dir, name)))]));
}

const lines = (path: string) =>
  readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

// 3 x 3 x 3, worked by hand. Values of the critiques: 1 2/3 0 | 1/3 1/3 2/3 | 0 0 0; of the answers: 5/9, 4/9, 0.
const rewards = "111 110 000 001 010 011 000 000 000".replaceAll(" ", "");
const digits = (path: string) => [...path.matchAll(/\d+/g)].map(Number);
const worked = (path: string) => {
  const [g = 0, v = 0, r] = digits(path);
  const right = r === undefined || rewards[9 * g + 3 * v + r] === "1";
  return `Step ${path}.\nFinal Answer: ${right ? 5 : 6}`;
};

/** The trees of a run folder in memory, scored without the export. */
async function scored(dir: string) {
  const entries: JournalEntry[] = [];
  for await (const entry of readJournal(dir)) entries.push(entry);
  return scoreTrees(await readQuestions(dir), (await readManifest(dir)).config.roles, entries);
}

describe("the mode of extraction", () => {
  it("is the strict one by default, is recorded, and decides which leaves are rewarded", async () => {
    const roles = maltRoles(1);
    const unstated = entries("q1", roles, () => "first 2, then 3 more\nwhich makes 5 and nothing else");
    const dir = runFolder([question("q1")], roles, unstated);
    for (const [extraction, correct] of [["strict", null] as const, ["flexible", true] as const]) {
      await exportRun(dir, extraction === "strict" ? {} : { extraction });
      const data = await openDataset(dir);
      expect((await data.nodes()).map((node) => node.correct)).toEqual([correct, correct, correct]);
      data.close();
      expect((await readManifest(dir)).export!.options).toMatchObject({ extraction });
      expect(readFileSync(join(dir, "README.md"), "utf8")).toMatch(new RegExp(`answers .*\\(${extraction}\\)`));
    }
    await expect(exportRun(dir, { extraction: "loose" as never })).rejects.toThrow(/extraction.*strict, flexible/);
  });
});

describe("exportRun on a 3x3x3 tree computed by hand", async () => {
  const dir = runFolder([question("q1")], maltRoles(3), entries("q1", maltRoles(3), worked));
  const { files, ...summary } = await exportRun(dir, { openai: true });
  const data = await openDataset(dir);
  afterAll(() => data.close());

  it("counts nodes, positives, examples and pairs by role", async () => {
    expect(summary.trees).toEqual({ complete: 1, incomplete: 0 });
    expect(summary.roles).toEqual([
      { role: "generator", nodes: 3, valued: 3, positive: 1, sft: 1, pairs: 2 },
      { role: "verifier", nodes: 9, valued: 9, positive: 3, sft: 3, pairs: 4 },
      { role: "refiner", nodes: 27, valued: 27, positive: 9, sft: 9, pairs: 8 },
    ]);
    const { export: kept } = await readManifest(dir);
    expect(kept).toMatchObject({ trees: summary.trees, nodes: 39, roles: summary.roles });
    expect(kept!.options).toMatchObject({ threshold: 0.5, pooling: "mean", min_gap: 0, openai: true });
  });

  it("writes values, labels and answers of every node in order of depth and path", async () => {
    const nodes = await data.nodes();
    expect(nodes.slice(0, 5).map((n) => [n.node_id, n.parent_id, n.depth, n.branch, n.value, n.label])).toEqual([
      ["g0", null, 0, 0, 5 / 9, true],
      ["g1", null, 0, 1, 4 / 9, false],
      ["g2", null, 0, 2, 0, false],
      ["g0.v0", "g0", 1, 0, 1, true],
      ["g0.v1", "g0", 1, 1, 2 / 3, true],
    ]);
    const leaf = nodes.find((n) => n.node_id === "g1.v2.r0")!;
    expect([leaf.answer, leaf.correct, leaf.value, leaf.label]).toEqual(["6", false, 0, false]);
    // An inner node's own answer is graded but earns nothing.
    expect([nodes[2]!.correct, nodes[2]!.value]).toEqual([true, 0]);
  });

  it("has the contract's columns and types", async () => {
    const columns = async (table: string) =>
      (await data.query<{ column_name: string; column_type: string }>(`DESCRIBE ${table}`)).map(
        (c) => `${c.column_name} ${c.column_type}`,
      );
    const chat = 'STRUCT("role" VARCHAR, "content" VARCHAR)[]';
    expect(await columns("questions")).toEqual(
      ["question_id", "benchmark", "split", "question", "choices", "answer"].map((name) => `${name} VARCHAR`),
    );
    expect(await columns("nodes")).toEqual([
      ...["question_id VARCHAR", "node_id VARCHAR", "parent_id VARCHAR", "role VARCHAR", "depth INTEGER"],
      ...["branch INTEGER", "text VARCHAR", "finish_reason VARCHAR", "prompt_tokens INTEGER"],
      ...["completion_tokens INTEGER", "seed INTEGER", "model VARCHAR", "answer VARCHAR", "correct BOOLEAN"],
      ...["value DOUBLE", "label BOOLEAN"],
    ]);
    expect(await columns("sft")).toEqual([
      ...["question_id VARCHAR", "role VARCHAR", "node_id VARCHAR", "value DOUBLE"],
      ...[`prompt ${chat}`, `completion ${chat}`],
    ]);
    expect(await columns("dpo")).toEqual([
      ...["question_id VARCHAR", "role VARCHAR", "parent_id VARCHAR", "chosen_id VARCHAR", "rejected_id VARCHAR"],
      ...["chosen_value DOUBLE", "rejected_value DOUBLE", `prompt ${chat}`, `chosen ${chat}`, `rejected ${chat}`],
    ]);
  });

  it("reads back from Parquet and Arrow exactly what was scored", async () => {
    const whole = await scored(dir);
    const tree = {
      question: question("q1"),
      nodes: whole.nodes,
      roles: maltRoles(3),
      promptSet: promptSet("arithmetic"),
    };
    expect(await data.nodes()).toEqual(whole.nodes);
    expect(await data.questions()).toEqual([question("q1")]);
    expect(await data.query("SELECT * FROM sft")).toEqual(sftExamples(tree));
    expect(await data.query("SELECT * FROM dpo")).toEqual(preferencePairs(tree));
    const arrow = tableFromIPC(readFileSync(join(dir, "trees.arrow")));
    expect(arrow.toArray().map((row) => ({ ...row.toJSON() }))).toEqual(whole.nodes);
  });

  it("writes the same examples for TRL and for OpenAI", async () => {
    for (const role of ["generator", "verifier", "refiner"]) {
      const sft = await data.query(`SELECT prompt, completion FROM sft WHERE role = '${role}'`);
      const dpo = await data.query(`SELECT prompt, chosen, rejected FROM dpo WHERE role = '${role}'`);
      expect(lines(join(dir, `train/${role}-sft.jsonl`))).toEqual(sft);
      expect(lines(join(dir, `train/${role}-dpo.jsonl`))).toEqual(dpo);
      expect(lines(join(dir, `train/${role}-sft-openai.jsonl`))).toEqual(
        sft.map(({ prompt, completion }) => ({ messages: [...(prompt as []), ...(completion as [])] })),
      );
      expect(lines(join(dir, `train/${role}-dpo-openai.jsonl`))).toEqual(
        dpo.map((d) => ({
          input: { messages: d.prompt },
          preferred_output: d.chosen,
          non_preferred_output: d.rejected,
        })),
      );
    }
    expect(files).toContain(join("train", "refiner-dpo-openai.jsonl"));
  });

  it("writes a database whose views work where file_search_path or the current folder is the run's", async () => {
    const database = await DuckDBInstance.create(join(dir, "run.duckdb"), { access_mode: "READ_ONLY" });
    const connection = await database.connect();
    await expect(connection.run("SELECT * FROM nodes")).rejects.toThrow("nodes.parquet");
    await connection.run(`SET file_search_path = '${dir}'`);
    const count = await connection.runAndReadAll(
      "SELECT count(*)::INT AS n FROM nodes JOIN questions USING (question_id)",
    );
    expect(count.getRowObjectsJS()).toEqual([{ n: 39 }]);
    connection.closeSync();
    database.closeSync();
  });

  it("writes a card whose header names each table", () => {
    const [, header, body] = readFileSync(join(dir, "README.md"), "utf8").split("---\n");
    expect(parse(header!).configs.map((c: { data_files: string }) => c.data_files)).toEqual([
      ...["sft.parquet", "dpo.parquet", "nodes.parquet", "questions.parquet"],
    ]);
    expect(body).toContain("| verifier | 9 | 9 | 3 | 3 | 4 |");
    expect(body).toContain("All 1 trees are complete.");
  });

  it("replaces what another export left, and never samples for it", async () => {
    const again = await exportRun(dir, { threshold: 0.6, pairing: "one-per-state" });
    expect(again.roles.map((r) => [r.positive, r.pairs])).toEqual([
      [0, 0],
      [3, 2],
      [9, 4],
    ]);
    expect(readdirSync(join(dir, "train")).some((name) => name.includes("openai"))).toBe(false);
    expect(readdirSync(dir).some((name) => name === ".export")).toBe(false);
  });
});

describe("the prompts of an export", async () => {
  const outputs = join(scratch, "prompts");
  const questions = ["a", "b", "c", "d", "e", "f"].map((id) => question(id, "12"));
  const mine: PromptSet = {
    ...promptSet("gsm8k"),
    system: { generator: "You solve.", verifier: "", refiner: "You mend." },
    generator: "Solve this, please: {question}",
  };
  const { policy, requests } = team();
  const roles = [...maltRoles(2), { ...maltRoles(2)[2]!, name: "second-refiner", critique: null }];
  const sampled = { run: "r", outputs, policy, model: "malt-tiny", questions, roles };
  const { dir } = await sampleRun({ ...sampled, promptSet: mine });
  const original = await readManifest(dir);
  const sent = new Set(requests.map(({ messages }) => JSON.stringify(messages)));
  const without = (manifest: Manifest): Manifest => ({
    ...manifest,
    config: { ...manifest.config, prompts: undefined },
  });

  it("are exactly those that were sent, though a built-in set has the same name", async () => {
    await exportRun(dir);
    const data = await openDataset(dir);
    const rows = await data.query<{ prompt: Message[] }>("SELECT prompt FROM sft UNION ALL SELECT prompt FROM dpo");
    data.close();
    expect(rows.length).toBeGreaterThan(20);
    for (const { prompt } of rows) expect(sent).toContain(JSON.stringify(prompt));
    expect(rows.some(({ prompt }) => /^Solve this, please: What is .\?$/.test(prompt.at(-1)!.content))).toBe(true);
    expect(new Set(rows.map(({ prompt }) => prompt[0]!.content))).toContain("You mend.");
    expect((await readManifest(dir)).export!.prompt_set_hash).toBe(promptSetHash(mine));
  });

  it.each<[string, (manifest: Manifest) => Manifest]>([
    ["whose hash is another", (manifest) => ({ ...manifest, prompt_set_hash: promptSetHash(promptSet("gsm8k")) })],
    [
      "that were edited",
      (manifest) => ({
        ...manifest,
        config: { ...manifest.config, prompts: { ...mine, refiner: `${mine.refiner}!` } },
      }),
    ],
    ["of an earlier version, which are not the built-in ones", without],
  ])("%s are refused, and nothing is written", async (_, change) => {
    await writeManifest(dir, change(original));
    const before = bytes(dir);
    await expect(exportRun(dir)).rejects.toThrow(/was sampled with prompt set "gsm8k" of SHA-256 .*--prompt-set FILE/);
    await expect(exportRun(dir)).rejects.toBeInstanceOf(RunError);
    expect(bytes(dir)).toEqual(before);
    expect(readdirSync(dir)).not.toContain("lock");
  });

  it("are kept in run.json where they are given for a run of an earlier version", async () => {
    await writeManifest(dir, without(original));
    await expect(exportRun(dir, { promptSet: promptSet("gsm8k") })).rejects.toThrow("the set that is given has");
    await exportRun(dir, { promptSet: mine });
    expect((await readManifest(dir)).config.prompts).toEqual(mine);
    await exportRun(dir);
  });

  it("cannot change while a run is resumed", async () => {
    await writeManifest(dir, original);
    const other = { ...mine, verifier: mine.verifier.replace("Check", "Read") };
    await expect(sampleRun({ ...sampled, promptSet: other })).rejects.toThrow(/prompts\.verifier: .*Check.* → .*Read/);
    expect((await sampleRun({ ...sampled, promptSet: mine })).wasComplete).toBe(true);
  });
});

describe("the same journal gives the same bytes", () => {
  const roles = maltRoles(2);
  const journal = ["b", "a", "c"].flatMap((id) =>
    entries(id, roles, (path) => `${path}: Final Answer: ${id === "c" ? 5 : path.length}`),
  );
  const questions = ["b", "a", "c"].map((id) => question(id));

  it("in any order of its lines, with lines doubled, any number of times", async () => {
    const first = runFolder(questions, roles, journal);
    await exportRun(first, { evalFraction: 0.5 });
    const expected = bytes(first);
    await exportRun(first, { evalFraction: 0.5 });
    expect(bytes(first)).toEqual(expected);
    const derived = ({ "journal/completions.jsonl": _, ...rest }: Record<string, string>) => rest;
    const shuffles = fc.shuffledSubarray(journal, { minLength: journal.length });
    await fc.assert(
      fc.asyncProperty(shuffles, fc.subarray(journal), async (shuffled, doubled) => {
        const dir = runFolder(questions, roles, [...shuffled, ...doubled.map((e) => ({ ...e, text: "altered" }))]);
        await exportRun(dir, { evalFraction: 0.5 });
        expect(derived(bytes(dir))).toEqual(derived(expected));
      }),
      { numRuns: 5 },
    );
  });

  it("puts no question on both sides of the split, and loses none", async () => {
    const ids = Array.from({ length: 40 }, (_, i) => `q${i}`);
    const dir = runFolder(
      ids.map((id) => question(id)),
      maltRoles(2),
      ids.flatMap((id) => entries(id, maltRoles(2), (p) => (p.endsWith("r1") ? "Final Answer: 4" : "Final Answer: 5"))),
    );
    await exportRun(dir, { evalFraction: 0.3 });
    const about = (file: string) =>
      new Set(lines(join(dir, "train", file)).map((row) => /What is (q\d+)/.exec(row.prompt[0].content)![1]!));
    const [train, held] = [about("refiner-dpo.jsonl"), about("refiner-dpo-eval.jsonl")];
    expect([...held]).toEqual(ids.filter((id) => splitOf(id, { evalFraction: 0.3 }) === "eval"));
    expect(held.size).toBeGreaterThan(3);
    expect([...train].filter((id) => held.has(id))).toEqual([]);
    expect(train.size + held.size).toBe(40);
    expect(about("refiner-sft-eval.jsonl")).toEqual(held);
  });
});

describe("an export question by question", () => {
  const roles = maltRoles(2);
  const questions = ["b", "a", "c"].map((id) => question(id));
  const journal = ["a", "c", "b"].flatMap((id) =>
    entries(id, roles, (path) => `${path}: Final Answer: ${path.length}`),
  );

  it("says how far it is, in the run's order", async () => {
    const seen: [number, number][] = [];
    const graded: string[] = [];
    await exportRun(runFolder(questions, roles, journal), {
      onProgress: (done, total) => seen.push([done, total]),
      grade: ({ id }) => {
        if (graded.at(-1) !== id) graded.push(id);
        return { answer: "5", correct: true };
      },
    });
    expect(seen).toEqual([1, 2, 3].map((done) => [done, 3]));
    expect(graded).toEqual(["b", "a", "c"]);
  });

  it("that fails in its middle changes no file", async () => {
    const dir = runFolder(questions, roles, journal);
    await exportRun(dir);
    const before = bytes(dir);
    const grade = ({ id }: Question) => {
      if (id === "a") throw new RunError("the judge has left");
      return { answer: null, correct: null };
    };
    await expect(exportRun(dir, { grade, openai: true })).rejects.toThrow("the judge has left");
    expect(bytes(dir)).toEqual(before);
    expect(readdirSync(dir)).not.toContain(".export");
    expect(readdirSync(dir)).not.toContain("lock");
  });

  it("grades a text that a tree holds many times once", async () => {
    let asked = 0;
    const same = questions.flatMap(({ id }) => entries(id, roles, () => "Final Answer: 5"));
    const grade = () => {
      asked += 1;
      return { answer: "5", correct: true };
    };
    await exportRun(runFolder(questions, roles, same), { grade });
    expect(asked).toBe(3);
  });
});

describe("partly sampled trees", () => {
  const roles = maltRoles(2);
  const says = (path: string) => `${path}: Final Answer: ${path.endsWith("r1") ? 6 : 5}`;
  const full = entries("q1", roles, says);
  const partial = entries("q2", roles, says).filter((e) => e.node_id !== "g1.v0.r1");
  const dir = () => runFolder([question("q1"), question("q2"), question("q3")], roles, [...full, ...partial]);

  it("have no value above what is missing, and give no examples, by default", async () => {
    const run = dir();
    const summary = await exportRun(run);
    expect(summary.trees).toEqual({ complete: 1, incomplete: 2 });
    const data = await openDataset(run);
    expect(await data.query("SELECT node_id, value, label FROM nodes WHERE question_id = 'q2' AND depth < 2")).toEqual([
      { node_id: "g0", value: 0.5, label: false },
      { node_id: "g1", value: null, label: null },
      { node_id: "g0.v0", value: 0.5, label: false },
      { node_id: "g0.v1", value: 0.5, label: false },
      { node_id: "g1.v0", value: null, label: null },
      { node_id: "g1.v1", value: 0.5, label: false },
    ]);
    expect(await data.query("SELECT DISTINCT question_id FROM sft UNION SELECT question_id FROM dpo")).toEqual([
      { question_id: "q1" },
    ]);
    data.close();
    expect(readFileSync(join(run, "README.md"), "utf8")).toContain(
      "**2 of 3 trees are incomplete**: their nodes have no",
    );
  });

  it("use what is available on request, and the card says so", async () => {
    const run = dir();
    const summary = await exportRun(run, { incomplete: "available" });
    expect(summary.roles.map((r) => [r.nodes, r.valued, r.pairs])).toEqual([
      [4, 4, 1],
      [8, 8, 1],
      [15, 15, 7],
    ]);
    expect(readFileSync(join(run, "README.md"), "utf8")).toContain("means over what was there");
  });
});

describe("teams of other shapes", () => {
  const role = (name: string, template: Role["template"], branching: number, sees: Partial<Role> = {}): Role => ({
    ...{ name, template, branching, answer: null, critique: null, ...sees },
  });

  it.each([
    ["G + V", [role("generator", "generator", 3), role("verifier", "verifier", 2, { answer: "generator" })]],
    [
      "two rounds of critique, unequal branching",
      [
        role("generator", "generator", 2),
        role("verifier", "verifier", 3, { answer: "generator" }),
        role("refiner", "refiner", 1, { answer: "generator", critique: "verifier" }),
        role("verifier-2", "verifier", 2, { answer: "refiner" }),
        role("refiner-2", "refiner", 2, { answer: "refiner", critique: "verifier-2" }),
      ],
    ],
    ["a single role", [role("generator", "generator", 12)]],
  ])("%s", async (_, roles) => {
    const dir = runFolder(
      [question("q1")],
      roles,
      entries("q1", roles, (p) => `${p}\nFinal Answer: ${/[a-z]0$/.test(p) ? 5 : 6}`),
    );
    const summary = await exportRun(dir);
    expect(summary.nodes).toBe(treeSize(roles));
    const last = summary.roles.at(-1)!;
    const n = roles.at(-1)!.branching;
    expect([last.positive, last.pairs]).toEqual([last.nodes / n, (last.nodes / n) * (n - 1)]);
    const data = await openDataset(dir);
    const [first] = await data.query<{ node_id: string; prompt: { content: string }[] }>(
      `SELECT node_id, prompt FROM sft WHERE role = '${last.role}'`,
    );
    const parent = first!.node_id.split(".").slice(0, -1).join(".");
    expect(first!.prompt[0]!.content).toContain(parent);
    // g10 comes after g9, not after g1.
    const branches = await data.query<{ branch: number }>("SELECT branch FROM nodes WHERE depth = 0");
    expect(branches.map((b) => b.branch)).toEqual(Array.from({ length: roles[0]!.branching }, (_, i) => i));
    data.close();
  });
});

describe("untrusted text", () => {
  it("stays text in every format, whatever it holds", async () => {
    const nasty = [
      "'; DROP VIEW nodes; --",
      "a\u0000b",
      "\u2028 \u2029 \r\n\t",
      "<script>",
      '{"a":1}',
      "NULL",
      "",
      "😀 ü",
      "\\ud800",
      "2024-01-01",
    ];
    const roles = maltRoles(1);
    const questions = nasty.map((text, i) => ({
      ...question(`id ${text} ${i}`),
      question: text,
      choices: [text, "b"],
      answer: "A",
    }));
    const dir = runFolder(
      questions,
      roles,
      questions.flatMap((q) => entries(q.id, roles, () => `${q.question} Final Answer: A`)),
      "we[i]rd, 'na*me'",
    );
    await exportRun(dir);
    const data = await openDataset(dir);
    expect(await data.questions()).toEqual(questions);
    const { nodes } = await scored(dir);
    expect(nodes[0]!.text).toContain("DROP VIEW");
    expect(await data.nodes()).toEqual(nodes);
    data.close();
    const arrow = tableFromIPC(readFileSync(join(dir, "trees.arrow")));
    expect([...arrow.getChild("text")!]).toEqual(nodes.map((n) => n.text));
  });

  it("replaces unpaired surrogates, which no UTF-8 file can hold", async () => {
    const roles = maltRoles(1);
    const dir = runFolder(
      [question("q1")],
      roles,
      entries("q1", roles, () => "\ud800 Final Answer: 5"),
    );
    await exportRun(dir);
    const data = await openDataset(dir);
    expect((await data.nodes()).map((n) => n.text)).toEqual(Array(3).fill("\ufffd Final Answer: 5"));
    data.close();
  });
});

describe("another estimator", () => {
  const roles = maltRoles(3);
  const export_ = async (options: Parameters<typeof exportRun>[1]) => {
    const dir = runFolder([question("q1")], roles, entries("q1", roles, worked));
    const summary = await exportRun(dir, options);
    const data = await openDataset(dir);
    const nodes = await data.query<{ node_id: string; value: number | null; label: boolean | null }>(
      "SELECT node_id, value, label FROM nodes",
    );
    data.close();
    const of = (id: string) => nodes.find((node) => node.node_id === id)!;
    return { dir, summary, of, card: readFileSync(join(dir, "README.md"), "utf8"), manifest: await readManifest(dir) };
  };

  it("gives value, label, examples and pairs, and is named in card and run.json", async () => {
    const { dir, summary, of, card, manifest } = await export_({ estimator: "rloo" });
    // Answers 5/9, 4/9, 0; the critiques of the last are all alike, so none is better.
    expect(of("g0").value).toBeCloseTo(5 / 9 - 2 / 9, 12);
    expect([of("g0").label, of("g1").label, of("g2").label, of("g2.v0").label]).toEqual([true, true, false, false]);
    expect(of("g0.v1").value).toBeCloseTo(2 / 3 - 1 / 2, 12);
    expect(summary.roles.map(({ sft, pairs }) => [sft, pairs])).toEqual([
      [2, 2],
      [3, 4],
      [6, 8],
    ]);
    const [pair] = lines(join(dir, "train", "generator-dpo.jsonl"));
    expect(pair.chosen[0].content).toContain("Step g0.");
    expect(card).toContain("estimator `rloo` on values with pooling `mean`, label = credit > 0");
    expect(card).toContain("`value` is its credit under estimator `rloo`");
    expect(manifest.export).toMatchObject({ options: { estimator: "rloo", threshold: 0 } });
  });

  it("that is not certain leaves outputs without a label", async () => {
    const { of, summary, card } = await export_({ estimator: "posterior", confidence: 0.8 });
    expect(summary.effectiveLeaves).toHaveLength(2);
    expect(summary.effectiveLeaves![1]).toBe(3);
    // Beta(4, 1), (3, 2), (1, 4): 15/16, 11/16, 1/16 above 1/2.
    for (const [id, p, label] of [
      ["g0.v0", 15 / 16, true],
      ["g0.v1", 11 / 16, null],
      ["g0.v2", 1 / 16, false],
    ] as const) {
      expect(of(id).value).toBeCloseTo(p, 3);
      expect(of(id).label).toBe(label);
    }
    expect(card).toContain("0.8 or more certain whether the true value is > 0.5; effective leaves by depth: ");
  });

  it("along the chain reads the answers stated on the way", async () => {
    const { of } = await export_({ estimator: "gain" });
    // By `worked`, inner turns all state the right answer 5: nothing can be gained.
    expect([of("g0").value, of("g2.v0.r0").value]).toEqual([5 / 9 - 1, -1]);
  });
});

describe("training on values", () => {
  const written = async (options: Parameters<typeof exportRun>[1]) => {
    const roles = maltRoles(3);
    const dir = runFolder([question("q1")], roles, entries("q1", roles, worked));
    await exportRun(dir, options);
    return {
      of: (name: string) => lines(join(dir, "train", `${name}.jsonl`)),
      card: readFileSync(join(dir, "README.md"), "utf8"),
    };
  };

  it("gives every output a weight by its advantage, and leaves the weights out of other services' files", async () => {
    const { of, card } = await written({ weights: "advantage", weightTemperature: 1, openai: true });
    const weights = of("generator-sft").map(({ weight }) => weight);
    expect(weights).toHaveLength(3);
    for (const [i, value] of [5 / 9, 4 / 9, 0].entries()) expect(weights[i]).toBeCloseTo(Math.exp(value - 1 / 3), 12);
    expect(Object.keys(of("generator-sft-openai")[0])).toEqual(["messages"]);
    expect(card).toContain("| SFT examples | `all`, weighted by exp(advantage / 1), at most 20");
  });

  it("weighs by value, without examples that would not count, and gives pairs their margins", async () => {
    const { of } = await written({ weights: "value", examples: "all", margins: true });
    expect(of("generator-sft").map(({ weight }) => weight)).toEqual([5 / 9, 4 / 9]);
    expect(of("verifier-dpo").map(({ margin }) => margin)).toEqual([1, 2 / 3, 2 / 3 - 1 / 3, 2 / 3 - 1 / 3]);
    const plain = await written({});
    expect(Object.keys(plain.of("generator-sft")[0])).toEqual(["prompt", "completion"]);
    expect(Object.keys(plain.of("verifier-dpo")[0])).toEqual(["prompt", "chosen", "rejected"]);
  });
});

describe("distillation", () => {
  it("writes whole good trajectories for TRL and OpenAI, on their question's side, and takes them away again", async () => {
    const questions = ["q1", "q2", "q3", "q4"].map((id) => question(id));
    const dir = runFolder(
      questions,
      maltRoles(3),
      questions.flatMap(({ id }) => entries(id, maltRoles(3), worked)),
    );
    const { distilled } = await exportRun(dir, { distill: "path", openai: true, evalFraction: 0.5, distillLimit: 2 });
    const of = (name: string) => lines(join(dir, "train", `${name}.jsonl`));
    // Good paths of each tree: g0 with v0 and its three refinements, and with v1 and its two.
    expect(distilled).toBe(8);
    expect(of("distilled").length + of("distilled-eval").length).toBe(8);
    expect(of("distilled").length).toBe(
      2 * questions.filter(({ id }) => splitOf(id, { evalFraction: 0.5 }) === "train").length,
    );
    const [first] = of("distilled");
    expect(first.completion[0].content).toMatch(
      /^<think>\nStep g0\.(.|\n)*Step g0\.v0\.(.|\n)*<\/think>\n\nStep g0\.v0\.r0\./,
    );
    expect(of("distilled-openai")[0]).toEqual({ messages: [...first.prompt, ...first.completion] });
    expect(readFileSync(join(dir, "README.md"), "utf8")).toContain(
      "holds 8 whole trajectories as one model's reasoning",
    );
    await exportRun(dir);
    expect(readdirSync(join(dir, "train")).filter((name) => name.startsWith("distilled"))).toEqual([]);
    await expect(exportRun(dir, { distill: "best" as "path" })).rejects.toThrow('distill is "best"');
    await expect(exportRun(dir, { distillLimit: 0 })).rejects.toThrow("distill limit is 0");
  });
});

describe("bad input", () => {
  const roles = maltRoles(1);
  const journal = entries("q1", roles, () => "Final Answer: 5");

  it("options out of range are named before anything is written", async () => {
    const dir = runFolder([question("q1")], roles, journal);
    const before = bytes(dir);
    await expect(exportRun(dir, { threshold: 1.2 })).rejects.toThrow("threshold is 1.2");
    await expect(exportRun(dir, { pooling: "median" as "mean" })).rejects.toThrow('pooling is "median"');
    await expect(exportRun(dir, { estimator: "reinforce" as "rloo" })).rejects.toThrow('estimator is "reinforce"');
    await expect(exportRun(dir, { estimator: "td", pooling: "max" })).rejects.toThrow("pooling for estimator");
    await expect(exportRun(dir, { estimator: "posterior", confidence: 0.5 })).rejects.toThrow("confidence is 0.5");
    await expect(exportRun(dir, { estimator: "gae", lambda: 2 })).rejects.toThrow("lambda is 2");
    await expect(exportRun(dir, { pairing: "some" as "all" })).rejects.toThrow(InputError);
    await expect(exportRun(dir, { minGap: -1 })).rejects.toThrow(InputError);
    await expect(exportRun(dir, { evalFraction: 2 })).rejects.toThrow(InputError);
    await expect(exportRun(dir, { incomplete: "guess" as "skip" })).rejects.toThrow(InputError);
    expect(bytes(dir)).toEqual(before);
  });

  it("a journal that does not fit the run is refused", async () => {
    const refuse = async (entries: JournalEntry[], message: string) => {
      const dir = runFolder([question("q1")], roles, entries);
      await expect(exportRun(dir)).rejects.toThrow(message);
      await expect(exportRun(dir)).rejects.toBeInstanceOf(RunError);
    };
    const [first, ...rest] = journal;
    await refuse(rest, 'the journal lacks the parent of node "g0.v0" of question "q1"');
    await refuse([{ ...first!, question_id: "q9" }], 'node "g0" of question "q9", which questions.jsonl does not');
    await refuse([{ ...first!, node_id: "g1" }], "which is no path through the roles generator x 1, verifier x 1");
    await refuse([{ ...first!, node_id: "../../x" }], "which is no path");
    await refuse([{ ...first!, role: "refiner" }], 'is marked "refiner", not generator');
    await refuse([first!, { ...first!, key: "other" }], "under different keys");
  });

  it("a run that is being sampled can be scored, but not exported", async () => {
    const dir = runFolder([question("q1")], roles, journal);
    const sampler = await openJournal(dir);
    await expect(exportRun(dir)).rejects.toThrow("is writing this run");
    expect((await scored(dir)).nodes).toHaveLength(3);
    await sampler.close();
    await exportRun(dir);
  });

  it("a folder that cannot be written is named, and what is left of a killed export is cleared", async () => {
    const dir = runFolder([question("q1")], roles, journal);
    mkdirSync(join(dir, ".export", "train"), { recursive: true });
    writeFileSync(join(dir, ".export", "train", "left-over.jsonl"), "");
    mkdirSync(join(dir, "nodes.parquet"));
    await expect(exportRun(dir)).rejects.toThrow(`cannot export ${dir}: EISDIR`);
    await expect(exportRun(dir)).rejects.toThrow(RunError);
    rmSync(join(dir, "nodes.parquet"), { recursive: true });
    await exportRun(dir);
    expect(readdirSync(dir)).not.toContain(".export");
    expect(readdirSync(join(dir, "train"))).not.toContain("left-over.jsonl");
  });

  it("role names that could not name a file are refused", async () => {
    const evil: Role[] = [{ ...maltRoles(1)[0]!, name: "g/../../x" }];
    const dir = runFolder(
      [question("q1")],
      evil,
      entries("q1", evil, () => ""),
    );
    await expect(exportRun(dir)).rejects.toThrow('role name "g/../../x" cannot name a file');
  });

  it("a folder that is not a run, or has no Parquet files, is named", async () => {
    await expect(exportRun(join(scratch, "nowhere"))).rejects.toThrow("no run.json");
    await expect(openDataset(scratch)).rejects.toThrow(`no Parquet files in ${scratch}`);
  });
});

describe("malt export", () => {
  it("prints the counts by role, and how many trees are incomplete", () => {
    const role = { role: "verifier", nodes: 18, valued: 17, positive: 3, sft: 3, pairs: 4 };
    const options = { estimator: "value", threshold: 0.4, incomplete: "skip" } as ExportSummary["options"];
    expect(
      exportReport({ options, trees: { complete: 1, incomplete: 1 }, nodes: 18, roles: [role] }).split("\n"),
    ).toEqual([
      "1 complete trees, 1 incomplete (in no example or pair)",
      "",
      "role      nodes  valued  value > 0.4  SFT  pairs",
      "verifier     18      17            3    3      4",
    ]);
  });
});

describe("openDataset", () => {
  it("works on a folder with only some Parquet files, and gives counts as numbers", async () => {
    const roles = maltRoles(2);
    const dir = runFolder(
      [question("q1")],
      roles,
      entries("q1", roles, () => "no answer"),
    );
    await exportRun(dir);
    for (const name of ["run.duckdb", "run.json", "dpo.parquet", "questions.jsonl"]) rmSync(join(dir, name));
    const data = await openDataset(dir);
    const counts = await data.query("SELECT role, count(*) AS n, sum(depth) AS d FROM nodes GROUP BY role ORDER BY n");
    expect(counts).toEqual([
      { role: "generator", n: 2, d: 0 },
      { role: "verifier", n: 4, d: 4 },
      { role: "refiner", n: 8, d: 16 },
    ]);
    // A leaf without an answer has reward 0; there is nothing to learn from.
    expect(await data.query("SELECT DISTINCT answer, correct, value, label FROM nodes")).toEqual([
      { answer: null, correct: null, value: 0, label: false },
    ]);
    expect(await data.query("SELECT * FROM sft")).toEqual([]);
    await expect(data.query("SELECT * FROM dpo")).rejects.toThrow("dpo");
    data.close();
  });

  it("finds the metrics of a training in a run and in a copy of it, and says how to get an evaluation", async () => {
    const dir = join(scratch, String(folders++));
    for (const place of ["train", "."]) {
      mkdirSync(join(dir, place, "train"), { recursive: true });
      const database = await DuckDBInstance.create(":memory:");
      const connection = await database.connect();
      const path = join(dir, place, place === "." ? "metrics.parquet" : "train/metrics.parquet");
      await connection.run(`COPY (SELECT '${place}' AS stage) TO '${path}' (FORMAT parquet)`);
      connection.closeSync();
      database.closeSync();
      const data = await openDataset(join(dir, place));
      expect(await data.query("SELECT stage FROM training")).toEqual([{ stage: place }]);
      await expect(data.evaluation()).rejects.toThrow("npx malt evaluate");
      data.close();
    }
  });
});
