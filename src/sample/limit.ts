/**
 * How many requests may be in flight. A number is a bound that is never passed; the adaptive limit looks for the least
 * number that keeps the server busy, below such a bound. Pure: time and the server's load are passed in.
 *
 * Too few and slots of the server idle; too many and requests wait in its queue, where they can no longer be reordered,
 * hold its key-value cache and run into time limits. A server that reports its load (vLLM, llama.cpp) is given requests
 * until a few wait in its queue. For any other server the throughput is measured: the limit grows as long as the
 * throughput does.
 */
import { InputError } from "../errors.js";
import type { Load } from "../policy/load.js";
import type { Completion } from "../types.js";

/** How a request ended. */
export interface Outcome {
  /** Completion tokens; null where the server does not count them. */
  tokens: number | null;
  /** Attempts that failed before. */
  retries: number;
}

/** How a request ended, by its completions; null if it failed. */
export function outcomeOf(said: readonly Completion[] | null): Outcome {
  if (said === null) return { tokens: null, retries: 1 };
  const tokens = said.reduce((sum, each) => sum + (each.completion_tokens ?? 0), 0);
  return { tokens, retries: Math.max(...said.map((each) => each.retries)) };
}

/** Requests in flight and their bound. */
export interface Limit {
  /** The bound now, ≥ 1. */
  readonly now: number;
  readonly inFlight: number;
  /** Takes a place if one is free. */
  take(): boolean;
  /** Gives the place back. */
  give(outcome: Outcome): void;
}

const growth = 1.5;
/** A difference in throughput that counts. */
const gain = 0.05;
/** Windows between two checks whether the work or the server has changed. */
const rest = 30;
/** Shortest window: milliseconds, and requests, of which fewer would make the noise larger than the gain. */
const window = { ms: 2_000, requests: 200 };

/** Turns a number into a limit; a limit is returned unchanged. @throws InputError as {@link fixedLimit} */
export const limitOf = (concurrency: number | Limit): Limit =>
  typeof concurrency === "number" ? fixedLimit(concurrency) : concurrency;

/** A bound that stays. @throws InputError unless it is an integer ≥ 1 */
export function fixedLimit(bound: number): Limit {
  if (!Number.isInteger(bound) || bound < 1) throw new InputError(`concurrency must be an integer ≥ 1, not ${bound}`);
  return new Places(bound);
}

class Places implements Limit {
  protected taken = 0;
  constructor(protected bound: number) {}
  get now(): number {
    return this.bound;
  }
  get inFlight(): number {
    return this.taken;
  }
  take(): boolean {
    if (this.taken >= this.bound) return false;
    this.taken++;
    return true;
  }
  give(_: Outcome): void {
    this.taken--;
  }
}

/** A bound that follows the server; pass it the time and the load about twice a second. */
export class AdaptiveLimit extends Places {
  /** Whether the bound was reached since the last check. */
  private isReached = false;
  private hadRetries = false;
  private began: number | null = null;
  private tokens = 0;
  private ended = 0;
  /** The least bound known with the highest throughput known, and where to look for a better one. */
  private best: { bound: number; rate: number; next: "up" | "down" } | null = null;
  private resting = 0;

  /**
   * @param most never more than this many requests in flight
   * @param first bound to begin with
   * @throws InputError unless 1 ≤ first ≤ most, both integers
   */
  constructor(
    readonly most: number,
    first = Math.min(32, most),
  ) {
    super(fixedLimit(first).now);
    fixedLimit(most);
    if (first > most) throw new InputError(`the first bound, ${first}, must not be above the highest, ${most}`);
  }

  override take(): boolean {
    const has = super.take();
    if (!has || this.taken === this.bound) this.isReached = true;
    return has;
  }

  override give(outcome: Outcome): void {
    super.give(outcome);
    this.ended++;
    this.tokens += outcome.tokens ?? 1;
    if (outcome.retries > 0) this.hadRetries = true;
  }

  /**
   * Updates the bound from the latest measurements.
   * @param now milliseconds of a clock that only goes forward
   * @param load what the server reports, null where it reports nothing
   */
  look(now: number, load: Load | null): void {
    if (this.hadRetries) this.yield();
    else if (load) this.follow(load);
    else {
      this.began ??= now;
      const elapsed = now - this.began;
      if (elapsed < window.ms || this.ended < Math.max(window.requests, 2 * this.bound)) return;
      if (this.isReached) this.climb(this.tokens / elapsed);
    }
    this.began = now;
    this.tokens = this.ended = 0;
    this.isReached = this.taken >= this.bound;
    this.hadRetries = false;
  }

  /** Too many requests, or a server in trouble: fewer is right in both cases. */
  private yield(): void {
    this.set(this.bound / 2);
    this.best = null;
    this.resting = rest;
  }

  private follow({ running, waiting, cache }: Load): void {
    // The target queue: long enough to last until the next check; requests waiting in it hold no cache yet.
    const queue = Math.ceil(Math.max(running, 8) / 2);
    // One request may be several completions to the server, so the server's counts are compared only with each other.
    if (waiting > 2 * queue) this.set((this.taken * (running + queue)) / (running + waiting));
    else if (cache !== null && cache > 0.95) this.set(this.bound * 0.9);
    else if (this.isReached && waiting < queue) this.set(this.bound * (waiting === 0 ? 2 : growth));
  }

  private climb(rate: number): void {
    if (this.resting > 0) {
      this.resting--;
      this.best = null;
      return;
    }
    const { best } = this;
    if (best === null) this.best = { bound: this.bound, rate, next: "up" };
    else if (best.next === "up" && rate > best.rate * (1 + gain)) this.best = { bound: this.bound, rate, next: "up" };
    else if (best.next === "down" && rate > best.rate * (1 - gain)) this.best = { ...best, bound: this.bound };
    else if (best.next === "up") this.best = { ...best, next: "down" };
    else {
      // A short queue costs less than an idle slot, so a little more than the least bound that performed as well.
      this.set(best.bound * 1.25);
      this.resting = rest;
      return;
    }
    this.set(this.best!.next === "up" ? this.best!.bound * growth : this.best!.bound / growth);
  }

  private set(bound: number): void {
    this.bound = Math.max(1, Math.min(this.most, Math.ceil(bound)));
  }
}
