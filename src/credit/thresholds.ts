/**
 * What the choice of θ does to the training data: how many examples and pairs are left, how good the kept outputs are,
 * and how many labels are wrong because a value was estimated from few samples (paper, Section 4.3, θ = 0.5). Pure.
 */
import { InputError } from "../errors.js";
import { assignCredit, type CreditOptions, type CreditTrees, creditRules, estimators } from "./estimators.js";
import { checkPairOptions, type PairOptions, pairSiblings } from "./pairs.js";
import { labelNoise } from "./posterior.js";
import { depths, type Forest, states } from "./values.js";

export interface SweepOptions extends Omit<CreditOptions, "threshold">, PairOptions {
  /**
   * Each in the estimator's range, [0, 1] for values. Default every θ at which a label changes (see {@link labelSteps}) and,
   * for values, 0, 0.05, …, 1.
   */
  thresholds?: readonly number[];
  /** Names by depth; default the depth as text. */
  roles?: readonly string[];
  /** Per node a number that the nodes of one question share; without it all roots are siblings. */
  tree?: Int32Array;
  /** Per node a number that byte-identical texts share; without it all texts count as different. */
  text?: Int32Array;
  /** Per node 1 if the answer it states is right, 0 if wrong, −1 if it states none; some estimators need it. */
  stated?: Int8Array;
  /** 1 for the nodes that may become examples (say, those of complete trees); default all. */
  use?: Uint8Array;
  /** Credits of the same nodes estimated from more samples, taken as the truth for `noise`; NaN where unknown. */
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
  /** Share of the labels expected to differ from the true value's: see {@link labelNoise}; null unless credit is a mean. */
  expectedNoise: number | null;
}

const grid = Array.from({ length: 21 }, (_, i) => i / 20);

/**
 * Every θ in the estimator's range at which the label of some node, or of its reference, changes. Between two of them all
 * labels stay as they are, and at each of them `>` already has the labels of what follows: so counts of labels are steps,
 * and rows at these thresholds give the whole curve.
 */
function labelSteps(trees: CreditTrees, options: SweepOptions): number[] {
  const { pooling = "mean", estimator = "value", reference = new Float64Array() } = options;
  const [least, most] = estimators[estimator].range;
  // The credit of `posterior` is a probability that depends on θ itself; its labels change anywhere.
  const { value } = assignCredit(trees, { ...options, estimator: estimator === "posterior" ? "value" : estimator });
  const steps = new Set([...value, ...reference, ...(most === 1 && least === 0 ? grid : [])]);
  if (pooling === "local") {
    // A value is the share of children labelled good, so whatever θ is, it is one of these fractions.
    const children = new Int32Array(value.length);
    for (const above of trees.forest.parent) if (above >= 0) children[above]! += 1;
    const highest = children.reduce((a, b) => Math.max(a, b), 0);
    for (let n = 2; n <= highest; n++) for (let k = 1; k < n; k++) steps.add(k / n);
  }
  return [...steps].filter((step) => step >= least && step <= most).sort((a, b) => a - b);
}

/**
 * Labels, counts and label noise at each θ, by role. The values themselves depend on θ under local pooling only.
 * @returns thresholds × depths rows, θ slowest
 * @throws InputError on an option out of range or an array of another length
 */
export function sweepThresholds(forest: Forest, options: SweepOptions = {}): SweepRow[] {
  const { pooling = "mean", estimator = "value", tree, text, stated, use, reference } = options;
  const trees: CreditTrees = { forest, tree, text, stated };
  const thresholds = options.thresholds ?? labelSteps(trees, options);
  for (const threshold of thresholds) creditRules({ ...options, threshold });
  checkPairOptions(options);
  const size = forest.parent.length;
  for (const [name, array] of Object.entries({ tree, text, stated, use, reference })) {
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

  const dependsOnThreshold = pooling === "local" || estimator === "posterior";
  let values = assignCredit(trees, options as CreditOptions);
  const isMean = estimator === "value" && (pooling === "mean" || pooling === "leaf-mean");
  const noiseAt = isMean ? labelNoise(forest.parent, values.value) : null;
  return thresholds.flatMap((threshold) => {
    if (dependsOnThreshold) values = assignCredit(trees, { ...options, threshold });
    const labelOf = (i: number): boolean | null => {
      if (!dependsOnThreshold) return values.value[i]! - threshold > (estimator === "value" ? 0 : 1e-9);
      return values.label[i] === -1 ? null : values.label[i] === 1;
    };
    const rows = roles.map((d) => ({ nodes: 0, examples: 0, pairs: 0, sum: 0, compared: 0, wrong: 0, expected: 0, d }));
    for (let i = 0; i < size; i++) {
      const value = values.value[i]!;
      const usable = !Number.isNaN(value) && (use?.[i] ?? 1) === 1;
      const label = usable ? labelOf(i) : null;
      candidates[i]!.value = usable ? value : null;
      candidates[i]!.label = label;
      if (!usable) continue;
      const row = rows[depth[i]!]!;
      row.nodes += 1;
      if (label) {
        row.examples += 1;
        row.sum += value;
      }
      const truth = reference?.[i] ?? Number.NaN;
      if (!Number.isNaN(truth) && label !== null) {
        row.compared += 1;
        row.wrong += Number(label !== truth > threshold);
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
