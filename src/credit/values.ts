/**
 * Credit assignment: from rewards at the leaves to a value and a label for every node (paper, Sections 4.2–4.3 and
 * Algorithm 1). One reverse pass over typed arrays, for trees of any shape. Pure; it does not read what the nodes say.
 *
 * Values are kept as fractions until the end: 1/6 + 2/6 + 0 in floating point must not decide whether a value that
 * equals the threshold passes the strict `>`.
 */
import { InputError } from "../errors.js";

/** Trees in columns: entry i of every array belongs to node i. */
export interface Forest {
  /** Index of the parent, which comes earlier; −1 for a node of the first role. */
  parent: Int32Array;
  /** Reward in [0, 1] of a leaf, NaN where it is missing; not read at inner nodes. */
  reward: Float64Array;
  /**
   * How many children each node should have, 0 for a leaf. Without it every node without children is a leaf and only a
   * NaN reward counts as missing.
   */
  expected?: Int32Array;
}

/**
 * How children become the value of their parent.
 * - `mean`: mean of the children's values; the threshold is applied once, to the final value. The paper's global pooling.
 * - `leaf-mean`: mean of all rewards below. The same in a balanced tree; in an unbalanced one larger subtrees weigh more.
 * - `local`: every level is thresholded first, and the mean is taken over the children's labels.
 * - `max`: the best child's value, as in planning with an optimal continuation: what can be reached from here rather than
 *   what the policy reaches. It rises with the number of children, so values of states with different n do not compare.
 */
export type Pooling = "mean" | "leaf-mean" | "local" | "max";
export const poolings: readonly Pooling[] = ["mean", "leaf-mean", "local", "max"];

/**
 * What a node is worth if part of its subtree is missing: `skip` gives none (NaN); `available` averages the children
 * that have a value, and `complete` says for which nodes that happened.
 */
export type Incomplete = "skip" | "available";
export const incompletes: readonly Incomplete[] = ["skip", "available"];

export interface ValueOptions {
  /** θ in [0, 1]; 0.5 in the paper. */
  threshold?: number;
  pooling?: Pooling;
  incomplete?: Incomplete;
}

export interface Values {
  /** In [0, 1]; NaN where there is none. */
  value: Float64Array;
  /** 1 where value > θ, 0 where not, −1 where there is no value. */
  label: Int8Array;
  /** 1 where nothing is missing in the node's subtree. */
  complete: Uint8Array;
}

/**
 * Backs rewards up to every node in time linear in their number (paper, Section 4.2: the value of a node is the mean
 * over its children; Section 4.3: the label is value > θ, strictly).
 * @throws InputError if the arrays disagree, a parent comes after its child, a reward lies outside [0, 1], or an option
 * is unknown
 */
export function backUp(forest: Forest, options: ValueOptions = {}): Values {
  const { threshold = 0.5, pooling = "mean", incomplete = "skip" } = options;
  checkThreshold(threshold);
  checkOneOf("pooling", pooling, poolings);
  checkOneOf("incomplete", incomplete, incompletes);
  const { parent, reward, expected } = forest;
  const size = parent.length;
  if (reward.length !== size || (expected && expected.length !== size)) {
    throw new InputError(
      `parent has ${size} entries, reward ${reward.length}, expected ${expected?.length ?? "none"}; give one per node`,
    );
  }

  const value = new Float64Array(size);
  const label = new Int8Array(size);
  const complete = new Uint8Array(size).fill(1);
  const children = new Int32Array(size);
  const valued = new Int32Array(size);
  // Sum over the children seen so far, as a fraction. A mean adds fractions; a leaf mean adds sums and counts.
  const numerator = new Float64Array(size);
  const denominator = new Float64Array(size).fill(pooling === "leaf-mean" ? 0 : 1);

  for (let i = size - 1; i >= 0; i--) {
    const above = parent[i]!;
    if (above >= i || above < -1) {
      throw new InputError(`node ${i} has parent ${above}; order the nodes so that parents come first, roots have -1`);
    }
    const leaf = expected ? expected[i] === 0 : children[i] === 0;
    if (leaf) {
      const r = reward[i]!;
      if (r < 0 || r > 1) throw new InputError(`node ${i} has reward ${r}; rewards lie in [0, 1], NaN means missing`);
      numerator[i] = r;
      denominator[i] = 1;
      valued[i] = Number.isNaN(r) ? 0 : 1;
      if (Number.isNaN(r)) complete[i] = 0;
    } else {
      if (expected && children[i]! < expected[i]!) complete[i] = 0;
      if (pooling === "mean" || pooling === "local") denominator[i]! *= valued[i]!;
    }
    const known = valued[i]! > 0 && (incomplete === "available" || complete[i] === 1);
    value[i] = known ? numerator[i]! / denominator[i]! : Number.NaN;
    label[i] = known ? Number(value[i]! > threshold) : -1;

    if (above < 0) continue;
    children[above]! += 1;
    if (complete[i] === 0) complete[above] = 0;
    if (!known) continue;
    valued[above]! += 1;
    if (pooling === "local") numerator[above]! += label[i]!;
    else if (pooling === "max") {
      if (valued[above] === 1 || value[i]! > numerator[above]! / denominator[above]!) {
        numerator[above] = numerator[i]!;
        denominator[above] = denominator[i]!;
      }
    } else if (pooling === "leaf-mean" || denominator[above] === denominator[i]) {
      numerator[above]! += numerator[i]!;
      if (pooling === "leaf-mean") denominator[above]! += denominator[i]!;
    } else addFraction(numerator, denominator, above, i);
  }
  return { value, label, complete };
}

/** Adds fraction `i` to fraction `to`, over their least common denominator while that stays an exact integer. */
function addFraction(numerator: Float64Array, denominator: Float64Array, to: number, i: number): void {
  const [a, b] = [denominator[to]!, denominator[i]!];
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  const common = (a / x) * b;
  if (common > Number.MAX_SAFE_INTEGER) {
    numerator[to] = numerator[to]! / a + numerator[i]! / b;
    denominator[to] = 1;
    return;
  }
  numerator[to] = numerator[to]! * (common / a) + numerator[i]! * (common / b);
  denominator[to] = common;
}

/** Depth of every node: 0 for a root. */
export function depths(parent: Int32Array): Int32Array {
  const depth = new Int32Array(parent.length);
  for (let i = 0; i < parent.length; i++) depth[i] = parent[i]! < 0 ? 0 : depth[parent[i]!]! + 1;
  return depth;
}

/**
 * Numbers the states: siblings, which saw the same prompt, share one.
 * @param tree for each node a number that roots of the same question share; without it all roots are siblings
 * @returns per node its state's number, 0 … count − 1 in order of first appearance
 */
export function states(parent: Int32Array, tree?: Int32Array): { state: Int32Array; count: number } {
  const state = new Int32Array(parent.length);
  const below = new Int32Array(parent.length).fill(-1);
  const roots = new Map<number, number>();
  let count = 0;
  for (let i = 0; i < parent.length; i++) {
    const above = parent[i]!;
    const seen = above < 0 ? (roots.get(tree?.[i] ?? 0) ?? -1) : below[above]!;
    state[i] = seen < 0 ? count++ : seen;
    if (above < 0) roots.set(tree?.[i] ?? 0, state[i]!);
    else below[above] = state[i]!;
  }
  return { state, count };
}

/**
 * Credit relative to the siblings, an alternative to the paper's threshold: how much better an output is than what
 * else was said in the same state.
 * - baseline `siblings`: value − mean over all siblings, itself included (as in group-relative policy optimisation,
 *   without its division by the standard deviation). Under `mean` pooling this is value − the parent's value.
 * - baseline `others`: value − mean over the other siblings (leave-one-out); NaN for an only child.
 * @param tree as in {@link states}
 * @returns in [−1, 1]; NaN where the node has no value
 */
export function advantage(
  parent: Int32Array,
  value: Float64Array,
  options: { baseline?: "siblings" | "others"; tree?: Int32Array } = {},
): Float64Array {
  const { baseline = "siblings", tree } = options;
  checkOneOf("baseline", baseline, ["siblings", "others"]);
  const { state, count } = states(parent, tree);
  const sum = new Float64Array(count);
  const size = new Int32Array(count);
  for (let i = 0; i < value.length; i++) {
    if (Number.isNaN(value[i]!)) continue;
    sum[state[i]!]! += value[i]!;
    size[state[i]!]! += 1;
  }
  return value.map((v, i) => {
    const s = state[i]!;
    if (baseline === "siblings") return v - sum[s]! / size[s]!;
    return v - (sum[s]! - v) / (size[s]! - 1);
  });
}

/** @throws InputError unless θ is a number in [0, 1] */
export function checkThreshold(threshold: number): void {
  if (!(threshold >= 0 && threshold <= 1)) {
    throw new InputError(`threshold is ${threshold}; give a number from 0 to 1 (0.5 in the paper)`);
  }
}

/** @throws InputError that lists the known names */
export function checkOneOf(option: string, received: string, known: readonly string[]): void {
  if (!known.includes(received)) {
    throw new InputError(`${option} is ${JSON.stringify(received)}; choose one of: ${known.join(", ")}`);
  }
}
