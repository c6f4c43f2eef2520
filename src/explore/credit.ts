/**
 * Credit under any setting: values, labels, examples and pairs of a run's trees, by the functions that export it, and
 * what each output is under that setting, so that outputs can be filtered. Pure; quick enough to follow a slider.
 */
import { identicalIn, isContradictory } from "../credit/label-noise.js";
import { exampleSiblings, type PairOptions, pairSiblings, type SftOptions, type Sibling } from "../credit/pairs.js";
import { backUp, type Forest, states, type ValueOptions, type Values } from "../credit/values.js";
import type { Role } from "../types.js";
import type { TreeColumns } from "./trees.js";

/** Every rule between rewards and training data; `dedupe` holds for examples and pairs alike. */
export type CreditSetting = Required<ValueOptions & PairOptions & SftOptions>;

/** The paper's setting, and this project's where the paper is silent. */
export const paperSetting: CreditSetting = {
  ...{ threshold: 0.5, pooling: "mean", incomplete: "skip" },
  ...{ pairing: "all", minGap: 0, identical: "drop", dedupe: false, examples: "positives" },
};

/** What an output is, one bit each. */
export const traits = {
  right: 1 << 0,
  wrong: 1 << 1,
  unanswered: 1 << 2,
  cutOff: 1 << 3,
  disputed: 1 << 4,
  /** Something below it is missing. */
  partial: 1 << 5,
  good: 1 << 6,
  bad: 1 << 7,
  /** Its siblings and itself hold both labels. */
  mixed: 1 << 8,
  /** A sibling has the same text and the other label. */
  contradicted: 1 << 9,
  /** Its label is not the dataset's. */
  flipped: 1 << 10,
  example: 1 << 11,
  chosen: 1 << 12,
  rejected: 1 << 13,
} as const;
export type Trait = keyof typeof traits;

/** An output among its siblings. */
export interface Candidate extends Sibling {
  node: number;
}

/** Trees made ready for {@link creditOf}. */
export interface PreparedTrees {
  roles: readonly Role[];
  forest: Forest & { expected: Int32Array };
  depth: Uint8Array;
  /** Per node the index of its question. */
  tree: Int32Array;
  /** Per node the traits that no setting changes. */
  lasting: Uint16Array;
  /** Per state its outputs; their values and labels are those of the latest setting. */
  states: Candidate[][];
  /** Per node its state. */
  state: Int32Array;
}

/** @param ends the run's finish reasons, by their numbers in the column */
export function prepareTrees(columns: TreeColumns, roles: readonly Role[], ends: readonly string[]): PreparedTrees {
  const { start, parent, verdict, text, end, disputed } = columns;
  const size = parent.length;
  const depth = new Uint8Array(size);
  const forest = { parent, reward: new Float64Array(size), expected: new Int32Array(size) };
  const tree = new Int32Array(size);
  const lasting = new Uint16Array(size);
  const own = [traits.wrong, traits.right, traits.unanswered];
  const cutOff = ends.indexOf("length");
  for (let q = 0; q + 1 < start.length; q++) tree.fill(q, start[q], start[q + 1]);
  for (let i = 0; i < size; i++) {
    depth[i] = parent[i]! < 0 ? 0 : depth[parent[i]!]! + 1;
    forest.reward[i] = Number(verdict[i] === 1);
    forest.expected[i] = roles[depth[i]! + 1]?.branching ?? 0;
    lasting[i] =
      own[verdict[i]!]! | (end[i] === cutOff ? traits.cutOff : 0) | (disputed[i] === 1 ? traits.disputed : 0);
  }
  const { complete } = backUp(forest);
  for (let i = 0; i < size; i++) if (complete[i] === 0) lasting[i]! |= traits.partial;
  const { state, count } = states(parent, tree);
  const siblings: Candidate[][] = Array.from({ length: count }, () => []);
  for (let node = 0; node < size; node++)
    siblings[state[node]!]!.push({ node, value: null, label: null, text: text[node]! });
  return { roles, forest, depth, tree, lasting, states: siblings, state };
}

/** What one role yields. */
export interface RoleYield {
  role: string;
  nodes: number;
  good: number;
  examples: number;
  pairs: number;
  /** Questions with at least one pair. */
  questions: number;
  /** Labels that are not the dataset's. */
  flipped: number;
}

/** A run under one setting. */
export interface Credit extends Values {
  setting: CreditSetting;
  /** Per node its {@link traits}. */
  traits: Uint16Array;
  /** In speaking order. */
  roles: RoleYield[];
  /** Per question its number of pairs. */
  pairs: Int32Array;
}

/**
 * @param dataset the labels that the dataset holds; without them nothing counts as flipped
 * @throws InputError on an option out of range
 */
export function creditOf(trees: PreparedTrees, setting: CreditSetting, dataset?: Int8Array): Credit {
  const values = backUp(trees.forest, setting);
  const { value, label } = values;
  const marks = trees.lasting.slice();
  const roles = trees.roles.map(({ name }) => ({
    ...{ role: name, nodes: 0, good: 0, examples: 0, pairs: 0, questions: 0, flipped: 0 },
  }));
  const questions = trees.tree.length === 0 ? 0 : trees.tree.at(-1)! + 1;
  const pairs = new Int32Array(questions);
  const seen = trees.roles.map(() => new Uint8Array(questions));

  for (const siblings of trees.states) {
    const first = siblings[0]!.node;
    const depth = trees.depth[first]!;
    const role = roles[depth]!;
    let [good, bad] = [0, 0];
    for (const sibling of siblings) {
      const { node } = sibling;
      const isKnown = label[node]! >= 0;
      sibling.value = isKnown ? value[node]! : null;
      sibling.label = isKnown ? label[node] === 1 : null;
      good += Number(sibling.label === true);
      bad += Number(sibling.label === false);
      if (isKnown) marks[node]! |= sibling.label ? traits.good : traits.bad;
      if (dataset && dataset[node] !== label[node]) {
        marks[node]! |= traits.flipped;
        role.flipped++;
      }
    }
    role.nodes += siblings.length;
    role.good += good;
    const examples = exampleSiblings(siblings, setting);
    role.examples += examples.length;
    for (const { node } of examples) marks[node]! |= traits.example;
    if (good === 0 || bad === 0) continue;
    for (const { node } of siblings) marks[node]! |= traits.mixed;
    for (const group of identicalIn(siblings))
      if (isContradictory(group)) for (const { node } of group) marks[node]! |= traits.contradicted;
    const made = pairSiblings(siblings, setting);
    for (const [chosen, rejected] of made) {
      marks[chosen.node]! |= traits.chosen;
      marks[rejected.node]! |= traits.rejected;
    }
    if (made.length === 0) continue;
    const question = trees.tree[first]!;
    role.pairs += made.length;
    pairs[question]! += made.length;
    role.questions += Number(seen[depth]![question] === 0);
    seen[depth]![question] = 1;
  }
  return { ...values, setting, traits: marks, roles, pairs };
}
