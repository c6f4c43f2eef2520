/**
 * How sure a value is: the posterior of a node's true value given the few samples below it, under a binomial model. The
 * probability that a label is wrong and the estimator that labels only what is certain both read it. Pure.
 */
import { depths } from "./values.js";

/** Sums over the inner nodes of one depth. They add over trees, so a run need not be in memory at once. */
export interface DesignSums {
  /** Inner nodes with a value, their children and leaves with one. */
  nodes: number;
  children: number;
  leaves: number;
  /** Sums of squared deviations of the children's values from their parent's. */
  between: number;
  /** Sums of v (1 − v). */
  spread: number;
}

/**
 * Adds up what {@link effectiveLeaves} needs, by depth.
 * @param value mean or leaf-mean values in [0, 1], NaN where there is none
 * @param into sums of other trees, which these are added to
 */
export function designSums(parent: Int32Array, value: Float64Array, into: DesignSums[] = []): DesignSums[] {
  const size = parent.length;
  const depth = depths(parent);
  const children = new Int32Array(size);
  const leaves = new Int32Array(size);
  const sum = new Float64Array(size);
  const squares = new Float64Array(size);
  for (let i = size - 1; i >= 0; i--) {
    if (children[i] === 0 && !Number.isNaN(value[i]!)) leaves[i] = 1;
    const above = parent[i]!;
    if (above < 0 || Number.isNaN(value[i]!)) continue;
    children[above]! += 1;
    leaves[above]! += leaves[i]!;
    sum[above]! += value[i]!;
    squares[above]! += value[i]! ** 2;
  }
  for (let i = 0; i < size; i++) {
    const n = children[i]!;
    if (n === 0 || Number.isNaN(value[i]!)) continue;
    const mean = sum[i]! / n;
    into[depth[i]!] ??= { nodes: 0, children: 0, leaves: 0, between: 0, spread: 0 };
    const t = into[depth[i]!]!;
    t.nodes += 1;
    t.children += n;
    t.leaves += leaves[i]!;
    t.between += squares[i]! - n * mean * mean;
    t.spread += mean * (1 - mean);
  }
  return into;
}

/**
 * The effective number of leaves of an inner node, by depth. Leaves below one child share that child and are correlated,
 * so it lies between the number of children (all leaves below a child are equal) and the number of leaves (all children
 * are equal): children × E[v(1 − v)] / (variance of values between siblings), the design effect of a cluster sample
 * (Kish, Survey Sampling, 1965, chapter 5).
 */
export function effectiveLeaves(sums: readonly (DesignSums | undefined)[]): number[] {
  return Array.from(sums, (t) => {
    if (!t) return 0;
    const n = t.children / t.nodes;
    const most = t.leaves / t.nodes;
    const freedom = t.children - t.nodes;
    const between = freedom > 0 ? t.between / freedom : 0;
    if (between <= 1e-12) return most;
    // E[v(1 − v)] of the estimated v is smaller than that of the true v by the variance of the estimate.
    const spread = t.spread / t.nodes + between / n;
    return Math.min(most, Math.max(n, (n * spread) / between));
  });
}

/**
 * The probability that a node's true value is at most θ. A node's true value p is what infinitely many continuations would
 * give, its value v a share of N successes, so with a uniform prior p ~ Beta(vN + 1, (1 − v)N + 1), where N is the
 * effective number of leaves. A leaf's reward belongs to its own text and has no noise here: 0 or 1.
 * @param value mean or leaf-mean values
 * @param effective N by depth; default {@link effectiveLeaves} of these trees
 * @returns (node, θ) ↦ probability in [0, 1], exact to about 0.001; NaN where there is no value
 */
export function probabilityBelow(
  parent: Int32Array,
  value: Float64Array,
  effective: readonly number[] = effectiveLeaves(designSums(parent, value)),
): (node: number, threshold: number) => number {
  const depth = depths(parent);
  const inner = new Uint8Array(parent.length);
  for (const above of parent) if (above >= 0) inner[above] = 1;
  const posteriors = effective.map(() => new Map<number, Float64Array>());
  return (node, threshold) => {
    const v = value[node]!;
    if (Number.isNaN(v)) return Number.NaN;
    if (inner[node] === 0) return Number(v <= threshold);
    const known = posteriors[depth[node]!]!;
    const below = known.get(v) ?? posterior(v, effective[depth[node]!]!);
    known.set(v, below);
    return below[Math.round(threshold * (below.length - 1))]!;
  };
}

/**
 * The probability that a label is wrong: that the true value lies on the other side of θ than the value (see
 * {@link probabilityBelow}). A wrong grader is not modelled. Where true values are not uniform (most questions easy or
 * hopeless) the noise is overstated: prefer a reference with more samples.
 * @returns (node, θ) ↦ probability in [0, 1]; 0 for a leaf and where there is no value
 */
export function labelNoise(parent: Int32Array, value: Float64Array): (node: number, threshold: number) => number {
  const below = probabilityBelow(parent, value);
  return (node, threshold) => {
    const mass = below(node, threshold);
    if (Number.isNaN(mass)) return 0;
    return value[node]! > threshold ? mass : 1 - mass;
  };
}

/**
 * The probability that the label of one node is wrong, given its mean value v over n independent samples, as
 * {@link labelNoise} with n as the effective number of leaves.
 * @returns in [0, 1], to six digits, so that no machine's rounding decides between two nodes
 */
export function errorProbability(v: number, n: number, threshold: number): number {
  const key = `${v} ${n}`;
  const below = tails.get(key) ?? posterior(v, n);
  if (tails.size < 10_000) tails.set(key, below);
  const mass = below[Math.round(threshold * (below.length - 1))]!;
  return Math.round(1e6 * (v > threshold ? mass : 1 - mass)) / 1e6;
}
const tails = new Map<string, Float64Array>();

/** P(p ≤ k/1000) for k = 0 … 1000 under Beta(vn + 1, (1 − v)n + 1), by the midpoint rule. */
function posterior(v: number, n: number): Float64Array {
  const steps = 1000;
  const below = new Float64Array(steps + 1);
  // Relative to the mode's density, so that a large n cannot underflow everywhere.
  const log = (p: number) => (v > 0 ? v * n * Math.log(p) : 0) + (v < 1 ? (1 - v) * n * Math.log(1 - p) : 0);
  const peak = v > 0 && v < 1 ? log(v) : 0;
  for (let k = 0; k < steps; k++) below[k + 1] = below[k]! + Math.exp(log((k + 0.5) / steps) - peak);
  return below.map((mass) => mass / below[steps]!);
}
