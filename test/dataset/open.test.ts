import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { columns, scoreTrees } from "../../src/credit/score.js";
import { backUp } from "../../src/credit/values.js";
import { mixedQuestion, openRun, openRuns } from "../../src/dataset/open.js";
import { InputError, RunError } from "../../src/errors.js";
import { readManifest, writeManifest } from "../../src/run/manifest.js";
import { replay } from "../../src/sample/replay.js";
import { sampleTrees } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { promptSetHash } from "../../src/team/prompts.js";
import type { JournalEntry } from "../../src/types.js";
import { forest } from "../forest.js";

const folder = mkdtempSync(join(tmpdir(), "malt-recorded-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("openRuns", () => {
  const recorded = fileURLToPath(new URL("../../data/recorded-wide", import.meta.url));

  it("opens the runs of a folder by name, and passes over what is none", async () => {
    for (const name of ["b", "a"]) cpSync(recorded, join(folder, "several", name), { recursive: true });
    mkdirSync(join(folder, "several", "notes"));
    writeFileSync(join(folder, "several", "README.md"), "two runs");
    const runs = await openRuns(join(folder, "several"));
    expect(runs.map(({ dir }) => dir)).toEqual([join(folder, "several", "a"), join(folder, "several", "b")]);
    expect((await runs[1]!.nodes()).length).toBe(20 * (8 + 64 + 512));
    for (const run of runs) run.close();
    const [alone, ...others] = await openRuns(join(folder, "several", "b"));
    expect([alone!.dir, others]).toEqual([join(folder, "several", "b"), []]);
    alone!.close();
  });

  it("says what is wrong with a folder that holds none, or a damaged one", async () => {
    await expect(openRuns("no/such")).rejects.toThrow(/^there are no runs in .*no\/such/);
    await expect(openRuns(join(folder, "several", "notes"))).rejects.toThrow("no folder in ");
    writeFileSync(join(folder, "several", "b", "run.json"), "{");
    await expect(openRuns(join(folder, "several"))).rejects.toBeInstanceOf(RunError);
  });
});

describe("openRun", () => {
  it("opens the recorded run from any working directory", async () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      const run = await openRun(null);
      expect(run.dir).toBe(fileURLToPath(new URL("../../data/recorded", import.meta.url)));
      expect((await run.questions()).length).toBe(run.manifest.benchmark.questions);
      expect(run.theta).toBe(0.5);
      expect(promptSetHash(run.promptSet)).toBe(run.manifest.prompt_set_hash);
      expect(run.measured).toEqual({ benchmark: "arithmetic", model: "malt-tiny" });
      run.close();
    } finally {
      process.chdir(before);
    }
  });

  it("opens a folder, and a name among the runs", async () => {
    cpSync(fileURLToPath(new URL("../../data/recorded", import.meta.url)), join(folder, "runs", "copy"), {
      recursive: true,
    });
    const byPath = await openRun(join(folder, "runs", "copy"));
    byPath.close();
    process.env.MALT_OUTPUTS = folder;
    try {
      const byName = await openRun("copy");
      expect(byName.dir).toBe(byPath.dir);
      byName.close();
    } finally {
      delete process.env.MALT_OUTPUTS;
    }
  });

  it("does not show a run under prompts that it was not sampled with", async () => {
    const dir = join(folder, "runs", "edited");
    cpSync(fileURLToPath(new URL("../../data/recorded-wide", import.meta.url)), dir, { recursive: true });
    const manifest = await readManifest(dir);
    expect(manifest.prompt_set_hash).toBe(promptSetHash(promptSet("arithmetic")));
    await writeManifest(dir, { ...manifest, prompt_set_hash: "0".repeat(64) });
    await expect(openRun(dir)).rejects.toThrow(
      /of SHA-256 0{64}, and the set in its run.json has 99c9c2d6.*restore run.json/,
    );
    await expect(openRun(dir)).rejects.toBeInstanceOf(RunError);
    // Older runs do not hold their prompts.
    const { prompts: _, ...config } = manifest.config;
    await writeManifest(dir, { ...manifest, config, prompt_set_hash: "0".repeat(64) });
    await expect(openRun(dir)).rejects.toThrow(/of SHA-256 0{64}, and this version's has 99c9c2d6.*--prompt-set FILE/);
  });

  it("names a run that is not there", async () => {
    await expect(openRun(join(folder, "none"))).rejects.toThrow(RunError);
    await expect(openRun("No Such Run")).rejects.toThrow(InputError);
  });
});

describe("the recorded run", () => {
  it("grows again from its own completions, through the sampler and the scorer, node by node", async () => {
    const run = await openRun(null);
    const nodes = await run.nodes();
    const id = mixedQuestion(nodes);
    const tree = nodes.filter((node) => node.question_id === id);
    const questions = (await run.questions()).filter((question) => question.id === id);
    const { policy, sampling, seed } = run.manifest.config;
    const entries: JournalEntry[] = [];
    const journal = {
      kept: async () => [],
      append: async (more: readonly JournalEntry[]) => void entries.push(...more),
    };
    const { roles, promptSet } = run;
    const counts = await sampleTrees({
      ...{ questions, roles, promptSet, policy, sampling, seed, journal },
      ...{ complete: replay(tree), concurrency: 3 },
    });
    run.close();
    expect(counts.ok).toBe(counts.asked);
    expect(scoreTrees(questions, roles, entries).nodes).toEqual(tree);
  });

  it("has the values that backUp gives for its columns", async () => {
    const run = await openRun(null);
    const nodes = await run.nodes();
    const { forest: trees } = columns(nodes, run.roles);
    run.close();
    expect([...backUp(trees).value]).toEqual(nodes.map((node) => node.value ?? Number.NaN));
  });
});

describe("replay", () => {
  const nodes = forest(1);

  it("refuses a request that was not recorded", async () => {
    const request = { policy: { model: "m", adapter: null }, messages: [], n: 1, seed: 999, sampling: {} as never };
    await expect(replay(nodes)(request)).rejects.toThrow("nothing was recorded under seed 999");
  });

  it("refuses nodes of which two have one seed", () => {
    expect(() => replay([...nodes, ...nodes])).toThrow("one question at a time");
  });
});

describe("columns", () => {
  const roles = ["generator", "verifier", "refiner"].map((name) => ({ name, branching: 3 })) as never;

  it("numbers questions and texts, and points at parents", () => {
    const nodes = forest(2);
    const { forest: trees, tree, text } = columns(nodes, roles);
    expect([...tree]).toEqual(nodes.map((node) => Number(node.question_id.slice(1))));
    nodes.forEach((node, i) => {
      const parent = nodes[trees.parent[i]!];
      expect(parent?.node_id ?? null).toBe(node.parent_id);
      if (parent) expect(parent.question_id).toBe(node.question_id);
      expect(nodes[text.indexOf(text[i]!)]!.text).toBe(node.text);
    });
  });

  it("refuses rows whose parent is missing", () => {
    expect(() => columns(forest(1).slice(1), roles)).toThrow(RunError);
  });
});

describe("mixedQuestion", () => {
  const right = (id: string, answers: boolean[]) =>
    answers.map((correct, i) => ({
      ...forest(1)[0]!,
      ...{ question_id: id, node_id: `g${i}`, branch: i, correct, value: Number(correct), label: correct },
    }));

  it("prefers a question whose siblings differ, and of those the most even one", () => {
    const [hard, mixed, even] = [
      right("a", [false, false]),
      right("b", [true, true, false]),
      right("c", [true, false]),
    ];
    expect(mixedQuestion([...hard, ...mixed, ...even])).toBe("c");
    expect(mixedQuestion([...hard, ...mixed])).toBe("b");
    expect(mixedQuestion(hard)).toBe("a");
  });

  it("needs nodes", () => {
    expect(() => mixedQuestion([])).toThrow(InputError);
  });
});
