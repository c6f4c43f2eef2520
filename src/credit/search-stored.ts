/**
 * Searches of trees that are sampled already: what a search would have asked for, read off a run with more branches. So a rule
 * for where the next completion goes can be tried on hundreds of trees in a second, without a server. Pure.
 */
import { InputError } from "../errors.js";
import type { Node, Role } from "../types.js";
import { checkSearch, type Growth, nextChildren, type Search, type SearchNode } from "./search.js";

/** A node that a search has asked for. */
export interface SearchedNode extends SearchNode {
  children: SearchedNode[];
  /** The stored output; its value is that of the whole stored tree. */
  node: Node;
  /** In which round it was asked for: 0, 1, 2, … */
  round: number;
  /** Mean value in the searched tree; of a leaf its reward. */
  value: number;
}

/** A rule for what to ask for next, as {@link nextChildren} is one; it ends a search by asking for nothing. */
export type Choose = (roots: readonly SearchNode[], roles: readonly Role[], search: Search) => readonly Growth[];

export interface SearchStoredOptions {
  /** Which stored branch comes first, 0 by default: other turns give other searches of the same trees. */
  turn?: number;
  /** Default: that of `malt sample --search adaptive`. */
  choose?: Choose;
}

/**
 * Plays a search on every stored tree. The first child that a state is given is its stored branch `turn`, the next one the
 * branch after it, and so on.
 * @param nodes of complete trees
 * @param roles the team with the branches that a search may use, at most those that are stored; with `budget` the size of its full
 * tree, every search becomes that tree
 * @returns all nodes asked for, by question in the order of `nodes`, then in the order in which they were asked for
 * @throws InputError for a search that cannot be made, a rule that asks for what it may not have, or a tree that lacks a branch
 */
export function searchStored(
  nodes: readonly Node[],
  roles: readonly Role[],
  search: Search,
  { turn = 0, choose = nextChildren }: SearchStoredOptions = {},
): SearchedNode[] {
  checkSearch(search, roles);
  if (!Number.isInteger(turn) || turn < 0) throw new InputError(`turn is ${turn}; give an integer of at least 0`);
  const states = new Map<string, Node[]>();
  for (const node of nodes) {
    const state = stateOf(node.question_id, node.parent_id);
    states.set(state, [...(states.get(state) ?? []), node]);
  }
  const questions = [...new Set(nodes.map(({ question_id }) => question_id))];
  return questions.flatMap((question) => {
    const roots: SearchedNode[] = [];
    const all: SearchedNode[] = [];
    for (let round = 0; all.length < search.budget; round++) {
      const growths = choose(roots, roles, search);
      if (growths.length === 0) break;
      for (const { node, children } of growths) {
        const parent = node as SearchedNode | null;
        const siblings = parent?.children ?? roots;
        const depth = parent === null ? 0 : parent.depth + 1;
        const stored = states.get(stateOf(question, parent?.node.node_id ?? null)) ?? [];
        const most = Math.min(roles[depth]?.branching ?? 0, stored.length);
        const isFree = Number.isInteger(children) && children >= 1 && siblings.length + children <= most;
        if (!isFree || all.length + children > search.budget)
          throw new InputError(
            `${children} more children below ${parent?.node.node_id ?? "the question"} of ${question} are none that a search may ` +
              `have: ${siblings.length} of at most ${most} are there, and ${search.budget - all.length} completions are left`,
          );
        for (let i = 0; i < children; i++) {
          const node = stored[(siblings.length + turn) % stored.length]!;
          const child = { depth, children: [], node, round, reward: Number(node.correct === true), value: Number.NaN };
          siblings.push(child);
          all.push(child);
        }
      }
    }
    // A parent was asked for before its children.
    for (const one of all.toReversed())
      one.value =
        one.children.length === 0
          ? one.reward
          : one.children.reduce((sum, child) => sum + child.value, 0) / one.children.length;
    return all;
  });
}

const stateOf = (question: string, parent: string | null): string => `${question}\n${parent ?? ""}`;
