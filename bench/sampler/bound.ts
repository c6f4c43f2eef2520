/** The shortest time in which m slots could have served what they served, from the lengths actually served. Pure. */

import { SlotQueue } from "../slots/queue.js";
import type { SlotInterval } from "../slots.js";

/** A sampler's work on m slots beside the lower bound of any sampler. Times in ms. */
export interface Bound {
  /** Total length of all different completions. */
  work: number;
  /** Longest chain of completions in which each depends on the one before it. */
  chain: number;
  /** The larger of work / m and the longest chain. */
  bound: number;
  /** Completions that were served more than once. */
  repeated: number;
  /** Share of all slot time that was idle before the last completion began, while there were still requests to send. */
  idle: number;
}

interface Served extends Pick<SlotInterval, "id" | "parent"> {
  ms: number;
}

function different(intervals: readonly SlotInterval[]): Map<string, Served> {
  return new Map(intervals.map(({ id, parent, start_ms, end_ms }) => [id, { id, parent, ms: end_ms - start_ms }]));
}

/** @param slots m */
export function boundOf(intervals: readonly SlotInterval[], slots: number): Bound {
  const served = different(intervals);
  const chains = new Map<string, number>();
  const chain = ({ id, parent, ms }: Served): number => {
    const above = parent === null ? undefined : served.get(parent);
    const length = chains.get(id) ?? ms + (above ? chain(above) : 0);
    chains.set(id, length);
    return length;
  };
  const work = [...served.values()].reduce((sum, { ms }) => sum + ms, 0);
  const largest = (numbers: readonly number[]) => numbers.reduce((most, ms) => Math.max(most, ms), 0);
  const longest = largest([...served.values()].map(chain));
  const last = largest(intervals.map(({ start_ms }) => start_ms));
  const busy = intervals.reduce((sum, { start_ms, end_ms }) => sum + Math.min(end_ms, last) - start_ms, 0);
  return {
    ...{ work, chain: longest, bound: Math.max(work / slots, longest), repeated: intervals.length - served.size },
    idle: last === 0 ? 0 : 1 - busy / (slots * last),
  };
}

/**
 * Makespan of a client that loses no time and asks for everything as soon as it can be asked for, but does not know how
 * long a completion will be: mean over some orders of the questions, ms. The gap between it and the bound is the tail
 * of the last long completions, which no client can avoid.
 */
export function withoutDelay(intervals: readonly SlotInterval[], slots: number, orders = 10): number {
  // By id, which is a hash: an order that does not depend on the client that was served.
  const served = [...different(intervals).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const roots = served.filter(({ parent }) => parent === null);
  const children = new Map<string | null, Served[]>(served.map(({ id }) => [id, []]));
  for (const each of served) children.get(each.parent)?.push(each);
  const makespans = Array.from({ length: orders }, (_, i) => {
    const queue = new SlotQueue<Served>(slots);
    const cut = Math.floor((i * roots.length) / orders);
    for (const root of [...roots.slice(cut), ...roots.slice(0, cut)]) queue.arrive(root, 0);
    let now = 0;
    while (queue.next !== null) {
      now = queue.next;
      for (const { job } of queue.advance(now))
        for (const child of children.get(job.id) ?? []) queue.arrive(child, now);
    }
    return now;
  });
  return makespans.reduce((sum, ms) => sum + ms, 0) / orders;
}
