/**
 * Means and intervals that respect how the data were sampled: nodes of one tree share a question, so they are not
 * independent, and the question is the unit that was sampled. Pure. Comparing two systems is in paired.ts,
 * planning a comparison in power.ts.
 */
import { InputError } from "../errors.js";

/** A proportion or mean with its 95 % interval. `n` counts observations, `clusters` the questions they come from. */
export interface Estimate {
  mean: number;
  low: number;
  high: number;
  n: number;
  clusters: number;
}

/** 97.5 % point of the standard normal distribution. */
const z = 1.959964;

/**
 * Mean with a cluster-robust 95 % interval. The variance is the linearised one of a ratio of totals over clusters, with
 * the small-sample factor k / (k − 1) (Cochran, Sampling Techniques, 1977, chapter 6). A mean gets the normal interval;
 * a proportion Wilson's with the effective sample size p (1 − p) / variance, so that it stays inside [0, 1] and does
 * not shrink to nothing when all observations agree: then each cluster counts as one observation.
 * @param values observations; booleans count as 0 and 1, and if all values are 0 or 1 the mean is a proportion
 * @param clusters the cluster (question id) of each observation, same length
 * @returns low and high are NaN with fewer than two clusters; without observations mean is NaN too
 */
export function clusterMean(values: readonly (number | boolean)[], clusters: readonly string[]): Estimate {
  const { mean, variance, n, totals } = clusterVariance(values, clusters);
  const k = totals.length;
  if (k < 2) return { mean, low: Number.NaN, high: Number.NaN, n, clusters: k };
  const proportion = values.every((value) => Number(value) === 0 || Number(value) === 1);
  const [low, high] = proportion
    ? wilson(mean, variance > 0 ? Math.min(n, (mean * (1 - mean)) / variance) : k)
    : [mean - z * Math.sqrt(variance), mean + z * Math.sqrt(variance)];
  return { mean, low, high, n, clusters: k };
}

/** The totals of one cluster. */
export interface ClusterTotal {
  sum: number;
  n: number;
}

/**
 * The mean, its cluster-robust variance as `clusterMean` uses it, and the totals of the clusters in the order in which
 * they first appear.
 * @returns the variance is NaN with fewer than two clusters, the mean without observations
 */
export function clusterVariance(
  values: readonly (number | boolean)[],
  clusters: readonly string[],
): { mean: number; variance: number; n: number; totals: ClusterTotal[] } {
  const byCluster = new Map<string, ClusterTotal>();
  let sum = 0;
  for (const [i, raw] of values.entries()) {
    const key = clusters[i] ?? "";
    const total = byCluster.get(key) ?? { sum: 0, n: 0 };
    total.sum += Number(raw);
    total.n += 1;
    sum += Number(raw);
    byCluster.set(key, total);
  }
  const n = values.length;
  const k = byCluster.size;
  const totals = [...byCluster.values()];
  const mean = n === 0 ? Number.NaN : sum / n;
  const squares = totals.reduce((all, total) => all + (total.sum - mean * total.n) ** 2, 0);
  return { mean, variance: k < 2 ? Number.NaN : (squares * k) / (k - 1) / n ** 2, n, totals };
}

/** Wilson's score interval for a proportion p of n observations (Wilson 1927). */
function wilson(p: number, n: number): [number, number] {
  const centre = (p + z ** 2 / (2 * n)) / (1 + z ** 2 / n);
  const half = (z / (1 + z ** 2 / n)) * Math.sqrt((p * (1 - p)) / n + z ** 2 / (4 * n ** 2));
  // At p = 0 and p = 1 an end equals p but for rounding, and must not fall on its other side.
  return [Math.max(0, Math.min(p, centre - half)), Math.min(1, Math.max(p, centre + half))];
}

/** A mean over runs with both conventions of its standard deviation. */
export interface MeanStd {
  mean: number;
  /** Divisor n − 1: estimates the spread that further seeds would show. NaN with one value. */
  sample: number;
  /** Divisor n: the spread of these values alone. */
  population: number;
  n: number;
}

/**
 * Mean and standard deviation over runs, such as the accuracies of four seeds. A bare "±" says neither which divisor it
 * uses nor that it is not a standard error, so both are given; with four runs they differ by the factor 1.15.
 * @param values one number per run; without any, all results are NaN
 */
export function meanStd(values: readonly number[]): MeanStd {
  const n = values.length;
  const mean = n === 0 ? Number.NaN : values.reduce((sum, v) => sum + v, 0) / n;
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, sample: n < 2 ? Number.NaN : Math.sqrt(squares / (n - 1)), population: Math.sqrt(squares / n), n };
}

/**
 * Probability that at least one of k completions is right, estimated without bias from n ≥ k completions of which c
 * were right: 1 − C(n − c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374, Section 2.1). The plug-in estimate
 * 1 − (1 − c / n)^k is too low.
 * @throws InputError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n are whole numbers
 */
export function passAtK(n: number, c: number, k: number): number {
  if (![n, c, k].every(Number.isInteger) || c < 0 || c > n || k < 1 || k > n) {
    throw new InputError(
      `pass@k needs whole numbers with 0 ≤ c ≤ n and 1 ≤ k ≤ n, received n = ${n}, c = ${c}, k = ${k}`,
    );
  }
  // The quotient of binomials as a product, which neither overflows nor cancels; a factor 0 stands for C(n − c, k) = 0.
  let miss = 1;
  for (let i = n - c + 1; i <= n; i++) miss *= Math.max(0, 1 - k / i);
  return 1 - miss;
}

/**
 * Mean of the unbiased pass@k over questions, each question counting once however many completions it has.
 * @param correct one entry per completion
 * @param questions the question id of each completion, same length
 * @returns n and clusters both count questions
 * @throws InputError if a question has fewer than k completions
 */
export function meanPassAtK(correct: readonly boolean[], questions: readonly string[], k: number): Estimate {
  const counts = new Map<string, { n: number; c: number }>();
  for (const [i, right] of correct.entries()) {
    const count = counts.get(questions[i] ?? "") ?? { n: 0, c: 0 };
    counts.set(questions[i] ?? "", { n: count.n + 1, c: count.c + Number(right) });
  }
  return clusterMean(
    [...counts.values()].map(({ n, c }) => passAtK(n, c, k)),
    [...counts.keys()],
  );
}

/**
 * A share and its standard deviation as the paper prints them, in percent: `57.25 ± 1.48`.
 * @param share in [0, 1]; null or NaN, an unknown number, gives a dash
 * @param std in the same unit; left out if null or NaN
 */
export function plusMinus(share: number | null, std: number | null = null): string {
  if (share === null || Number.isNaN(share)) return "–";
  const points = (value: number) => (100 * value).toFixed(2);
  return std === null || Number.isNaN(std) ? points(share) : `${points(share)} ± ${points(std)}`;
}
