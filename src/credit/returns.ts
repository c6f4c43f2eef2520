/**
 * Credit along a chain of roles: what changes between one turn and the next (generator → verifier → refiner, or any other
 * chain). Pure, one or two passes over typed arrays.
 *
 * In a tree the value of a state is already the mean over its children, so a temporal difference with that value as its
 * critic telescopes: every λ gives value − value of the parent. What λ can trade is another critic: whether the answer that
 * the team has stated so far is right.
 */
import type { Forest } from "./values.js";

/**
 * The critic V of the state after each node: 1 if the latest answer stated on the path is right, else 0, also before any
 * answer is stated. Known from one sample, but blind to what later turns will mend or break.
 * @param stated per node 1 if the answer that it states is right, 0 if it is wrong, −1 if it states none
 */
export function standingAnswer(parent: Int32Array, stated: Int8Array): Float64Array {
  const standing = new Float64Array(parent.length);
  for (let i = 0; i < parent.length; i++) {
    const above = parent[i]!;
    standing[i] = stated[i]! >= 0 ? stated[i]! : above < 0 ? 0 : standing[above]!;
  }
  return standing;
}

/**
 * λ-return (Sutton 1988; Sutton and Barto 2018, Section 12.1) without discount, since all reward comes at the end and a
 * conversation has few turns: (1 − λ) V + λ × mean over the children's λ-returns; at a leaf the reward. λ = 1 is the mean
 * value of the paper, without a critic's bias; λ = 0 is the critic alone, with the least variance.
 * @param value mean values; where there is none (NaN) the return is NaN too
 * @param critic V as {@link standingAnswer}
 * @returns in [0, 1]
 */
export function lambdaReturn(
  { parent }: Pick<Forest, "parent">,
  value: Float64Array,
  critic: Float64Array,
  lambda: number,
): Float64Array {
  const size = parent.length;
  const returns = new Float64Array(size);
  const sum = new Float64Array(size);
  const children = new Int32Array(size);
  for (let i = size - 1; i >= 0; i--) {
    const n = children[i]!;
    const g = Number.isNaN(value[i]!)
      ? Number.NaN
      : n === 0
        ? value[i]!
        : (1 - lambda) * critic[i]! + (lambda * sum[i]!) / n;
    returns[i] = g;
    const above = parent[i]!;
    if (above < 0 || Number.isNaN(g)) continue;
    sum[above]! += g;
    children[above]! += 1;
  }
  return returns;
}

/**
 * Generalised advantage estimate (Schulman et al. 2016, arXiv 1506.02438, with γ = 1): the sum of λ-weighted temporal
 * differences of the critic from this turn on, averaged over its continuations. That is the λ-return of the node minus V
 * of the state it was said in; of a question V is the mean over its first turns.
 * @param tree per node a number that the nodes of one question share
 * @returns in [−1, 1]
 */
export function generalisedAdvantage(
  forest: Pick<Forest, "parent">,
  value: Float64Array,
  critic: Float64Array,
  lambda: number,
  tree?: Int32Array,
): Float64Array {
  const { parent } = forest;
  const firsts = new Map<number, { sum: number; n: number }>();
  for (let i = 0; i < parent.length; i++) {
    if (parent[i]! >= 0) continue;
    const question = firsts.get(tree?.[i] ?? 0) ?? { sum: 0, n: 0 };
    question.sum += critic[i]!;
    question.n += 1;
    firsts.set(tree?.[i] ?? 0, question);
  }
  return lambdaReturn(forest, value, critic, lambda).map((g, i) => {
    if (parent[i]! >= 0) return g - critic[parent[i]!]!;
    const { sum, n } = firsts.get(tree?.[i] ?? 0)!;
    return g - sum / n;
  });
}

/**
 * Gain over the first role's own answer: value − whether the answer of the first turn on the path is right. Positive where the
 * rest of the team mends a wrong answer more often than it breaks a right one; a right first answer can earn no gain. Of a
 * last turn it is 1 for mended, −1 for broken, 0 for unchanged. Assumes that the first role's merit is not what is asked.
 * @param critic V as {@link standingAnswer}
 * @returns in [−1, 1]
 */
export function gainOverFirst(
  { parent }: Pick<Forest, "parent">,
  value: Float64Array,
  critic: Float64Array,
): Float64Array {
  const first = new Int32Array(parent.length);
  const gain = new Float64Array(parent.length);
  for (let i = 0; i < parent.length; i++) {
    first[i] = parent[i]! < 0 ? i : first[parent[i]!]!;
    gain[i] = value[i]! - critic[first[i]!]!;
  }
  return gain;
}
