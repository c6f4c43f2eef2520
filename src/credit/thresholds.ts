/**
 * What the choice of θ does to the training data: how many examples and pairs are left, how good the kept outputs are,
 * and how many labels are wrong because a value was estimated from few samples (paper, Section 4.3, θ = 0.5). Pure.
 */
import { InputError } from "../errors.js";
import { checkPairOptions, type PairOptions, pairSiblings } from "./pairs.js";
import { backUp, checkThreshold, type Forest, states, type ValueOptions } from "./values.js";

export interface SweepOptions extends Omit<ValueOptions, "threshold">, PairOptions {
  /** Each in [0, 1]. Default 0, 0.05, …, 1, and every θ at which a label changes (see {@link labelSteps}). */
  thresholds?: readonly number[];
  /** Names by depth; default the depth as text. */
  roles?: readonly string[];
  /** Per node a number that the nodes of one question share; without it all roots are siblings. */
  tree?: Int32Array;
  /** Per node a number that byte-identical texts share; without it all texts count as different. */
  text?: Int32Array;
  /** 1 for the nodes that may become examples (say, those of complete trees); default all. */
  use?: Uint8Array;
  /** Values of the same nodes estimated from more samples, taken as the truth for `noise`; NaN where unknown. */
  reference?: Float64Array;
}

/** One θ and role. */
export interface SweepRow {
  threshold: number;
  role: string;
  /** Nodes with a value. */
  nodes: number;
  /** Supervised examples: nodes with value > θ. */
  examples: number;
  pairs: number;
  /** Mean value of the examples; null if there are none. */
  meanValue: number | null;
  /** Share of the labels that differ from the reference's label at the same θ; null without a reference. */
  noise: number | null;
  /** Share of the labels expected to differ from the true value's: see {@link labelNoise}; null under local pooling. */
  expectedNoise: number | null;
}

const grid = Array.from({ length: 21 }, (_, i) => i / 20);

/**
 * Every θ in [0, 1] at which the label of some node, or of its reference, changes. Between two of them all labels stay as
 * they are, and at each of them `>` already has the labels of what follows: so counts of labels are steps, and rows at
 * these thresholds give the whole curve.
 */
function labelSteps(forest: Forest, options: SweepOptions): number[] {
  const { pooling = "mean", incomplete = "skip", reference = new Float64Array() } = options;
  const { value } = backUp(forest, { pooling, incomplete });
  const steps = new Set([...value, ...reference]);
  if (pooling === "local") {
    // A value is the share of children labelled good, so whatever θ is, it is one of these fractions.
    const children = new Int32Array(value.length);
    for (const above of forest.parent) if (above >= 0) children[above]! += 1;
    const most = children.reduce((a, b) => Math.max(a, b), 0);
    for (let n = 2; n <= most; n++) for (let k = 1; k < n; k++) steps.add(k / n);
  }
  return [...steps].filter((step) => step >= 0 && step <= 1);
}

/**
 * Labels, counts and label noise at each θ, by role. The values themselves depend on θ under local pooling only.
 * @returns thresholds × depths rows, θ slowest
 * @throws InputError on an option out of range or an array of another length
 */
export function sweepThresholds(forest: Forest, options: SweepOptions = {}): SweepRow[] {
  const { pooling = "mean", incomplete = "skip", tree, text, use, reference } = options;
  const thresholds =
    options.thresholds ?? [...new Set([...grid, ...labelSteps(forest, options)])].sort((a, b) => a - b);
  for (const threshold of thresholds) checkThreshold(threshold);
  checkPairOptions(options);
  const size = forest.parent.length;
  for (const [name, array] of Object.entries({ tree, text, use, reference })) {
    if (array && array.length !== size) throw new InputError(`${name} has ${array.length} entries for ${size} nodes`);
  }

  const depth = depths(forest.parent);
  const roles = Array.from({ length: depth.reduce((a, b) => Math.max(a, b + 1), 0) }, (_, d) => d);
  const { state, count } = states(forest.parent, tree);
  const siblings: Candidate[][] = Array.from({ length: count }, () => []);
  const candidates = Array.from(state, (s, i): Candidate => {
    const candidate: Candidate = { value: null, label: null, text: text?.[i] ?? i };
    siblings[s]!.push(candidate);
    return candidate;
  });
  const depthOfState = new Int32Array(count);
  for (let i = 0; i < size; i++) depthOfState[state[i]!] = depth[i]!;

  let values = backUp(forest, { pooling, incomplete });
  const noiseAt = pooling === "local" ? null : labelNoise(forest.parent, values.value);
  return thresholds.flatMap((threshold) => {
    if (pooling === "local") values = backUp(forest, { pooling, incomplete, threshold });
    const rows = roles.map((d) => ({ nodes: 0, examples: 0, pairs: 0, sum: 0, compared: 0, wrong: 0, expected: 0, d }));
    for (let i = 0; i < size; i++) {
      const value = values.value[i]!;
      const usable = !Number.isNaN(value) && (use?.[i] ?? 1) === 1;
      candidates[i]!.value = usable ? value : null;
      candidates[i]!.label = usable ? value > threshold : null;
      if (!usable) continue;
      const row = rows[depth[i]!]!;
      row.nodes += 1;
      if (value > threshold) {
        row.examples += 1;
        row.sum += value;
      }
      const truth = reference?.[i] ?? Number.NaN;
      if (!Number.isNaN(truth)) {
        row.compared += 1;
        row.wrong += Number(value > threshold !== truth > threshold);
      }
      if (noiseAt) row.expected += noiseAt(i, threshold);
    }
    siblings.forEach((group, s) => {
      rows[depthOfState[s]!]!.pairs += pairSiblings(group, options).length;
    });
    return rows.map((row) => ({
      threshold,
      role: options.roles?.[row.d] ?? String(row.d),
      nodes: row.nodes,
      examples: row.examples,
      pairs: row.pairs,
      meanValue: row.examples > 0 ? row.sum / row.examples : null,
      noise: row.compared > 0 ? row.wrong / row.compared : null,
      expectedNoise: noiseAt && row.nodes > 0 ? row.expected / row.nodes : null,
    }));
  });
}

interface Candidate {
  value: number | null;
  label: boolean | null;
  text: number;
}

/** Depth of every node: 0 for a root. */
function depths(parent: Int32Array): Int32Array {
  const depth = new Int32Array(parent.length);
  for (let i = 0; i < parent.length; i++) depth[i] = parent[i]! < 0 ? 0 : depth[parent[i]!]! + 1;
  return depth;
}

/**
 * The probability that a label is wrong, under a binomial model: a node's true value p is what infinitely many
 * continuations would give, its value v a share of N successes, so with a uniform prior p ~ Beta(vN + 1, (1 − v)N + 1),
 * and the label is wrong if p lies on the other side of θ.
 *
 * N is the *effective* number of leaves. Leaves below one child share that child and are correlated, so N lies between
 * the number of children (all leaves below a child are equal) and the number of leaves (all children are equal): by
 * depth, N = children × E[v(1 − v)] / (variance of values between siblings), the design effect of a cluster sample. A
 * leaf's reward belongs to its own text and has no noise here; a wrong grader is not modelled. Where true values are
 * not uniform (most questions easy or hopeless) the noise is overstated: prefer a reference with more samples.
 * @returns (node, θ) ↦ probability in [0, 1]; 0 for a leaf
 */
export function labelNoise(parent: Int32Array, value: Float64Array): (node: number, threshold: number) => number {
  const depth = depths(parent);
  const effective = effectiveLeaves(parent, value, depth);
  const inner = new Uint8Array(parent.length);
  for (const above of parent) if (above >= 0) inner[above] = 1;
  const posteriors = new Map<string, Float64Array>();
  return (node, threshold) => {
    const v = value[node]!;
    if (inner[node] === 0 || Number.isNaN(v)) return 0;
    const n = effective[depth[node]!]!;
    const key = `${n} ${v}`;
    const below = posteriors.get(key) ?? posterior(v, n);
    posteriors.set(key, below);
    const mass = below[Math.round(threshold * (below.length - 1))]!;
    return v > threshold ? mass : 1 - mass;
  };
}

/** The effective number of leaves of an inner node, by depth (see {@link labelNoise}). */
function effectiveLeaves(parent: Int32Array, value: Float64Array, depth: Int32Array): number[] {
  const size = parent.length;
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
  const total: { nodes: number; children: number; leaves: number; between: number; spread: number }[] = [];
  for (let i = 0; i < size; i++) {
    const n = children[i]!;
    if (n === 0 || Number.isNaN(value[i]!)) continue;
    const mean = sum[i]! / n;
    total[depth[i]!] ??= { nodes: 0, children: 0, leaves: 0, between: 0, spread: 0 };
    const t = total[depth[i]!]!;
    t.nodes += 1;
    t.children += n;
    t.leaves += leaves[i]!;
    t.between += squares[i]! - n * mean * mean;
    t.spread += mean * (1 - mean);
  }
  return Array.from(total, (t) => {
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
