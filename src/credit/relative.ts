/**
 * Credit relative to what else was said in the same state: how much better an output is than its siblings, whatever the
 * question. These are the advantages of policy-gradient methods, read off a stored tree. Pure, in time linear in the
 * number of nodes (`counterfactual`: in the number of pairs of siblings).
 */
import { advantage, states } from "./values.js";

/** What an estimator reads of siblings. */
export interface Siblings {
  /** Index of the parent, −1 for a root. */
  parent: Int32Array;
  /** In [0, 1]; NaN where there is none. */
  value: Float64Array;
  /** Per node a number that roots of one question share; without it all roots are siblings. */
  tree?: Int32Array | undefined;
  /** Per node a number that byte-identical texts share; without it all texts count as different. */
  text?: Int32Array | undefined;
}

/**
 * Leave-one-out advantage (RLOO; Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!"; Ahmadian et al. 2024,
 * arXiv 2402.14740): value − mean value of the other siblings. Assumes that siblings are independent samples of one policy
 * in one state; then the baseline does not depend on the output and the estimate of the advantage is unbiased.
 * @returns in [−1, 1]; NaN without a value or for an only child
 */
export function leaveOneOut({ parent, value, tree }: Siblings): Float64Array {
  return advantage(parent, value, { baseline: "others", ...(tree && { tree }) });
}

/**
 * Group-normalised advantage (GRPO; Shao et al. 2024, DeepSeekMath, arXiv 2402.03300, Section 4.1): (value − mean) / standard
 * deviation over all siblings, itself included, with divisor n − 1 as in TRL. Assumes that states differ in scale
 * alone; a state where nearly all siblings agree gets the largest credits (Liu et al. 2025, arXiv 2503.20783, call it a
 * bias towards questions that are too easy or too hard).
 * @returns in standard deviations, at most (n − 1) / √n away from 0; 0 where all siblings agree, NaN without a value
 *   or for an only child
 */
export function groupNormalised({ parent, value, tree }: Siblings): Float64Array {
  const { state, count } = states(parent, tree);
  const size = new Int32Array(count);
  const mean = new Float64Array(count);
  const squares = new Float64Array(count);
  // Welford's recurrence: a difference of sums of squares would leave rounding where all siblings agree.
  for (let i = 0; i < value.length; i++) {
    const v = value[i]!;
    if (Number.isNaN(v)) continue;
    const s = state[i]!;
    size[s]! += 1;
    const from = v - mean[s]!;
    mean[s]! += from / size[s]!;
    squares[s]! += from * (v - mean[s]!);
  }
  const credit = new Float64Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const s = state[i]!;
    const deviation = Math.sqrt(squares[s]! / (size[s]! - 1));
    credit[i] = size[s] === 1 ? Number.NaN : deviation > 1e-9 ? (value[i]! - mean[s]!) / deviation : value[i]! * 0;
  }
  return credit;
}

/**
 * Counterfactual advantage (COMA; Foerster et al. 2018, arXiv 1705.08926, Section 4): Q of what one agent said, minus the
 * expectation of Q over what its policy would have said in the same state, the other agents' policies unchanged. Siblings
 * stand for the policy: Q of a text is the mean value of its occurrences in the state, its probability their share. Assumes
 * that the same text has the same true value, which holds because every later role sees the text alone. Without `text` it is
 * value − mean over all siblings. That mean holds the output itself, so the estimate is too near to 0 by the factor
 * (n − 1) / n on average.
 * @returns in [−1, 1]; 0 for an only child, NaN without a value
 */
export function counterfactual({ parent, value, tree, text }: Siblings): Float64Array {
  const credit = advantage(parent, value, tree && { tree });
  if (!text) return credit;
  const { state, count } = states(parent, tree);
  // The siblings of each state as a linked list.
  const last = new Int32Array(count).fill(-1);
  const before = new Int32Array(value.length);
  for (let i = 0; i < value.length; i++) {
    before[i] = last[state[i]!]!;
    last[state[i]!] = i;
  }
  return credit.map((own, i) => {
    if (Number.isNaN(own)) return own;
    let [sum, same] = [0, 0];
    for (let j = last[state[i]!]!; j >= 0; j = before[j]!) {
      if (text[j] !== text[i] || Number.isNaN(value[j]!)) continue;
      sum += value[j]!;
      same += 1;
    }
    return same === 1 ? own : own - value[i]! + sum / same;
  });
}
