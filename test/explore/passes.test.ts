import { describe, expect, it } from "vitest";
import { collectPasses } from "../../src/explore/passes.js";
import type { EvaluationRow } from "../../src/types.js";

/** Turns of one pass: its answers, "ok" being right and "" none. */
const pass = (pass: number, first: string, last: string, voted: string): EvaluationRow[] =>
  [first, last].map((answer, depth) => ({
    ...{ benchmark: "b", system: "G+R", seed: 4, question_id: "q", pass, turn: ["generator", "refiner"][depth]! },
    ...{ text: `I say ${answer}`, answer: answer || null, correct: answer === "ok", completion_tokens: null },
    ...{ voted_answer: voted, voted_correct: voted === "ok" },
  }));

describe("collectPasses", () => {
  it("counts for each vote what the later turns corrected and broke, and how many answers there were", () => {
    const collected = collectPasses([{ name: "G+R", turns: ["generator", "refiner"] }]);
    collected.add(null, [...pass(0, "no", "ok", "ok"), ...pass(1, "ok", "ok", "ok"), ...pass(2, "ok", "", "ok")]);
    const votes = collected.columns();
    const row = Object.fromEntries(Object.entries(votes).map(([name, column]) => [name, [...column]]));
    expect(row).toEqual({
      ...{ question: [0], system: [0], seed: [4], passes: [3], right: [2], corrected: [1], broken: [1] },
      ...{ answers: [2], voted: [1] },
    });
  });
});
