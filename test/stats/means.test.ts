import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { clusterMean, meanPassAtK, meanStd, passAtK, plusMinus } from "../../src/stats/means.js";

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

  it("contains a mean of 1 in spite of rounding", () => {
    expect(clusterMean(Array(8).fill(1), [..."caabaaad"]).high).toBe(1);
    expect(clusterMean(Array(8).fill(0), [..."caabaaad"]).low).toBe(0);
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

describe("meanStd", () => {
  it("divides by n − 1 and by n", () => {
    const { mean, sample, population, n } = meanStd([84, 81, 87, 85]);
    expect([mean, n]).toEqual([84.25, 4]);
    expect(sample).toBeCloseTo(2.5, 12);
    expect(population).toBeCloseTo(2.165063509461097, 12);
    expect(meanStd([3])).toEqual({ mean: 3, sample: Number.NaN, population: 0, n: 1 });
    expect(meanStd([]).mean).toBeNaN();
  });
});

describe("passAtK", () => {
  it("is the share of k-subsets of the completions that hold a right one", () => {
    const right = [true, true, false, false, false];
    for (let k = 1; k <= 5; k++) {
      const subsets = Array.from({ length: 32 }, (_, bits) => right.filter((_, i) => bits & (1 << i)))
        .map((subset, bits) => ({ subset, size: bits.toString(2).replaceAll("0", "").length }))
        .filter(({ size }) => size === k);
      expect(passAtK(5, 2, k)).toBeCloseTo(
        subsets.filter(({ subset }) => subset.includes(true)).length / subsets.length,
        12,
      );
    }
    expect(passAtK(1000, 1, 500)).toBeCloseTo(0.5, 10);
    expect([passAtK(3, 0, 2), passAtK(3, 3, 1)]).toEqual([0, 1]);
  });

  it("weighs questions alike, and refuses more tries than completions", () => {
    const estimate = meanPassAtK([true, false, false, false, true, true], [..."aaaabb"], 2);
    expect(estimate.mean).toBeCloseTo((0.5 + 1) / 2, 12);
    expect([estimate.n, estimate.clusters]).toEqual([2, 2]);
    expect(() => meanPassAtK([true, false, true], [..."aab"], 2)).toThrow(InputError);
    for (const [n, c, k] of [
      [3, 4, 1],
      [3, 1, 0],
      [3, -1, 1],
      [3, 1, 1.5],
    ] as const)
      expect(() => passAtK(n, c, k)).toThrow(`n = ${n}, c = ${c}, k = ${k}`);
  });
});

it("plusMinus prints percent to two places, and a dash for what nobody measured", () => {
  expect(plusMinus(0.5725, 0.0148)).toBe("57.25 ± 1.48");
  expect(plusMinus(0.65)).toBe("65.00");
  expect(plusMinus(null, 0.01)).toBe("–");
  expect(plusMinus(0.5, Number.NaN)).toBe("50.00");
});
