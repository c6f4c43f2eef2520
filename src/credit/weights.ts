/** How much an example counts in training, from its credit rather than its label (paper, Appendices A.5 and A.8). Pure. */
import { InputError } from "../errors.js";
import type { Node } from "../types.js";
import { type Estimator, estimators } from "./estimators.js";
import { siblingsOf } from "./pairs.js";
import { checkOneOf } from "./values.js";

/**
 * - `none`: every example counts once; the paper's.
 * - `value`: an example counts as its credit says, in [0, 1] (reward-weighted regression, Peters and Schaal 2007).
 * - `advantage`: exp(advantage / τ), at most {@link largestWeight} (advantage-weighted regression, Peng et al. 2019, arXiv
 *   1910.00177): the policy nearest to the one sampled that is best under a KL penalty of strength τ, which is what PPO with
 *   that penalty seeks, without sampling anew. All outputs are examples then, good and bad.
 */
export type Weighting = "none" | "value" | "advantage";
export const weightings: readonly Weighting[] = ["none", "value", "advantage"];

/** The clip of Peng et al. 2019, Section 4: beyond it a few examples would be all that is learnt. */
export const largestWeight = 20;

export interface WeightOptions {
  /** Default `none`. */
  weights?: Weighting;
  /**
   * τ of `advantage`, above 0. Default 0.2, the β of the paper's DPO (A.9): with equal strength both have the optimum of A.6.2,
   * so that they can be compared.
   */
  weightTemperature?: number;
}

/** @throws InputError on an unknown rule, a τ that is not above 0, or a credit that cannot be a weight */
export function checkWeights({ weights = "none", weightTemperature = 0.2 }: WeightOptions, estimator: Estimator): void {
  checkOneOf("weights", weights, weightings);
  if (!(weightTemperature > 0))
    throw new InputError(`weight temperature is ${weightTemperature}; give a number above 0 (default 0.2)`);
  if (weights === "value" && estimators[estimator].range[0] < 0)
    throw new InputError(
      `credits of estimator "${estimator}" may be negative, so they cannot be weights; choose weights "advantage"`,
    );
}

/**
 * The weights of one tree's outputs, ≥ 0, by node id; null where an output has no credit. The advantage is the credit less the mean
 * of its state, or the credit itself where the estimator already is one.
 */
export function exampleWeights(
  nodes: readonly Node[],
  estimator: Estimator,
  { weights = "none", weightTemperature = 0.2 }: WeightOptions,
): Map<string, number | null> {
  const isAdvantage = estimators[estimator].range[0] < 0;
  const entries = siblingsOf(nodes).flatMap((state) => {
    const known = state.flatMap(({ value }) => value ?? []);
    const mean = isAdvantage ? 0 : known.reduce((sum, v) => sum + v, 0) / known.length;
    return state.map(({ node_id, value }): [string, number | null] => {
      if (value === null || weights === "none") return [node_id, value === null ? null : 1];
      if (weights === "value") return [node_id, value];
      return [node_id, Math.min(largestWeight, Math.exp((value - mean) / weightTemperature))];
    });
  });
  return new Map(entries);
}
