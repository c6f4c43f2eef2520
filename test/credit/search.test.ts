import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { treeSize } from "../../src/credit/score.js";
import { checkSearch, isSpent, nextChildren, type Search, type SearchNode } from "../../src/credit/search.js";
import { type Choose, searchStored } from "../../src/credit/search-stored.js";
import { openRun } from "../../src/dataset/open.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Role } from "../../src/types.js";
import { forest } from "../forest.js";

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
    const tally = (team: readonly Role[]) => {
      // Four trees of each question, begun at every other branch. A tree of n = 3 is a search that may not branch more.
      const all = [0, 2, 4, 6].flatMap((turn) => searchStored(nodes, team, paper, { turn }));
      expect(all.length).toBe(20 * 4 * 39);
      const labelled = all.filter(({ depth }) => depth < 2);
      const wrong = labelled.filter(({ value, node }) => value > 0.5 !== node.value! > 0.5);
      return { labels: labelled.length, wrong: wrong.length / labelled.length };
    };
    const [adaptive, full] = [tally(roles), tally(maltRoles(3))];
    expect(full.labels).toBe(20 * 4 * 12);
    expect(adaptive.labels / full.labels).toBeGreaterThan(0.9);
    expect(adaptive.wrong).toBeLessThan(0.7 * full.wrong);
  });

  it("is refused with a budget that pays for no whole path", () => {
    expect(() => checkSearch({ ...paper, budget: 2 }, roles)).toThrow("budget is 2; give an integer of at least 3");
    expect(() => checkSearch({ ...paper, threshold: 2 }, roles)).toThrow("threshold is 2");
  });
});

describe("searchStored", () => {
  const nodes = forest(4);
  const team = maltRoles(3);

  it("takes the stored branches in turn, and makes the whole tree with a budget for it", () => {
    const all = searchStored(nodes, team, paper, { turn: 1 });
    expect(all.length).toBe(4 * 39);
    expect(all.slice(0, 3).map(({ node, round }) => [node.node_id, round])).toEqual([
      ["g1", 0],
      ["g2", 0],
      ["g0", 0],
    ]);
    for (const { node, value } of all) expect(value).toBeCloseTo(node.value!, 12);
  });

  it("counts with the values that the search has seen, under any rule", () => {
    const chain: Choose = (roots) => {
      const last = roots[0]?.children[0] ?? roots[0] ?? null;
      return last?.children.length === 0 || last === null ? [{ node: last, children: 1 }] : [];
    };
    const all = searchStored(nodes, team, paper, { choose: chain });
    expect(all.map(({ depth, round }) => [depth, round])).toEqual(
      Array(4)
        .fill([
          [0, 0],
          [1, 1],
          [2, 2],
        ])
        .flat(),
    );
    for (const { value } of all) expect([0, 1]).toContain(value);
  });

  it("refuses what is not stored or not paid for", () => {
    expect(() => searchStored(nodes, maltRoles(4), { ...paper, budget: 84 })).toThrow(/more children below/);
    const greedy: Choose = () => [{ node: null, children: 2 }];
    expect(() => searchStored(nodes, team, paper, { choose: greedy })).toThrow(
      "2 more children below the question of q0 are none that a search may have: 2 of at most 3 are there, and 37 completions are left",
    );
    expect(() => searchStored(nodes, team, paper, { turn: -1 })).toThrow("turn is -1");
  });
});
