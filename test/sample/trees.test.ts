import { describe, expect, it } from "vitest";
import { InputError, RefusedError, RunError, ServerError, UnreachableError } from "../../src/errors.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { nodeKey, requestSeed, statesPerTree } from "../../src/sample/state.js";
import { type Counts, type SampleTreesOptions, sampleTrees } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Complete, CompletionRequest, JournalEntry, Question } from "../../src/types.js";

const question = (id: string): Question => ({
  id,
  benchmark: "own",
  split: "train",
  question: `Question ${id}?`,
  choices: null,
  answer: "12",
});
const completion = (text: string) => ({
  text,
  finish_reason: "stop",
  prompt_tokens: 5,
  completion_tokens: 2,
  retries: 0,
});
/** Says its seed, so that every text on a path shows which request it came from. */
const honest: Complete = async ({ n, seed }) => Array.from({ length: n }, (_, i) => completion(`said ${seed + i}`));

/** The same, keeping what it was asked. */
const recording =
  (asked: CompletionRequest[]): Complete =>
  (request) => {
    asked.push(request);
    return honest(request);
  };

/** A journal in memory. */
function memory(entries: JournalEntry[] = []) {
  const kept = new Map(entries.map((entry) => [entry.key, entry]));
  const appended: JournalEntry[] = [];
  return {
    appended,
    get: (key: string) => kept.get(key),
    kept: async (id: string) => [...kept.values()].filter(({ question_id }) => question_id === id),
    append: async (more: readonly JournalEntry[]) => {
      for (const entry of more) if (!kept.has(entry.key)) appended.push(entry);
      for (const entry of more) if (!kept.has(entry.key)) kept.set(entry.key, entry);
    },
    all: () => [...kept.values()],
  };
}

function options(changes: Partial<SampleTreesOptions> = {}) {
  const journal = memory();
  return {
    questions: [question("a"), question("b")],
    roles: maltRoles(),
    promptSet: promptSet("arithmetic"),
    policy: { model: "fake", adapter: null },
    sampling: defaultSampling,
    seed: 0,
    complete: honest,
    concurrency: 4,
    ...changes,
    journal: (changes.journal ?? journal) as ReturnType<typeof memory>,
  };
}

const sorted = (entries: JournalEntry[]) =>
  entries.map((entry) => JSON.stringify(entry)).sort((a, b) => (a < b ? -1 : 1));

describe("a tree", () => {
  it("counts completions by what ended them, where that is not the model", async () => {
    const ends = ["stop", "length", "content_filter", "tool_calls", "function_call"];
    const complete: Complete = async (request) =>
      (await honest(request)).map((each, i) => ({ ...each, finish_reason: ends[(request.seed + i) % 5]! }));
    const given = options({ complete });
    const counts = await sampleTrees(given);
    const number = (...of: string[]) => given.journal.all().filter((each) => of.includes(each.finish_reason)).length;
    expect(counts).toMatchObject({
      truncated: number("length"),
      content_filter: number("content_filter"),
      tool_calls: number("tool_calls", "function_call"),
    });
    expect(number("content_filter")).toBeGreaterThan(0);
    expect(await sampleTrees(options())).not.toHaveProperty("content_filter");
  });

  it("of the paper has 3 answers, 9 critiques and 27 refinements per question", async () => {
    const given = options();
    expect(await sampleTrees(given)).toMatchObject({
      asked: 26,
      ok: 26,
      failed: 0,
      pending: 0,
      completions: 78,
      truncated: 0,
      retries: 0,
      completion_tokens: 156,
    } satisfies Counts);
    const ids = given.journal.appended.filter((e) => e.question_id === "b").map((e) => e.node_id);
    expect(ids.filter((id) => /^g[0-2]$/.test(id))).toHaveLength(3);
    expect(ids.filter((id) => /^g[0-2]\.v[0-2]$/.test(id))).toHaveLength(9);
    expect(ids.filter((id) => /^g[0-2]\.v[0-2]\.r[0-2]$/.test(id))).toHaveLength(27);
    expect(new Set(ids).size).toBe(39);
  });

  it("shows each role its own path only", async () => {
    const seen: CompletionRequest[] = [];
    const given = options({ questions: [question("a")], complete: recording(seen) });
    await sampleTrees(given);
    const text = new Map(given.journal.all().map((e) => [e.node_id, e]));
    for (const entry of given.journal.all()) {
      const [g, v] = entry.node_id.split(".");
      if (entry.role !== "refiner") continue;
      const request = seen.find((r) => r.seed <= entry.seed && entry.seed < r.seed + r.n)!;
      const prompt = request.messages[0]!.content;
      expect(prompt).toContain(`Solution:\n${text.get(g!)!.text}\n`);
      expect(prompt).toContain(`Critique:\n${text.get(`${g}.${v}`)!.text}`);
    }
  });

  it("of another team is another list of roles", async () => {
    const [generator, verifier] = maltRoles();
    const roles = [
      { ...generator!, branching: 2 },
      { ...verifier!, branching: 1 },
      { ...verifier!, name: "verifier-2", answer: "verifier", branching: 4 },
    ];
    expect(statesPerTree(roles)).toBe(1 + 2 + 2);
    const given = options({ roles, questions: [question("a")] });
    expect(await sampleTrees(given)).toMatchObject({ asked: 5, ok: 5, completions: 2 + 2 + 8 });
    expect(given.journal.all().map((e) => e.node_id)).toContain("g1.v0.v3");
  });

  it("that cannot be sampled is refused before the first request", async () => {
    const asked: CompletionRequest[] = [];
    const complete = recording(asked);
    const [generator, verifier] = maltRoles();
    for (const roles of [[], [verifier!, generator!], [generator!, generator!], [{ ...generator!, branching: 0 }]])
      await expect(sampleTrees(options({ roles, complete }))).rejects.toBeInstanceOf(InputError);
    await expect(sampleTrees(options({ concurrency: 0, complete }))).rejects.toThrow("concurrency must be");
    expect(asked).toEqual([]);
  });
});

describe("the schedule", () => {
  it("keeps exactly the asked number of requests in flight, and never more", async () => {
    for (const concurrency of [1, 3, 7]) {
      let [active, peak] = [0, 0];
      const complete: Complete = async (request) => {
        peak = Math.max(peak, ++active);
        await new Promise(setImmediate);
        active--;
        return honest(request);
      };
      await sampleTrees(options({ concurrency, complete, questions: [..."abcdefgh"].map(question) }));
      expect(peak).toBe(concurrency);
    }
  });

  it("starts a child as soon as its parent is finished, while another question's root is still under way", async () => {
    const done: string[] = [];
    let release = () => {};
    const slow = new Promise<void>((resolve) => {
      release = resolve;
    });
    const complete: Complete = async (request) => {
      const root = !request.messages[0]!.content.includes("Solution:");
      if (root && request.messages[0]!.content.includes("Question a?")) await slow;
      return honest(request);
    };
    const given = options({ concurrency: 2, complete });
    const journal = given.journal;
    const append = journal.append;
    journal.append = async (entries) => {
      await append(entries);
      done.push(...entries.map((e) => `${e.question_id} ${e.node_id}`));
      // All of b, and nothing of a, before a's root may finish.
      if (done.length === 39) release();
    };
    await sampleTrees(given);
    expect(done.slice(0, 39).every((at) => at.startsWith("b "))).toBe(true);
    expect(done).toHaveLength(78);
  });

  it("opens a question only when there is room, so that few trees are under way at a time", async () => {
    const questions = Array.from({ length: 40 }, (_, i) => question(`q${i}`));
    const [open, peaks] = [new Map<string, number>(), { deep: 0, wide: 0 }];
    for (const order of ["deep", "wide"] as const) {
      const given = options({ concurrency: 3, questions, order });
      const { append } = given.journal;
      given.journal.append = async (entries) => {
        for (const { question_id } of entries) {
          open.set(question_id, (open.get(question_id) ?? 0) + 1);
          if (open.get(question_id) === 39) open.delete(question_id);
        }
        peaks[order] = Math.max(peaks[order], open.size);
        await append(entries);
      };
      await sampleTrees(given);
      expect(open.size).toBe(0);
    }
    expect(peaks.deep).toBeLessThanOrEqual(2 * 3 + 1);
    expect(peaks.wide).toBe(40);
  });

  it("asks for questions one by one, however many there are", async () => {
    let [pulled, done] = [0, 0];
    async function* stream() {
      for (; pulled < 60; pulled++) {
        expect(pulled - done / 39).toBeLessThan(12);
        yield question(`q${pulled}`);
      }
    }
    const given = options({ questions: stream(), total: 60, onProgress: ({ completions }) => (done = completions) });
    expect(await sampleTrees(given)).toMatchObject({ ok: 60 * 13, pending: 0 });
    await expect(sampleTrees(options({ questions: stream() }))).rejects.toThrow("give `total`");
  });

  it("starts the verifier of one answer while its siblings are still being written", async () => {
    const heard: string[] = [];
    let release = () => {};
    const slow = new Promise<void>((resolve) => {
      release = resolve;
    });
    const complete: Complete = async (request, _, onChoice) => {
      const all = await honest(request);
      const isRoot = !request.messages[0]!.content.includes("Solution:");
      heard.push(isRoot ? "generator" : onChoice ? "verifier" : "refiner");
      if (!isRoot) return all;
      onChoice!(1, all[1]!);
      await slow;
      return all;
    };
    const given = options({ questions: [question("a")], complete });
    const { append } = given.journal;
    given.journal.append = async (entries) => {
      await append(entries);
      // The answer, its three critiques and their nine refinements are there: now its siblings may end.
      if (given.journal.all().length === 1 + 3 + 9) release();
    };
    expect(await sampleTrees(given)).toMatchObject({ ok: 13, completions: 39 });
    expect(heard.slice(0, 5)).toEqual(["generator", "verifier", "refiner", "refiner", "refiner"]);
  });

  it("asks the same seeds in every mode, and ends in the same content", async () => {
    const contents = [];
    for (const [request, requests] of [
      ["streamed", 26],
      ["whole", 26],
      ["single", 78],
    ] as const) {
      const asked: CompletionRequest[] = [];
      const given = options({ request, complete: recording(asked) });
      const { session } = await sampleTrees(given);
      expect(asked).toHaveLength(requests);
      expect(session).toMatchObject({ requests, completions: 78, prompt_tokens: 5 * requests });
      contents.push(sorted(given.journal.all()));
    }
    expect(contents[1]).toEqual(contents[0]);
    expect(contents[2]).toEqual(contents[0]);
    await expect(sampleTrees(options({ request: "half" as never }))).rejects.toThrow('request mode "half" is unknown');
  });

  it("keeps what a stream had finished when it failed, and what grew on it", async () => {
    const broken: Complete = async (request, _, onChoice) => {
      const all = await honest(request);
      if (request.messages[0]!.content.includes("Solution:")) return all;
      onChoice!(2, all[2]!);
      throw new ServerError("the rest never came");
    };
    const given = options({ questions: [question("a")], complete: broken });
    expect(await sampleTrees(given)).toMatchObject({ ok: 4, failed: 1, pending: 8, completions: 1 + 3 + 9 });
    expect(given.journal.all()[0]).toMatchObject({ node_id: "g2" });
    expect(await sampleTrees({ ...given, complete: honest })).toMatchObject({ ok: 13, failed: 0, completions: 39 });
  });
});

describe("a choice that its stream withdraws", () => {
  const isRoot = (request: CompletionRequest) => !request.messages[0]!.content.includes("Solution:");
  /** A journal that can discard, as the run's own does. */
  function discarding() {
    const entries: JournalEntry[] = [];
    const discarded: string[] = [];
    return {
      ...memory(),
      append: async (more: readonly JournalEntry[]) => void entries.push(...more),
      discard: async (more: readonly JournalEntry[]) => {
        for (const { key } of more) {
          discarded.push(key);
          // The first of a key, as in the files.
          entries.splice(
            entries.findIndex((entry) => entry.key === key),
            1,
          );
        }
      },
      all: () => entries,
      discarded,
    };
  }

  it.each<[string, number, number]>([
    ["nothing has grown on it", 1, 0],
    ["its critiques are there", 4, 4],
    ["its whole subtree is there", 13, 4],
  ])("leaves nothing behind: %s", async (_, size, states) => {
    const whole = options({ questions: [question("a")] });
    const right = await sampleTrees(whole);
    const journal = discarding();
    let go = () => {};
    const grown = new Promise<void>((resolve) => {
      go = resolve;
    });
    const append = journal.append;
    journal.append = async (more) => {
      await append(more);
      if (journal.all().length >= size) go();
    };
    const seen: Readonly<Counts>[] = [];
    const asked: CompletionRequest[] = [];
    const complete: Complete = async (request, _, onChoice, onWithdrawn) => {
      asked.push(request);
      const all = await honest(request);
      if (!isRoot(request)) return all;
      onChoice!(1, completion("garbled"));
      await grown;
      // What grew on it may still be in flight.
      await new Promise(setImmediate);
      onWithdrawn!(1);
      onChoice!(1, all[1]!);
      return all;
    };
    const given = options({
      questions: [question("a")],
      journal: journal as never,
      complete,
      onProgress: (now) => seen.push(now),
    });
    const { session, ...counts } = await sampleTrees(given);
    const { session: __, ...expected } = right;
    expect(counts).toEqual(expected);
    expect(sorted(journal.all())).toEqual(sorted(whole.journal.all()));
    expect(session.completions).toBe(39 + journal.discarded.length);
    expect(journal.discarded.length).toBeGreaterThanOrEqual(size);
    expect(asked.length).toBeGreaterThanOrEqual(13 + states);
    for (const { asked, ok, failed, pending } of seen) expect([ok + failed + pending, failed]).toEqual([asked, 0]);
  });

  it("takes the failures below it back too, and stays to be asked where the request fails in the end", async () => {
    const failures: string[] = [];
    const journal = discarding();
    const complete: Complete = async (request, _, onChoice, onWithdrawn) => {
      if (!isRoot(request)) throw new ServerError("no critique");
      onChoice!(0, completion("garbled"));
      await expect.poll(() => failures.length).toBe(1);
      onWithdrawn!(0);
      throw new ServerError("contradicts itself");
    };
    const onFailure = (error: ServerError) => void failures.push(error.message);
    const given = options({ questions: [question("a")], journal: journal as never, complete, onFailure });
    expect(await sampleTrees(given)).toMatchObject({ asked: 13, ok: 0, failed: 1, pending: 12, completions: 0 });
    expect(failures).toEqual(["no critique", "contradicts itself"]);
    expect(journal.all()).toEqual([]);
    expect(journal.discarded).toHaveLength(1);
  });
});

describe("a team with adapters", () => {
  const policy = ({ name }: { name: string }) =>
    name === "generator"
      ? { model: "base", adapter: null }
      : { model: "base", adapter: { name, sha256: "0".repeat(64) } };

  it("speaks one role after the other when asked to go wide, with the same completions as deep", async () => {
    const spoken: string[] = [];
    const complete: Complete = (request) => {
      spoken.push(request.policy.adapter?.name ?? "generator");
      return honest(request);
    };
    const questions = [..."abc"].map(question);
    const wide = options({ concurrency: 1, order: "wide", policy, complete, questions });
    const deep = options({ concurrency: 1, policy, questions });
    await sampleTrees(wide);
    await sampleTrees(deep);
    expect(spoken).toEqual([
      ...Array(3).fill("generator"),
      ...Array(3 * 3).fill("verifier"),
      ...Array(3 * 9).fill("refiner"),
    ]);
    expect(sorted(wide.journal.all())).toEqual(sorted(deep.journal.all()));
  });

  it("has keys of its own for each adapter, and hears of every state, sampled or kept", async () => {
    const given = options({ policy });
    await sampleTrees(given);
    const plain = options({ policy: { model: "base", adapter: null } });
    await sampleTrees(plain);
    const same = given.journal.all().filter(({ key }) => plain.journal.get(key));
    expect(new Set(same.map(({ role }) => role))).toEqual(new Set(["generator"]));
    const heard: string[] = [];
    const complete: Complete = () => Promise.reject(new Error("asked"));
    await sampleTrees({
      ...given,
      complete,
      onCompletions: (entries, { id }) => heard.push(...entries.map((entry) => `${id} ${entry.node_id}`)),
    });
    expect(heard.sort()).toEqual(
      given.journal
        .all()
        .map((e) => `${e.question_id} ${e.node_id}`)
        .sort(),
    );
  });
});

describe("seeds and keys", () => {
  it("differ for every sample, and are the same in every order of sampling", async () => {
    const questions = [..."abcdefghijklmnopqrst"].map(question);
    const [one, many] = [options({ concurrency: 1, questions }), options({ concurrency: 16, questions })];
    await sampleTrees(one);
    await sampleTrees(many);
    expect(sorted(one.journal.all())).toEqual(sorted(many.journal.all()));
    const entries = one.journal.all();
    expect(new Set(entries.map((e) => e.seed)).size).toBe(entries.length);
    expect(new Set(entries.map((e) => e.key)).size).toBe(entries.length);
    for (const { seed } of entries) expect(seed).toBeLessThan(2 ** 31);
  });

  it("derive from run seed, question, path and role", () => {
    const seed = requestSeed(0, "q", "g0", "verifier");
    expect(requestSeed(0, "q", "g0", "verifier")).toBe(seed);
    for (const other of [
      requestSeed(1, "q", "g0", "verifier"),
      requestSeed(0, "r", "g0", "verifier"),
      requestSeed(0, "q", "g1", "verifier"),
      requestSeed(0, "q", "g0", "refiner"),
      requestSeed(0, "q", null, "verifier"),
    ])
      expect(other).not.toBe(seed);
  });

  it("cover everything that makes a completion the one it is, and no order of fields", () => {
    const base = {
      policy: { model: "fake", adapter: null },
      messages: [{ role: "user" as const, content: "hello" }],
      sampling: defaultSampling,
      seed: 1,
      questionId: "q",
      nodeId: "g0",
    };
    const key = nodeKey(base);
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    const changed = [
      { ...base, policy: { model: "other", adapter: null } },
      { ...base, policy: { model: "fake", adapter: { name: "v", sha256: "0" } } },
      { ...base, messages: [{ role: "user" as const, content: "hello " }] },
      { ...base, messages: [{ role: "system" as const, content: "hello" }] },
      ...Object.keys(defaultSampling).map((name) => ({ ...base, sampling: { ...defaultSampling, [name]: 99 } })),
      { ...base, seed: 2 },
      { ...base, questionId: "r" },
      { ...base, nodeId: "g1" },
    ];
    expect(new Set([key, ...changed.map((identity) => nodeKey(identity as typeof base))]).size).toBe(
      changed.length + 1,
    );
    const { temperature, ...rest } = defaultSampling;
    expect(nodeKey({ ...base, sampling: { ...rest, temperature } })).toBe(key);
  });
});

describe("a resume", () => {
  it("asks only what is missing, from any state of the journal, and ends in the same content", async () => {
    const whole = options();
    await sampleTrees(whole);
    const entries = whole.journal.appended;
    for (let kept = 0; kept <= entries.length; kept += 7) {
      const asked: CompletionRequest[] = [];
      const journal = memory(entries.slice(0, kept));
      const rest = options({ journal, complete: recording(asked) });
      const counts = await sampleTrees(rest);
      expect(sorted(journal.all())).toEqual(sorted(entries));
      const repeated = asked.reduce((sum, { n }) => sum + n, 0) - (entries.length - kept);
      // 7 does not divide into requests of 3: only the choices of the request that was cut off come again.
      expect(repeated).toBe(kept === entries.length ? 0 : kept % 3);
      const { session: _, ...total } = counts;
      expect(await sampleTrees(options())).toMatchObject(total);
    }
  });

  it("lets the choices in the journal stand where their request is asked again", async () => {
    const whole = options({ questions: [question("a")] });
    await sampleTrees(whole);
    const first = whole.journal.appended.find((e) => e.node_id === "g0")!;
    const journal = memory([{ ...first, text: "as it was" }]);
    const asked: CompletionRequest[] = [];
    await sampleTrees(options({ questions: [question("a")], journal, complete: recording(asked) }));
    expect(journal.all().find((e) => e.node_id === "g0")!.text).toBe("as it was");
    // And what grows on it was shown that text: one verifier state and three refiner states.
    expect(asked.filter(({ messages }) => messages[0]!.content.includes("Solution:\nas it was"))).toHaveLength(4);
    expect(journal.all()).toHaveLength(39);
  });

  it("of a complete run asks nothing", async () => {
    const given = options();
    await sampleTrees(given);
    const complete: Complete = () => Promise.reject(new Error("asked"));
    expect(await sampleTrees({ ...given, complete })).toMatchObject({ ok: 26, pending: 0 });
  });
});

describe("a failed request", () => {
  const unlessRoot =
    (error: Error): Complete =>
    async (request) => {
      if (request.messages[0]!.content.includes("Question b?")) throw error;
      return honest(request);
    };

  it("is counted, stays to be asked, and the other questions go on", async () => {
    const failures: unknown[] = [];
    const error = new ServerError("HTML in place of a completion");
    const given = options({ complete: unlessRoot(error), onFailure: (...failure) => failures.push(failure) });
    expect(await sampleTrees(given)).toMatchObject({ asked: 26, ok: 13, failed: 1, pending: 12, completions: 39 });
    expect(failures).toEqual([[error, "b", null]]);
    expect(await sampleTrees({ ...given, complete: honest })).toMatchObject({ ok: 26, failed: 0, pending: 0 });
  });

  describe("that the server refuses", () => {
    const letters = [..."abcdefghijklmnop"].map(question);
    const asked: string[] = [];
    /** Refuses the questions of a list, honest otherwise. */
    const refusing = (
      list: string,
      refuse: (id: string) => Error = () => new RefusedError("too long", 400),
    ): Complete => {
      asked.length = 0;
      return async (request) => {
        const [, id] = /Question (.)\?/.exec(request.messages[0]!.content)!;
        asked.push(id!);
        if (list.includes(id!)) throw refuse(id!);
        return honest(request);
      };
    };
    const stopped = (given: Partial<SampleTreesOptions>) => sampleTrees(options(given)).catch((e: Error) => e);

    it.each([1, 4, 64])(
      "before anything succeeded is its own question's failure, with %i in flight",
      async (concurrency) => {
        const failed: string[] = [];
        const onFailure = (_: Error, id: string) => failed.push(id);
        const given = options({ questions: letters, complete: refusing("abc"), concurrency, onFailure });
        expect(await sampleTrees(given)).toMatchObject({ ok: 13 * 13, failed: 3, pending: 3 * 12 });
        expect(failed.sort()).toEqual(["a", "b", "c"]);
        expect(await sampleTrees({ ...given, complete: refusing("abc") })).toMatchObject({ ok: 13 * 13, failed: 3 });
        expect(asked.sort()).toEqual(["a", "b", "c"]);
        // A later start that meets many of them first knows that others have succeeded.
        const journal = Object.assign(memory(), { completions: 39 });
        const later = { questions: letters, complete: refusing("abcdefgh"), concurrency, journal };
        expect(await sampleTrees(options(later))).toMatchObject({ ok: 8 * 13, failed: 8 });
      },
    );

    it("stops the run when five different questions got the same words, but for numbers and ids", async () => {
      const words = (id: string) => new RefusedError(`request req-${id}7 needs ${id.charCodeAt(0)} tokens`, 400);
      const error = await stopped({
        questions: letters,
        complete: refusing("abcdefghijklmnop", words),
        concurrency: 1,
      });
      expect(error).toBeInstanceOf(RefusedError);
      expect((error as Error).message).toMatch(/needs 101 tokens; gave up, because 5 different questions failed alike/);
      expect(asked).toHaveLength(5);
    });

    it("does not, while others in flight may still succeed, nor where the words differ", async () => {
      let release = () => {};
      const slow = new Promise<void>((resolve) => {
        release = resolve;
      });
      const refuse = refusing("bcdefg");
      const complete: Complete = async (request) => {
        if (asked.length === 0) {
          setTimeout(release, 20);
          await Promise.all([slow, refuse(request)]);
          return honest(request);
        }
        return refuse(request);
      };
      const given = options({ questions: letters, complete, concurrency: 2 });
      expect(await sampleTrees(given)).toMatchObject({ ok: 10 * 13, failed: 6 });

      const words = (id: string) => new RefusedError(`the text of ${id} is not allowed`, 400);
      const differing = { questions: letters, complete: refusing("abcdefgh", words), concurrency: 1 };
      expect(await sampleTrees(options(differing))).toMatchObject({ ok: 8 * 13, failed: 8 });
    });

    it("does not stop a run under way, however many are too long in a row", async () => {
      const many = Array.from({ length: 130 }, (_, i) => question(`${i}`));
      const refuse = (request: CompletionRequest) =>
        !request.messages[0]!.content.includes("Question 0?") &&
        Promise.reject(new RefusedError("too long", 400, { refusal: "context" }));
      const complete: Complete = async (request) => (await refuse(request)) || honest(request);
      const given = options({ questions: many, complete, concurrency: 1 });
      expect(await sampleTrees(given)).toMatchObject({ ok: 13, failed: 129 });
    });
  });

  it("of which all choices had come is none", async () => {
    const late: Complete = async (request, _, onChoice) => {
      const all = await honest(request);
      if (!onChoice) return all;
      for (const [choice, each] of all.entries()) onChoice(choice, each);
      throw new ServerError("one chunk too many");
    };
    expect(await sampleTrees(options({ complete: late }))).toMatchObject({ asked: 26, ok: 26, failed: 0, pending: 0 });
  });

  it.each([401, 404])("with %i stops the run at any time, what had finished is kept", async (status) => {
    const error = new RefusedError("no", status);
    const given = options({ complete: unlessRoot(error), concurrency: 1, questions: [..."abc"].map(question) });
    await expect(sampleTrees(given)).rejects.toBe(error);
    const kept = given.journal.all();
    expect(kept.length).toBeGreaterThanOrEqual(3);
    expect(kept.every(({ question_id }) => question_id === "a")).toBe(true);
  });

  it("of a dead server stops the run after the third in a row, and nothing is lost", async () => {
    let asked = 0;
    const complete: Complete = async (request) => {
      if (++asked > 10) throw new UnreachableError("nobody there");
      return honest(request);
    };
    const seen: Readonly<Counts>[] = [];
    const given = options({ complete, concurrency: 1, onProgress: (counts) => seen.push(counts) });
    await expect(sampleTrees(given)).rejects.toThrow("nobody there");
    expect(asked).toBe(13);
    expect(given.journal.all()).toHaveLength(30);
    expect(seen.at(-1)).toMatchObject({ asked: 26, ok: 10, failed: 3, pending: 13 });
  });

  it("that is followed by a good one does not count towards the end of patience", async () => {
    let asked = 0;
    const complete: Complete = async (request) => {
      if (++asked % 3 !== 0) throw new UnreachableError("now and then");
      return honest(request);
    };
    const given = options({ complete, concurrency: 1, questions: [..."abcdef"].map(question) });
    const counts = await sampleTrees(given);
    expect(counts.ok + counts.failed + counts.pending).toBe(counts.asked);
    expect(counts.failed).toBeGreaterThan(3);
  });
});

describe("the end before the end", () => {
  it("comes at once when the journal cannot be written", async () => {
    const error = new RunError("disk full");
    const asked: CompletionRequest[] = [];
    const given = options({ concurrency: 1, complete: recording(asked) });
    given.journal.append = () => Promise.reject(error);
    await expect(sampleTrees(given)).rejects.toBe(error);
    expect(asked).toHaveLength(1);
  });

  it("comes when the caller says so, with what was under way aborted", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    let aborted = 0;
    let asked = 0;
    const complete: Complete = (request, signal) => {
      if (++asked <= 3) return honest(request);
      return new Promise((_, reject) => {
        signal!.addEventListener("abort", () => {
          aborted++;
          reject(signal!.reason);
        });
        if (asked === 7) stop.abort(reason);
      });
    };
    const given = options({ complete, signal: stop.signal });
    await expect(sampleTrees(given)).rejects.toBe(reason);
    expect(aborted).toBe(4);
    expect(asked).toBe(7);
    expect(given.journal.all()).toHaveLength(9);
  });
});
