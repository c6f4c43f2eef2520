import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { gradeCase } from "../../src/answers/case.js";
import { canonical, grade } from "../../src/answers/index.js";

interface Case {
  id: string;
  kind: string;
  gold: string;
  pred: string;
  input: "raw" | "text";
  expected: boolean;
}

const cases = readFileSync(new URL("../../data/graders/cases.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

describe("own cases (data/graders)", () => {
  it.each(
    cases.map((row): [string, string, string, string, Case] => [
      row.kind,
      row.gold,
      row.expected ? "=" : "≠",
      row.pred,
      row,
    ]),
  )("%s: %j %s %j", (_kind, _gold, _sign, _pred, row) => {
    expect(gradeCase(row)).toMatchObject({ equal: row.expected });
    // A text is only ever a prediction.
    if (row.input === "raw")
      expect(gradeCase({ ...row, gold: row.pred, pred: row.gold })).toMatchObject({ equal: row.expected });
  });
});

describe("canonical answers", () => {
  const raw = cases.filter(({ input, kind }) => input === "raw" && kind !== "choice");
  const texts = [...new Set(raw.flatMap(({ gold, pred }) => [gold, pred]))];
  const forms = new Map(texts.map((text) => [text, canonical(text, "math")]));

  it("are their own canonical form, and the answer itself", () => {
    for (const [text, form] of forms) {
      expect(form, text).not.toBeNull();
      expect(canonical(form!, "math"), text).toBe(form);
      expect(grade(text, form!, "math"), `${text} and ${form}`).toMatchObject({ equal: true });
    }
  });

  it("are never the same text for different answers", () => {
    // What a name stands for is all that a vote on one question is about: x = 5 and y = 5 both count for 5.
    for (const { kind, gold, pred, expected } of raw) {
      if (!expected && kind !== "assignment") expect(forms.get(gold), `${gold} and ${pred}`).not.toBe(forms.get(pred));
    }
  });

  it.each([
    ["(x-1)(x+1)", "x^2-1"],
    ["3+2\\sqrt2", "2\\sqrt{2} + 3"],
    ["\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt3}"],
    ["x=5", "5.0"],
    ["3, 1, 2", "\\text{1, 2 and 3}"],
    ["\\left(\\frac12, 1\\right)", "(0.5,1)"],
    ["\\sin 30^\\circ", "1/2"],
    ["\\text{Even}", "even"],
    ["7\\text{ hours}", "7\\text{ h}"],
  ])("bring %s and %s to one text, so that a vote counts them together", (one, other) => {
    expect(canonical(one, "math")).toBe(canonical(other, "math"));
  });
});
