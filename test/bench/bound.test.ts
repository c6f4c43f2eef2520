import { describe, expect, it } from "vitest";
import { boundOf, withoutDelay } from "../../bench/sampler/bound.js";
import type { SlotInterval } from "../../bench/slots.js";

/** A completion that ran in a slot; its id is its name, its parent what stands before the last dot. */
function interval(id: string, slot: number, start_ms: number, end_ms: number): SlotInterval {
  const dot = id.lastIndexOf(".");
  return { id, slot, start_ms, end_ms, parent: dot < 0 ? null : id.slice(0, dot), depth: 0, question: null };
}

describe("the bound of a sampler's makespan", () => {
  it("is the work per slot where there is enough of it", () => {
    const served = [interval("a", 0, 0, 10), interval("b", 1, 0, 30), interval("a.c", 0, 10, 40)];
    expect(boundOf(served, 1)).toMatchObject({ work: 70, chain: 40, bound: 70, repeated: 0 });
  });

  it("is the longest chain of completions that need one another where the slots could do more", () => {
    const served = [
      interval("a", 0, 0, 10),
      interval("a.b", 1, 10, 60),
      interval("a.b.c", 0, 60, 65),
      interval("d", 2, 0, 20),
    ];
    expect(boundOf(served, 3)).toMatchObject({ work: 85, chain: 65, bound: 65 });
  });

  it("counts what was served twice once only", () => {
    const served = [interval("a", 0, 0, 10), interval("a", 0, 10, 20), interval("b", 0, 20, 25)];
    expect(boundOf(served, 1)).toMatchObject({ work: 15, repeated: 1 });
  });

  it("takes for idle what no slot did until the last completion began", () => {
    // Two slots for 20 ms; one of them did nothing for 10 of them. What follows is the tail.
    const served = [interval("a", 0, 0, 20), interval("b", 1, 0, 10), interval("a.c", 0, 20, 90)];
    expect(boundOf(served, 2).idle).toBeCloseTo(10 / 40, 9);
    expect(boundOf([], 2)).toMatchObject({ work: 0, bound: 0, idle: 0 });
  });
});

describe("a client without any delay", () => {
  it("reaches the bound where lengths are equal and fill the slots", () => {
    const served = [
      interval("a", 0, 0, 10),
      interval("b", 1, 0, 10),
      interval("a.c", 0, 15, 25),
      interval("b.d", 1, 18, 28),
    ];
    expect(withoutDelay(served, 2)).toBe(20);
  });

  it("starts a completion when the one it needs has ended, not before", () => {
    const served = [interval("a", 0, 0, 30), interval("a.b", 1, 30, 50), interval("c", 2, 0, 5)];
    expect(withoutDelay(served, 3)).toBe(50);
  });

  it("cannot know which completion will be long, so it lies above the bound in some order", () => {
    const served = [interval("a", 0, 0, 10), interval("b", 0, 10, 20), interval("c", 0, 20, 40)];
    // Two slots: a and b beside c would end at 20; a beside b and then c ends at 30.
    expect(boundOf(served, 2).bound).toBe(20);
    expect(withoutDelay(served, 2, 1)).toBe(30);
    expect(withoutDelay(served, 2, 3)).toBeLessThan(30);
  });
});
