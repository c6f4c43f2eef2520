/**
 * From finished completions to scored trees: the rows of nodes.parquet in their one order, graded, valued and labelled
 * (paper, Section 4.2). Pure: the same entries in any order give the same nodes.
 */
import { gradeText } from "../answers/index.js";
import { RunError } from "../errors.js";
import type { JournalEntry, Node, Question, Role } from "../types.js";
import { assignCredit, type CreditOptions } from "./estimators.js";
import { isSpent, type Search, type SearchNode } from "./search.js";
import type { Forest } from "./values.js";

/** Reads and grades the answer a text gives; `correct` is null iff `answer` is null. */
export type Grade = (question: Question, text: string) => { answer: string | null; correct: boolean | null };

export interface ScoreOptions extends CreditOptions {
  grade?: Grade;
  /** How the trees were searched, where they are not full: then a state is whole with the children that it was given. */
  search?: Search | undefined;
}

/** The tree of one question. */
export interface ScoredTree {
  /** Ordered by depth and path, so parents come before children. */
  nodes: Node[];
  /** The same nodes in columns. */
  forest: Forest & { expected: Int32Array };
  /** Whether every completion of the tree is there. */
  complete: boolean;
}

/**
 * Builds, grades and values trees of one team. A leaf's reward is 1 if its answer is right, else 0, also where it gives
 * no answer (paper, Section 4.2); the correctness of inner nodes is recorded but earns nothing.
 * @returns scores the tree of a question from its entries, where the first of two entries with the same key counts;
 * throws RunError if one has no place in a tree of these roles, if its parent is missing, or if two different
 * completions claim one place
 */
export function treeScorer(
  roles: readonly Role[],
  options: ScoreOptions = {},
): (question: Question, entries: Iterable<JournalEntry>) => ScoredTree {
  const { grade = gradeText } = options;
  const full = treeSize(roles);
  // All trees have the same few places.
  const paths = new Map<string, number[]>();
  const pathOf = (entry: JournalEntry): number[] => {
    const path = paths.get(entry.node_id) ?? parsePath(entry, roles);
    paths.set(entry.node_id, path);
    const role = roles[path.length - 1]!.name;
    if (entry.role !== role) throw new RunError(`${where(entry)} is marked ${JSON.stringify(entry.role)}, not ${role}`);
    return path;
  };

  return (question, entries) => {
    const places = new Map<string, Place>();
    for (const entry of entries) {
      const kept = places.get(entry.node_id);
      if (kept && kept.entry.key !== entry.key)
        throw new RunError(`two completions claim ${where(entry)} under different keys; the journal mixes two runs`);
      if (!kept) places.set(entry.node_id, { entry, path: pathOf(entry) });
    }
    const ordered = [...places.values()].sort((a, b) => comparePaths(a.path, b.path));
    const index = new Map(ordered.map(({ entry }, i) => [entry.node_id, i]));
    const forest = emptyForest(ordered.length);
    // Siblings read the same prompt, whose length a streamed request says only once.
    const prompts = new Map<string | null, number>();
    for (const { entry } of ordered)
      if (entry.prompt_tokens !== null) prompts.set(parentOf(entry), entry.prompt_tokens);
    // A policy often gives the same text twice.
    const grades = new Map<string, ReturnType<Grade> & { number: number }>();
    const text = new Int32Array(ordered.length);
    const stated = new Int8Array(ordered.length);
    const nodes = ordered.map(({ entry, path }, i): Node => {
      const depth = path.length - 1;
      const parent_id = parentOf(entry);
      const parent = parent_id === null ? -1 : index.get(parent_id);
      if (parent === undefined) throw new RunError(`the journal lacks the parent of ${where(entry)}; it is damaged`);
      const { question_id, node_id, role, finish_reason, completion_tokens, seed, model } = entry;
      const known = grades.get(entry.text) ?? { ...grade(question, entry.text), number: grades.size };
      grades.set(entry.text, known);
      const { answer, correct } = known;
      text[i] = known.number;
      stated[i] = correct === null ? -1 : Number(correct);
      forest.parent[i] = parent;
      forest.expected[i] = roles[depth + 1]?.branching ?? 0;
      forest.reward[i] = correct === true ? 1 : 0;
      return {
        question_id,
        node_id,
        parent_id,
        role,
        depth,
        branch: path[depth]!,
        text: entry.text,
        finish_reason,
        prompt_tokens: prompts.get(parent_id) ?? null,
        completion_tokens,
        seed,
        model,
        answer,
        correct,
        value: null,
        label: null,
      };
    });
    const complete = options.search ? asSearched(forest, nodes, roles, options.search) : nodes.length === full;
    const { value, label } = assignCredit({ forest, text, stated }, options);
    nodes.forEach((node, i) => {
      if (!Number.isNaN(value[i]!)) node.value = value[i]!;
      if (label[i] !== -1) node.label = label[i] === 1;
    });
    return { nodes, forest, complete };
  };
}

export interface ScoredTrees {
  questions: readonly Question[];
  roles: readonly Role[];
  /** Ordered by (question, depth, path); so parents come before children and a question's nodes are adjacent. */
  nodes: Node[];
  /** The same nodes in columns, for thresholds.ts and estimators.ts. */
  forest: Forest;
  /** Per node the index of its question. */
  tree: Int32Array;
  /** Per question 1 if every completion of its tree is there. */
  complete: Uint8Array;
}

/**
 * The trees of {@link treeScorer}, all in memory at once.
 * @throws RunError as there, and if an entry belongs to no question
 */
export function scoreTrees(
  questions: readonly Question[],
  roles: readonly Role[],
  entries: Iterable<JournalEntry>,
  options: ScoreOptions = {},
): ScoredTrees {
  const byQuestion = new Map<string, JournalEntry[]>(questions.map(({ id }) => [id, []]));
  for (const entry of entries) {
    const own = byQuestion.get(entry.question_id);
    if (!own) throw noQuestion(entry);
    own.push(entry);
  }
  const score = treeScorer(roles, options);
  const trees = questions.map((question) => score(question, byQuestion.get(question.id)!));
  const nodes = trees.flatMap((one) => one.nodes);
  const forest = emptyForest(nodes.length);
  const tree = new Int32Array(nodes.length);
  let start = 0;
  for (const [q, one] of trees.entries()) {
    const end = start + one.nodes.length;
    forest.parent.set(
      one.forest.parent.map((parent) => (parent < 0 ? parent : start + parent)),
      start,
    );
    forest.reward.set(one.forest.reward, start);
    forest.expected.set(one.forest.expected, start);
    tree.fill(q, start, end);
    start = end;
  }
  return { questions, roles, nodes, forest, tree, complete: Uint8Array.from(trees, (one) => Number(one.complete)) };
}

/**
 * Expects of each state of a finished search the children that it has; of an unfinished one as many as the role may have, so that
 * nothing is made from it unnoticed.
 * @returns whether the search is finished
 */
function asSearched(
  { parent, expected, reward }: ScoredTree["forest"],
  nodes: readonly Node[],
  roles: readonly Role[],
  search: Search,
): boolean {
  const tree = nodes.map(({ depth }, i): SearchNode => ({ depth, children: [], reward: reward[i]! }));
  const roots = tree.filter((node, i) => {
    if (parent[i]! >= 0) tree[parent[i]!]!.children.push(node);
    return parent[i]! < 0;
  });
  if (!isSpent(roots, roles, search)) return false;
  for (const [i, { children }] of tree.entries()) expected[i] = children.length;
  return true;
}

/** The error about an entry whose question is not among a run's. */
export const noQuestion = (entry: JournalEntry): RunError =>
  new RunError(`the journal holds ${where(entry)}, which questions.jsonl does not; restore that file`);

/** Nodes in columns, for thresholds.ts and estimators.ts. Entry i of every array belongs to node i. */
export interface Columns {
  forest: Forest & { expected: Int32Array };
  /** Per node the index of its question, in order of first appearance. */
  tree: Int32Array;
  /** Per node a number that byte-identical texts share. */
  text: Int32Array;
  /** Per node 1 if the answer it states is right, 0 if it is wrong, −1 if it states none. */
  stated: Int8Array;
}

/**
 * The columns of rows that were read back from nodes.parquet. Rewards are read off `correct`; values are not looked at.
 * @param nodes in the dataset's order, so parents before children
 * @param roles the team; a node at the depth of its last role is a leaf
 * @param search how the trees were searched, where they are not full: a state is then taken to be whole
 * @throws RunError if a node's parent does not come before it
 */
export function columns(nodes: readonly Node[], roles: readonly Role[], search?: Search): Columns {
  const size = nodes.length;
  const forest = emptyForest(size);
  const [tree, text, stated] = [new Int32Array(size), new Int32Array(size), new Int8Array(size)];
  const [index, questions, texts] = [new Map<string, number>(), new Map<string, number>(), new Map<string, number>()];
  const number = (numbers: Map<string, number>, key: string): number => {
    const known = numbers.get(key) ?? numbers.size;
    numbers.set(key, known);
    return known;
  };
  nodes.forEach((node, i) => {
    const parent = node.parent_id === null ? -1 : index.get(`${node.question_id}\n${node.parent_id}`);
    if (parent === undefined)
      throw new RunError(`the rows lack the parent of ${where(node)}; keep the dataset's order`);
    index.set(`${node.question_id}\n${node.node_id}`, i);
    forest.parent[i] = parent;
    forest.reward[i] = Number(node.correct === true);
    forest.expected[i] = search ? Number(node.depth < roles.length - 1) : (roles[node.depth + 1]?.branching ?? 0);
    tree[i] = number(questions, node.question_id);
    text[i] = number(texts, node.text);
    stated[i] = node.correct === null ? -1 : Number(node.correct);
  });
  return { forest, tree, text, stated };
}

/** Completions of one complete tree: n + n² + n³ for three roles that branch n times. */
export function treeSize(roles: readonly Role[]): number {
  return roles.reduce(
    ({ level, total }, { branching }) => ({ level: level * branching, total: total + level * branching }),
    { level: 1, total: 0 },
  ).total;
}

const emptyForest = (size: number) => ({
  parent: new Int32Array(size),
  reward: new Float64Array(size),
  expected: new Int32Array(size),
});

/** An entry with its branches from the question down. */
interface Place {
  entry: JournalEntry;
  path: number[];
}

/** Node id of the parent; null for a node of the first role. */
const parentOf = ({ node_id }: Pick<Node, "node_id">): string | null =>
  node_id.includes(".") ? node_id.slice(0, node_id.lastIndexOf(".")) : null;

const where = ({ question_id, node_id }: Pick<Node, "question_id" | "node_id">): string =>
  `node ${JSON.stringify(node_id)} of question ${JSON.stringify(question_id)}`;

/** Branches along a path such as `g0.v2.r1`: [0, 2, 1]. @throws RunError if the roles allow no such path */
function parsePath(entry: JournalEntry, roles: readonly Role[]): number[] {
  return entry.node_id.split(".").map((step, depth) => {
    const role = roles[depth];
    const branch = /^(0|[1-9]\d*)$/.test(step.slice(1)) ? Number(step.slice(1)) : Number.NaN;
    if (role && step[0] === role.name[0] && branch < role.branching) return branch;
    const team = roles.map(({ name, branching }) => `${name} x ${branching}`).join(", ");
    throw new RunError(`the journal holds ${where(entry)}, which is no path through the roles ${team}`);
  });
}

function comparePaths(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return a.length - b.length;
  const at = a.findIndex((branch, i) => branch !== b[i]);
  return at < 0 ? 0 : a[at]! - b[at]!;
}
