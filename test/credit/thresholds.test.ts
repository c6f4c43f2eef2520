import { xoroshiro128plus } from "pure-rand";
import { describe, expect, it } from "vitest";
import { labelNoise } from "../../src/credit/posterior.js";
import { sweepThresholds } from "../../src/credit/thresholds.js";
import { backUp, type Forest } from "../../src/credit/values.js";

// Two questions with two roots each and two leaves per root; values 1, 1/2 | 0, 1/2.
const forest: Forest = {
  parent: Int32Array.from([-1, -1, 0, 0, 1, 1, -1, -1, 6, 6, 7, 7]),
  reward: Float64Array.from([0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1]),
};
const tree = Int32Array.from([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);

const rng = xoroshiro128plus(7);
const random = () => (rng.unsafeNext() >>> 0) / 2 ** 32;

describe("sweepThresholds", () => {
  it("counts examples and pairs by role at each threshold", () => {
    const rows = sweepThresholds(forest, { thresholds: [0, 0.5, 1], tree, roles: ["generator", "verifier"] });
    expect(rows.map((r) => [r.threshold, r.role, r.nodes, r.examples, r.pairs, r.meanValue])).toEqual([
      [0, "generator", 4, 3, 1, 2 / 3], // 1, 1/2 and 1/2 pass; only the second question still has a negative
      [0, "verifier", 8, 4, 2, 1],
      [0.5, "generator", 4, 1, 1, 1],
      [0.5, "verifier", 8, 4, 2, 1],
      [1, "generator", 4, 0, 0, null],
      [1, "verifier", 8, 0, 0, null],
    ]);
  });

  it("pairs no identical texts, and leaves out nodes that may not be used", () => {
    const text = Int32Array.from([0, 1, 2, 3, 4, 4, 0, 1, 2, 3, 4, 5]);
    const use = Int32Array.from(tree, (t) => 1 - t);
    const rows = sweepThresholds(forest, { thresholds: [0.5], tree, text, use: Uint8Array.from(use) });
    expect(rows.map((r) => [r.nodes, r.examples, r.pairs])).toEqual([
      [2, 1, 1],
      [4, 3, 0],
    ]);
  });

  it("follows θ through local pooling", () => {
    const graded: Forest = {
      parent: Int32Array.from([-1, 0, 0]),
      reward: Float64Array.from([Number.NaN, 0.2, 0.6]),
    };
    const examples = (pooling: "mean" | "local") =>
      sweepThresholds(graded, { pooling, thresholds: [0.1, 0.45] }).map((r) => r.meanValue);
    expect(examples("mean")).toEqual([0.4, 0.4, null, 0.6]);
    expect(examples("local")).toEqual([1, 0.4, 0.5, 0.6]);
  });

  it("measures noise against a reference", () => {
    const reference = Float64Array.from(backUp(forest).value);
    reference[1] = 0.9; // estimated 1/2
    reference[7] = Number.NaN;
    const [row] = sweepThresholds(forest, { thresholds: [0.5], tree, reference });
    expect(row!.noise).toBe(1 / 3);
    expect(sweepThresholds(forest, { thresholds: [0.5], tree })[0]!.noise).toBeNull();
  });

  it("takes by default every θ at which a label changes, so that its rows give the whole curve", () => {
    // Of 3 children, values are thirds and ninths: none is among the multiples of 0.05.
    const shape = [3, 3, 3];
    const parent: number[] = [];
    const grow = (above: number, depth: number): void => {
      for (let i = 0; i < (shape[depth] ?? 0); i++) grow(parent.push(above) - 1, depth + 1);
    };
    for (let question = 0; question < 30; question++) grow(-1, 0);
    const trees: Forest = {
      parent: Int32Array.from(parent),
      reward: Float64Array.from(parent, () => +(random() < 0.5)),
    };
    const reference = backUp({ ...trees, reward: Float64Array.from(parent, () => +(random() < 0.5)) }).value;
    for (const pooling of ["mean", "local"] as const) {
      const rows = sweepThresholds(trees, { pooling, reference });
      const fine = sweepThresholds(trees, {
        pooling,
        reference,
        thresholds: Array.from({ length: 401 }, (_, i) => i / 400),
      });
      for (const row of fine) {
        const step = rows.findLast(({ role, threshold }) => role === row.role && threshold <= row.threshold)!;
        const counts = ({ nodes, examples, pairs, meanValue, noise }: typeof row) => [
          nodes,
          examples,
          pairs,
          meanValue,
          noise,
        ];
        expect(counts(row)).toEqual(counts(step));
      }
      for (const at of [0, 0.5, 1]) expect(rows.some(({ threshold }) => threshold === at)).toBe(true);
    }
  });

  it("refuses bad options", () => {
    expect(() => sweepThresholds(forest, { thresholds: [2] })).toThrow("threshold is 2");
    expect(() => sweepThresholds(forest, { tree: new Int32Array(3) })).toThrow("tree has 3 entries for 12 nodes");
  });
});

describe("labelNoise", () => {
  it("is the binomial posterior: 2 of 3 right, uniform prior", () => {
    // Beta(3, 2): P(p ≤ 1/2) = 5/16. The second tree makes siblings differ no more than independent draws would.
    const parent = Int32Array.from([-1, 0, 0, 0]);
    const value = Float64Array.from([2 / 3, 1, 1, 0]);
    const noise = labelNoise(parent, value);
    expect(noise(0, 0.5)).toBeCloseTo(5 / 16, 3);
    expect(noise(0, 0.75)).toBeCloseTo(1 - (4 * 0.75 ** 3 - 3 * 0.75 ** 4), 3);
    expect(noise(1, 0.5)).toBe(0);
  });

  it("predicts the noise of simulated trees whose true values are uniform", () => {
    const parent: number[] = [];
    const reward: number[] = [];
    const reference: number[] = [];
    for (let q = 0; q < 4000; q++) {
      const p = random();
      const root = parent.push(-1) - 1;
      reward.push(Number.NaN);
      reference.push(p);
      for (let i = 0; i < 3; i++) {
        parent.push(root);
        const r = Number(random() < p);
        reward.push(r);
        reference.push(r);
      }
    }
    const simulated: Forest = { parent: Int32Array.from(parent), reward: Float64Array.from(reward) };
    const rows = sweepThresholds(simulated, {
      thresholds: [0.3, 0.5, 0.8],
      tree: Int32Array.from(parent, (_, i) => Math.floor(i / 4)),
      reference: Float64Array.from(reference),
    });
    for (const row of rows.filter((r) => r.role === "0")) {
      expect(row.noise).toBeGreaterThan(0.05);
      expect(Math.abs(row.noise! - row.expectedNoise!)).toBeLessThan(0.02);
    }
    for (const row of rows.filter((r) => r.role === "1")) expect([row.noise, row.expectedNoise]).toEqual([0, 0]);
  });

  it("counts correlated leaves as fewer", () => {
    // Nine leaves each. Left: children alike inside and different among each other; right: all children alike.
    const parent = Int32Array.from([-1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    const noise = (rewards: number[]) => {
      const reward = Float64Array.from([0, 0, 0, 0, ...rewards]);
      return labelNoise(parent, backUp({ parent, reward }).value)(0, 0.5);
    };
    const clustered = noise([1, 1, 1, 1, 1, 1, 0, 0, 0]);
    const even = noise([1, 1, 0, 1, 1, 0, 1, 1, 0]);
    expect(clustered).toBeCloseTo(5 / 16, 2);
    expect(even).toBeLessThan(clustered - 0.1);
    // Critiques 1, 2/3, 1/3: variance 1/9, mean 2/3, so N = 3 (2/9 + 1/27) / (1/9) = 7 and p ~ Beta(17/3, 10/3).
    expect(noise([1, 1, 1, 1, 1, 0, 1, 0, 0])).toBeCloseTo(0.2059, 3);
  });
});
