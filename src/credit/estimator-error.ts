/**
 * Bias and variance of credit estimators, measured on a run that branches wider than they need: each node is credited
 * twice, from other children and among other siblings, and compared with a reference made of what neither has seen. Pure.
 */
import { InputError } from "../errors.js";
import { clusterMean, type Estimate } from "../stats/means.js";
import type { Node, Role } from "../types.js";
import { assignCredit, type CreditOptions, creditRules, type Estimator } from "./estimators.js";
import { standingAnswer } from "./returns.js";
import { columns } from "./score.js";
import { backUp } from "./values.js";

/** What an estimator estimates: a value, an advantage over the policy's mean in that state, the gain over the first answer. */
export type Target = "value" | "advantage" | "gain" | "value > θ";

const targets: Readonly<Record<Estimator, Target>> = {
  value: "value",
  td: "value",
  rloo: "advantage",
  grpo: "advantage",
  coma: "advantage",
  gae: "advantage",
  gain: "gain",
  posterior: "value > θ",
};

/** How one estimator credits the outputs of one role. */
export interface EstimatorError {
  name: string;
  role: string;
  target: Target;
  /** Outputs compared. */
  nodes: number;
  /** Mean of estimate − reference; the interval is over questions. */
  bias: Estimate;
  /**
   * Root mean square of the bias of single nodes, which can be large where errors of both signs cancel in the mean: from the
   * product of the two estimates' errors, less the reference's own variance. Null for a target without a variance.
   */
  nodeBias: number | null;
  /** Standard deviation of an estimate, from the difference of the two. */
  deviation: number;
  /** Share of the outputs that get a label, and share of these whose label differs from the reference's. */
  labelled: number;
  wrong: number;
}

export interface EstimatorErrorOptions {
  /** Children per state that an estimator sees; default 3, as in the paper. */
  n?: number;
  /** Which estimators, by the name of their rows; default {@link comparedEstimators}. */
  estimators?: Readonly<Record<string, CreditOptions>>;
}

/** The estimators to compare when none are named. */
export const comparedEstimators: Readonly<Record<string, CreditOptions>> = {
  mean: {},
  local: { pooling: "local" },
  max: { pooling: "max" },
  rloo: { estimator: "rloo" },
  grpo: { estimator: "grpo" },
  coma: { estimator: "coma" },
  "td, λ = 0": { estimator: "td", lambda: 0 },
  "td, λ = 0.5": { estimator: "td", lambda: 0.5 },
  "gae, λ = 0.5": { estimator: "gae", lambda: 0.5 },
  "gae, λ = 0.95": { estimator: "gae" },
  gain: { estimator: "gain" },
  posterior: { estimator: "posterior" },
};

/**
 * Measures each estimator on every output of each role but the last, whose reward is exact.
 *
 * Of an output's B children the first n make one estimate, the next n the other, and the rest its reference; of its
 * siblings the first n − 1 stand beside it in one, the next n − 1 in the other, and the rest give the reference of
 * the state's mean. So the three share no completion but the output itself and what came before it, and neither the
 * errors of the estimates nor that of the reference are correlated. All branches take every part in turn (as many times as
 * there are branches), so that no branch that happened to be lucky looks like a bias. `grpo` is compared with the advantage although it is
 * in standard deviations: its bias is one of scale.
 * @param nodes of complete trees, in the dataset's order
 * @returns estimators × roles rows
 * @throws InputError unless every role branches at least 2n + 1 times; RunError as `columns`
 */
export function estimatorErrors(
  nodes: readonly Node[],
  roles: readonly Role[],
  options: EstimatorErrorOptions = {},
): EstimatorError[] {
  const { n = 3, estimators = comparedEstimators } = options;
  if (!Number.isInteger(n) || n < 2) throw new InputError(`n is ${n}; give an integer of at least 2`);
  const narrow = roles.find(({ branching }) => branching < 2 * n + 2);
  if (narrow)
    throw new InputError(
      `role "${narrow.name}" branches ${narrow.branching} times; two estimates of n = ${n} children and a reference need ` +
        `at least ${2 * n + 2}: sample a wider run, or give a smaller n`,
    );
  const wide = wideTrees(nodes, roles);
  const places = nodes.flatMap((_, i) =>
    wide.depth[i]! < roles.length - 1 && !Number.isNaN(wide.value[i]!) ? [i] : [],
  );
  const turns = Array.from({ length: Math.max(...roles.map(({ branching }) => branching)) }, (_, turn) => ({
    halves: [0, 1].map((half) => replicate(wide, places, n, turn, half)),
    truth: places.map((i) => references(wide, i, n, turn)),
  }));

  return Object.entries(estimators).flatMap(([name, given]) => {
    const { estimator, threshold } = creditRules(given);
    const target = targets[estimator];
    const credited = turns.flatMap(({ halves, truth }) => {
      const [a, b] = halves.map(({ trees, at }) => {
        const { value, label } = assignCredit(trees, given);
        return at.map((i) => ({ credit: value[i]!, label: label[i]! }));
      }) as [Credited[], Credited[]];
      return places.map((i, row) => ({ i, a: a[row]!, b: b[row]!, ...targetOf(target, truth[row]!, threshold) }));
    });
    return roles.slice(0, -1).map((role, depth): EstimatorError => {
      const rows = credited.filter(({ i, a, b }) => wide.depth[i] === depth && !Number.isNaN(a.credit + b.credit));
      const mean = (of: (row: (typeof rows)[number]) => number) =>
        rows.reduce((sum, row) => sum + of(row), 0) / rows.length;
      const labels = rows.flatMap(({ a, b, isAbove }) => [a, b].map(({ label }) => ({ label, isAbove })));
      const given = labels.filter(({ label }) => label >= 0);
      const square = mean(
        ({ a, b, reference, variance }) => (a.credit - reference) * (b.credit - reference) - variance,
      );
      return {
        name,
        role: role.name,
        target,
        nodes: rows.length / turns.length,
        bias: clusterMean(
          rows.map((row) => (row.a.credit + row.b.credit) / 2 - row.reference),
          rows.map(({ i }) => nodes[i]!.question_id),
        ),
        nodeBias: target === "value > θ" ? null : Math.sqrt(Math.max(0, square)),
        deviation: Math.sqrt(mean(({ a, b }) => (a.credit - b.credit) ** 2) / 2),
        labelled: given.length / labels.length,
        wrong: given.filter(({ label, isAbove }) => (label === 1) !== isAbove).length / given.length,
      };
    });
  });
}

interface Credited {
  credit: number;
  label: number;
}

/** A wide run in columns, with the children of every node by branch. */
function wideTrees(nodes: readonly Node[], roles: readonly Role[]) {
  const { forest, tree, text, stated } = columns(nodes, roles);
  const children: number[][] = nodes.map(() => []);
  const roots = new Map<number, number[]>();
  nodes.forEach((_, i) => {
    const above = forest.parent[i]!;
    if (above >= 0) children[above]!.push(i);
    else roots.set(tree[i]!, [...(roots.get(tree[i]!) ?? []), i]);
  });
  const siblings = (i: number): number[] => {
    const above = forest.parent[i]!;
    return (above >= 0 ? children[above]! : roots.get(tree[i]!)!).filter((j) => j !== i);
  };
  const depth = nodes.map((node) => node.depth);
  const critic = standingAnswer(forest.parent, stated);
  return { forest, text, stated, critic, children, siblings, depth, value: backUp(forest).value };
}

type Wide = ReturnType<typeof wideTrees>;

/** A list from place `turn` on, then from its start. */
const turned = (list: readonly number[], turn: number): number[] => {
  const start = list.length > 0 ? turn % list.length : 0;
  return [...list.slice(start), ...list.slice(0, start)];
};

/**
 * For each place a small tree of its own: the place with n − 1 siblings, below them n children of each node, above them the
 * path from the question.
 * @param turn which branch comes first
 * @param half which of two disjoint sets of siblings and children
 * @returns all these trees as one forest, and where the places are in it
 */
function replicate(wide: Wide, places: readonly number[], n: number, turn: number, half: number) {
  const parent: number[] = [];
  const from: number[] = [];
  const tree: number[] = [];
  const at: number[] = [];
  for (const [number, place] of places.entries()) {
    const add = (i: number, above: number): number => {
      tree.push(number);
      from.push(i);
      return parent.push(above) - 1;
    };
    const path = (i: number): number => (i < 0 ? -1 : add(i, path(wide.forest.parent[i]!)));
    const grow = (i: number, above: number, start: number): void => {
      const here = add(i, above);
      if (i === place) at.push(here);
      // Only the first level below decides which completions are shared; further down the first n will do.
      for (const child of turned(wide.children[i]!, turn).slice(start, start + n)) grow(child, here, 0);
    };
    const above = path(wide.forest.parent[place]!);
    const beside = turned(wide.siblings(place), turn).slice(half * (n - 1), (half + 1) * (n - 1));
    for (const i of [place, ...beside]) grow(i, above, half * n);
  }
  const forest = {
    parent: Int32Array.from(parent),
    reward: Float64Array.from(from, (i) => wide.forest.reward[i]!),
  };
  const trees = {
    forest,
    tree: Int32Array.from(tree),
    text: Int32Array.from(from, (i) => wide.text[i]!),
    stated: Int8Array.from(from, (i) => wide.stated[i]!),
  };
  return { trees, at };
}

interface References {
  value: Mean;
  /** Mean value of the siblings that stand in neither estimate. */
  state: Mean;
  /** Whether the first answer on the path is right. */
  first: number;
}

function references(wide: Wide, place: number, n: number, turn: number): References {
  const values = (list: readonly number[]) => list.map((i) => wide.value[i]!);
  let first = place;
  while (wide.forest.parent[first]! >= 0) first = wide.forest.parent[first]!;
  return {
    value: meanOf(values(turned(wide.children[place]!, turn).slice(2 * n))),
    state: meanOf(values(turned(wide.siblings(place), turn).slice(2 * (n - 1)))),
    first: wide.critic[first]!,
  };
}

/** The reference of a target, its sampling variance, and whether its label is true. */
function targetOf(target: Target, { value, state, first }: References, threshold: number) {
  if (target === "advantage") {
    const reference = value.mean - state.mean;
    return { reference, variance: value.variance + state.variance, isAbove: reference > threshold };
  }
  if (target === "gain")
    return { reference: value.mean - first, variance: value.variance, isAbove: value.mean - first > threshold };
  const isAbove = value.mean > threshold;
  return { reference: target === "value" ? value.mean : Number(isAbove), variance: value.variance, isAbove };
}

interface Mean {
  mean: number;
  /** Of the mean. */
  variance: number;
}

function meanOf(values: readonly number[]): Mean {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  return { mean, variance: values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length - 1) / values.length };
}
