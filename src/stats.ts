/**
 * Intervals that respect how the data came about: nodes of one tree share a question, so they are not independent, and
 * the question is the unit that was sampled. Pure.
 */

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
  const totals = new Map<string, { sum: number; n: number }>();
  let sum = 0;
  let proportion = true;
  for (const [i, raw] of values.entries()) {
    const value = Number(raw);
    sum += value;
    if (value !== 0 && value !== 1) proportion = false;
    const key = clusters[i] ?? "";
    const total = totals.get(key) ?? { sum: 0, n: 0 };
    total.sum += value;
    total.n += 1;
    totals.set(key, total);
  }
  const n = values.length;
  const k = totals.size;
  const mean = n === 0 ? Number.NaN : sum / n;
  if (k < 2) return { mean, low: Number.NaN, high: Number.NaN, n, clusters: k };
  let squares = 0;
  for (const total of totals.values()) squares += (total.sum - mean * total.n) ** 2;
  const variance = (squares * k) / (k - 1) / n ** 2;
  const [low, high] = proportion
    ? wilson(mean, variance > 0 ? Math.min(n, (mean * (1 - mean)) / variance) : k)
    : [mean - z * Math.sqrt(variance), mean + z * Math.sqrt(variance)];
  return { mean, low, high, n, clusters: k };
}

/** Wilson's score interval for a proportion p of n observations (Wilson 1927). */
function wilson(p: number, n: number): [number, number] {
  const centre = (p + z ** 2 / (2 * n)) / (1 + z ** 2 / n);
  const half = (z / (1 + z ** 2 / n)) * Math.sqrt((p * (1 - p)) / n + z ** 2 / (4 * n ** 2));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/** A share as text; a dash for NaN, the share of nothing. */
export const percent = (share: number): string => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`);
