import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { scoreTrees } from "../../src/credit/score.js";
import { exportRun } from "../../src/dataset/export.js";
import { RunError, ServerError } from "../../src/errors.js";
import { hash } from "../../src/run/manifest.js";
import { defaultSampling, sampleRun } from "../../src/sample/sample.js";
import { type SearchTreesOptions, searchTrees } from "../../src/sample/search.js";
import { sampleTrees } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Complete, JournalEntry } from "../../src/types.js";
import { heldOut, team } from "../team.js";

const scratch = mkdtempSync(join(tmpdir(), "malt-search-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A journal in memory. */
function memory(entries: readonly JournalEntry[] = []) {
  const kept = new Map(entries.map((entry) => [entry.key, entry]));
  return {
    completions: entries.length,
    kept: async (id: string) => entries.filter(({ question_id }) => question_id === id),
    append: async (more: readonly JournalEntry[]) => {
      for (const entry of more) expect(kept.has(entry.key)).toBe(false);
      for (const entry of more) kept.set(entry.key, entry);
    },
    discard: async (stale: readonly JournalEntry[]) => {
      for (const { key } of stale) kept.delete(key);
    },
    all: () => [...kept.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
  };
}
type Memory = ReturnType<typeof memory>;

const roles = maltRoles(6);
const search = { kind: "adaptive", budget: 39, threshold: 0.5 } as const;
const setting = (
  complete: Complete,
  journal: Memory,
  changes: Partial<SearchTreesOptions> = {},
): SearchTreesOptions => ({
  ...{ questions: heldOut, roles, promptSet: promptSet("arithmetic"), policy: { model: "malt-tiny", adapter: null } },
  ...{ sampling: defaultSampling, seed: 0, complete, journal, concurrency: 4, search },
  ...changes,
});
const honest = team().policy.complete;

describe("searchTrees", () => {
  it("asks for a part of the full tree: same places, seeds, keys and texts", async () => {
    const [part, full] = [memory(), memory()];
    const counts = await searchTrees(setting(honest, part));
    expect(counts).toMatchObject({ asked: 6 * 39, ok: 6 * 39, failed: 0, pending: 0, completions: 6 * 39 });
    await sampleTrees(setting(honest, full));
    const whole = new Map(full.all().map((entry) => [entry.key, entry]));
    for (const { retries: _, prompt_tokens: __, ...entry } of part.all())
      expect(whole.get(entry.key)).toMatchObject(entry);
    const { complete, nodes } = scoreTrees(heldOut, roles, part.all(), { search });
    expect([...complete]).toEqual(Array(6).fill(1));
    expect(nodes.every(({ value, label }) => value !== null && label !== null)).toBe(true);
    // They are not all alike: where the answers are sure, other states are looked at.
    const shapes = heldOut.map(({ id }) =>
      part
        .all()
        .filter((e) => e.question_id === id)
        .map((e) => e.node_id)
        .sort()
        .join(),
    );
    expect(new Set(shapes).size).toBeGreaterThan(1);
  });

  it("comes to the same trees in any order, with any concurrency and way of asking", async () => {
    const reference = memory();
    await searchTrees(setting(honest, reference));
    const slow: Complete = async (request) => {
      await new Promise((resolve) => setTimeout(resolve, request.seed % 7));
      return honest(request);
    };
    for (const changes of [{ concurrency: 1 }, { concurrency: 40 }, { request: "single" as const }]) {
      const journal = memory();
      await searchTrees(setting(slow, journal, changes));
      expect(journal.all().map(({ retries: _, ...e }) => e)).toEqual(reference.all().map(({ retries: _, ...e }) => e));
    }
  });

  it("interrupted anywhere goes on as if it had not been, and asks for nothing twice", async () => {
    const reference = memory();
    await searchTrees(setting(honest, reference));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 4 }), async (stops) => {
        let entries: JournalEntry[] = [];
        let asked = 0;
        const counting: Complete = (request) => {
          asked += request.n;
          return honest(request);
        };
        for (const after of [...stops, Number.POSITIVE_INFINITY]) {
          const journal = memory(entries);
          const stop = new AbortController();
          let left = after;
          const complete: Complete = async (request) => {
            if (left-- <= 0) stop.abort(new Error("interrupted"));
            if (stop.signal.aborted) throw new Error("cut off");
            return counting(request);
          };
          const done = searchTrees(setting(complete, journal, { signal: stop.signal })).catch((error) => error.message);
          const result = await done;
          if (typeof result === "string") expect(result).toBe("interrupted");
          entries = journal.all();
        }
        expect(entries).toEqual(reference.all());
        expect(asked).toBe(reference.all().length);
      }),
      { numRuns: 8 },
    );
  });

  it("leaves a question whose request fails to the next call, and values nothing of it until then", async () => {
    const journal = memory();
    const failing: Complete = async (request) => {
      if (JSON.stringify(request.messages).includes("Unseen 2") && JSON.stringify(request.messages).includes("I draw"))
        throw new ServerError("busy");
      return honest(request);
    };
    const failures: string[] = [];
    const counts = await searchTrees(setting(failing, journal, { onFailure: (_, id) => failures.push(id) }));
    expect(new Set(failures)).toEqual(new Set(["test-2"]));
    expect(counts.asked).toBe(counts.ok + counts.failed + counts.pending);
    expect(counts.ok).toBe(5 * 39 + journal.all().filter((e) => e.question_id === "test-2").length);
    const scored = scoreTrees(heldOut, roles, journal.all(), { search });
    expect([...scored.complete]).toEqual([1, 1, 0, 1, 1, 1]);
    const own = scored.nodes.filter((n) => n.question_id === "test-2");
    expect(own.filter((n) => n.depth === 0).map((n) => n.value)).toEqual([null, null, null]);
    const again = memory(journal.all());
    expect(await searchTrees(setting(honest, again))).toMatchObject({ ok: 6 * 39, failed: 0 });
  });

  it("takes out of the journal what has grown from a text that is no longer there", async () => {
    const reference = memory();
    await searchTrees(setting(honest, reference));
    const damaged = reference.all().filter((e) => !(e.question_id === "test-0" && e.node_id === "g1"));
    const other = reference.all().map((e) => e.key);
    const journal = memory(
      damaged.map((e) => (e.question_id === "test-0" && e.node_id.startsWith("g1.") ? { ...e, key: `${e.key}x` } : e)),
    );
    await searchTrees(setting(honest, journal));
    expect(journal.all().map((e) => e.key)).toEqual(other);
  });
});

describe("a run that is searched", () => {
  const run = (name: string, changes: object = {}) =>
    sampleRun({
      ...{ run: name, outputs: scratch, questions: heldOut, policy: team().policy, model: "malt-tiny", roles, search },
      ...changes,
    });

  it("is complete with its budget, exported whole, and says how it was searched", async () => {
    const first = await run("whole");
    expect(first.manifest.counts).toMatchObject({ asked: 234, ok: 234, completions: 234 });
    expect(first.manifest.config.search).toEqual(search);
    expect((await run("whole")).wasComplete).toBe(true);
    const { trees, roles: rows } = await exportRun(first.dir);
    expect(trees).toEqual({ complete: 6, incomplete: 0 });
    expect(rows.every(({ nodes, valued }) => nodes === valued)).toBe(true);
    expect(readFileSync(join(first.dir, "README.md"), "utf8")).toContain("| search | 39 completions per question");
  });

  it("interrupted and resumed gives the same dataset, byte for byte", async () => {
    const stop = new AbortController();
    let left = 20;
    const policy = team({
      complete: (honest) => async (request) => {
        if (left-- === 0) stop.abort(new Error("interrupted"));
        return honest(request);
      },
    }).policy;
    await expect(run("broken", { policy, signal: stop.signal })).rejects.toThrow("interrupted");
    const dirs = [(await run("broken")).dir, (await run("unbroken")).dir];
    const files = [];
    for (const dir of dirs) {
      await exportRun(dir);
      const names = [
        ...readdirSync(dir).filter((name) => /parquet|arrow/.test(name)),
        ...readdirSync(join(dir, "train")).map((n) => join("train", n)),
      ];
      files.push(names.sort().map((name) => [name, hash(readFileSync(join(dir, name)))]));
    }
    expect(files[0]).toEqual(files[1]);
  });

  it("is not gone on with as a full tree, or with another budget", async () => {
    await expect(run("whole", { search: undefined })).rejects.toThrow(RunError);
    await expect(run("whole", { search: { ...search, budget: 45 } })).rejects.toThrow("search.budget: 39 → 45");
    await expect(run("small", { search: { ...search, budget: 1 } })).rejects.toThrow("budget is 1");
  });
});
