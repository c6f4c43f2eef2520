import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clusterMean } from "../src/stats.js";

describe("clusterMean", () => {
  it("is Wilson's interval when every observation is its own cluster", () => {
    // 8 of 10, each its own question: variance p(1−p)/(n−1) and so an effective size of 9.
    const { mean, low, high, n, clusters } = clusterMean([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], [..."abcdefghij"]);
    const z2 = 1.959964 ** 2;
    const centre = (0.8 + z2 / 18) / (1 + z2 / 9);
    const half = Math.sqrt((z2 * 0.16) / 9 + z2 ** 2 / 324) / (1 + z2 / 9);
    expect(mean).toBeCloseTo(0.8, 12);
    expect(low).toBeCloseTo(centre - half, 10);
    expect(high).toBeCloseTo(centre + half, 10);
    expect([n, clusters]).toEqual([10, 10]);
  });

  it("keeps a width when all observations agree: as many as there are questions, not nodes", () => {
    const { low, high } = clusterMean(
      Array(300).fill(true),
      Array.from({ length: 300 }, (_, i) => `q${i % 10}`),
    );
    expect(high).toBeCloseTo(1, 12);
    expect(low).toBeCloseTo(10 / (10 + 1.959964 ** 2), 10);
  });

  it("widens when the observations of a question agree, and does not count copies as evidence", () => {
    const once = clusterMean([0, 1, 1, 0], ["a", "b", "c", "d"]);
    const copied = clusterMean([0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0], [..."aaabbbcccddd"]);
    expect(copied.low).toBeCloseTo(once.low, 12);
    expect(copied.high).toBeCloseTo(once.high, 12);
  });

  it("does not clip a mean of values outside [0, 1]", () => {
    expect(clusterMean([5, 9], ["a", "b"]).high).toBeGreaterThan(9);
  });

  it("has no interval from one cluster and no mean from none", () => {
    expect(clusterMean([1, 0], ["a", "a"])).toMatchObject({ mean: 0.5, low: Number.NaN, high: Number.NaN });
    expect(clusterMean([], []).mean).toBeNaN();
  });

  it("contains its mean and does not depend on the order of clusters", () => {
    const rows = fc.array(fc.tuple(fc.boolean(), fc.constantFrom("a", "b", "c", "d")), { minLength: 8 });
    fc.assert(
      fc.property(rows, (pairs) => {
        const split = (list: typeof pairs) =>
          clusterMean(
            list.map((p) => p[0]),
            list.map((p) => p[1]),
          );
        const estimate = split(pairs);
        const reversed = split([...pairs].reverse());
        expect(reversed.mean).toBeCloseTo(estimate.mean, 12);
        if (estimate.clusters > 1) {
          expect(reversed.low).toBeCloseTo(estimate.low, 12);
          expect(estimate.low).toBeLessThanOrEqual(estimate.mean);
          expect(estimate.high).toBeGreaterThanOrEqual(estimate.mean);
        }
      }),
    );
  });
});
