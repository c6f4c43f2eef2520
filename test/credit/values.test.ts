import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { advantage, backUp, type Forest, poolings, states } from "../../src/credit/values.js";
import { InputError } from "../../src/errors.js";

/** A balanced tree in order of depth; rewards are those of its leaves, left to right. */
function balanced(branching: readonly number[], rewards: readonly number[]): Forest {
  const parent: number[] = [];
  let above = [-1];
  for (const n of branching) {
    const level: number[] = [];
    for (const p of above) for (let b = 0; b < n; b++) level.push(parent.push(p) - 1);
    above = level;
  }
  const reward = new Float64Array(parent.length).fill(Number.NaN);
  above.forEach((leaf, i) => {
    reward[leaf] = rewards[i]!;
  });
  return { parent: Int32Array.from(parent), reward };
}

// g0 = (3/3, 2/3, 0/3), g1 = (1/3, 1/3, 2/3), g2 = (0, 0, 0)
const worked = balanced([3, 3, 3], [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

describe("a 3x3x3 tree computed by hand", () => {
  it("backs means up under global pooling and thresholds once", () => {
    const { value, label, complete } = backUp(worked);
    expect([...value.slice(0, 3)]).toEqual([5 / 9, 4 / 9, 0]);
    expect([...value.slice(3, 12)]).toEqual([1, 2 / 3, 0, 1 / 3, 1 / 3, 2 / 3, 0, 0, 0]);
    expect([...label.slice(0, 12)]).toEqual([1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0]);
    expect([...value.slice(12)]).toEqual([...worked.reward.slice(12)]);
    expect(complete.every((c) => c === 1)).toBe(true);
  });

  it("averages labels under local pooling", () => {
    const { value, label } = backUp(worked, { pooling: "local" });
    // Verifiers' labels: 1 1 0 | 0 0 1 | 0 0 0.
    expect([...value.slice(0, 3)]).toEqual([2 / 3, 1 / 3, 0]);
    expect([...value.slice(3, 12)]).toEqual([1, 2 / 3, 0, 1 / 3, 1 / 3, 2 / 3, 0, 0, 0]);
    expect([...label.slice(0, 3)]).toEqual([1, 0, 0]);
  });

  it("lets local and global pooling disagree", () => {
    // Global: (2/3 + 2/3 + 0) / 3 = 4/9, not good. Local: two good verifiers of three, good.
    const tree = balanced([1, 3, 3], [1, 1, 0, 1, 1, 0, 0, 0, 0]);
    expect(backUp(tree).label[0]).toBe(0);
    expect(backUp(tree, { pooling: "local" }).label[0]).toBe(1);
  });
});

describe("the threshold", () => {
  it("is strict", () => {
    const half = balanced([1, 2], [1, 0]);
    expect(backUp(half).label[0]).toBe(0);
    expect(backUp(half, { threshold: 0.49 }).label[0]).toBe(1);
    expect(backUp(half, { threshold: 0 }).label[2]).toBe(0);
    expect(backUp(half, { threshold: 1 }).label[1]).toBe(0);
  });

  it("is not decided by rounding", () => {
    // Tenths that sum to 3, so the mean of six is exactly 1/2; added in floating point the last one is not.
    const cases = [
      [1, 2, 3, 4, 10, 10],
      [7, 1, 2, 10, 9, 1],
      [8, 7, 1, 6, 6, 2],
    ];
    const naive = cases.map((shares) => shares.reduce((sum, k) => sum + k / 10, 0) / 6);
    expect(naive.some((mean) => mean > 0.5)).toBe(true);
    for (const shares of cases) {
      const rewards = shares.flatMap((k) => Array.from({ length: 10 }, (_, i) => Number(i < k)));
      const { value, label } = backUp(balanced([1, 6, 10], rewards));
      expect([value[0], label[0]]).toEqual([0.5, 0]);
    }
  });

  it("refuses what is not a number in [0, 1]", () => {
    for (const threshold of [-0.1, 1.1, Number.NaN]) {
      expect(() => backUp(worked, { threshold })).toThrow(`threshold is ${threshold}`);
    }
  });
});

describe("trees of other shapes", () => {
  it("weighs children alike under mean, leaves alike under leaf-mean", () => {
    // Root with children a (leaves 1, 1, 1, 1) and b (leaf 0).
    const parent = Int32Array.from([-1, 0, 0, 1, 1, 1, 1, 2]);
    const reward = Float64Array.from([Number.NaN, Number.NaN, Number.NaN, 1, 1, 1, 1, 0]);
    expect(backUp({ parent, reward }).value[0]).toBe(1 / 2);
    expect(backUp({ parent, reward }, { pooling: "leaf-mean" }).value[0]).toBe(4 / 5);
  });

  it("handles a single role, and five", () => {
    expect([...backUp(balanced([3], [1, 0, 1])).value]).toEqual([1, 0, 1]);
    const five = balanced([2, 1, 2, 1, 2], [1, 0, 1, 1, 0, 0, 0, 1]);
    expect([...backUp(five).value.slice(0, 4)]).toEqual([3 / 4, 1 / 4, 3 / 4, 1 / 4]);
  });

  it("handles no nodes at all", () => {
    expect(backUp({ parent: new Int32Array(), reward: new Float64Array() }).value).toHaveLength(0);
  });
});

describe("an incomplete subtree", () => {
  // Two roots; the first has lost one of its three leaves, the second has never been expanded.
  const forest: Forest = {
    parent: Int32Array.from([-1, -1, 0, 0]),
    reward: Float64Array.from([Number.NaN, Number.NaN, 1, 0]),
    expected: Int32Array.from([3, 3, 0, 0]),
  };

  it("has no value by default", () => {
    const { value, label, complete } = backUp(forest);
    expect([...value]).toEqual([Number.NaN, Number.NaN, 1, 0]);
    expect([...label]).toEqual([-1, -1, 1, 0]);
    expect([...complete]).toEqual([0, 0, 1, 1]);
  });

  it("takes what is available on request, and says so", () => {
    const { value, complete } = backUp(forest, { incomplete: "available" });
    expect([...value]).toEqual([1 / 2, Number.NaN, 1, 0]);
    expect([...complete]).toEqual([0, 0, 1, 1]);
  });

  it("counts a missing reward as missing, all the way up", () => {
    const rewards = [1, 1, 1, Number.NaN, 1, 1, 1, 1];
    for (const pooling of poolings) {
      const { value, complete } = backUp(balanced([2, 2, 2], rewards), { pooling });
      expect([...value.slice(0, 6)]).toEqual([Number.NaN, 1, 1, Number.NaN, 1, 1]);
      expect([...complete.slice(0, 6)]).toEqual([0, 1, 1, 0, 1, 1]);
    }
  });
});

describe("bad input", () => {
  it("names the node and the value", () => {
    const reward = Float64Array.from([Number.NaN, 1.5]);
    expect(() => backUp({ parent: Int32Array.from([-1, 0]), reward })).toThrow("node 1 has reward 1.5");
    expect(() => backUp({ parent: Int32Array.from([1, -1]), reward: new Float64Array(2) })).toThrow(
      "node 0 has parent 1",
    );
    expect(() => backUp({ parent: new Int32Array(2), reward: new Float64Array(1) })).toThrow(InputError);
    expect(() => backUp(worked, { pooling: "median" as "mean" })).toThrow(
      'pooling is "median"; choose one of: mean, leaf-mean, local',
    );
  });
});

describe("advantage", () => {
  it("is zero on average over siblings, and leave-one-out is larger by n / (n − 1)", () => {
    const { value } = backUp(worked);
    const own = advantage(worked.parent, value);
    const others = advantage(worked.parent, value, { baseline: "others" });
    expect(own[0]).toBeCloseTo(5 / 9 - 1 / 3, 12);
    expect(own[3]).toBeCloseTo(1 - 5 / 9, 12);
    own.forEach((a, i) => {
      expect(others[i]).toBeCloseTo(a * 1.5, 12);
    });
  });

  it("compares roots of the same question only", () => {
    const parent = Int32Array.from([-1, -1, -1, -1]);
    const tree = Int32Array.from([7, 7, 9, 9]);
    expect([...advantage(parent, Float64Array.from([1, 0, 1, 1]), { tree })]).toEqual([0.5, -0.5, 0, 0]);
    expect([...states(parent, tree).state]).toEqual([0, 0, 1, 1]);
  });

  it("has none for an only child or a missing value", () => {
    const value = Float64Array.from([Number.NaN, 1]);
    expect([...advantage(Int32Array.from([-1, -1]), value, { baseline: "others" })]).toEqual([Number.NaN, Number.NaN]);
  });
});

describe("properties", () => {
  /** A random forest: each node picks an earlier parent or is a root; rewards are 0 or 1, now and then missing. */
  const forests = fc
    .array(
      fc.record({ up: fc.double({ min: 0, max: 1, noNaN: true }), reward: fc.constantFrom(0, 1, 0, 1, Number.NaN) }),
      {
        maxLength: 60,
      },
    )
    .map(
      (nodes): Forest => ({
        parent: Int32Array.from(nodes, ({ up }, i) => Math.floor(up * (i + 0.999)) - 1),
        reward: Float64Array.from(nodes, ({ reward }) => reward),
      }),
    );
  const threshold = fc.double({ min: 0, max: 1, noNaN: true });
  const childrenOf = ({ parent }: Forest, i: number) => [...parent.keys()].filter((j) => parent[j] === i);

  it("values are means of the children's values, in [0, 1]; labels are value > θ", () => {
    fc.assert(
      fc.property(forests, threshold, fc.constantFrom("skip" as const, "available" as const), (forest, t, mode) => {
        const { value, label } = backUp(forest, { threshold: t, incomplete: mode });
        value.forEach((v, i) => {
          const below = childrenOf(forest, i).map((j) => value[j]!);
          const known = mode === "available" ? below.filter((x) => !Number.isNaN(x)) : below;
          const mean = known.reduce((a, b) => a + b, 0) / known.length;
          if (below.length === 0) expect(v).toBe(forest.reward[i]);
          else if (Number.isNaN(mean)) expect(v).toBeNaN();
          else expect(v).toBeCloseTo(mean, 10);
          expect(Number.isNaN(v) || (v >= 0 && v <= 1)).toBe(true);
          expect(label[i]).toBe(Number.isNaN(v) ? -1 : Number(v > t));
        });
      }),
    );
  });

  it("local values are means of the children's labels", () => {
    fc.assert(
      fc.property(forests, threshold, (forest, t) => {
        const { value, label } = backUp(forest, { threshold: t, pooling: "local" });
        value.forEach((v, i) => {
          const below = childrenOf(forest, i).map((j) => label[j]!);
          if (below.length === 0) return;
          if (below.includes(-1)) expect(v).toBeNaN();
          else expect(v).toBe(below.reduce((a, b) => a + b, 0) / below.length);
        });
      }),
    );
  });

  it("mean and leaf-mean agree exactly in balanced trees", () => {
    const shape = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(shape, fc.infiniteStream(fc.constantFrom(0, 1)), (branching, stream) => {
        const leaves = branching.reduce((a, b) => a * b, 1);
        const tree = balanced(branching, [...stream.take(leaves)]);
        expect(backUp(tree).value).toEqual(backUp(tree, { pooling: "leaf-mean" }).value);
      }),
    );
  });
});
