import { describe, expect, it } from "vitest";
import { rolesByMode, systemsByMode } from "../../src/evaluate/extraction.js";
import { modes } from "../../src/show/results.js";
import type { EvaluationRow, Node, Question } from "../../src/types.js";

const questions = ["q0", "q1"].map(
  (id): Question => ({ ...{ id, benchmark: "gsm8k", split: "test", question: "?", choices: null }, answer: "12" }),
);
/** Unstated, but with the right number at its end. */
const unstated = "first 5, then 7 more\nwhich makes 12 and nothing else";
const wrong = "Final Answer: 7";

describe("accuracy under both modes of extraction", () => {
  it("of roles: their own answers, whatever the rows were graded with", () => {
    const node = (role: string, question_id: string, text: string) =>
      ({ role, question_id, text, correct: null }) as unknown as Node;
    const nodes = [
      node("generator", "q0", unstated),
      node("generator", "q1", "Final Answer: 12"),
      node("refiner", "q0", wrong),
      node("refiner", "q1", "Final Answer: 12"),
    ];
    const shares = rolesByMode(questions, nodes);
    expect(shares).toEqual([
      { name: "generator", strict: 0.5, flexible: 1 },
      { name: "refiner", strict: 0.5, flexible: 0.5 },
    ]);
    const [table] = modes(shares, "role");
    expect(table).toMatch(/strict\s+flexible\ngenerator\s+50\.0 %\s+100\.0 %\nrefiner\s+50\.0 %\s+50\.0 %/);
    expect(() => rolesByMode(questions.slice(1), nodes)).toThrow(/question q0/);
  });

  it("of systems: the votes at their last turn, where the rows hold texts", () => {
    const rows = (system: string, turn: string, texts: readonly string[]) =>
      texts.map((text, pass) => ({ system, turn, text, pass, seed: 0, question_id: "q0" }) as unknown as EvaluationRow);
    const all = [
      ...rows("MALT", "generator", ["Final Answer: 12", "Final Answer: 12", "Final Answer: 12"]),
      ...rows("MALT", "refiner", [unstated, wrong, unstated]),
      ...rows("SA", "generator", [wrong]),
    ];
    expect(systemsByMode(questions, all)).toEqual([
      { name: "MALT", strict: 0, flexible: 1 },
      { name: "SA", strict: 0, flexible: 0 },
    ]);
    expect(systemsByMode(questions, [{ ...all[0]!, text: null }] as unknown as EvaluationRow[])).toEqual([]);
  });

  it("is shown only where a row differs by more than a point", () => {
    expect(modes([{ name: "SA", strict: 0.5, flexible: 0.51 }], "system")).toEqual([]);
    expect(modes([{ name: "SA", strict: 0.5, flexible: 0.52 }], "system")).toHaveLength(2);
  });
});
