import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { PrefixCache, readPrompt, say } from "../../bench/slots/completion.js";
import { type Interval, SlotQueue } from "../../bench/slots/queue.js";
import { type SlotInterval, type SlotOptions, type SlotServer, type SlotStats, startSlots } from "../../bench/slots.js";

interface Job {
  name: number;
  ms: number;
}

describe("the slot queue", () => {
  /** Lets jobs arrive at given times and run to their end; what ran where and when, in order of ending. */
  function served(slots: number, jobs: readonly { at: number; ms: number }[]): Interval<Job>[] {
    const queue = new SlotQueue<Job>(slots);
    const ended: Interval<Job>[] = [];
    for (const [name, { at, ms }] of [...jobs].sort((a, b) => a.at - b.at).entries()) {
      ended.push(...queue.advance(at));
      queue.arrive({ name, ms }, at);
    }
    ended.push(...queue.advance(Number.MAX_SAFE_INTEGER));
    expect(queue.peakRunning).toBeLessThanOrEqual(slots);
    return ended;
  }
  const jobs = fc.array(fc.record({ at: fc.nat(50), ms: fc.integer({ min: 1, max: 20 }) }), { maxLength: 40 });
  const cases = fc.tuple(fc.integer({ min: 1, max: 5 }), jobs);

  it("runs every job once, for its own length, never two in one slot", () => {
    fc.assert(
      fc.property(cases, ([slots, asked]) => {
        const ended = served(slots, asked);
        expect(ended).toHaveLength(asked.length);
        for (const { job, start, end } of ended) expect(end - start).toBe(job.ms);
        for (let slot = 0; slot < slots; slot++) {
          const own = ended.filter((interval) => interval.slot === slot).sort((a, b) => a.start - b.start);
          for (const [i, { start }] of own.entries()) if (i > 0) expect(start).toBeGreaterThanOrEqual(own[i - 1]!.end);
        }
      }),
    );
  });

  it("starts jobs in the order of their arrival, and keeps none waiting while a slot is free", () => {
    fc.assert(
      fc.property(cases, ([slots, asked]) => {
        const arrivals = asked.map(({ at }) => at).sort((a, b) => a - b);
        const ended = served(slots, asked).sort((a, b) => a.job.name - b.job.name);
        for (const [i, { start }] of ended.entries()) {
          if (i > 0) expect(start).toBeGreaterThanOrEqual(ended[i - 1]!.start);
          if (start === arrivals[i]) continue;
          // It waited: up to its start every slot was taken.
          const taken = ended.filter((other) => other.start < start && other.end >= start);
          expect(taken.length).toBe(slots);
        }
      }),
    );
  });

  it("gives the slot of a cancelled job to the one that waits longest, and forgets a cancelled one that waits", () => {
    const queue = new SlotQueue<Job>(1);
    const [first, second, third] = [1, 2, 3].map((name) => ({ name, ms: 10 })) as [Job, Job, Job];
    for (const job of [first, second, third]) queue.arrive(job, 0);
    expect(queue.cancel(second, 1)).toBeNull();
    expect(queue.cancel(first, 4)).toEqual({ job: first, slot: 0, start: 0, end: 4 });
    expect(queue.advance(20)).toEqual([{ job: third, slot: 0, start: 4, end: 14 }]);
    expect(queue.cancel(third, 20)).toBeNull();
  });

  it("refuses a time before the last one, or one that skips the end of a job", () => {
    const queue = new SlotQueue<Job>(1);
    queue.arrive({ name: 1, ms: 10 }, 5);
    expect(() => queue.arrive({ name: 2, ms: 1 }, 4)).toThrow("went back");
    expect(() => queue.arrive({ name: 2, ms: 1 }, 16)).toThrow("advance");
  });
});

describe("what the fake server says", () => {
  const lengths = { mean: 100, sigma: 0.8, max: 1e6 };
  const prompt = (content: string) => readPrompt([{ content }]);

  it("draws lengths with the mean and the spread that were asked for", () => {
    const drawn = Array.from({ length: 20_000 }, (_, seed) => say(prompt("a"), seed, lengths).tokens);
    const mean = drawn.reduce((sum, tokens) => sum + tokens, 0) / drawn.length;
    const logs = drawn.map(Math.log);
    const middle = logs.reduce((sum, x) => sum + x, 0) / logs.length;
    const spread = Math.sqrt(logs.reduce((sum, x) => sum + (x - middle) ** 2, 0) / logs.length);
    expect(mean).toBeGreaterThan(97);
    expect(mean).toBeLessThan(103);
    expect(spread).toBeGreaterThan(0.78);
    expect(spread).toBeLessThan(0.82);
  });

  it("says the same under the same seed, and cuts off at the limit", () => {
    expect(say(prompt("a"), 1, lengths)).toEqual(say(prompt("a"), 1, lengths));
    expect(say(prompt("a"), 1, lengths).id).not.toBe(say(prompt("b"), 1, lengths).id);
    const cut = say(prompt("a"), 1, { ...lengths, max: 5 });
    expect([cut.tokens, cut.finish_reason]).toEqual([5, "length"]);
    expect(cut.text).not.toContain("Final Answer");
  });

  it("reads from a prompt which completion it was made from, how deep it is, and the question", () => {
    const answer = say(prompt("Question 7: why?"), 0, lengths);
    const critique = say(prompt(`Question 7: why? ${answer.text}`), 0, lengths);
    expect(prompt("Question 7: why?")).toMatchObject({ parent: null, depth: 0, question: 7 });
    expect(prompt(`Question 7: ${answer.text} ${critique.text}`)).toMatchObject({ parent: critique.id, depth: 2 });
  });

  it("finds what prompts have in common in its prefix cache, until that is pushed out", () => {
    const [head, a, b] = ["x".repeat(640), "a".repeat(640), "b".repeat(640)] as const;
    const cache = new PrefixCache(30);
    expect(cache.take(prompt(head + a))).toBe(0);
    expect(cache.take(prompt(head + b))).toBe(160);
    expect(cache.take(prompt(head + b))).toBe(319);
    expect(cache.take(prompt("c".repeat(20 * 64)))).toBe(0);
    expect(cache.take(prompt(head + a))).toBe(0);
  });
});

describe("the slot server", () => {
  let server: SlotServer | undefined;
  afterEach(async () => {
    await server?.stop();
    server = undefined;
  });
  const start = async (options: Partial<SlotOptions>) => {
    server = await startSlots({ mean: 20, msPerToken: 0.25, ...options });
    return server;
  };
  const post = (body: object, signal?: AbortSignal) =>
    fetch(`${server?.baseURL}/chat/completions`, { method: "POST", body: JSON.stringify(body), signal });
  const page = async <T>(name: string): Promise<T> =>
    (await fetch(`http://127.0.0.1:${server?.port}/${name}`)).json() as Promise<T>;
  const question = (i: number) => ({ messages: [{ role: "user", content: `Question ${i}` }], n: 3, seed: 10 * i });

  /** The choices of a streamed answer, put together, and its last `usage`. */
  async function streamed(body: object) {
    const lines = (await (await post({ ...body, stream: true })).text()).split("\n\n").filter(Boolean);
    expect(lines.at(-1)).toBe("data: [DONE]");
    const events = lines.slice(0, -1).map((line) => JSON.parse(line.slice("data: ".length)));
    const choices = [0, 1, 2].map((index) => {
      const own = events.flatMap((event) => event.choices).filter((choice) => choice.index === index);
      return {
        text: own.map(({ delta }) => delta.content ?? "").join(""),
        ids: own.flatMap(({ token_ids }) => token_ids ?? []).length,
        finish: own.map(({ finish_reason }) => finish_reason).filter(Boolean),
      };
    });
    return { choices, usage: events.at(-1).usage, events };
  }

  it("never runs more than m completions at once, and is busy for exactly the sum of their lengths", async () => {
    await start({ slots: 3 });
    await Promise.all(Array.from({ length: 12 }, (_, i) => post(question(i)).then((answer) => answer.json())));
    const stats = await page<SlotStats>("stats");
    const intervals = await page<SlotInterval[]>("intervals");
    expect(stats).toMatchObject({
      requests: 12,
      completions: 36,
      cancelled: 0,
      running: 0,
      waiting: 0,
      peak_running: 3,
    });
    const busy = intervals.reduce((sum, { start_ms, end_ms }) => sum + end_ms - start_ms, 0);
    expect(busy).toBeCloseTo(stats.work_ms, 6);
    expect(stats.work_ms).toBe(0.25 * stats.completion_tokens);
    expect(stats.makespan_ms).toBeGreaterThanOrEqual(stats.work_ms / 3);
    for (const { start_ms, end_ms } of intervals) {
      const beside = intervals.filter((other) => other.start_ms <= start_ms && start_ms < other.end_ms);
      expect(beside.length).toBeLessThanOrEqual(3);
      expect(end_ms).toBeGreaterThan(start_ms);
    }
    expect(new Set(intervals.map(({ question: number }) => number))).toEqual(
      new Set(Array.from({ length: 12 }, (_, i) => i)),
    );
  });

  it.each(["choice", "token"] as const)("streams what it answers whole, with one piece per %s", async (pieces) => {
    await start({ pieces, cacheTokens: 0 });
    const asked = { ...question(1), return_token_ids: true, stream_options: { include_usage: true } };
    const { choices, usage, events } = await streamed(asked);
    const answer = await (await post({ ...question(1), return_token_ids: true })).json();
    expect(choices.map(({ text }) => text)).toEqual(answer.choices.map((choice: Whole) => choice.message.content));
    expect(choices.map(({ ids }) => ids)).toEqual(answer.choices.map((choice: Whole) => choice.token_ids.length));
    expect(choices.map(({ finish }) => finish)).toEqual([["stop"], ["stop"], ["stop"]]);
    expect(usage).toEqual(answer.usage);
    const tokens = answer.usage.completion_tokens;
    // The role of each choice, their pieces, the usage.
    expect(events).toHaveLength(3 + (pieces === "choice" ? 3 : tokens) + 1);
    expect(choices.reduce((sum, { ids }) => sum + ids, 0)).toBe(tokens);
  });

  it("tells of a choice as soon as it has ended, while its siblings run on", async () => {
    // Lengths so far apart that choice 0 takes milliseconds and the others minutes.
    const lengths = { mean: 1000, sigma: 3, max: 1_000_000 };
    const tokens = (seed: number) => say(readPrompt(question(1).messages), seed, lengths).tokens;
    let seed = 0;
    while (tokens(seed) > 5 || Math.min(tokens(seed + 1), tokens(seed + 2)) < 5000) seed++;
    await start({ ...lengths, slots: 1, msPerToken: 20 });
    const controller = new AbortController();
    const response = await post({ ...question(1), seed, stream: true }, controller.signal);
    let said = "";
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    while (!said.includes('"finish_reason":"stop"')) said += (await reader.read()).value;
    expect(said).not.toMatch(/"index":[12],"delta":\{"content":/);
    expect(await page<SlotStats>("stats")).toMatchObject({ completions: 1, running: 1, waiting: 1 });
    controller.abort();
  });

  it("frees the slots of a client that went away", async () => {
    await start({ slots: 1, mean: 10_000, msPerToken: 1 });
    const controller = new AbortController();
    const response = await post({ ...question(1), stream: true }, controller.signal);
    expect(await page<SlotStats>("stats")).toMatchObject({ running: 1, waiting: 2 });
    controller.abort();
    await response.text().catch(() => {});
    let stats = await page<SlotStats>("stats");
    while (stats.cancelled === 0) stats = await page<SlotStats>("stats");
    expect(stats).toMatchObject({ running: 0, waiting: 0, cancelled: 3, completions: 0, work_ms: 0 });
    expect(stats.wasted_ms).toBeGreaterThan(0);
  });

  it("answers at once without slots where a token takes no time", async () => {
    await start({ msPerToken: 0, slots: 1 });
    const answer = await (await post(question(1))).json();
    expect(answer.choices).toHaveLength(3);
    expect(await page<SlotStats>("stats")).toMatchObject({ completions: 3, peak_running: 0, work_ms: 0 });
  });

  it("says how busy it is in vLLM's and in llama.cpp's words", async () => {
    await start({ slots: 2, mean: 10_000, msPerToken: 1 });
    const controller = new AbortController();
    const response = await post({ ...question(1), stream: true }, controller.signal);
    const metrics = async () => (await fetch(`http://127.0.0.1:${server?.port}/metrics`)).text();
    expect(await metrics()).toContain('vllm:num_requests_running{engine="0",model_name="fake"} 2\n');
    expect(await metrics()).toContain('vllm:num_requests_waiting{engine="0",model_name="fake"} 1\n');
    expect(await metrics()).toMatch(/vllm:kv_cache_usage_perc\{.*\} 0\.0/);
    controller.abort();
    await response.text().catch(() => {});
    await fetch(`http://127.0.0.1:${server?.port}/reset`, { method: "POST", body: '{"owner":"llamacpp"}' });
    expect(await metrics()).toContain("llamacpp:requests_processing 0\n");
    expect(await metrics()).toContain("llamacpp:requests_deferred 0\n");
  });

  it("forgets everything at a reset, and takes the options it is given", async () => {
    await start({});
    await (await post(question(1))).json();
    await fetch(`http://127.0.0.1:${server?.port}/reset`, { method: "POST", body: '{"slots":1}' });
    expect(await page<SlotStats>("stats")).toMatchObject({
      requests: 0,
      completions: 0,
      makespan_ms: 0,
      cached_tokens: 0,
    });
    await (await post(question(1))).json();
    expect((await page<SlotStats>("stats")).peak_running).toBe(1);
  });

  interface Whole {
    message: { content: string };
    token_ids: number[];
  }
});
