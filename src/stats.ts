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

/**
 * Mean with a cluster-robust 95 % interval: the linearised variance of a ratio of totals over clusters, with the
 * small-sample factor k / (k − 1) (Cochran, Sampling Techniques, 1977, chapter 6). With one observation per cluster it is
 * the usual normal interval.
 * @param values observations; booleans count as 0 and 1
 * @param clusters the cluster (question id) of each observation, same length
 * @returns bounds clipped to [0, 1] if all values are in it; the whole range of the values' scale is unknown with fewer
 *   than two clusters, then low and high are NaN; without observations mean is NaN too
 */
export function clusterMean(values: readonly (number | boolean)[], clusters: readonly string[]): Estimate {
  const totals = new Map<string, { sum: number; n: number }>();
  let sum = 0;
  let proportion = true;
  for (const [i, raw] of values.entries()) {
    const value = Number(raw);
    sum += value;
    if (value < 0 || value > 1) proportion = false;
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
  const half = 1.959964 * Math.sqrt((squares * k) / (k - 1) / n ** 2);
  const clip = (x: number) => (proportion ? Math.min(1, Math.max(0, x)) : x);
  return { mean, low: clip(mean - half), high: clip(mean + half), n, clusters: k };
}
