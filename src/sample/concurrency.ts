/**
 * How many requests a run or an evaluation has in flight: a number, or `auto`, which joins the adaptive limit of
 * limit.ts with the clock and with the load that the server reports.
 */
import type { Policy } from "../policy/openai.js";
import { AdaptiveLimit, fixedLimit, type Limit } from "./limit.js";

/** Requests in flight, and the bound of `auto`. */
export interface Concurrency {
  /** ≥ 1; 16 by default. `auto` looks for the server's limit below {@link maxConcurrency}. */
  concurrency?: number | "auto";
  /** Bound that `auto` never passes, ≥ 1; 1,024 by default. */
  maxConcurrency?: number;
}

/**
 * Does work under the limit that the options ask for. During the work an adaptive limit checks the server twice a
 * second.
 * @throws InputError unless both are integers ≥ 1, and whatever the work throws
 */
export async function withLimit<T>(
  { concurrency = 16, maxConcurrency = 1024 }: Concurrency,
  policy: Pick<Policy, "load">,
  work: (limit: Limit) => Promise<T>,
): Promise<T> {
  if (concurrency !== "auto") return work(fixedLimit(concurrency));
  const limit = new AdaptiveLimit(maxConcurrency);
  let isSilent = false;
  const look = async () => {
    const load = isSilent ? null : await policy.load();
    // A server that does not report its load at first never will.
    isSilent ||= load === null;
    limit.look(performance.now(), load);
  };
  const timer = setInterval(look, 500);
  return work(limit).finally(() => clearInterval(timer));
}
