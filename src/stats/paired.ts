/**
 * Is one system better than another on the same questions? Tests and intervals for paired differences in which the
 * question, asked under several seeds, is the independent unit. Pure: randomness is seeded. Leaves out unpaired
 * comparisons, which would not use the fact that both systems answered the same questions.
 */
import prand from "pure-rand";
import { InputError } from "../errors.js";
import { clusterVariance, type Estimate } from "./means.js";
import { normalQuantile } from "./power.js";

/** McNemar's test of two systems on the same rows. */
export interface McNemar {
  /** Rows that only the first system got right. */
  better: number;
  /** Rows that only the second system got right. */
  worse: number;
  /** Two-sided exact conditional p: never too small, but too large on few rows. */
  exact: number;
  /** Two-sided mid-p: the observed outcome counts half, which brings the test close to its nominal level. */
  midP: number;
}

/** How one system compares with another. */
export interface PairedTest {
  /** Mean difference with the cluster-robust 95 % interval; n counts rows, clusters questions. */
  difference: Estimate;
  /** Two-sided p of the sign-flip test over questions: the one to report. An exact 0 stands for less than 1e-300. */
  p: number;
  /** Whether p counts all sign patterns or sampled ones; a sampled p is at least 1 / (draws + 1). */
  method: "exact" | "sampled";
  /** McNemar on the pooled rows, where every difference is −1, 0 or 1; otherwise null. */
  mcnemar: McNemar | null;
}

/** Randomness of the sign-flip test where it is sampled. */
export interface PairedTestOptions {
  /** Integer; by default 0. */
  seed?: number;
  /** At least 100; by default 10,000. */
  draws?: number;
}

/** Up to this many additions the sign-flip distribution is counted exactly instead of sampled: about a second. */
const exactWork = 1e8;

/**
 * Compares two systems that answered the same questions under the same seeds.
 *
 * The p value flips the sign of all differences of a question at once: if the two systems were equally good, each
 * question's total would be as likely to have the opposite sign. That keeps the seeds of a question together, so it
 * needs no independence between them; with one row per question it equals the exact McNemar test. Where all totals are
 * whole numbers, as with right and wrong answers, every one of the 2^k sign patterns is counted; otherwise `draws`
 * patterns are sampled and p = (b + 1) / (m + 1) (Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39).
 *
 * McNemar on the pooled rows is reported beside it because reviewers ask for it. It treats every row as an independent
 * observation, but the rows of one question are right or wrong together: four seeds are not four questions, and with
 * positive correlation its p is too small. It is exact with one row per question.
 *
 * The interval is a large-sample one. With fewer than some forty questions rely on p.
 * @param differences first system minus second, one row per (question, seed): 1, 0 or −1 for right and wrong answers
 * @param clusters the question id of each row, same length
 * @throws InputError with no rows, arrays of unequal length, a difference that is not a number or options out of range
 */
export function pairedTest(
  differences: readonly number[],
  clusters: readonly string[],
  { seed = 0, draws = 10_000 }: PairedTestOptions = {},
): PairedTest {
  if (differences.length === 0 || differences.length !== clusters.length) {
    const received = `${differences.length} differences and ${clusters.length} question ids`;
    throw new InputError(`a paired test needs one question id per difference, received ${received}`);
  }
  const odd = differences.find((d) => !Number.isFinite(d));
  if (odd !== undefined) throw new InputError(`a difference is ${odd}; leave out rows that one system did not answer`);
  if (!Number.isInteger(draws) || draws < 100) {
    throw new InputError(`draws must be a whole number of at least 100, not ${draws}`);
  }
  if (!Number.isInteger(seed)) throw new InputError(`seed must be a whole number, not ${seed}`);

  const { mean, variance, n, totals } = clusterVariance(differences, clusters);
  const half = normalQuantile(0.975) * Math.sqrt(variance);
  const counts = (value: number) => differences.filter((d) => d === value).length;
  const binary = differences.every((d) => d === 0 || d === 1 || d === -1);
  const sums = totals.map((total) => Math.abs(total.sum)).filter((sum) => sum > 0);
  const reach = sums.reduce((all, sum) => all + sum, 0);
  const countable = sums.every(Number.isInteger) && sums.length * (2 * reach + 1) <= exactWork;
  const observed = Math.abs(totals.reduce((all, total) => all + total.sum, 0));
  return {
    difference: { mean, low: mean - half, high: mean + half, n, clusters: totals.length },
    p: countable ? countedSignFlip(sums, reach, observed) : sampledSignFlip(sums, observed, seed, draws),
    method: countable ? "exact" : "sampled",
    mcnemar: binary ? mcnemar(counts(1), counts(-1)) : null,
  };
}

/** Share of all sign patterns of `sums` whose total is at least as far from zero: their distribution, sum by sum. */
function countedSignFlip(sums: readonly number[], reach: number, observed: number): number {
  let probability = new Float64Array(2 * reach + 1);
  probability[reach] = 1;
  let spread = 0;
  for (const sum of sums) {
    const next = new Float64Array(2 * reach + 1);
    for (let at = reach - spread; at <= reach + spread; at++) {
      const mass = probability[at]! / 2;
      next[at - sum]! += mass;
      next[at + sum]! += mass;
    }
    spread += sum;
    probability = next;
  }
  let p = 0;
  for (let at = 0; at <= reach - observed; at++) p += probability[at]!;
  return Math.min(1, observed === 0 ? 1 : 2 * p);
}

function sampledSignFlip(sums: readonly number[], observed: number, seed: number, draws: number): number {
  const random = prand.xoroshiro128plus(seed);
  // Sums of the same terms in another order differ in their last bits, and must still count as equal.
  const limit = observed * (1 - 1e-12);
  let extreme = 0;
  for (let draw = 0; draw < draws; draw++) {
    let total = 0;
    for (const sum of sums) total += random.unsafeNext() < 0 ? -sum : sum;
    if (Math.abs(total) >= limit) extreme += 1;
  }
  return (extreme + 1) / (draws + 1);
}

/**
 * McNemar's test: of the rows on which the systems disagree, is the split fair? Exact conditional binomial p and the
 * mid-p of Fagerland, Lydersen and Laake (2013, BMC Med. Res. Methodol. 13:91). Rows must be independent.
 * @param better rows that only the first system got right
 * @param worse rows that only the second system got right
 * @throws InputError unless both are whole numbers of at least 0
 */
export function mcnemar(better: number, worse: number): McNemar {
  if (![better, worse].every((count) => Number.isInteger(count) && count >= 0)) {
    throw new InputError(`McNemar's test needs two counts of at least 0, received ${better} and ${worse}`);
  }
  const n = better + worse;
  const fewer = Math.min(better, worse);
  // In logarithms, since 2^−n is below the smallest double from n = 1075 on.
  let log = -n * Math.LN2;
  for (let i = 1; i <= fewer; i++) log += Math.log((n - fewer + i) / i);
  const point = Math.exp(log);
  let tail = 0;
  for (let i = fewer, term = 1; i >= 0; term *= i / (n - i + 1), i--) tail += term;
  if (better === worse) return { better, worse, exact: 1, midP: n === 0 ? 1 : 1 - point / 2 };
  return { better, worse, exact: Math.min(1, 2 * point * tail), midP: point * (2 * tail - 1) };
}

/**
 * Holm's adjustment for several comparisons (1979, Scand. J. Stat. 6:65): an adjusted p below α keeps the chance of any
 * false claim among them below α, whatever their dependence.
 * @param pValues each in [0, 1]
 * @returns adjusted values in the same order
 * @throws InputError on a value outside [0, 1]
 */
export function holm(pValues: readonly number[]): number[] {
  const odd = pValues.find((p) => !(p >= 0 && p <= 1));
  if (odd !== undefined) throw new InputError(`a p value is ${odd}; give values in 0 … 1`);
  const order = pValues.map((_, i) => i).sort((i, j) => pValues[i]! - pValues[j]!);
  const adjusted: number[] = Array(pValues.length);
  let largest = 0;
  for (const [rank, i] of order.entries()) {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * pValues[i]!));
    adjusted[i] = largest;
  }
  return adjusted;
}
