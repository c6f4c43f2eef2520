/**
 * An inference server in virtual time: m slots, and everything else waits in the order of arrival. Minutes of sampling
 * take milliseconds and give the same result every time, so the order of requests, their form and their number can be
 * tried without a server. What it leaves out: reading prompts takes no time, and a slot is as fast beside others as
 * alone.
 */
import { createHash } from "node:crypto";
import { InputError } from "../errors.js";
import type { Load } from "../policy/load.js";
import type { Complete, Completion } from "../types.js";

/** A completion in a slot, from when to when; ms of virtual time. */
export interface Served {
  seed: number;
  slot: number;
  start_ms: number;
  end_ms: number;
  /** False where the client hung up before it was finished. */
  isWhole: boolean;
}

export interface VirtualServer {
  readonly complete: Complete;
  /** Virtual time, ms since the start. */
  readonly now: number;
  readonly load: Load;
  /** Completions in the order in which they left their slots. */
  readonly served: readonly Served[];
  /** Calls a function at a fixed interval of virtual ms, as long as work is running. */
  every(ms: number, call: () => void): void;
  /**
   * Lets virtual time pass until the work has ended: a sampling that asks `complete` and waits for nothing else outside
   * the process, so its journal has to be in memory.
   * @returns what the work resolves to
   */
  run<T>(work: Promise<T>): Promise<T>;
}

interface Job {
  seed: number;
  slot: number;
  start: number;
  end: number;
  finish: () => void;
}

/**
 * @param options.slots completions at a time, ≥ 1
 * @param options.lengthOf how long a completion keeps its slot by its seed, ms > 0; its tokens as well, one per ms
 * @throws InputError unless slots is an integer ≥ 1
 */
export function virtualServer(options: { slots: number; lengthOf: (seed: number) => number }): VirtualServer {
  const { slots, lengthOf } = options;
  if (!Number.isInteger(slots) || slots < 1) throw new InputError(`slots must be an integer ≥ 1, not ${slots}`);
  const running: (Job | null)[] = Array(slots).fill(null);
  const waiting = new Set<Job>();
  const served: Served[] = [];
  const timers: { ms: number; next: number; call: () => void }[] = [];
  let [now, busy, arrivals] = [0, 0, 0];

  const fill = () => {
    for (const job of waiting) {
      if (busy === slots) return;
      waiting.delete(job);
      busy++;
      const slot = running.indexOf(null);
      running[slot] = Object.assign(job, { slot, start: now, end: now + lengthOf(job.seed) });
    }
  };
  const leave = ({ seed, slot, start }: Job, isWhole: boolean) => {
    running[slot] = null;
    busy--;
    served.push({ seed, slot, start_ms: start, end_ms: now, isWhole });
  };
  const earliest = () => running.reduce((first, job) => (job && (!first || job.end < first.end) ? job : first), null);

  const complete: Complete = ({ n, seed }, signal, onChoice) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      arrivals++;
      const said: Completion[] = [];
      let missing = n;
      const jobs = Array.from({ length: n }, (_, choice): Job => {
        const finish = () => {
          said[choice] = completionOf(seed + choice, lengthOf(seed + choice));
          onChoice?.(choice, said[choice]!);
          if (--missing > 0) return;
          signal?.removeEventListener("abort", hangUp);
          resolve(said);
        };
        return { seed: seed + choice, slot: -1, start: 0, end: 0, finish };
      });
      const hangUp = () => {
        for (const job of jobs) if (!waiting.delete(job) && running[job.slot] === job) leave(job, false);
        fill();
        reject(signal!.reason);
      };
      signal?.addEventListener("abort", hangUp, { once: true });
      for (const job of jobs) waiting.add(job);
      fill();
    });

  /** Waits until the client has sent every request that follows from the answers so far. */
  const settle = async () => {
    for (let before = -1; before !== arrivals; ) {
      before = arrivals;
      for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
    }
  };

  const step = () => {
    const job = earliest();
    const timer = timers.reduce<(typeof timers)[0] | null>((a, b) => (a && a.next <= b.next ? a : b), null);
    if (job && (!timer || job.end <= timer.next)) {
      now = job.end;
      leave(job, true);
      fill();
      job.finish();
    } else if (job && timer) {
      now = timer.next;
      timer.next += timer.ms;
      timer.call();
    }
  };

  return {
    complete,
    served,
    get now() {
      return now;
    },
    get load() {
      return { running: busy, waiting: waiting.size, cache: null };
    },
    every(ms, call) {
      timers.push({ ms, next: now + ms, call });
    },
    async run(work) {
      let isOver = false;
      const end = () => {
        isOver = true;
      };
      work.then(end, end);
      for (await settle(); !isOver; await settle()) step();
      return work;
    },
  };
}

/** A completion with a unique text. */
const completionOf = (seed: number, ms: number): Completion => ({
  ...{ text: `[${seed}] Final Answer: 12`, finish_reason: "stop", prompt_tokens: null },
  ...{ completion_tokens: Math.ceil(ms), retries: 0 },
});

/**
 * Lengths from a log-normal distribution, by seed: a few completions are much longer than most.
 * @param options.mean of the lengths, > 0
 * @param options.sigma standard deviation of their logarithm, ≥ 0
 */
export function logNormalLengths(options: { mean: number; sigma: number }): (seed: number) => number {
  const { mean, sigma } = options;
  return (seed) => {
    // A hash, because siblings have consecutive seeds, which would make a generator's first draws similar too.
    const digest = createHash("sha256").update(`length ${seed}`).digest();
    const [first, second] = [0, 4].map((byte) => (digest.readUInt32BE(byte) + 0.5) / 2 ** 32) as [number, number];
    // Box and Muller's normal draw; the mean of exp(μ + σ z) is exp(μ + σ²/2).
    const z = Math.sqrt(-2 * Math.log(first)) * Math.cos(2 * Math.PI * second);
    return mean * Math.exp(sigma * z - sigma ** 2 / 2);
  };
}
