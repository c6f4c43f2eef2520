import { xoroshiro128plus } from "pure-rand";
import { describe, expect, it } from "vitest";
import { comparedEstimators, estimatorErrors } from "../../src/credit/estimator-error.js";
import { openRun } from "../../src/dataset/open.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Node } from "../../src/types.js";

/** Complete trees of depth 2 (answers and refinements) whose answers have known values: their leaves are coins. */
function coins(questions: number, branching: number, truth: () => number): Node[] {
  const rng = xoroshiro128plus(11);
  const random = () => (rng.unsafeNext() >>> 0) / 2 ** 32;
  const base = {
    finish_reason: "stop",
    prompt_tokens: 5,
    completion_tokens: 2,
    model: "test",
    value: null,
    label: null,
  };
  return Array.from({ length: questions }, (_, q) => {
    const answers: Node[] = [];
    const leaves: Node[] = [];
    for (let g = 0; g < branching; g++) {
      const place = { question_id: `q${q}`, node_id: `g${g}`, parent_id: null, depth: 0, branch: g, role: "generator" };
      answers.push({ ...base, ...place, text: `g${g}`, seed: g, answer: "1", correct: g % 2 === 0 });
      const p = truth();
      for (let r = 0; r < branching; r++) {
        const below = { ...place, node_id: `g${g}.r${r}`, parent_id: `g${g}`, depth: 1, branch: r, role: "refiner" };
        leaves.push({ ...base, ...below, text: `${g} ${r}`, seed: 99, answer: "1", correct: random() < p });
      }
    }
    return [...answers, ...leaves];
  }).flat();
}
const [generator, , refiner] = maltRoles(8);
const roles = [generator!, refiner!];

describe("estimatorErrors", () => {
  const rows = estimatorErrors(
    coins(150, 8, () => 0.7),
    roles,
    {
      estimators: {
        mean: {},
        max: { pooling: "max" },
        rloo: { estimator: "rloo" },
        coma: { estimator: "coma" },
        td: { estimator: "td", lambda: 0 },
      },
    },
  );
  const row = (name: string) => rows.find((each) => each.name === name)!;

  it("finds the known bias and deviation where all values are 0.7 and n is 3", () => {
    expect(row("mean").bias.mean).toBeCloseTo(0, 3);
    expect(row("mean").nodeBias).toBeLessThan(0.03);
    expect(row("mean").deviation).toBeCloseTo(Math.sqrt(0.21 / 3), 2);
    // E max of three coins = 1 − 0.3³.
    expect(row("max").bias.mean).toBeCloseTo(1 - 0.3 ** 3 - 0.7, 2);
    expect(row("max").nodeBias).toBeCloseTo(1 - 0.3 ** 3 - 0.7, 1);
    // The difference of a mean of three and a mean of six.
    expect(row("rloo").deviation).toBeCloseTo(Math.sqrt(0.21 / 3 + 0.21 / 6), 1);
    expect(row("coma").deviation).toBeLessThan(row("rloo").deviation);
    // The critic is 1 of every second answer and 0 of the others: without variance, wrong by 0.3 or by 0.7.
    expect(row("td").deviation).toBe(0);
    expect(row("td").bias.mean).toBeCloseTo(0.5 - 0.7, 2);
    expect(row("td").nodeBias).toBeCloseTo(Math.sqrt((0.3 ** 2 + 0.7 ** 2) / 2), 1);
  });

  it("on the recorded wide run: the mean has no bias, max a large one, and λ trades bias for variance", async () => {
    const run = await openRun("data/recorded-wide");
    const nodes = await run.nodes();
    run.close();
    const some = new Set([...new Set(nodes.map(({ question_id }) => question_id))].slice(0, 4));
    const errors = estimatorErrors(
      nodes.filter(({ question_id }) => some.has(question_id)),
      run.roles,
    );
    expect(new Set(errors.map(({ name }) => name))).toEqual(new Set(Object.keys(comparedEstimators)));
    const of = (name: string) => errors.find((each) => each.name === name && each.role === "generator")!;
    expect(Math.abs(of("mean").bias.mean)).toBeLessThan(0.01);
    expect(of("max").bias.mean).toBeGreaterThan(0.05);
    expect(of("td, λ = 0").deviation).toBe(0);
    expect(of("td, λ = 0.5").deviation).toBeLessThan(of("mean").deviation);
    expect(of("td, λ = 0").nodeBias!).toBeGreaterThan(of("td, λ = 0.5").nodeBias!);
    expect(of("posterior").labelled).toBeLessThan(1);
    expect(of("posterior").wrong).toBeLessThan(of("mean").wrong);
  });

  it("needs a run that branches wide enough", () => {
    expect(() => estimatorErrors([], maltRoles(7))).toThrow('role "generator" branches 7 times');
    expect(() => estimatorErrors([], maltRoles(8), { n: 1 })).toThrow("n is 1");
  });
});
