import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { treeSize } from "../../src/credit/score.js";
import { checkSearch, isSpent, nextChildren, type Search, type SearchNode } from "../../src/credit/search.js";
import { openRun } from "../../src/dataset/open.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Node, Role } from "../../src/types.js";

/** Searches one tree to its end; `reward` says what the leaf at some branches is worth. */
function searched(roles: readonly Role[], search: Search, reward: (path: readonly number[]) => number) {
  const roots: SearchNode[] = [];
  const paths = new Map<SearchNode, number[]>();
  const sizes: number[] = [];
  for (;;) {
    const growths = nextChildren(roots, roles, search);
    if (growths.length === 0) return { roots, paths, sizes };
    expect(isSpent(roots, roles, search)).toBe(false);
    expect(new Set(growths.map(({ node }) => node)).size).toBe(growths.length);
    for (const { node, children } of growths) {
      for (let i = 0; i < children; i++) {
        const siblings = node?.children ?? roots;
        const path = [...(node ? paths.get(node)! : []), siblings.length];
        const child = { depth: path.length - 1, children: [], reward: path.length === roles.length ? reward(path) : 0 };
        paths.set(child, path);
        siblings.push(child);
      }
    }
    sizes.push(paths.size);
  }
}

const roles = maltRoles(8);
const paper: Search = { kind: "adaptive", budget: 39, threshold: 0.5 };

describe("nextChildren", () => {
  it("begins with three answers, two critiques of each and two refinements of each critique", () => {
    const { sizes } = searched(roles, paper, () => 1);
    expect(sizes.slice(0, 3)).toEqual([3, 9, 21]);
    expect(sizes.at(-1)).toBe(39);
  });

  it("puts the next completions where a label is open", () => {
    // Of one critique, g1.v0, the refinements disagree; all others agree with each other.
    const open = (path: readonly number[]) => path[0] === 1 && path[1] === 0;
    const { roots } = searched(roles, paper, (path) => (open(path) ? path[2]! % 2 : 1));
    const children = roots.flatMap((g) => g.children.map((v) => v.children.length));
    expect(roots[1]!.children[0]!.children.length).toBe(Math.max(...children));
    expect(roots[1]!.children[0]!.children.length).toBeGreaterThan(5);
  });

  it("spends exactly its budget, within the branching, and leaves no output without what must follow it", () => {
    const teams = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        teams,
        fc.integer({ min: 0, max: 60 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(),
        (branching, more, threshold, seed) => {
          const team = branching.map((n, i): Role => ({ ...roles[0]!, name: `role-${i}`, branching: n }));
          const search: Search = { kind: "adaptive", budget: team.length + more, threshold };
          const coin = (path: readonly number[]) => path.reduce((h, b) => Math.imul(h ^ b, 2654435761) >>> 0, seed) % 2;
          const { roots, paths } = searched(team, search, coin);
          expect(isSpent(roots, team, search)).toBe(true);
          expect(paths.size).toBeLessThanOrEqual(search.budget);
          // What is left pays for no chain of outputs to a leaf, or the tree is full.
          if (paths.size < treeSize(team)) expect(search.budget - paths.size).toBeLessThan(team.length);
          for (const node of paths.keys()) {
            const most = team[node.depth + 1]?.branching ?? 0;
            expect(node.children.length).toBeLessThanOrEqual(most);
            if (most > 0) expect(node.children.length).toBeGreaterThan(0);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("makes more labels right than the tree of n = 3, with as many completions, on the recorded wide run", async () => {
    const run = await openRun("data/recorded-wide");
    const nodes = await run.nodes();
    run.close();
    const trees = new Map<string, Map<string, Node>>();
    for (const node of nodes) {
      const tree = trees.get(node.question_id) ?? new Map<string, Node>();
      trees.set(node.question_id, tree.set(node.node_id, node));
    }
    const id = (path: readonly number[]) => path.map((b, d) => `${"gvr"[d]}${b}`).join(".");
    const wrong = { adaptive: 0, full: 0 };
    const labels = { adaptive: 0, full: 0 };
    const mean = ({ children, reward }: SearchNode): number =>
      children.length === 0 ? reward : children.reduce((sum, child) => sum + mean(child), 0) / children.length;
    for (const tree of trees.values()) {
      // Four trees of each question, begun at every other branch.
      for (let turn = 0; turn < 8; turn += 2) {
        const place = (path: readonly number[]) => tree.get(id(path.map((b) => (b + turn) % 8)))!;
        const reward = (path: readonly number[]) => Number(place(path).correct === true);
        // A tree of n = 3 is a search that may not branch more.
        for (const [kind, team] of [
          ["adaptive", roles],
          ["full", maltRoles(3)],
        ] as const) {
          const { paths } = searched(team, paper, reward);
          expect(paths.size).toBe(39);
          for (const [node, path] of paths) {
            if (node.depth === 2) continue;
            labels[kind]++;
            wrong[kind] += Number(mean(node) > 0.5 !== place(path).value! > 0.5);
          }
        }
      }
    }
    expect(labels.full).toBe(20 * 4 * 12);
    expect(labels.adaptive / labels.full).toBeGreaterThan(0.9);
    expect(wrong.adaptive / labels.adaptive).toBeLessThan(0.7 * (wrong.full / labels.full));
  });

  it("is refused with a budget that pays for no whole path", () => {
    expect(() => checkSearch({ ...paper, budget: 2 }, roles)).toThrow("budget is 2; give an integer of at least 3");
    expect(() => checkSearch({ ...paper, threshold: 2 }, roles)).toThrow("threshold is 2");
  });
});
