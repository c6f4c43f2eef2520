/**
 * How far a value can be from the true one, without any assumption about the team: Hoeffding's inequality (1963, J. Am. Stat.
 * Assoc. 58:13), as Appendix A.6.1 of the paper uses it for independent rewards, and for the trees that there are, where
 * rewards below one critique share that critique. Pure. Leaves out what a model of the values says (posterior.ts).
 */
import { InputError } from "../errors.js";

/** What a value is a mean of: `children` independent outputs, each with `leaves` rewards below it that are independent given it. */
export interface SampledBelow {
  /** n of the paper; an integer ≥ 1. */
  children: number;
  /** Rewards below each child; default 1, where the children are the rewards themselves, as below a critique. */
  leaves?: number;
  /**
   * w in [0, 1]: true values of two children of one node differ by at most this. Default 1, which is always so. 0 says that it
   * does not matter which child it is; only then are all rewards below a node independent given the node, as A.6.1 takes them.
   */
  width?: number;
}

/**
 * An upper bound on P(|V − V*| ≥ ε): at most 2 exp(−2ε² / s), where s = min(1/n, w²/n + 1/(n·leaves)).
 *
 * V − V* has two parts. How the sampled children differ from their expectation: n independent terms in an interval of
 * width w. And how the rewards differ from their child's true value: n·leaves independent terms in [0, 1], given the children. The exponents of
 * Hoeffding's lemma add up. Without the split, children's values are n independent terms in [0, 1], whatever is below them.
 * @param epsilon ε ≥ 0
 * @returns in [0, 1]
 * @throws InputError on a number out of range
 */
export function hoeffdingTail(epsilon: number, below: SampledBelow): number {
  if (!(epsilon >= 0)) throw new InputError(`epsilon is ${epsilon}; give a number ≥ 0`);
  return Math.min(1, 2 * Math.exp((-2 * epsilon ** 2) / scale(below)));
}

/**
 * ε such that, with probability 1 − δ, all of so many values are within ε of the true ones: {@link hoeffdingTail} with a union
 * bound. A.6.1 has it for the answers of all questions with width 0: √(ln(2Mn/δ) / (2n²)). No value is further than 1
 * from the true one, and no bound from ½ on can tell on which side of θ = 0.5 the true value is.
 * @param nodes how many values, ≥ 1; M·n for the answers of M questions
 * @param delta δ in (0, 1)
 * @throws InputError on a number out of range
 */
export function hoeffdingRadius(nodes: number, delta: number, below: SampledBelow): number {
  if (!(nodes >= 1)) throw new InputError(`nodes is ${nodes}; give a number ≥ 1`);
  if (!(delta > 0 && delta < 1)) throw new InputError(`delta is ${delta}; give a probability between 0 and 1`);
  return Math.sqrt((Math.log((2 * nodes) / delta) * scale(below)) / 2);
}

/** s: four times the variance proxy of V − V*. */
function scale({ children, leaves = 1, width = 1 }: SampledBelow): number {
  for (const [name, n] of Object.entries({ children, leaves }))
    if (!(Number.isInteger(n) && n >= 1)) throw new InputError(`${name} is ${n}; give an integer of at least 1`);
  if (!(width >= 0 && width <= 1)) throw new InputError(`width is ${width}; give a number from 0 to 1`);
  return Math.min(1 / children, width ** 2 / children + 1 / (children * leaves));
}
