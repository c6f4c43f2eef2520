/**
 * Label noise measured on real trees, in two ways. Siblings with the same text have the same true value, so where their
 * labels differ, one of them is wrong. And a run with more branches than the paper's n = 3 (Section 4.2) holds the trees
 * of n = 3 and, in its other branches, a second estimate of the same values. Pure.
 */
import { InputError } from "../errors.js";
import type { Node, Role } from "../types.js";
import { type Sibling, siblingsOf } from "./pairs.js";
import { type Columns, columns } from "./score.js";
import { backUp } from "./values.js";

/** What the siblings of one role that say the same say about its labels. */
export interface IdenticalSiblings {
  role: string;
  /** Groups of two or more siblings with byte-identical texts, all labelled. */
  groups: number;
  /** Groups that hold both labels. */
  contradictory: number;
  /** Outputs in all groups. */
  outputs: number;
  /** Least number of wrong labels among these outputs: in each group the label that fewer of them have. */
  wrong: number;
}

/**
 * Siblings with byte-identical texts, a group for each text that a state has at least twice. Outputs without a label are
 * left out. Groups in the order of their first output.
 * @param nodes of one or more trees, in the dataset's order
 */
export const identicalSiblings = (nodes: readonly Node[]): Node[][] => siblingsOf(nodes).flatMap(identicalIn);

/** The same for the outputs of one state. */
export function identicalIn<T extends Sibling>(state: readonly T[]): T[][] {
  const byText = new Map<string | number, T[]>();
  for (const node of state) {
    if (node.label === null) continue;
    const group = byText.get(node.text);
    if (group) group.push(node);
    else byText.set(node.text, [node]);
  }
  return [...byText.values()].filter((group) => group.length > 1);
}

/** Whether a group of outputs holds both labels. */
export const isContradictory = (group: readonly Pick<Sibling, "label">[]): boolean =>
  group.some(({ label }) => label === true) && group.some(({ label }) => label === false);

/**
 * Label noise without any assumption: outputs of one state with the same text are the same output, so they have one true
 * value and one true label. If their labels differ, the continuations did so by chance (or, at a leaf, the grader is not
 * a function of the text). Only a lower bound, since labels that agree can all be wrong, and only about outputs that the
 * model gave twice.
 * @param nodes of one or more trees, in the dataset's order
 * @returns one row per role that has such groups, in speaking order
 */
export function identicalNoise(nodes: readonly Node[]): IdenticalSiblings[] {
  const rows = new Map<string, IdenticalSiblings>();
  const groups = identicalSiblings(nodes).sort(([a], [b]) => a!.depth - b!.depth);
  for (const group of groups) {
    const { role } = group[0]!;
    const row = rows.get(role) ?? { role, groups: 0, contradictory: 0, outputs: 0, wrong: 0 };
    const good = group.filter(({ label }) => label === true).length;
    row.groups += 1;
    row.contradictory += Number(isContradictory(group));
    row.outputs += group.length;
    row.wrong += Math.min(good, group.length - good);
    rows.set(role, row);
  }
  return [...rows.values()];
}

/** Trees with n children per state below each answer, and what the branches left out say about them. */
export interface HeldOutBranches extends Columns {
  /** The rows of these trees in the dataset's order; entry i of every array belongs to row i. */
  nodes: Node[];
  /**
   * Per node the mean value, in [0, 1], of its children with branch ≥ n, each with all its descendants; NaN at a leaf,
   * whose value is its own reward, and where one of those children has no value.
   */
  reference: Float64Array;
}

/**
 * Cuts the trees that sampling with n branches would have given out of a wider run, and estimates their nodes a second
 * time from the branches that were cut off. Since a request's seed does not depend on n and choice i has seed + i, on a
 * deterministic server these are exactly the trees of a run with n branches. All branches of the first role are kept:
 * an answer's value does not depend on the other answers.
 *
 * The reference shares no completion with the estimate. A mean over all branches would contain the estimate, follow its
 * errors and so understate the noise. It is itself a mean of few samples, (branching − n) for the last critique: where
 * estimate and reference differ, one of them is wrong, so the measured noise is above that against the true value
 * wherever an estimate's label is more often right than wrong. An odd number of references avoids ties at θ = 0.5.
 * @param nodes of a run, in the dataset's order
 * @param roles the run's team; each role after the first branches more than n times
 * @param n children per state to keep, an integer ≥ 1; 3 in the paper
 * @returns for `sweepThresholds(forest, { tree, text, reference })`
 * @throws InputError if n is no such integer or leaves a role no other branch; RunError as {@link columns}
 */
export function heldOutBranches(nodes: readonly Node[], roles: readonly Role[], n = 3): HeldOutBranches {
  if (!Number.isInteger(n) || n < 1) throw new InputError(`n is ${n}; give an integer of at least 1 (3 in the paper)`);
  for (const { name, branching } of roles.slice(1)) {
    if (branching > n) continue;
    throw new InputError(
      `role ${JSON.stringify(name)} branches ${branching} times, which leaves none beyond n = ${n} to estimate again; ` +
        "sample a run with more branches",
    );
  }
  const { forest } = columns(nodes, roles);
  const { value } = backUp(forest);
  const kept = new Uint8Array(nodes.length);
  const sum = new Float64Array(nodes.length);
  const others = new Int32Array(nodes.length);
  nodes.forEach((node, i) => {
    const above = forest.parent[i]!;
    kept[i] = above < 0 || (kept[above] === 1 && node.branch < n) ? 1 : 0;
    if (above < 0 || node.branch < n) return;
    sum[above]! += value[i]!;
    others[above]! += 1;
  });
  const rows = nodes.flatMap((node, i) => (kept[i] === 1 ? [{ node, i }] : []));
  const narrow = roles.map((role, depth) => (depth === 0 ? role : { ...role, branching: n }));
  const own = rows.map(({ node }) => node);
  const reference = Float64Array.from(rows, ({ i }) => {
    const all = forest.expected[i]! - n;
    return all > 0 && others[i] === all ? sum[i]! / all : Number.NaN;
  });
  return { nodes: own, ...columns(own, narrow), reference };
}
