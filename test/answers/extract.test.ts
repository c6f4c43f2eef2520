import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AnswerKind, extract } from "../../src/answers/index.js";

const answer = (text: string, kind: AnswerKind = "number", choices: string[] | null = null) =>
  extract(text, kind, choices)?.answer ?? null;

describe("extract a number", () => {
  it.each([
    ["It costs $22.50 + $6.50.\nFinal Answer: $29.00.", "29", "final answer"],
    ["**Final Answer:** $70,000", "70000", "final answer"],
    ["**Final Answer**: 12 apples", "12", "final answer"],
    ["### Final Answer\n\n\\boxed{72}", "72", "boxed"],
    ["final answer is: 12.", "12", "final answer"],
    ["Final Answer: 5 + 4 = 9", "9", "final answer"],
    ["Final Answer: 24\n\nWait.\nFinal Answer: 36", "36", "final answer"],
    ["Final Answer: The largest $n$ is 34. I hope it is correct.", "34", "final answer"],
    ["Final Answer: 72 clips in 3 days", "72", "final answer"],
    ["Final Answer: 18<|eot_id|><|start_header_id|>user<|end_header_id|>\nFinal Answer: 3", "18", "final answer"],
    ["Final Answer: 9\n\nQuestion: And 5 more?\nFinal Answer: 29", "9", "final answer"],
    ["so $0<|y|<5$, thus \\boxed{\\frac{1}{2}}", "0.5", "boxed"],
    ["He sold 24 clips.\n#### 1,072", "1072", "hashes"],
    ["So the answer is 42.", "42", "answer is"],
    ["1+1=2, Answer: 2", "2", "answer is"],
    ["Answer \\[\n 9 \n\\]", "9", "answer is"],
    ["72", "72", "bare"],
    ["Final Answer: 1.234,56", "1234.56", "final answer"],
    ["Final Answer: 3\u00bd", "3.5", "final answer"],
    ["Final Answer: \\sqrt{64}", "8", "final answer"],
    ["Final Answer: 100 (50 + 50)", "100", "final answer"],
    ["Answer: $(9+1)$", "10", "answer is"],
    ["He has 3 + 4 = 7 apples. Therefore, he needs 12 more.", "12", "conclusion"],
    ["So she pays $14. I hope this helps.", "14", "conclusion"],
    ["about 12 apples", "12", "only one"],
  ])("%j gives %s", (text, expected, rule) => {
    const found = extract(text, "number");
    expect(found).toMatchObject({ answer: expected, rule });
    const [start, end] = found!.span;
    expect(text.slice(start, end)).toMatch(/\d/);
  });

  it.each([
    ["We get 12 apples, then 7 are eaten, so I think five or so", "no marker"],
    ["Final Answer: 42\nNo, wrong.\nFinal Answer:", "the last answer was cut off"],
    ["First \\boxed{3}, correct: \\boxed{\\frac{1}{2", "the last box was cut off"],
    ["Final Answer: 5 or 6", "two answers"],
    ["Final Answer: 5, 6", "a list"],
    ["Final Answer: \\boxed{5, 6}", "a list"],
    ["Final Answer: between 5 and 6", "a range"],
    ["Final Answer: 3\\sqrt{2}", "an expression"],
    ["Final Answer: 1 hour and 30 minutes", "two numbers"],
    ["12 + 7 = 19.", "a line of working that was cut off"],
    ["Final Answer: unknown", "no number"],
    ["Final Answer: 1,5", "a list, or a decimal"],
    ["Final Answer: 3:30", "a time"],
    ["Therefore, we have 5 apples and 6 pears.", "two numbers"],
    ["Final Answer: 9x", "a product"],
    ["Final Answer: \\frac{1}{x+2}", "an expression"],
    ["Final Answer: x_1 + 5y", "an expression"],
    ["So she has 5 apples.\nThen she buys 7 more apples and", "working goes on behind it"],
    ["She buys 5 +", "cut off within a sum"],
    ["Not sure (12).", "a hedge"],
    ["Therefore, it might be 12.", "a hedge"],
    ["", "nothing"],
  ])("%j gives none: %s", (text) => {
    expect(answer(text)).toBeNull();
  });

  it("reads numbers in words", () => {
    expect(answer("Final Answer: eighteen eggs")).toBe("18");
    expect(answer("Final Answer: one hundred and five")).toBe("105");
    expect(answer("Final Answer: many")).toBeNull();
  });

  it("prefers a final answer to boxes before it, and a box to a hash", () => {
    expect(answer("\\boxed{1}\nFinal Answer: 2")).toBe("2");
    expect(answer("#### 1\n\\boxed{2}")).toBe("2");
  });

  it("spans the phrase it read", () => {
    const text = "x\nFinal Answer: $70,000\nDone.";
    expect(text.slice(...extract(text, "number")!.span)).toBe("$70,000");
  });
});

describe("extract LaTeX and letters", () => {
  it("reads nested braces, joins neighbouring boxes, drops what a sentence adds", () => {
    expect(answer("$\\boxed{\\frac{\\sqrt{3}}{2}}$.", "math")).toBe("\\frac{\\sqrt{3}}{2}");
    expect(answer("are \\boxed{1}, \\boxed{2} and \\boxed{3}.", "math")).toBe("1, 2, 3");
    expect(answer("\\boxed{840}. Let me check.\n\\boxed{840}", "math")).toBe("840");
    expect(answer("Final Answer: $x + 1$. I hope it is correct.", "math")).toBe("x+1");
    expect(answer("Final Answer: 52_8", "math")).toBe("52_8");
  });

  it("takes boxes together only where they are parts of one answer", () => {
    expect(answer("$\\boxed{(1,2)}$ \\text{ and } $\\boxed{(3,4)}$", "math")).toBe("(1, 2), (3, 4)");
    expect(answer("First \\boxed{3}. Then \\boxed{4}", "math")).toBe("4");
    expect(answer("\\boxed{3} so finally \\boxed{4}", "math")).toBe("4");
    expect(answer("\\boxed{12x-34}, or \\boxed{-34+12x}", "math")).toBe("12x-34");
    expect(answer("thus $x=\\boxed 9$", "math")).toBe("9");
  });

  it.each([
    ["Final Answer: The final answer is $14 {, }916$. I hope it is correct.", "14916"],
    ["Final Answer: The volume of $ABCD$ is $120$.", "120"],
    ["Final Answer: $x \\in (-1, 2)$, where $x$ is real", "(-1, 2)"],
    ["Final Answer: $5$ and $7$", "5, 7"],
    ["Final Answer: $28$ percent", "28 %"],
    ["Final Answer: the function is odd", "odd"],
    ["Hence $x > 5$ is the solution.", "x>5"],
    ["We find that $y = 2$.", "2"],
    ["The sum is $3+4$", "7"],
    ["$$(1, +\\infty)$$", "(1, \\infty)"],
    ["W(x)=1", "1"],
  ])("%j gives %s", (text, expected) => {
    expect(answer(text, "math")).toBe(expected);
  });

  it.each([
    ["Answer $ \n 9 \n $", "a formula does not begin at the end of a line"],
    ["$1$ or perhaps $2$, we do not know", "several formulas and no conclusion"],
    ["We try $x=1$. Then $y=2$. It remains to show the rest", "working"],
  ])("%j gives none: %s", (text) => {
    expect(answer(text, "math")).toBeNull();
  });

  it("reads letters, and options by their words", () => {
    expect(answer("Final Answer: (B) library", "choice")).toBe("B");
    expect(answer("The answer is C", "choice")).toBe("C");
    expect(answer("Final Answer: the library", "choice", ["bank", "library"])).toBe("B");
    expect(answer("Final Answer: A or B", "choice")).toBeNull();
    expect(answer("A person goes there often.", "choice")).toBeNull();
    expect(answer("The right option is C: library", "choice")).toBe("C");
    expect(answer("C is the correct answer", "choice")).toBe("C");
    expect(answer("Thus, B.", "choice")).toBe("B");
    expect(answer("So the answer is C and not D", "choice")).toBe("C");
    expect(answer("Final Answer: 'C'", "choice")).toBe("C");
  });
});

describe("hostile text", () => {
  it.each([
    "Final Answer: ",
    "final answer",
    "\\boxed{",
    "{",
    "\\boxed{}",
    "#### ",
    "the answer is ",
    " ",
    "5 or ",
    "<|",
    "A ",
    "Question 1:\n",
    "$",
    "\\frac{",
    "*",
    "(A) ",
    "\\[",
    "<think>",
    "</think>",
    "user\n",
    "User: 1\n",
    "<|im_end|>",
    "[INST]",
    "Final Answer: 1\nuser\n",
    "<|channel|>analysis",
  ])("a long run of %j takes time in proportion to its length", (unit) => {
    const started = performance.now();
    for (const text of [unit.repeat(200_000 / unit.length), `Final Answer: ${unit.repeat(200_000 / unit.length)}`]) {
      for (const kind of ["number", "choice", "math"] as const) extract(text, kind, ["x", "y"], "flexible");
    }
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it("never throws and always spans its text", () => {
    const part = fc.constantFrom(
      "Final Answer: ",
      "\\boxed{",
      "}",
      "#### ",
      "the answer is ",
      "7",
      " ",
      "\n",
      "(B)",
      "$",
      "İ",
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 30 }),
        fc.constantFrom<AnswerKind>("number", "choice", "math"),
        (parts, kind) => {
          const text = parts.join("");
          const found = extract(text, kind);
          if (!found) return;
          expect(found.answer).not.toBe("");
          expect(0 <= found.span[0] && found.span[0] < found.span[1] && found.span[1] <= text.length).toBe(true);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
