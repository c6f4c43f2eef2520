import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  assignCredit,
  type CreditOptions,
  type CreditTrees,
  type Estimator,
  estimatorNames,
} from "../../src/credit/estimators.js";
import { backUp } from "../../src/credit/values.js";

// One question: answers g0 (wrong), g1 (right); two critiques of each, two refinements of each critique. The critiques
// g0.v0 and g1.* say that the answer is right as it stands, g0.v1 that it is not; g1.v1 states none.
const ids = ["g0", "g1", "g0.v0", "g0.v1", "g1.v0", "g1.v1"];
const leaves = ["g0.v0", "g0.v1", "g1.v0", "g1.v1"].flatMap((v) => [`${v}.r0`, `${v}.r1`]);
const all = [...ids, ...leaves];
const parent = Int32Array.from(all, (id) => all.indexOf(id.slice(0, Math.max(0, id.lastIndexOf(".")))));
const rewards: Record<string, number> = { "g0.v1.r0": 1, "g0.v1.r1": 1, "g1.v0.r0": 1, "g1.v0.r1": 1, "g1.v1.r0": 1 };
const reward = Float64Array.from(all, (id) => (leaves.includes(id) ? (rewards[id] ?? 0) : Number.NaN));
const statedOf: Record<string, number> = { g0: 0, g1: 1, "g0.v0": 0, "g0.v1": 1, "g1.v0": 1, "g1.v1": -1 };
const stated = Int8Array.from(all, (id) => statedOf[id] ?? rewards[id] ?? 0);
const worked: CreditTrees = { forest: { parent, reward }, stated, text: Int32Array.from(all, (_, i) => i) };
/** Credits of g0, g1, g0.v0, g0.v1, g1.v0, g1.v1. */
const credits = (options: CreditOptions, trees = worked) => [...assignCredit(trees, options).value.slice(0, 6)];
const labels = (options: CreditOptions, trees = worked) => [...assignCredit(trees, options).label.slice(0, 6)];

describe("a 2 x 2 x 2 tree computed by hand", () => {
  it("value: 1/2 and 3/4; critiques 0, 1, 1, 1/2", () => {
    expect(credits({})).toEqual([1 / 2, 3 / 4, 0, 1, 1, 1 / 2]);
    expect(labels({})).toEqual([0, 1, 0, 1, 1, 0]);
  });

  it("max pooling: what the best continuation reaches", () => {
    expect(credits({ pooling: "max" })).toEqual([1, 1, 0, 1, 1, 1]);
  });

  it("rloo: value less the other sibling's", () => {
    expect(credits({ estimator: "rloo" })).toEqual([-1 / 4, 1 / 4, -1, 1, 1 / 2, -1 / 2]);
    expect(labels({ estimator: "rloo" })).toEqual([0, 1, 0, 1, 1, 0]);
  });

  it("grpo: of two siblings always one above and one below by 1/√2", () => {
    const root = Math.SQRT1_2;
    for (const [i, credit] of [-root, root, -root, root, root, -root].entries())
      expect(credits({ estimator: "grpo" })[i]).toBeCloseTo(credit, 12);
  });

  it("coma: value less the mean of the state; equal texts share their mean", () => {
    expect(credits({ estimator: "coma" })).toEqual([-1 / 8, 1 / 8, -1 / 2, 1 / 2, 1 / 4, -1 / 4]);
    const same = { ...worked, text: Int32Array.from(all, (id, i) => (id.startsWith("g1.v") ? 99 : i)) };
    expect(credits({ estimator: "coma" }, same)).toEqual([-1 / 8, 1 / 8, -1 / 2, 1 / 2, 0, 0]);
  });

  it("td: the standing answer at λ = 0, the value at λ = 1, a mixture between", () => {
    expect(credits({ estimator: "td", lambda: 0 })).toEqual([0, 1, 0, 1, 1, 1]);
    expect(credits({ estimator: "td", lambda: 1 })).toEqual(credits({}));
    // Critiques: (V + value) / 2 = 0, 1, 1, 3/4. Answers: V / 2 + (their mean) / 2 = 1/4, 1/2 + 7/16.
    expect(credits({ estimator: "td", lambda: 0.5 })).toEqual([1 / 4, 15 / 16, 0, 1, 1, 3 / 4]);
  });

  it("gae: the λ-return less the standing answer before; of a question half its answers are right", () => {
    expect(credits({ estimator: "gae", lambda: 0.5 })).toEqual([-1 / 4, 7 / 16, 0, 1, 0, -1 / 4]);
    expect(labels({ estimator: "gae", lambda: 0.5 })).toEqual([0, 1, 0, 1, 0, 0]);
  });

  it("gain: value less what the first answer was worth by itself", () => {
    expect(credits({ estimator: "gain" })).toEqual([1 / 2, -1 / 4, 0, 1, 0, -1 / 2]);
    const { value } = assignCredit(worked, { estimator: "gain" });
    expect(value[all.indexOf("g0.v1.r0")]).toBe(1);
    expect(value[all.indexOf("g1.v1.r1")]).toBe(-1);
  });

  it("posterior: Beta tails, and no label where they are thick", () => {
    // With N = 4 below an answer: Beta(3, 3) and Beta(4, 2); below a critique N = 2: Beta(1, 3), (3, 1), (3, 1), (2, 2).
    const exact = [1 / 2, 26 / 32, 1 / 8, 7 / 8, 7 / 8, 1 / 2];
    const given = { estimator: "posterior", effective: [4, 2] } as const;
    for (const [i, p] of credits(given).entries()) expect(p).toBeCloseTo(exact[i]!, 3);
    expect(labels(given)).toEqual([-1, -1, -1, -1, -1, -1]);
    expect(labels({ ...given, confidence: 0.8 })).toEqual([-1, 1, 0, 1, 1, -1]);
    expect([...assignCredit(worked, given).label.slice(6)]).toEqual([...reward.slice(6)]);
  });
});

/** Trees of any shape in an order of depth, with rewards of 0 and 1, stated answers, and texts that repeat. */
const forests = fc
  .array(
    fc.record({
      up: fc.double({ min: 0, max: 1, noNaN: true }),
      reward: fc.constantFrom(0, 1, 0, 1, 0, 1, 0, 1, Number.NaN),
      stated: fc.constantFrom(-1, 0, 1),
      text: fc.integer({ min: 0, max: 2 }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((nodes) => {
    const parent = Int32Array.from(nodes, ({ up }, i) => Math.floor(up * (i + 0.999)) - 1);
    const tree = new Int32Array(nodes.length);
    for (const [i, above] of parent.entries()) tree[i] = above < 0 ? i % 2 : tree[above]!;
    return {
      forest: { parent, reward: Float64Array.from(nodes, ({ reward }) => reward) },
      tree,
      text: Int32Array.from(nodes, ({ text }) => text),
      stated: Int8Array.from(nodes, ({ stated }) => stated),
    };
  });
const lambdas = fc.double({ min: 0, max: 1, noNaN: true });

/** Trees as lists, without any array of the implementation. */
function brute({ forest, tree, text, stated }: Required<CreditTrees>) {
  const nodes = [...forest.parent.keys()];
  const children = (i: number) => nodes.filter((j) => forest.parent[j] === i);
  const siblings = (i: number) =>
    nodes.filter((j) => forest.parent[j] === forest.parent[i] && (forest.parent[i]! >= 0 || tree![j] === tree![i]));
  /** Every way on from a node to a leaf, with the probability of choosing children evenly. */
  const ways = (i: number): { path: number[]; p: number }[] => {
    const below = children(i);
    if (below.length === 0) return [{ path: [i], p: 1 }];
    return below.flatMap((j) => ways(j).map(({ path, p }) => ({ path: [i, ...path], p: p / below.length })));
  };
  const expectation = (i: number, of: (path: number[], r: number) => number): number =>
    ways(i).reduce((sum, { path, p }) => sum + p * of(path, forest.reward[path.at(-1)!]!), 0);
  const value = (i: number) => expectation(i, (_, r) => r);
  const standing = (i: number): number => (i < 0 ? 0 : stated![i]! >= 0 ? stated![i]! : standing(forest.parent[i]!));
  const first = (i: number): number => (forest.parent[i]! < 0 ? i : first(forest.parent[i]!));
  const mean = (list: readonly number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  return { nodes, siblings, expectation, value, standing, first, mean, text, parent: forest.parent };
}

/** Credits by definition, for one node. */
function definition(estimator: Estimator, lambda: number, trees: Required<CreditTrees>) {
  const { siblings, expectation, value, standing, first, mean, text, parent } = brute(trees);
  const known = (i: number) => siblings(i).filter((j) => !Number.isNaN(value(j)));
  return (i: number): number => {
    const v = value(i);
    if (Number.isNaN(v)) return Number.NaN;
    const others = known(i).filter((j) => j !== i);
    switch (estimator) {
      case "rloo":
        return v - mean(others.map(value));
      case "grpo": {
        const values = known(i).map(value);
        const spread = Math.sqrt(values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (values.length - 1));
        return others.length === 0 ? Number.NaN : spread < 1e-9 ? 0 : (v - mean(values)) / spread;
      }
      case "coma": {
        const q = (t: number) =>
          mean(
            known(i)
              .filter((j) => text![j] === t)
              .map(value),
          );
        const policy = [...new Set(known(i).map((j) => text![j]!))].map(
          (t) => (known(i).filter((j) => text![j] === t).length / known(i).length) * q(t),
        );
        return q(text![i]!) - policy.reduce((a, b) => a + b, 0);
      }
      case "td":
        // The sum of n-step returns with weights (1 − λ) λⁿ⁻¹, and what is left of the weight on the reward.
        return expectation(i, (path, r) =>
          path.reduce(
            (sum, j, k) => sum + (k < path.length - 1 ? (1 - lambda) * lambda ** k * standing(j) : lambda ** k * r),
            0,
          ),
        );
      case "gae":
        // The sum of temporal differences with weights λᵏ.
        return expectation(i, (path, r) => {
          const before = parent[i]! >= 0 ? standing(parent[i]!) : mean(siblings(i).map(standing));
          const worth = path.map((j, k) => (k === path.length - 1 ? r : standing(j)));
          return worth.reduce((sum, w, k) => sum + lambda ** k * (w - (k === 0 ? before : worth[k - 1]!)), 0);
        });
      case "gain":
        return expectation(i, (_, r) => r - standing(first(i)));
      default:
        return v;
    }
  };
}

describe("by definition, on trees of any shape", () => {
  for (const estimator of estimatorNames.filter((name) => name !== "posterior"))
    it(estimator, () => {
      fc.assert(
        fc.property(forests, lambdas, (trees, lambda) => {
          const { value, label } = assignCredit(trees, { estimator, lambda });
          const credit = definition(estimator, lambda, trees);
          const threshold = estimator === "value" || estimator === "td" ? 0.5 : 0;
          for (const i of value.keys()) {
            const expected = credit(i);
            if (Number.isNaN(expected)) expect(value[i]).toBeNaN();
            else expect(value[i]).toBeCloseTo(expected, 9);
            if (Number.isNaN(expected)) expect(label[i]).toBe(-1);
            else if (Math.abs(expected - threshold) > 1e-8) expect(label[i]).toBe(Number(expected > threshold));
            // Equal but for rounding: the strict comparison fails.
            else if (estimator !== "value") expect(label[i]).toBe(0);
          }
        }),
        { numRuns: 60 },
      );
    });

  it("posterior, from the tails of a binomial distribution", () => {
    const choose = (n: number, k: number): number => (k === 0 ? 1 : (choose(n, k - 1) * (n - k + 1)) / k);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(9), fc.integer({ min: 0, max: 20 }), (n, some, twentieth) => {
        const [k, threshold] = [Math.min(some, n), twentieth / 20];
        const parent = Int32Array.from([-1, ...Array(n).fill(0)]);
        const reward = Float64Array.from([Number.NaN, ...Array.from({ length: n }, (_, i) => Number(i < k))]);
        // P(Beta(k + 1, n − k + 1) > θ) = P(Binomial(n + 1, θ) ≤ k)
        let tail = 0;
        for (let j = 0; j <= k; j++) tail += choose(n + 1, j) * threshold ** j * (1 - threshold) ** (n + 1 - j);
        const { value, label } = assignCredit({ forest: { parent, reward } }, { estimator: "posterior", threshold });
        expect(value[0]).toBeCloseTo(tail, 3);
        if (tail > 0.901) expect(label[0]).toBe(1);
        else if (tail < 0.099) expect(label[0]).toBe(0);
        else if (tail > 0.101 && tail < 0.899) expect(label[0]).toBe(-1);
      }),
    );
  });

  it("max: the best of all leaves below", () => {
    fc.assert(
      fc.property(forests, ({ forest }) => {
        const { value } = backUp(forest, { pooling: "max" });
        const best = (i: number): number => {
          const below = [...forest.parent.keys()].filter((j) => forest.parent[j] === i);
          return below.length === 0 ? forest.reward[i]! : Math.max(...below.map(best));
        };
        for (const i of value.keys()) expect(value[i]).toEqual(best(i));
      }),
    );
  });
});

describe("properties", () => {
  it("advantages over all siblings add up to 0 in every state", () => {
    fc.assert(
      fc.property(forests, fc.constantFrom<Estimator>("grpo", "coma"), (trees, estimator) => {
        const { value } = assignCredit(trees, { estimator });
        const sums = new Map<string, number>();
        for (const [i, credit] of value.entries()) {
          const above = trees.forest.parent[i]!;
          const state = above < 0 ? `tree ${trees.tree[i]}` : String(above);
          if (!Number.isNaN(credit)) sums.set(state, (sums.get(state) ?? 0) + credit);
        }
        for (const sum of sums.values()) expect(sum).toBeCloseTo(0, 9);
      }),
    );
  });

  it("siblings that are all alike are not better than each other, whatever rounding leaves", () => {
    // Values of 1/3, 7 times: their sum is not 7/3 in floating point.
    const parent = Int32Array.from([...Array(7).fill(-1), ...Array.from({ length: 21 }, (_, i) => Math.floor(i / 3))]);
    const reward = Float64Array.from({ length: 28 }, (_, i) => (i < 7 ? Number.NaN : Number(i % 3 === 0)));
    for (const estimator of ["rloo", "grpo", "coma"] as const)
      expect([...assignCredit({ forest: { parent, reward } }, { estimator }).label.slice(0, 7)]).toEqual(
        Array(7).fill(0),
      );
  });

  it("an estimator that needs stated answers says so", () => {
    expect(() => assignCredit({ forest: worked.forest }, { estimator: "gain" })).toThrow("give `stated`");
    expect(() => assignCredit({ ...worked, text: new Int32Array(3) })).toThrow("text has 3 entries for 14 nodes");
    expect(() => assignCredit(worked, { estimator: "rloo", threshold: 2 })).toThrow("from -1 to 1");
    expect(() => assignCredit(worked, { estimator: "rloo", pooling: "local" })).toThrow('pooling for estimator "rloo"');
  });
});
