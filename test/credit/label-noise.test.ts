import fc from "fast-check";
import { xoroshiro128plus } from "pure-rand";
import { describe, expect, it } from "vitest";
import { heldOutBranches, identicalNoise, identicalSiblings } from "../../src/credit/label-noise.js";
import { columns, scoreTrees } from "../../src/credit/score.js";
import { sweepThresholds } from "../../src/credit/thresholds.js";
import { backUp } from "../../src/credit/values.js";
import { openRun } from "../../src/dataset/open.js";
import { InputError } from "../../src/errors.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { sampleTrees } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Complete, JournalEntry, Node, Question } from "../../src/types.js";
import { forest } from "../forest.js";

/** Rows of complete trees whose leaves are what `coin` says, by (question, branches from the question down). */
function grow(branching: readonly number[], questions: number, coin: (q: number, path: number[]) => boolean): Node[] {
  const base = {
    finish_reason: "stop",
    prompt_tokens: 5,
    completion_tokens: 2,
    model: "test",
    value: null,
    label: null,
  };
  const roles = ["generator", "verifier", "refiner"];
  return Array.from({ length: questions }, (_, q) => {
    const rows: Node[] = [];
    let level: number[][] = [[]];
    branching.forEach((n, depth) => {
      level = level.flatMap((path) => Array.from({ length: n }, (_, branch) => [...path, branch]));
      for (const path of level) {
        const steps = path.map((branch, d) => `${roles[d]![0]}${branch}`);
        const parent_id = depth === 0 ? null : steps.slice(0, -1).join(".");
        const correct = depth === branching.length - 1 && coin(q, path);
        const place = { question_id: `q${q}`, node_id: steps.join("."), parent_id, depth, branch: path[depth]! };
        const said = { role: roles[depth]!, text: steps.join(" "), answer: "1", correct, seed: rows.length };
        rows.push({ ...base, ...place, ...said });
      }
    });
    return rows;
  }).flat();
}

describe("heldOutBranches", () => {
  it("keeps n branches below each answer and refers to the others alone: 3 out of 2 x 5 x 5", () => {
    // Right leaves: in the kept block r < 3 of v < 3 only below g0.v0 and g0.v1; outside as the comments say.
    const wide = grow([2, 5, 5], 1, (_, [g, v, r]) => {
      if (g === 1) return v! >= 3; // estimate 0, reference 1
      if (v! >= 3) return r === v; // the further critiques of g0: one of five each
      return v === 0 ? true : v === 1 ? r! < 2 || r === 4 : r === 3;
    });
    const { nodes, forest, tree, reference } = heldOutBranches(wide, maltRoles(5));
    expect(nodes.map((node) => node.node_id)).toEqual(
      grow([2, 3, 3], 1, () => false).map((node) => node.node_id), // and in the dataset's order
    );
    const { value } = backUp(forest);
    const at = (id: string) => nodes.findIndex((node) => node.node_id === id);
    const both = (id: string) => [value[at(id)], reference[at(id)]];
    expect(both("g0.v0")).toEqual([1, 1]);
    expect(both("g0.v1")).toEqual([2 / 3, 1 / 2]);
    expect(both("g0.v2")).toEqual([0, 1 / 2]);
    expect(both("g0")).toEqual([5 / 9, 1 / 5]);
    expect(both("g1")).toEqual([0, 1]);
    expect(both("g0.v0.r0")).toEqual([1, Number.NaN]);
    expect([...new Set(forest.expected)].sort()).toEqual([0, 3]);
    expect(new Set(tree)).toEqual(new Set([0]));
    const rows = sweepThresholds(forest, { tree, reference, thresholds: [0.5] });
    // Both answers flip; of six critiques g0.v1 alone (2/3 against 1/2; for g0.v2 1/2 is not good either).
    expect(rows.map((row) => row.noise)).toEqual([1, 1 / 6, null]);
  });

  it("gives no reference where a further branch was not sampled to its end", () => {
    const missing = new Set(["g0.v4.r0", "g0.v0.r4"]);
    const wide = grow([2, 5, 5], 1, () => true).filter((node) => !missing.has(node.node_id));
    const { nodes, reference } = heldOutBranches(wide, maltRoles(5));
    const unknown = nodes.flatMap((node, i) => (node.depth < 2 && Number.isNaN(reference[i]!) ? [node.node_id] : []));
    expect(unknown).toEqual(["g0", "g0.v0"]);
  });

  it("cuts out the trees that sampling with n branches gives, whatever the server says to a seed", async () => {
    const about = { benchmark: "own", split: "train", choices: null } as const;
    const question: Question = { ...about, id: "a", question: "How many?", answer: "1" };
    const complete: Complete = async ({ n, seed }) =>
      Array.from({ length: n }, (_, i) => ({
        ...{ finish_reason: "stop", prompt_tokens: 1, completion_tokens: 1, retries: 0 },
        text: `${seed + i}. Final Answer: ${(seed + i) % 2}`,
      }));
    const sample = async (n: number) => {
      const entries: JournalEntry[] = [];
      const journal = {
        kept: async () => [],
        append: async (more: readonly JournalEntry[]) => void entries.push(...more),
      };
      const run = {
        promptSet: promptSet("arithmetic"),
        policy: { model: "m", adapter: null },
        sampling: defaultSampling,
      };
      await sampleTrees({
        ...run,
        questions: [question],
        roles: maltRoles(n),
        seed: 0,
        complete,
        journal,
        concurrency: 4,
      });
      return scoreTrees([question], maltRoles(n), entries).nodes;
    };
    const [wide, plain] = [await sample(5), await sample(3)];
    const { nodes, forest } = heldOutBranches(wide, maltRoles(5), 3);
    const values = backUp(forest).value;
    const found = nodes.map((node, i) => ({ ...node, value: values[i]!, label: values[i]! > 0.5 }));
    expect(found.filter((node) => /^g[012]/.test(node.node_id))).toEqual(plain);
    expect(new Set(plain.map((node) => node.label)).size).toBe(2);
  });

  it("shares no leaf between estimate and reference", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 2 }), (n, more) => {
        const branching = n + more;
        const rows = forest(2, branching);
        const roles = maltRoles(branching);
        const before = heldOutBranches(rows, roles, n);
        // Turning every kept leaf around changes all estimates of critiques, and no reference.
        const kept = new Set(before.nodes);
        const turned = rows.map((node) =>
          kept.has(node) && node.depth === 2 ? { ...node, correct: !node.correct } : node,
        );
        const after = heldOutBranches(turned, roles, n);
        expect(after.reference).toEqual(before.reference);
        const [a, b] = [backUp(before.forest).value, backUp(after.forest).value];
        before.nodes.forEach((node, i) => {
          if (node.depth === 1) expect(a[i]! + b[i]!).toBeCloseTo(1, 12);
          const inside = before.reference[i]! >= 0 && before.reference[i]! <= 1;
          expect(inside).toBe(node.depth < 2);
        });
      }),
      { seed: 1, numRuns: 12 },
    );
  });

  it("measures the noise that two binomials of 3 and 7 have", () => {
    const generator = xoroshiro128plus(3);
    const random = () => (generator.unsafeNext() >>> 0) / 2 ** 32;
    const chances = [0.1, 0.3, 0.45, 0.6, 0.9];
    // One coin per question. Of 4 critiques 3 are kept, and of 10 refinements 3: an answer has 9 leaves against 10.
    const shape = [4, 4, 10];
    const wide = grow(shape, 300, (q) => random() < chances[q % chances.length]!);
    const roles = maltRoles().map((role, depth) => ({ ...role, branching: shape[depth]! }));
    const { forest, tree, reference } = heldOutBranches(wide, roles);
    const good = (n: number, p: number, theta: number) => {
      let [sum, ways] = [0, 1];
      for (let k = 0; k <= n; k++) {
        if (k / n > theta) sum += ways * p ** k * (1 - p) ** (n - k);
        ways = (ways * (n - k)) / (k + 1);
      }
      return sum;
    };
    for (const theta of [0.2, 0.5, 0.8]) {
      const [answers, critiques] = sweepThresholds(forest, { tree, reference, thresholds: [theta] });
      const exact = (few: number, many: number) => {
        const flips = chances.map((p) => {
          const [a, b] = [good(few, p, theta), good(many, p, theta)];
          return a * (1 - b) + b * (1 - a);
        });
        return flips.reduce((a, b) => a + b) / flips.length;
      };
      // Of 3,600 critiques and 1,200 answers: three standard deviations are 0.025 and 0.043 at most.
      expect(Math.abs(critiques!.noise! - exact(3, 7))).toBeLessThan(0.025);
      expect(Math.abs(answers!.noise! - exact(9, 10))).toBeLessThan(0.043);
    }
  });

  it("refuses a run that is not wide enough, and an n that is none", () => {
    const rows = forest(1);
    expect(() => heldOutBranches(rows, maltRoles())).toThrow(InputError);
    expect(() => heldOutBranches(rows, maltRoles())).toThrow(/"verifier" branches 3 times.*n = 3.*more branches/);
    expect(() => heldOutBranches(rows, maltRoles(), 1.5)).toThrow("n is 1.5; give an integer of at least 1");
    expect(columns(heldOutBranches(rows, maltRoles(), 2).nodes, maltRoles(2)).tree.length).toBe(3 + 6 + 12);
  });
});

describe("siblings that say the same", () => {
  /** Answers to one question: their texts, and their labels as "+", "-" or "?" for none. */
  const answers = (texts: string[], labels: string, question_id = "q"): Node[] =>
    texts.map((text, branch) => ({
      ...forest(1)[0]!,
      ...{ question_id, node_id: `g${branch}`, branch, text },
      ...(labels[branch] === "?" ? { value: null, label: null } : { label: labels[branch] === "+" }),
    }));

  it("are counted by role, with the labels that must be wrong: of a, a, b, b, b, c the b differ", () => {
    const nodes = answers(["a", "a", "b", "b", "b", "c"], "--+-+-");
    expect(identicalSiblings(nodes).map((group) => group.map(({ node_id }) => node_id))).toEqual([
      ["g0", "g1"],
      ["g2", "g3", "g4"],
    ]);
    expect(identicalNoise(nodes)).toEqual([{ role: "generator", groups: 2, contradictory: 1, outputs: 5, wrong: 1 }]);
  });

  it("share a state: the same text under another question or parent is no sibling", () => {
    const [a, b] = [answers(["a", "b"], "+-"), answers(["a", "b"], "-+", "other")];
    const below = answers(["a", "a"], "+-").map((node, i) => ({ ...node, node_id: `g${i}.v0`, parent_id: `g${i}` }));
    expect(identicalNoise([...a, ...b, ...below])).toEqual([]);
  });

  it("are the same to the byte, and have labels", () => {
    expect(identicalNoise(answers(["a", "a ", "A", "á", "a\u0301"], "+-+-+"))).toEqual([]);
    expect(identicalNoise(answers(["a", "a", "a"], "+??"))).toEqual([]);
    expect(identicalNoise(answers(["a", "a", "a"], "+?-"))[0]).toMatchObject({
      outputs: 2,
      contradictory: 1,
      wrong: 1,
    });
  });

  it("of the recorded run are those that SQL finds, and none contradicts itself at a leaf", async () => {
    const run = await openRun(null);
    try {
      const expected = await run.query(`
        SELECT role, count(*) AS groups, count(*) FILTER (good > 0 AND good < n) AS contradictory,
               sum(n) AS outputs, sum(least(good, n - good)) AS wrong
        FROM (SELECT role, depth, count(*) AS n, count(*) FILTER (label) AS good FROM nodes WHERE label IS NOT NULL
              GROUP BY question_id, parent_id, role, depth, text)
        WHERE n > 1 GROUP BY role, depth ORDER BY depth`);
      const rows = identicalNoise(await run.nodes());
      expect(rows).toEqual(expected);
      expect(rows.find(({ role }) => role === "refiner")).toMatchObject({ contradictory: 0, wrong: 0 });
    } finally {
      run.close();
    }
  });
});
