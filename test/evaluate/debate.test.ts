import { describe, expect, it } from "vitest";
import { InputError, RefusedError, RunError, ServerError, UnreachableError } from "../../src/errors.js";
import { debatePrompt, type SampleDebatesOptions, sampleDebates } from "../../src/evaluate/debate.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { sampleTrees } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Complete, JournalEntry } from "../../src/types.js";
import { heldOut, team } from "../team.js";

const questions = heldOut.slice(0, 2);
const generator = maltRoles()[0]!;

function memory(entries: readonly JournalEntry[] = []) {
  const kept = new Map(entries.map((entry) => [entry.key, entry]));
  return {
    kept: async (id: string) => [...kept.values()].filter(({ question_id }) => question_id === id),
    append: async (more: readonly JournalEntry[]) => {
      for (const entry of more) if (!kept.has(entry.key)) kept.set(entry.key, entry);
    },
    all: () => [...kept.values()],
  };
}

const options = (changes: Partial<SampleDebatesOptions> & { journal?: ReturnType<typeof memory> } = {}) => ({
  questions,
  role: generator,
  policy: { model: "malt-tiny", adapter: null },
  agents: 3,
  rounds: 3,
  promptSet: promptSet("arithmetic"),
  sampling: defaultSampling,
  seed: 5,
  complete: team().policy.complete,
  concurrency: 2,
  journal: memory(),
  ...changes,
});

describe("a debate", () => {
  it("of three agents over three rounds is nine answers; each agent reads the others' last ones beside its own", async () => {
    const { policy, requests } = team();
    const { debates, failed } = await sampleDebates(options({ questions: [questions[0]!], complete: policy.complete }));
    const all = debates.get("test-0")!;
    expect(all.map((round) => round.length)).toEqual([3, 3, 3]);
    expect(failed).toBe(0);
    expect(requests).toHaveLength(7);
    const texts = all.map((round) => round.map(({ text }) => text));
    expect(new Set(texts.flat()).size).toBe(9);
    const opening = requests[0]!.messages;
    for (const agent of [0, 1, 2]) {
      const others = (round: number) => texts[round]!.filter((_, i) => i !== agent);
      const last = requests.find(
        ({ messages }) => messages.length === 5 && messages[3]!.content === texts[1]![agent],
      )!.messages;
      expect(last).toEqual([
        ...opening,
        { role: "assistant", content: texts[0]![agent] },
        { role: "user", content: debatePrompt(others(0)) },
        { role: "assistant", content: texts[1]![agent] },
        { role: "user", content: debatePrompt(others(1)) },
      ]);
      for (const other of others(1)) expect(last[4]!.content).toContain(other);
      expect(last[4]!.content).not.toContain(texts[1]![agent]);
    }
    expect(new Set(all.flat().map(({ seed }) => seed)).size).toBe(9);
  });

  it("begins with the very answers that a majority vote of single agents has", async () => {
    const given = options();
    const { onProgress: _, ...shared } = given;
    await sampleTrees({ ...shared, roles: [{ ...generator, branching: 3 }] });
    const { policy, requests } = team();
    const { debates } = await sampleDebates({ ...given, complete: policy.complete });
    expect(requests.every(({ n }) => n === 1)).toBe(true);
    expect(requests).toHaveLength(2 * 6);
    expect(debates.size).toBe(2);
  });

  it("goes on from any state of the journal, asks only what is missing and ends in the same answers", async () => {
    const whole = options();
    const { debates } = await sampleDebates(whole);
    const entries = whole.journal.all();
    expect(entries).toHaveLength(18);
    for (let kept = 0; kept <= entries.length; kept += 3) {
      const { policy, asked } = team();
      const journal = memory(entries.slice(0, kept));
      expect((await sampleDebates(options({ journal, complete: policy.complete }))).debates).toEqual(debates);
      // What was sampled first are the two opening rounds, which come three at a time.
      expect(asked).toHaveLength(entries.length - kept);
    }
  });

  it.each([1, 2, 5])("of many keeps exactly %i requests in flight", async (concurrency) => {
    const { policy } = team();
    let [active, peak] = [0, 0];
    const complete: Complete = async (request) => {
      peak = Math.max(peak, ++active);
      await new Promise(setImmediate);
      active--;
      return policy.complete(request);
    };
    let ended = 0;
    await sampleDebates(options({ questions: heldOut, concurrency, complete, onProgress: (n) => (ended = n) }));
    expect(peak).toBe(concurrency);
    expect(ended).toBe(6 * 7);
  });

  it("of one agent, or of no round, is refused", async () => {
    await expect(sampleDebates(options({ agents: 1 }))).rejects.toThrow("agents of a debate must be an integer ≥ 2");
    await expect(sampleDebates(options({ rounds: 0 }))).rejects.toThrow(InputError);
  });
});

describe("a request that fails", () => {
  it("ends its own debate alone; the next call asks it again", async () => {
    const { policy } = team();
    let broken = true;
    const seen: unknown[] = [];
    const complete: Complete = async (request) => {
      if (broken && request.messages.length === 3 && request.messages[0]!.content.includes("Unseen 1"))
        throw new ServerError("HTML in place of a completion");
      return policy.complete(request);
    };
    const given = options({ complete, onFailure: (error, id) => seen.push([error.message, id]) });
    const first = await sampleDebates(given);
    expect([...first.debates.keys()]).toEqual(["test-0"]);
    expect(first.failed).toBe(3);
    expect(seen).toEqual(Array(3).fill(["HTML in place of a completion", "test-1"]));
    broken = false;
    const again = await sampleDebates(given);
    expect(again).toEqual({ ...(await sampleDebates(options())), failed: 0 });
  });

  it("because it is refused leaves the other debates to go on, unless five questions are refused alike", async () => {
    const { policy } = team();
    const refusing =
      (pattern: RegExp): Complete =>
      async (request) => {
        if (pattern.test(request.messages[0]!.content)) throw new RefusedError("the prompt is too long", 400);
        return policy.complete(request);
      };
    const given = options({ questions: heldOut, concurrency: 1 });
    const first = await sampleDebates({ ...given, complete: refusing(/Unseen [012]:/) });
    expect([[...first.debates.keys()], first.failed]).toEqual([["test-3", "test-4", "test-5"], 3]);
    const other = options({ questions: heldOut, concurrency: 4, complete: refusing(/./) });
    await expect(sampleDebates(other)).rejects.toThrow("gave up, because 5 different questions failed alike");
  });

  it("of a dead server stops everything after the third in a row, and nothing runs on", async () => {
    const { policy } = team();
    let asked = 0;
    const complete: Complete = async (request) => {
      if (++asked > 4) throw new UnreachableError("nobody there");
      return policy.complete(request);
    };
    const given = options({ questions: heldOut, complete, concurrency: 1 });
    await expect(sampleDebates(given)).rejects.toThrow("nobody there");
    await new Promise(setImmediate);
    expect(asked).toBe(7);
    const before = given.journal.all().length;
    const { policy: back, asked: rest } = team();
    const { debates } = await sampleDebates({ ...given, complete: back.complete });
    expect(debates.size).toBe(6);
    expect(before).toBeGreaterThanOrEqual(4);
    expect(before + rest.length).toBe(54);
  });

  it("to be written stops at once; so does the caller's signal", async () => {
    const full = options({ concurrency: 1 });
    full.journal.append = () => Promise.reject(new RunError("disk full"));
    await expect(sampleDebates(full)).rejects.toThrow("disk full");

    const { policy, requests } = team();
    const stop = new AbortController();
    const complete: Complete = (request, signal) => {
      if (requests.length < 3) return policy.complete(request);
      return new Promise((_, reject) => {
        signal!.addEventListener("abort", () => reject(signal!.reason));
        stop.abort(new Error("enough"));
      });
    };
    const given = options({ complete, concurrency: 1, signal: stop.signal });
    await expect(sampleDebates(given)).rejects.toThrow("enough");
    expect(requests).toHaveLength(3);
    await expect(sampleDebates(given)).rejects.toThrow("enough");
  });
});
