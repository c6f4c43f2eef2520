/**
 * How many questions does it take to see a gain? Sample size and power of a paired comparison of two accuracies, by the
 * normal approximation of McNemar's test (Miettinen 1968, Biometrics 24:339; Connor 1987, Biometrics 43:207). Pure.
 * Leaves out unpaired designs and equivalence tests.
 */
import { InputError } from "../errors.js";

/**
 * Two systems on the same questions: their difference and how often they disagree, or both accuracies and how far they
 * get the same questions right. The gain alone does not fix the sample size: systems that agree on almost every
 * question show the same gain with far fewer.
 */
export type PairedDesign = (
  | {
      /** Gain in accuracy, −1 … 1 and not 0: 0.035 for 3.5 points. */
      difference: number;
      /** Share of questions that exactly one of the systems gets right, |difference| … 1. */
      discordance: number;
    }
  | {
      /** Accuracy of the first system, 0 … 1 exclusive. */
      p1: number;
      /** Accuracy of the second system, 0 … 1 exclusive. */
      p2: number;
      /** Correlation between being right in one and in the other (φ): 0 for unrelated mistakes. */
      correlation: number;
    }
) & {
  /** Two-sided level, 0 … 1 exclusive; by default 0.05. */
  alpha?: number;
  /** Seeds per question; by default 1. */
  seeds?: number;
  /**
   * Correlation of the differences of one question between its seeds, 0 … 1. By default 1: another seed of the same
   * question then adds nothing, which is the safe assumption until a pilot run says otherwise.
   */
  seedCorrelation?: number;
};

/**
 * Questions to ask so that a difference is found with the given power.
 *
 * n = (z(1 − α/2) √ψ + z(power) √(ψ − δ²))² / δ², with difference δ and discordance ψ, times the design effect
 * (1 + (m − 1) ρ) / m of m seeds per question (Kish 1965, Survey Sampling, Section 5.4).
 * @param design what the systems are expected to do
 * @param power chance of a significant result, above alpha and below 1; by default 0.8
 * @returns a whole number of questions
 * @throws InputError on values out of range, or that no pair of systems can have
 */
export function questionsNeeded(design: PairedDesign, power = 0.8): number {
  const { delta, psi, alpha, effect } = resolveDesign(design);
  if (!(power > alpha && power < 1)) throw new InputError(`power must lie between alpha and 1, received ${power}`);
  const needed = normalQuantile(1 - alpha / 2) * Math.sqrt(psi) + normalQuantile(power) * Math.sqrt(psi - delta ** 2);
  return Math.ceil((needed / delta) ** 2 * effect);
}

/**
 * Chance that a comparison on so many questions finds the difference: the inverse of `questionsNeeded`.
 * @param questions at least 1
 * @returns in (0, 1); the negligible chance of a significant result of the wrong sign is left out
 * @throws InputError as `questionsNeeded`
 */
export function powerOf(questions: number, design: PairedDesign): number {
  const { delta, psi, alpha, effect } = resolveDesign(design);
  if (!(questions >= 1)) throw new InputError(`questions must be at least 1, received ${questions}`);
  const signal = delta * Math.sqrt(questions / effect) - normalQuantile(1 - alpha / 2) * Math.sqrt(psi);
  // Both systems never disagree in both directions if ψ = δ = 1; then nothing is left to chance.
  const spread = Math.sqrt(psi - delta ** 2);
  return spread === 0 ? Number(signal > 0) : normalProbability(signal / spread);
}

function resolveDesign(design: PairedDesign): { delta: number; psi: number; alpha: number; effect: number } {
  const { alpha = 0.05, seeds = 1, seedCorrelation = 1 } = design;
  const between = (name: string, value: number) => {
    if (!(value > 0 && value < 1)) throw new InputError(`${name} must lie between 0 and 1, received ${value}`);
  };
  between("alpha", alpha);
  if (!Number.isInteger(seeds) || seeds < 1) throw new InputError(`seeds must be at least 1, received ${seeds}`);
  if (!(seedCorrelation >= 0 && seedCorrelation <= 1)) {
    throw new InputError(`seedCorrelation must lie in 0 … 1, received ${seedCorrelation}`);
  }
  const effect = (1 + (seeds - 1) * seedCorrelation) / seeds;
  if ("difference" in design) {
    const delta = Math.abs(design.difference);
    const psi = design.discordance;
    if (!(delta > 0 && delta <= psi && psi <= 1)) {
      const received = `difference ${design.difference} and discordance ${psi}`;
      throw new InputError(`a design needs 0 < |difference| ≤ discordance ≤ 1, received ${received}`);
    }
    return { delta, psi, alpha, effect };
  }
  const { p1, p2, correlation } = design;
  between("p1", p1);
  between("p2", p2);
  const both = p1 * p2 + correlation * Math.sqrt(p1 * (1 - p1) * p2 * (1 - p2));
  // The share both get right is bounded by the accuracies themselves (Fréchet); the margin absorbs rounding.
  if (!(both <= Math.min(p1, p2) + 1e-12 && both >= Math.max(0, p1 + p2 - 1) - 1e-12)) {
    throw new InputError(`accuracies ${p1} and ${p2} cannot correlate by ${correlation}; give a value nearer to 0`);
  }
  const delta = Math.abs(p1 - p2);
  if (delta === 0) throw new InputError(`both accuracies are ${p1}; no number of questions shows a gain of 0`);
  return { delta, psi: Math.max(delta, p1 + p2 - 2 * both), alpha, effect };
}

/** Standard normal distribution function by its power series (Marsaglia 2004, J. Stat. Softw. 11(4)), to about 1e-15. */
function normalProbability(x: number): number {
  if (Math.abs(x) > 8) return x > 0 ? 1 : 0;
  let term = x;
  let sum = x;
  for (let i = 3; sum + term !== sum; i += 2) {
    term *= (x * x) / i;
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

/** Standard normal quantile by bisection. @param share in (0, 1) */
export function normalQuantile(share: number): number {
  let low = -8;
  let high = 8;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (normalProbability(middle) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
