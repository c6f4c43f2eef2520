/**
 * Where the next completions should go, in place of a full tree (paper, Appendices A.5 and A.8): children are added where a
 * label is least certain. The choice is a function of what has been said so far, so a search that is stopped goes on as if
 * it had not been. Pure; sample/search.ts asks for the completions.
 */
import { InputError } from "../errors.js";
import type { Role } from "../types.js";
import { errorProbability } from "./posterior.js";

/** How a question's completions are allocated. */
export interface Search {
  kind: "adaptive";
  /** Completions per question. */
  budget: number;
  /** θ of the labels that shall become certain. */
  threshold: number;
}

/** The searches that a run can be sampled with; `full` is the paper's tree. */
export const searchKinds = ["full", "adaptive"] as const;

/** Answers that every search begins with, as in the paper's tree; the role's branching may allow fewer. */
const firstAnswers = 3;
/** Children that a new output of an inner role gets at once, before anything is known of it. */
const firstChildren = 2;
/** What a round spends of the completions that are left. Smaller shares choose better, and take more rounds. */
const roundShare = 1 / 4;

/** A node of a search tree. */
export interface SearchNode {
  /** 0 for the first role's. */
  depth: number;
  /** In order of their branches 0, 1, 2, … */
  children: SearchNode[];
  /** Of a leaf. */
  reward: number;
}

/** Children to ask for below a node; null is the question itself. */
export interface Growth {
  node: SearchNode | null;
  children: number;
}

/** @throws InputError unless the budget pays for one answer and everything below it, and θ is in [0, 1] */
export function checkSearch({ budget, threshold }: Search, roles: readonly Role[]): void {
  if (!Number.isInteger(budget) || budget < roles.length)
    throw new InputError(
      `budget is ${budget}; give an integer of at least ${roles.length}, one completion of each role`,
    );
  if (!(threshold >= 0 && threshold <= 1)) throw new InputError(`threshold is ${threshold}; give a number from 0 to 1`);
}

/**
 * What to ask for next, once everything that was asked for before is there.
 *
 * First {@link firstAnswers} answers; every output of an inner role then gets {@link firstChildren} children, or as many as the
 * budget allows. After that each round spends {@link roundShare} of what is left (after successive halving: Karnin, Koren
 * and Somekh 2013) on one more child for each of the nodes whose labels are least certain, per completion that the child
 * costs with one of each role after it. How uncertain a label is comes from the posterior of posterior.ts, in which a node
 * has as many samples as children: leaves below one child are not independent. Another answer is only asked for where all
 * states are full.
 *
 * On the recorded run with 8 branches, 39 completions allocated so gave 3 labels of answers and 8.2 of critiques per question, of
 * which 95.8 % and 98.4 % were those of the full tree of 584; the tree of n = 3 gave 3 and 9, of which 94.4 % and 96.9 % were.
 *
 * Values are means of children in either kind of tree, but here the number of children depends on what the first ones were worth, so
 * values are slightly biased towards the first impression, as with any rule that stops early (Nie et al. 2018, "Why
 * adaptively collected data have negative bias").
 * @param roots the answers so far, each with its tree
 * @returns nothing once the budget is spent
 */
export function nextChildren(
  roots: readonly SearchNode[],
  roles: readonly Role[],
  { budget, threshold }: Search,
): Growth[] {
  const nodes = flat(roots);
  let left = budget - nodes.length;
  const growths: Growth[] = [];
  const grow = (node: SearchNode | null, children: number) => {
    if (children > 0) growths.push({ node, children });
    left -= children * cost(node, roles);
  };
  if (roots.length === 0) {
    const affordable = Math.floor(budget / roles.length);
    grow(null, Math.min(firstAnswers, roles[0]!.branching, affordable));
    return growths;
  }
  const bare = nodes.filter(({ depth, children }) => depth < roles.length - 1 && children.length === 0);
  if (bare.length > 0) {
    // Their first children were paid for when they were asked for; the others are a matter of what is left.
    left = left - bare.reduce((sum, node) => sum + cost(node, roles), 0);
    for (const node of bare) {
      const room = Math.min(firstChildren, roles[node.depth + 1]!.branching) - 1;
      const more = Math.max(0, Math.min(room, Math.floor(left / cost(node, roles))));
      growths.push({ node, children: 1 + more });
      left -= more * cost(node, roles);
    }
    return growths;
  }
  const candidates = nodes
    .filter((node) => hasRoom(node, roots, roles))
    .map((node) => ({ node, gain: uncertainty(node, threshold) / cost(node, roles) }))
    .sort((a, b) => b.gain - a.gain);
  const keep = left - Math.ceil(left * roundShare);
  for (const { node } of candidates) {
    if (left <= keep) break;
    if (cost(node, roles) <= left) grow(node, 1);
  }
  if (growths.length === 0 && hasRoom(null, roots, roles) && cost(null, roles) <= left) grow(null, 1);
  return growths;
}

/**
 * Whether a search has nothing left to ask for. Depends on the tree's shape alone, so that it is the same under every grader.
 * @param roots as in {@link nextChildren}
 */
export function isSpent(roots: readonly SearchNode[], roles: readonly Role[], { budget }: Search): boolean {
  const nodes = flat(roots);
  if (roots.length === 0 || nodes.some(({ depth, children }) => depth < roles.length - 1 && children.length === 0))
    return false;
  const left = budget - nodes.length;
  return ![null, ...nodes].some((node) => hasRoom(node, roots, roles) && cost(node, roles) <= left);
}

/** Completions that one more child costs: itself and one of each role after it. */
const cost = (node: SearchNode | null, roles: readonly Role[]): number =>
  roles.length - (node === null ? 0 : node.depth + 1);

function hasRoom(node: SearchNode | null, roots: readonly SearchNode[], roles: readonly Role[]): boolean {
  if (node === null) return roots.length < roles[0]!.branching;
  const below = roles[node.depth + 1];
  return below !== undefined && node.children.length < below.branching;
}

function uncertainty(node: SearchNode, threshold: number): number {
  return errorProbability(meanBelow(node), node.children.length, threshold);
}

const meanBelow = ({ children, reward }: SearchNode): number =>
  children.length === 0 ? reward : children.reduce((sum, child) => sum + meanBelow(child), 0) / children.length;

const flat = (nodes: readonly SearchNode[]): SearchNode[] => nodes.flatMap((node) => [node, ...flat(node.children)]);
