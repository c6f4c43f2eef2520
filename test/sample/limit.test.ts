import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import type { Load } from "../../src/policy/load.js";
import { AdaptiveLimit, fixedLimit, type Limit } from "../../src/sample/limit.js";

/**
 * A server in virtual time: `slots` completions of 10 to 100 ticks at once, the others wait. As many requests as the
 * limit allows are always there.
 * @returns the limit at each look, and the most that were ever in flight
 */
function drive(limit: AdaptiveLimit, slots: number, seconds: number, tell: (load: Load) => Load | null) {
  const tick = 10;
  const running: number[] = [];
  let [waiting, most, draw] = [0, 0, 1];
  const bounds: number[] = [];
  for (let now = 0; now < 1000 * seconds; now += tick) {
    while (limit.take()) waiting++;
    most = Math.max(most, limit.inFlight);
    while (running.length < slots && waiting > 0) {
      waiting--;
      draw = (Math.imul(draw, 1664525) + 1013904223) >>> 0;
      running.push(100 + (draw % 900));
    }
    for (let i = running.length - 1; i >= 0; i--) {
      running[i]! -= tick;
      if (running[i]! > 0) continue;
      running.splice(i, 1);
      limit.give({ tokens: 50, retries: 0 });
    }
    if (now % 500 === 0) {
      limit.look(now, tell({ running: running.length, waiting, cache: 0.5 }));
      bounds.push(limit.now);
    }
  }
  return { bounds, most };
}

describe("a fixed limit", () => {
  it("gives so many places and no more, and takes them back", () => {
    const limit = fixedLimit(2);
    expect([limit.take(), limit.take(), limit.take()]).toEqual([true, true, false]);
    limit.give({ tokens: 1, retries: 0 });
    expect([limit.inFlight, limit.take(), limit.take()]).toEqual([1, true, false]);
  });

  it.each([0, -1, 1.5, Number.NaN])("is no %s", (bound) => {
    expect(() => fixedLimit(bound)).toThrow(InputError);
  });
});

describe("an adaptive limit", () => {
  it.each([
    ["a server that tells its load", (load: Load) => load],
    ["a server that tells nothing, from its throughput", () => null],
  ])("finds what %s can take, and keeps it busy without a long queue", (_, tell) => {
    for (const slots of [6, 40, 150]) {
      const { bounds } = drive(new AdaptiveLimit(1000), slots, 2000, tell);
      const settled = bounds.slice(bounds.length / 2).sort((a, b) => a - b);
      const share = (p: number) => settled[Math.floor(p * settled.length)]!;
      expect(share(0.1)).toBeGreaterThanOrEqual(slots);
      expect(share(0.9)).toBeLessThanOrEqual(3 * slots + 4);
    }
  });

  it("never passes its bound", () => {
    const { most, bounds } = drive(new AdaptiveLimit(32), 100, 60, (load) => load);
    expect(most).toBe(32);
    expect(Math.max(...bounds)).toBe(32);
  });

  it("goes down when requests fail or the cache is full, never below one", () => {
    const limit = new AdaptiveLimit(100, 64);
    const bound = (load: Load | null, retries = 0): number => {
      limit.take();
      limit.give({ tokens: 1, retries });
      limit.look(0, load);
      return limit.now;
    };
    expect(bound(null, 1)).toBe(32);
    expect(bound({ running: 32, waiting: 0, cache: 0.99 })).toBe(29);
    for (let i = 0; i < 10; i++) bound(null, 1);
    expect(limit.now).toBe(1);
  });

  it("stays where it is while there is too little work to reach it", () => {
    const limit: Limit & AdaptiveLimit = new AdaptiveLimit(100, 8);
    for (let now = 0; now < 60_000; now += 500) {
      for (let i = 0; i < 4; i++) limit.take();
      for (let i = 0; i < 4; i++) limit.give({ tokens: 9, retries: 0 });
      limit.look(now, now % 1000 === 0 ? null : { running: 4, waiting: 0, cache: null });
    }
    expect(limit.now).toBe(8);
  });

  it("is refused for bounds that are none", () => {
    for (const [most, first] of [
      [0, 1],
      [4, 8],
      [2.5, 1],
    ])
      expect(() => new AdaptiveLimit(most!, first)).toThrow(InputError);
  });
});
