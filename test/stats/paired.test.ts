import prand from "pure-rand";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { holm, mcnemar, pairedTest } from "../../src/stats/paired.js";

const rows = (text: string) => [...text];

describe("pairedTest", () => {
  it("agrees with other software on a small example", () => {
    const differences = [1, 1, 0, 0, -1, 1, 1, 0, 1, 0, -1, 0, 1, 1, 1];
    const { difference, p, method, mcnemar } = pairedTest(differences, rows("aaabbbcccdddeee"));
    // statsmodels 0.15: OLS on a constant, cov_type="cluster", use_t=False.
    expect(difference.mean).toBeCloseTo(0.4, 12);
    expect(difference.low).toBeCloseTo(-0.08009117, 7);
    expect(difference.high).toBeCloseTo(0.88009117, 7);
    expect([difference.n, difference.clusters]).toEqual([15, 5]);
    // scipy 1.17: permutation_test of the five totals, permutation_type="samples", all patterns.
    expect(p).toBeCloseTo(0.25, 12);
    expect(method).toBe("exact");
    expect(mcnemar).toMatchObject({ better: 8, worse: 2 });
  });

  it("is the exact McNemar test where every question has one row", () => {
    const differences = [...Array(17).fill(1), ...Array(5).fill(-1), ...Array(60).fill(0)];
    const { p, mcnemar } = pairedTest(
      differences,
      differences.map((_, i) => `q${i}`),
    );
    expect(p).toBeCloseTo(mcnemar!.exact, 12);
  });

  it("does not take copies of a row for evidence, as pooled McNemar does", () => {
    const once = [1, 1, 1, 1, 1, -1, 0, 0];
    const ids = rows("abcdefgh");
    const single = pairedTest(once, ids);
    const copied = pairedTest([...once, ...once, ...once, ...once], [...ids, ...ids, ...ids, ...ids]);
    expect(copied.p).toBeCloseTo(single.p, 12);
    expect(copied.difference.low).toBeCloseTo(single.difference.low, 12);
    expect(copied.mcnemar!.exact).toBeLessThan(single.mcnemar!.exact / 20);
  });

  it("may be negative at its lower end even if the first system never loses", () => {
    const { difference } = pairedTest([1, 0, 0, 0, 0, 0], rows("abcdef"));
    expect(difference.low).toBeLessThan(0);
  });

  it("samples sign patterns where totals are not whole, near the counted p and the same for the same seed", () => {
    const differences = [0.3, -0.1, 0.45, 0.2, 0.05, -0.15, 0.6, 0.25];
    const { p, method, mcnemar } = pairedTest(differences, rows("abcdefgh"));
    // scipy 1.17, all 256 patterns: 0.078125.
    expect(p).toBeGreaterThan(0.07);
    expect(p).toBeLessThan(0.087);
    expect([method, mcnemar]).toEqual(["sampled", null]);
    expect(pairedTest(differences, rows("abcdefgh")).p).toBe(p);
    const tied = pairedTest([0.1, 0.2, 0.3], rows("abc"), { draws: 2000 });
    expect(tied.p).toBeGreaterThan(0.2);
  });

  it("covers the true difference about 95 times in 100, with correlated seeds", () => {
    const random = prand.xoroshiro128plus(5);
    const uniform = () => (random.unsafeNext() >>> 0) / 2 ** 32;
    const covered = { robust: 0, false: 0 };
    const trials = 300;
    for (let trial = 0; trial < trials; trial++) {
      const differences: number[] = [];
      const ids: string[] = [];
      for (let q = 0; q < 80; q++) {
        // A question leans to one system or the other, and its four seeds share that lean; the mean is 0.
        const lean = uniform() - 0.5;
        for (let seed = 0; seed < 4; seed++) {
          const u = uniform();
          differences.push(u < 0.3 + 0.6 * lean ? 1 : u > 0.7 + 0.6 * lean ? -1 : 0);
          ids.push(`q${q}`);
        }
      }
      const { difference, p } = pairedTest(differences, ids);
      covered.robust += Number(difference.low <= 0 && difference.high >= 0);
      covered.false += Number(p < 0.05);
    }
    // Three standard errors of 300 trials are 0.038.
    expect(Math.abs(covered.robust / trials - 0.95)).toBeLessThan(0.04);
    expect(covered.false / trials).toBeLessThan(0.09);
  });

  it("has no interval from one question, p = 1 without a difference, and refuses what it cannot read", () => {
    const one = pairedTest([1, 1, 0], rows("aaa"));
    expect([one.difference.low, one.difference.high, one.p]).toEqual([Number.NaN, Number.NaN, 1]);
    expect(pairedTest([0, 0], rows("ab"))).toMatchObject({ p: 1, mcnemar: { exact: 1, midP: 1 } });
    expect(() => pairedTest([], [])).toThrow(InputError);
    expect(() => pairedTest([1], ["a", "b"])).toThrow("1 differences and 2 question ids");
    expect(() => pairedTest([Number.NaN], ["a"])).toThrow("a difference is NaN");
    expect(() => pairedTest([1], ["a"], { draws: 10 })).toThrow("draws must be a whole number of at least 100, not 10");
    expect(() => pairedTest([1], ["a"], { seed: 0.5 })).toThrow("seed must be");
  });
});

describe("mcnemar", () => {
  it("gives the values of Fagerland et al. (2013) and of statsmodels", () => {
    // Airway responsiveness before and after transplantation (Bentur et al.): 1 and 7 discordant children.
    expect(mcnemar(1, 7).exact).toBeCloseTo(0.0703125, 10);
    expect(mcnemar(7, 1).midP).toBeCloseTo(0.0390625, 10);
    expect(mcnemar(5, 15).exact).toBeCloseTo(0.04138946533203125, 12);
    expect(mcnemar(121, 59).exact / 4.4344492637551645e-6).toBeCloseTo(1, 9);
    // 2000 discordant rows, where 2^−n is no longer a double.
    expect(mcnemar(900, 1100).exact / 8.45708953550381e-6).toBeCloseTo(1, 9);
    expect(mcnemar(900, 1100).midP / 7.656628347757322e-6).toBeCloseTo(1, 9);
  });

  it("finds nothing in a tie or in no disagreement, and refuses counts that are none", () => {
    // C(16, 8) / 2^16 = 0.19638; the observed tie counts half.
    expect(mcnemar(8, 8)).toMatchObject({ exact: 1, midP: 1 - 12870 / 65536 / 2 });
    expect(mcnemar(0, 0)).toMatchObject({ exact: 1, midP: 1 });
    expect(() => mcnemar(-1, 2)).toThrow(InputError);
    expect(() => mcnemar(1.5, 2)).toThrow("received 1.5 and 2");
  });
});

describe("holm", () => {
  it("adjusts in the order given, never below an earlier one and never above 1", () => {
    // statsmodels 0.15: multipletests(method="holm").
    const adjusted = holm([0.01, 0.04, 0.03, 0.005, 0.5]);
    for (const [i, p] of [0.04, 0.09, 0.09, 0.025, 0.5].entries()) expect(adjusted[i]).toBeCloseTo(p, 12);
    expect(holm([0.6, 0.7])).toEqual([1, 1]);
    expect(holm([])).toEqual([]);
    expect(() => holm([0.1, Number.NaN])).toThrow("a p value is NaN");
  });
});
