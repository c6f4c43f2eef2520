import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openDuckDB, pathLiteral } from "../../src/duckdb.js";
import { studyFigure } from "../../src/figures/index.js";
import { readJournal } from "../../src/run/journal.js";
import { hash } from "../../src/run/manifest.js";
import { knownCompletions, knownFirst } from "../../src/sample/known.js";
import { sampleRun } from "../../src/sample/sample.js";
import { studyText } from "../../src/show/study.js";
import { renderSvg } from "../../src/show/svg.js";
import { pairedTest } from "../../src/stats/paired.js";
import type { StudyDefinition } from "../../src/study/definition.js";
import { planStudy } from "../../src/study/definition.js";
import { openStudy } from "../../src/study/open.js";
import { atEqualTokens, type CellAnswer, compareCells } from "../../src/study/results.js";
import type { Serve } from "../../src/study/serve.js";
import { study } from "../../src/study/study.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { TrainingStage } from "../../src/train/plan.js";
import { reuseStages } from "../../src/train/reuse.js";
import type { Complete } from "../../src/types.js";
import { heldOut, questionFiles, team } from "../team.js";

const folder = await mkdtemp(join(tmpdir(), "malt-study-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const { train: questions, test } = await questionFiles(folder);

/** Untrained teams on two widths: trees of 2 lie in those of 3, passes are the same. */
const definition: StudyDefinition = {
  ...{ name: "grid", questions, test, limit: 4, size: 4, seeds: 2 },
  vary: { branching: [2, 3], system: ["SA", "MA"], votes: [1, 3] },
  reference: { system: "SA", votes: 1 },
};

/** A server of an instant policy, which counts how often it is started. */
function server(changes: { complete?: (honest: Complete) => Complete } = {}) {
  const fake = team(changes);
  let starts = 0;
  const serve: Serve = async () => {
    starts++;
    return { policy: fake.policy, model: "malt-tiny", stop: async () => {} };
  };
  return { serve, asked: fake.asked, requests: fake.requests, starts: () => starts };
}
const tables = (outputs: string, name = "grid") =>
  Promise.all(["results", "outcomes"].map((table) => readFile(join(outputs, "studies", name, `${table}.parquet`))));

describe("a study", () => {
  it("asks for nothing twice: narrower trees lie in wider ones, and passes are shared by all runs", async () => {
    const { serve, asked, starts } = server();
    const outputs = join(folder, "whole");
    const { dir, results, outcomes, work, left } = await study(definition, { outputs, serve });
    expect(left).toBe(0);
    expect(await openStudy(dir)).toMatchObject({ dir, results, outcomes, work });
    expect(new Set(asked).size).toBe(asked.length);
    // Trees of 3 + 9 + 27; passes of 3 x 3 for each question and seed.
    expect(work.completions).toEqual({ needed: 4 * (39 + 14), made: 4 * 39 });
    expect(work.passes).toEqual({ needed: 2 * 4 * 2 * 9, made: 4 * 2 * 9 });
    expect(asked).toHaveLength(4 * 39 + 4 * 2 * 9);
    expect(starts()).toBe(3);
    // What is untrained does not depend on the trees.
    for (const half of [0, 1, 2, 3]) expect(results[half]!.accuracy).toEqual(results[half + 4]!.accuracy);
    expect(results.filter(({ isReference }) => isReference).map(({ cell }) => cell)).toEqual([5]);
    expect(results.map(({ cost }) => cost.sampled_completions)).toEqual([
      ...Array(4).fill(4 * 14),
      ...Array(4).fill(4 * 39),
    ]);

    const { connection, close } = await openDuckDB();
    const path = pathLiteral(join(outputs, "studies", "grid", "results.parquet"));
    const read = (await connection.runAndReadAll(`SELECT * FROM ${`read_parquet(${path})`}`)).getRowObjectsJS();
    close();
    expect(read).toHaveLength(8);
    expect(Object.keys(read[0]!).slice(0, 6)).toEqual([
      "cell",
      "branching",
      "system",
      "votes",
      "evaluated_system",
      "reference",
    ]);
    expect(read.map((row) => [row.branching, row.votes, row.accuracy])).toEqual(
      results.map((result) => [Number(result.values.branching), Number(result.values.votes), result.accuracy!.mean]),
    );
  });

  it("killed at any request goes on to the same tables, and asks nothing again", async () => {
    const whole = server();
    const outputs = join(folder, "unbroken");
    await study(definition, { outputs, serve: whole.serve });
    for (const from of [1, 20, whole.requests.length - 1]) {
      const place = join(folder, `cut-${from}`);
      let n = 0;
      const cut = server({
        complete: (honest) => (request, signal) =>
          ++n > from ? Promise.reject(new Error("killed")) : honest(request, signal),
      });
      await expect(study(definition, { outputs: place, serve: cut.serve, concurrency: 2 })).rejects.toThrow("killed");
      const rest = server();
      await study(definition, { outputs: place, serve: rest.serve });
      expect(await tables(place)).toEqual(await tables(outputs));
      expect([...cut.asked, ...rest.asked].sort()).toEqual([...whole.asked].sort());
      const again = server();
      await study(definition, { outputs: place, serve: again.serve });
      expect([again.asked.length, again.starts()]).toEqual([0, 0]);
    }
  });

  it("as jobs makes what one call makes, and says what is left meanwhile", async () => {
    const outputs = join(folder, "jobs");
    const { serve, asked } = server();
    expect(await study(definition, { outputs, serve, until: "sample" })).toMatchObject({ left: 8 });
    const sampled = asked.length;
    expect(sampled).toBe(4 * 39);
    const first = await study(definition, { outputs, serve, part: { index: 2, of: 2 } });
    expect(first.left).toBe(4);
    expect(studyText(first)).toMatch(/4 cells are left/);
    expect((await study(definition, { outputs, serve, part: { index: 1, of: 2 } })).left).toBe(0);
    expect(await tables(outputs)).toEqual(await tables(join(folder, "unbroken")));
    await expect(study(definition, { outputs, serve, part: { index: 3, of: 2 } })).rejects.toThrow(
      "part 3 of 2 is none",
    );
  });

  it("with damage to a journal asks again for what no other run holds, and ends in the same tables", async () => {
    const outputs = join(folder, "jobs");
    const wide = (await readdir(join(outputs, "runs"))).map((name) =>
      join(outputs, "runs", name, "journal", "completions.jsonl"),
    );
    const [path] = (await Promise.all(wide.map(async (each) => [(await readFile(each)).length, each] as const)))
      .sort((a, b) => b[0] - a[0])[0]!
      .slice(1);
    const lines = (await readFile(path as string, "utf8")).split("\n");
    // A third answer, which the narrower run lacks.
    const at = lines.findIndex((line) => line.includes('"node_id":"g2"'));
    lines[at] = lines[at]!.replace('"text":"', '"text":"?');
    await writeFile(path as string, lines.join("\n"));
    const { serve, asked } = server();
    await study(definition, { outputs, serve });
    expect(asked).toHaveLength(1);
    expect(await tables(outputs)).toEqual(await tables(join(folder, "unbroken")));
  });

  it("puts a cell that cannot be trained into its table, with the reason", async () => {
    const outputs = join(folder, "hopeless");
    const { serve } = server();
    const hopeless = {
      ...definition,
      name: "hopeless",
      vary: { threshold: [1], system: ["SA", "MALT"] },
      reference: {},
    };
    const made = await study(hopeless, { outputs, serve });
    const { results, left } = made;
    expect(left).toBe(0);
    const text = studyText(made);
    expect(text).toMatch(/The reference has no result, so no cell is compared with it/);
    expect(text).toMatch(/\ncell 2: the generator has no example to learn from\n/);
    expect(results.map(({ reason }) => reason)).toEqual([null, "the generator has no example to learn from"]);
    expect(results[1]!.accuracy).toBeNull();
    expect((await openStudy(made.dir)).results).toEqual(results);
    await expect(openStudy(join(outputs, "studies", "none"))).rejects.toThrow(/no study in .*none/);
    await writeFile(join(made.dir, "study.json"), "{}");
    await expect(openStudy(made.dir)).rejects.toThrow(/cannot be read: .*run `malt study` again/s);
  });

  it("measures a system at another's tokens, which need not be a cell", async () => {
    const { serve } = server();
    const vary = { system: ["SA equal tokens to MA@2", "MA"] };
    const { results } = await study({ ...definition, name: "equal", vary, reference: {} }, { outputs: folder, serve });
    expect(results.map(({ system, accuracy }) => [system, accuracy!.n])).toEqual([
      ["SA equal tokens to MA@2", 8],
      ["MA", 8],
    ]);
    expect(Math.abs(results[0]!.tokens! - 2 * results[1]!.tokens!)).toBeLessThan(results[1]!.tokens! / 3);
  });

  it("is shown in text and figures: each axis, with the cells that have no result counted", async () => {
    const { serve } = server();
    const outputs = join(folder, "whole");
    const result = await study({ ...definition, title: "How wide?" }, { outputs, serve });
    const text = studyText(result);
    expect(text).toMatch(/^How wide\?\n\ncell +branching +system +votes +accuracy/);
    expect(text).toMatch(
      /Made once: 156 of 212 completions of trees, 0 of 0 training stages, 72 of 144 completions of passes/,
    );
    expect(text).toMatch(/At exactly equal tokens/);
    for (const axis of ["branching", "system", "votes"]) {
      const svg = renderSvg(studyFigure(result.results, axis));
      expect(svg).toContain(axis === "votes" ? "completion tokens per question" : `Accuracy by ${axis}`);
      expect(svg).toMatch(/ring marks the/);
    }
    const half = result.results.map((one) => (one.cell % 2 ? { ...one, accuracy: null } : one));
    expect(renderSvg(studyFigure(half, "system"))).toContain("4 cells without a result");
    expect(renderSvg(studyFigure([], "system"))).toContain("no cells");
  });
});

describe("the comparison of cells", () => {
  const plan = planStudy({
    name: "s",
    vary: { system: ["SA", "MA"], votes: [1, 3] },
    reference: { system: "MA", votes: 3 },
  });
  const right: Record<number, (q: number, seed: number) => boolean> = {
    1: (q) => q < 5,
    2: (q) => q < 8,
    3: (q, seed) => q + seed < 12,
    4: (q) => q < 15,
  };
  const tokens: Record<number, number> = { 1: 10, 2: 30, 3: 25, 4: 75 };
  const outcomes = plan.cells.flatMap(({ cell }) =>
    [0, 1].flatMap((seed) =>
      Array.from(
        { length: 20 },
        (_, q): CellAnswer => ({
          ...{ cell, repeat: 0, seed, question_id: `q${q}`, correct: right[cell]!(q, seed), tokens: tokens[cell]! },
        }),
      ),
    ),
  );
  const results = compareCells(plan.cells, outcomes, []);

  it("is paired by question, seed and repeat, and adjusted by Holm's rule", () => {
    const reference = results[3]!;
    expect([reference.isReference, reference.against]).toEqual([true, null]);
    const differences = [0, 1].flatMap(() => Array.from({ length: 20 }, (_, q) => Number(q < 5) - Number(q < 15)));
    const questions = [0, 1].flatMap(() => Array.from({ length: 20 }, (_, q) => `q${q}`));
    expect(results[0]!.against).toMatchObject(pairedTest(differences, questions));
    const p = results.slice(0, 3).map(({ against }) => against!.p);
    const [least, middle, most] = [...p].sort((a, b) => a - b);
    const steps = new Map([
      [least, Math.min(1, 3 * least!)],
      [middle, Math.min(1, Math.max(3 * least!, 2 * middle!))],
      [most, Math.min(1, Math.max(3 * least!, 2 * middle!, most!))],
    ]);
    for (const [i, each] of p.entries()) expect(results[i]!.against!.pHolm).toBeCloseTo(steps.get(each)!, 12);
  });

  it("says how far repeats of the training are apart, and their differences from the reference", () => {
    const { cells } = planStudy({
      ...{ name: "r", vary: { beta: [0.1, 0.2] } },
      ...{ repeat: { trainSeed: [0, 1] }, reference: { beta: 0.1 } },
    });
    // Right answers of 4: the reference 1 and 3, the other cell 3 and 4.
    const right = [
      [1, 3],
      [3, 4],
    ];
    const outcomes = cells.flatMap(({ cell }, i) =>
      [0, 1].flatMap((repeat) =>
        [0, 1, 2, 3].map(
          (q): CellAnswer => ({
            ...{ cell, repeat, seed: 0, question_id: `q${q}`, correct: q < right[i]![repeat]!, tokens: null },
          }),
        ),
      ),
    );
    const [reference, other] = compareCells(cells, outcomes, []);
    expect([reference!.isReference, reference!.overRepeats]).toEqual([true, expect.closeTo(0.5 / Math.SQRT2, 12)]);
    expect(other!.overRepeats).toBeCloseTo(0.25 / Math.SQRT2, 12);
    expect(other!.against!.difference.mean).toBeCloseTo(3 / 8, 12);
    expect(other!.against!.overRepeats).toBeCloseTo(0.25 / Math.SQRT2, 12);
    expect(results[0]!.against!.overRepeats).toBeNull();
  });

  it("at equal tokens takes the mean of k and k + 1 votes, weighted to spend just these tokens", () => {
    const [ma, sa] = [
      atEqualTokens(plan.cells, outcomes, results, [25])[1]!,
      atEqualTokens(plan.cells, outcomes, results, [25])[0]!,
    ];
    expect(sa.values).toEqual({ system: "SA" });
    // 25 = 1/4 of 10 and 3/4 of 30 tokens: 1/4 of 5 and 3/4 of 8 right answers of 20.
    expect(sa.votes).toBeCloseTo(0.25 * 1 + 0.75 * 3, 12);
    expect(sa.accuracy.mean).toBeCloseTo((0.25 * 5 + 0.75 * 8) / 20, 12);
    expect(ma).toMatchObject({ votes: 1, against: null });
    expect(sa.against!.difference.mean).toBeCloseTo(ma.accuracy.mean - sa.accuracy.mean, 12);
    expect(atEqualTokens(plan.cells, outcomes, results, [5, 80])).toEqual([]);
    expect(atEqualTokens(plan.cells, outcomes, results, [12]).map(({ values }) => values.system)).toEqual(["SA"]);
  });
});

describe("what is shared", () => {
  it("is a completion with the same key; others are asked for under the seeds they would have had", async () => {
    const run = (name: string, n: number, policy = team().policy) =>
      sampleRun({
        run: name,
        outputs: folder,
        policy,
        model: "malt-tiny",
        questions: heldOut.slice(0, 2).map((q) => ({ ...q, split: "train" })),
        roles: maltRoles(n),
      });
    const narrow = await run("narrow", 2);
    const known = knownCompletions();
    for await (const entry of readJournal(narrow.dir)) known.add([entry, entry]);
    expect(known.size).toBe(2 * (2 + 4 + 8));
    const fresh = team();
    await run("wide", 3, knownFirst(known, fresh.policy));
    expect(fresh.asked).toHaveLength(2 * (39 - 14));
    await run("plain", 3);
    const entries = async (name: string) => {
      const all = [];
      for await (const { key, text } of readJournal(join(folder, "runs", name))) all.push(`${key} ${text}`);
      return all.sort();
    };
    expect(await entries("wide")).toEqual(await entries("plain"));
  });

  it("is a stage with the same settings, data and start; any other is trained", async () => {
    const stage = (name: string, start: string | null) => ({ name, data: `${name}.jsonl`, start }) as TrainingStage;
    const plan = [stage("verifier-sft", null), stage("verifier-dpo", "verifier-sft")];
    const make = async (
      dir: string,
      changes: { data?: string; yaml?: string; start?: string; done?: boolean } = {},
    ) => {
      for (const { name, data, start } of plan) {
        await mkdir(join(folder, dir, "train", name), { recursive: true });
        const text = changes.data ?? "rows";
        await writeFile(join(folder, dir, "train", data), text);
        await writeFile(join(folder, dir, "train", `${name}.yaml`), changes.yaml ?? "beta: 0.2");
        const start_sha256 = start === null ? null : (changes.start ?? "verifier-sft of x");
        const done = { sha256: `${name} of x`, start_sha256, data_sha256: [hash(text)] };
        if (changes.done !== false)
          await writeFile(join(folder, dir, "train", name, "done.json"), JSON.stringify(done));
      }
      return join(folder, dir);
    };
    const own = (dir: string) => join(folder, dir, "train");
    await make("own", { done: false });
    const others = [
      await make("other-data", { data: "else" }),
      await make("other-beta", { yaml: "beta: 0.5" }),
      await make("other-start", { start: "another" }),
    ];
    expect(await reuseStages(own("own"), plan, others)).toEqual(["verifier-sft"]);
    expect(await reuseStages(own("own"), plan, [await make("same")])).toEqual(["verifier-dpo"]);
    expect(await reuseStages(own("own"), plan, others)).toEqual([]);
    expect(JSON.parse(await readFile(join(own("own"), "verifier-dpo", "done.json"), "utf8")).sha256).toBe(
      "verifier-dpo of x",
    );
  });
});
