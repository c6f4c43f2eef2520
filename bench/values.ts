/**
 * Credit assignment against its bound: one plain sequential pass that reads and writes the same number of array entries
 * and does nothing else. A ratio of 1 would mean that the back-up costs only its memory traffic.
 */
import { assignCredit, estimatorNames } from "../src/credit/estimators.js";
import { sweepThresholds } from "../src/credit/thresholds.js";
import { advantage, backUp, type Forest, poolings } from "../src/credit/values.js";
import { type Result, timedSync } from "./run.js";

/** Balanced trees of depth 3 with branching 3, in the dataset's order: 39 nodes each. */
function forest(trees: number): { forest: Forest; tree: Int32Array; text: Int32Array; stated: Int8Array } {
  const size = 39 * trees;
  const parent = new Int32Array(size);
  const reward = new Float64Array(size);
  const tree = new Int32Array(size);
  const text = new Int32Array(size);
  const stated = new Int8Array(size);
  // A fixed linear congruential sequence: benchmarks need rewards that differ, not good randomness.
  let state = 1;
  for (let i = 0; i < size; i++) {
    const at = i % 39;
    const start = i - at;
    tree[i] = start / 39;
    parent[i] = at < 3 ? -1 : start + (at < 12 ? Math.floor((at - 3) / 3) : 3 + Math.floor((at - 12) / 3));
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    reward[i] = state >>> 31;
    text[i] = (state >>> 24) & 3;
    stated[i] = ((state >>> 16) & 1) === 0 ? -1 : reward[i]!;
  }
  return { forest: { parent, reward }, tree, text, stated };
}

/** The bound: touches the back-up's seven inputs and outputs once per node, in the same direction. */
function pass({ parent, reward }: Forest): Float64Array {
  const size = parent.length;
  const value = new Float64Array(size);
  const numerator = new Float64Array(size);
  const denominator = new Float64Array(size).fill(1);
  const children = new Int32Array(size);
  const label = new Int8Array(size);
  for (let i = size - 1; i >= 0; i--) {
    numerator[i]! += reward[i]!;
    value[i] = numerator[i]! / denominator[i]!;
    label[i] = Number(value[i]! > 0.5);
    children[i]! += parent[i]!;
  }
  return value;
}

export function run(): Result[] {
  const columns = forest(100_000);
  const { forest: trees, tree } = columns;
  const nodes = trees.parent.length;
  const bound = timedSync(9, () => pass(trees));
  const against = (name: string, action: () => unknown): Result => ({
    name: `${name}, ${nodes} nodes`,
    ms: timedSync(5, action),
    peer: "one plain pass over the same arrays",
    peerMs: bound,
  });
  const { value } = backUp(trees);
  const small = forest(200);
  const thresholds = Array.from({ length: 21 }, (_, i) => i / 20);
  return [
    ...poolings.map((pooling) => against(`backUp ${pooling}`, () => backUp(trees, { pooling }))),
    ...estimatorNames.map((estimator) => against(`credit ${estimator}`, () => assignCredit(columns, { estimator }))),
    against("advantage", () => advantage(trees.parent, value, { tree })),
    {
      name: `sweepThresholds, 21 thresholds, ${small.forest.parent.length} nodes`,
      ms: timedSync(5, () => sweepThresholds(small.forest, { tree: small.tree, thresholds })),
      peer: "21 back-ups of the same trees",
      peerMs: timedSync(5, () => {
        for (let i = 0; i <= 20; i++) backUp(small.forest, { threshold: i / 20 });
      }),
    },
  ];
}
