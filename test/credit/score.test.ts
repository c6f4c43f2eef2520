import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scoreTrees, treeScorer } from "../../src/credit/score.js";
import { incompletes, poolings } from "../../src/credit/values.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { JournalEntry, Question } from "../../src/types.js";

const roles = maltRoles(2);
const paths = ["g0", "g1"].flatMap((g) => [
  g,
  ...["v0", "v1"].flatMap((v) => [v, `${v}.r0`, `${v}.r1`].map((p) => `${g}.${p}`)),
]);
const names: Record<number, string> = { 1: "generator", 2: "verifier", 3: "refiner" };

const question = (id: string): Question => ({
  ...{ id, benchmark: "own", split: "train", question: "2 + 3?", choices: null, answer: "5" },
});
const entry = (question_id: string, node_id: string, answer: number): JournalEntry => ({
  key: createHash("sha256").update(`${question_id} ${node_id}`).digest("hex"),
  ...{ question_id, node_id, role: names[node_id.split(".").length]!, text: `Final Answer: ${answer}` },
  ...{
    finish_reason: "stop",
    prompt_tokens: 1,
    completion_tokens: 1,
    cached_tokens: null,
    retries: 0,
    seed: 1,
    model: "m",
  },
});

/** Trees from which whole subtrees may be missing. */
const trees = fc
  .array(fc.array(fc.record({ path: fc.constantFrom(...paths), answer: fc.constantFrom(5, 6) })), { maxLength: 5 })
  .map((all) =>
    all.map((wanted, q) => {
      const answers = new Map<string, number>();
      for (const { path, answer } of wanted)
        for (let step = path; step !== ""; step = step.slice(0, Math.max(0, step.lastIndexOf("."))))
          answers.set(step, answer);
      return [...answers].map(([path, answer]) => entry(`q${q}`, path, answer));
    }),
  );

describe("scoreTrees", () => {
  it("gives many trees what each gets alone, whatever is missing", () => {
    const options = fc.record({
      threshold: fc.constantFrom(0.3, 0.5),
      pooling: fc.constantFrom(...poolings),
      incomplete: fc.constantFrom(...incompletes),
    });
    fc.assert(
      fc.property(trees, options, (all, options) => {
        const questions = all.map((_, q) => question(`q${q}`));
        const together = scoreTrees(questions, roles, all.flat().reverse(), options);
        const score = treeScorer(roles, options);
        const alone = questions.map((question, q) => score(question, all[q]!));
        expect(together.nodes).toEqual(alone.flatMap(({ nodes }) => nodes));
        expect([...together.complete]).toEqual(alone.map(({ complete }) => Number(complete)));
        expect([...together.tree]).toEqual(alone.flatMap(({ nodes }, q) => nodes.map(() => q)));
        expect([...together.forest.reward]).toEqual(alone.flatMap(({ forest }) => [...forest.reward]));
        expect([...together.forest.expected!]).toEqual(alone.flatMap(({ forest }) => [...forest.expected]));
        together.nodes.forEach(({ question_id, parent_id }, i) => {
          const parent = together.nodes[together.forest.parent[i]!];
          expect(parent?.node_id ?? null).toBe(parent_id);
          if (parent) expect(parent.question_id).toBe(question_id);
        });
      }),
    );
  });

  it("names the entry of a question that is not asked", () => {
    expect(() => scoreTrees([question("q0")], roles, [entry("q1", "g0", 5)])).toThrow(
      'the journal holds node "g0" of question "q1", which questions.jsonl does not',
    );
  });
});
