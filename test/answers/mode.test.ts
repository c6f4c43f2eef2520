import { describe, expect, it } from "vitest";
import { type AnswerKind, extract, gradeCase, gradeText } from "../../src/answers/index.js";
import type { Question } from "../../src/types.js";

const places = ["bank", "library", "book store"];

describe("the modes of extraction", () => {
  it.each<[string, AnswerKind, string | null, string[]?]>([
    ["She has 5 apples, then buys 7 more, which makes 12 in all", "number", "12"],
    ["We get 12 apples, then 7 are eaten, so I think five or so", "number", "7"],
    ["It costs $1,234.50 and then\nnothing else", "number", "1234.5"],
    ["That is -3 or so, then \\frac{1}{2} of it", "number", "0.5"],
    ["First $x=1$, then we try $y = \\frac{1}{2}$ and it remains to show", "math", "0.5"],
    ["We have $x=1$ and $y=2$, which leaves 7 cases", "math", "7"],
    ["First 3 = a, then b = 2\\sqrt{3}\nThis seems plausible", "math", "2\\sqrt{3}"],
    ["It could be (A), but I lean to (B)", "choice", "B"],
    ["I like the bank. Maybe it is the library", "choice", "B", places],
    ["There is nothing to say", "number", null],
    ["There is nothing to say", "choice", null],
    ["", "math", null],
    ["<think>5 or 6", "number", null],
    ["<think>12</think>\nwell, hm, hm", "number", null],
    ["I get 5 or 6\nUser: and 3 + 4?\nAssistant: 7", "number", "6"],
    ["Final Answer: 5 or 6\nUser: and 3 + 4?\nAssistant: Final Answer: 7", "number", null],
    ["First 3, so \\boxed{\\frac{1}{2", "math", null],
    ["Final Answer: A or B", "choice", null],
    ["The answer is not obvious.\nIn the end 12 of them remain, or so", "number", "12"],
  ])("%j as %s: nothing in the strict one, %j in the flexible one", (text, kind, expected, choices) => {
    const last = extract(text, kind, choices, "flexible");
    const stated = extract(text, kind, choices);
    expect(last?.answer ?? null).toBe(stated?.answer ?? expected);
    expect(last?.answer ?? null).toBe(expected);
    if (!last || stated) return;
    expect(last.rule).toBe("last");
    expect(text.slice(...last.span).trim()).not.toBe("");
  });

  it.each<[string, AnswerKind]>([
    ["Final Answer: 12 apples. There were 40 before", "number"],
    ["\\boxed{3}, not $4$", "math"],
    ["The answer is B, since C4 is too far", "choice"],
    ["#### 7\nthat is 3 + 4", "number"],
  ])("%j: what is stated counts in both", (text, kind) => {
    const stated = extract(text, kind);
    expect(stated).not.toBeNull();
    expect(extract(text, kind, null, "flexible")).toEqual(stated);
  });

  it("grade texts of questions and of cases", () => {
    const question: Question = {
      ...{ id: "q", benchmark: "gsm8k", split: "test", question: "?", choices: null, answer: "12" },
    };
    const text = "5 and 7, so that\nthere are 12 left for her and nobody else";
    expect(gradeText(question, `${text} but 5`)).toEqual({ answer: null, correct: null });
    expect(gradeText(question, `${text} but 5`, "flexible")).toEqual({ answer: "5", correct: false });
    expect(gradeText(question, text, "flexible")).toEqual({ answer: "12", correct: true });
    const row = { id: "", gold: "12", pred: text, input: "text" as const };
    expect(gradeCase(row)).toMatchObject({ equal: false, verdict: "unparsable" });
    expect(gradeCase(row, "flexible")).toMatchObject({ equal: true });
    expect(
      gradeCase({ ...row, gold: "\\frac12", pred: "It is $x^2$, hm, at\n$x = 0.5$ then or" }, "flexible").equal,
    ).toBe(true);
    expect(gradeCase({ ...row, pred: "<think>12" }, "flexible").equal).toBe(false);
  });
});
