import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { logNormalLengths, type VirtualServer, virtualServer } from "../../src/sample/simulate.js";
import { requestModes, sampleTrees } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { CompletionRequest, JournalEntry, Question, RequestMode } from "../../src/types.js";

const request = (seed: number, n: number): CompletionRequest => ({
  ...{ policy: { model: "virtual", adapter: null }, messages: [], n, seed, sampling: defaultSampling },
});
const questions = Array.from({ length: 6 }, (_, i): Question => {
  const id = `q${i}`;
  return { id, benchmark: "own", split: "train", question: `Question ${i}?`, choices: null, answer: "12" };
});

function sample(server: VirtualServer, changes: { request?: RequestMode; concurrency?: number } = {}) {
  const lines: JournalEntry[] = [];
  const journal = {
    kept: async () => [],
    append: async (entries: readonly JournalEntry[]) => void lines.push(...entries),
  };
  const setting = { roles: maltRoles(), promptSet: promptSet("arithmetic"), sampling: defaultSampling, seed: 0 };
  const policy = { model: "virtual", adapter: null };
  const asked = { ...setting, policy, questions, journal, concurrency: 8, complete: server.complete, ...changes };
  return { lines, counts: server.run(sampleTrees(asked)) };
}

describe("a virtual server", () => {
  it("runs as many completions as it has slots, the others in the order of their arrival", async () => {
    const server = virtualServer({ slots: 2, lengthOf: (seed) => 10 * seed });
    const told: [number, number][] = [];
    const note = (choice: number) => told.push([choice, server.now]);
    await server.run(Promise.all([server.complete(request(1, 3), undefined, note), server.complete(request(9, 1))]));
    // Seeds 1 and 2 begin; 3 takes the place of 1 at 10, 9 that of 2 at 20.
    expect(told).toEqual([
      [0, 10],
      [1, 20],
      [2, 40],
    ]);
    expect(server.served.map(({ seed, slot, start_ms, end_ms }) => [seed, slot, start_ms, end_ms])).toEqual([
      [1, 0, 0, 10],
      [2, 1, 0, 20],
      [3, 0, 10, 40],
      [9, 1, 20, 110],
    ]);
  });

  it("frees the slots of a request that was given up, and says what they were used for", async () => {
    const server = virtualServer({ slots: 1, lengthOf: () => 100 });
    const stop = new AbortController();
    server.every(30, () => stop.abort(new Error("power cut")));
    const given = server.complete(request(0, 2), stop.signal);
    const other = server.complete(request(5, 1));
    await expect(server.run(given)).rejects.toThrow("power cut");
    await server.run(other);
    expect(server.served.map(({ seed, end_ms, isWhole }) => [seed, end_ms, isWhole])).toEqual([
      [0, 30, false],
      [5, 130, true],
    ]);
    expect(server.load).toEqual({ running: 0, waiting: 0, cache: null });
  });

  it.each(requestModes)("lets the sampler go the same way every time, never below the bound: %s", async (mode) => {
    const once = async () => {
      const server = virtualServer({ slots: 5, lengthOf: logNormalLengths({ mean: 100, sigma: 0.8 }) });
      const { lines, counts } = sample(server, { request: mode });
      expect(await counts).toMatchObject({ pending: 0, failed: 0, completions: 6 * 39 });
      expect(new Set(lines.map(({ key }) => key)).size).toBe(6 * 39);
      return server;
    };
    const [first, second] = [await once(), await once()];
    expect(second.served).toEqual(first.served);
    const work = first.served.reduce((sum, { start_ms, end_ms }) => sum + end_ms - start_ms, 0);
    expect(first.now).toBeGreaterThanOrEqual(work / 5);
    expect(first.now).toBeLessThan(1.5 * (work / 5));
    for (const { slot, start_ms } of first.served) {
      const here = first.served.filter((other) => other.slot === slot);
      expect(here.filter((other) => other.start_ms <= start_ms && start_ms < other.end_ms)).toHaveLength(1);
    }
  });

  it("starts the children of a choice while its siblings run, where requests are streamed", async () => {
    const lengthOf = logNormalLengths({ mean: 100, sigma: 0.8 });
    const chain = async (mode: RequestMode) => {
      const server = virtualServer({ slots: 1000, lengthOf });
      await sample(server, { request: mode, concurrency: 1000 }).counts;
      return server.now;
    };
    expect(await chain("streamed")).toBeLessThan(await chain("whole"));
    expect(await chain("streamed")).toBe(await chain("single"));
  });

  it.each([0, 1.5, Number.NaN])("has no %s slots", (slots) => {
    expect(() => virtualServer({ slots, lengthOf: () => 1 })).toThrow(InputError);
  });
});

describe("log-normal lengths", () => {
  it("have the mean and the spread that were asked for, and depend on the seed alone", () => {
    const lengthOf = logNormalLengths({ mean: 100, sigma: 0.8 });
    const drawn = Array.from({ length: 5_000 }, (_, i) => lengthOf(7919 * i));
    const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
    expect(mean(drawn)).toBeGreaterThan(96);
    expect(mean(drawn)).toBeLessThan(104);
    const logs = drawn.map(Math.log);
    const spread = Math.sqrt(mean(logs.map((x) => (x - mean(logs)) ** 2)));
    expect(spread).toBeCloseTo(0.8, 1);
    expect(lengthOf(7919)).toBe(drawn[1]);
  });
});
