import { afterAll, describe, expect, it } from "vitest";
import type { GradeCase } from "../../src/answers/case.js";
import type { Verdict } from "../../src/answers/index.js";
import { extract, grade } from "../../src/answers/index.js";
import { guarded } from "../../src/cli/guard.js";

const repeat = (unit: string, times: number) => unit.repeat(times);
const list = (n: number, item: (i: number) => string, sign = ", ") =>
  Array.from({ length: n }, (_, i) => item(i)).join(sign);

/** Inputs that hang or exhaust graders which evaluate what they are given. */
const hostile: [name: string, answer: string][] = [
  ["a tower of nines", "9^{9^{9^{9}}}"],
  ["Python's tower", "9**9**9**9"],
  ["a tower of tens", "10^{10^{10}}"],
  ["a tower of e", "e^{e^{e^{e^{e}}}}"],
  ["a large exponent", "x^{10^{10}}"],
  ["a tiny exponent of ten", "1e-999999999"],
  ["a large factorial", "1000000!"],
  ["a factorial of factorials", "((((9!)!)!)!)!"],
  ["a row of factorials", `3${repeat("!", 9_000)}`],
  ["a large binomial", "\\binom{10^9}{5}"],
  ["a million braces", repeat("{", 1_000_000)],
  ["braces that close", `${repeat("{", 4_000)}1${repeat("}", 4_000)}`],
  ["parentheses", `${repeat("(", 4_000)}1${repeat(")", 4_000)}`],
  ["five million digits", repeat("7", 5_000_000)],
  ["long digits in a sum", `${repeat("7", 9_000)}+1`],
  ["nested fractions", `${repeat("\\frac{1}{1+", 500)}x${repeat("}", 500)}`],
  ["nested roots", `${repeat("\\sqrt{1+", 500)}x${repeat("}", 500)}`],
  ["a nest within the bounds", `${repeat("\\frac{1}{x+", 12)}x${repeat("}", 12)}`],
  ["a product of sums", list(25, (i) => `(a_{${i}}+b_{${i}})`, "")],
  ["a multinomial", "(a+b+c+d+e)^{50}"],
  ["powers of powers", "((((x+1)^{9}+1)^{9}+1)^{9}+1)^{9}"],
  ["a sum of many fractions", list(900, (i) => `\\frac{1}{${i + 2}}`, "+")],
  ["inverse sums", list(40, (i) => `\\frac{1}{x+${i + 1}}`, "+")],
  ["long coefficients", `(\\frac{${repeat("7", 90)}}{${repeat("3", 91)}1}x+1)^{60}`],
  ["a root of many digits", `\\sqrt{${repeat("7", 900)}}`],
  ["a large set", list(1_500, (i) => `\\sqrt{${i + 2}}`)],
  ["a large union", list(700, (i) => `(${2 * i},${2 * i + 1})`, "\\cup")],
  ["a chain of equations", `${repeat("x=", 4_000)}1`],
  ["sines of sines", `${repeat("\\sin ", 1_500)}x`],
  ["signs", `${repeat("-", 9_000)}1`],
  ["carets", `2${repeat("^2", 4_000)}`],
  ["divisions", `1${repeat("/2", 4_000)}`],
  ["bars", repeat("|", 9_000)],
  ["open texts", repeat("\\text{", 1_600)],
  ["open fractions", repeat("\\frac{", 1_600)],
  ["dollars", repeat("$", 9_000)],
  ["spaces", `${repeat(" ", 9_000)}1`],
  ["words", repeat("abc ", 2_000)],
  ["a long word", repeat("abcdefgh", 1_200)],
  ["numbers with commas", repeat("1,234,", 1_600)],
];

describe("hostile answers", () => {
  // The worker is killed after five seconds: a case that hangs fails instead of stopping the tests.
  const guard = guarded<GradeCase, Verdict>(new URL("../../src/cli/grade-worker.js", import.meta.url), 5_000);
  afterAll(() => guard.close());

  it.each(hostile)("%s ends, and is not 12345", async (_name, answer) => {
    const verdict = await guard.run({ id: "", gold: answer, pred: "12345", input: "raw" });
    expect(verdict).toMatchObject({ equal: false });
    expect(await guard.run({ id: "", gold: "12345", pred: `Final Answer: ${answer}`, input: "text" })).toMatchObject({
      equal: false,
    });
  });

  it.each(hostile)("%s equals itself", async (_name, answer) => {
    expect(await guard.run({ id: "", gold: answer, pred: answer, input: "raw" })).toMatchObject({ equal: true });
  });

  it("what is too large to compute is still compared by its form", () => {
    expect(grade("9^{9^{9^{9}}}", "9^{9^{9^9}} + 0", "math")).toMatchObject({ equal: true });
    expect(grade("9^{9^{9^{9}}}", "9^{9^{9^9}} + 1", "math")).toMatchObject({ equal: false });
    expect(grade("10^{10^{10}}", "100^{5\\cdot 10^9}", "math")).toMatchObject({ equal: true });
    expect(grade(repeat("7", 100_000), `${repeat("7", 100_000)}.0`, "math")).toMatchObject({ equal: true });
    expect(grade(repeat("7", 100_000), `${repeat("7", 99_999)}8`, "math")).toMatchObject({ equal: false });
    expect(grade("(x+y)^{40}(x-y)^{40}", "(x^2-y^2)^{40}", "math")).toMatchObject({ equal: true });
    expect(grade("(x+y)^{40}(x-y)^{40}", "(x^2-y^2)^{40}+1", "math")).toMatchObject({ equal: false });
    expect(
      grade(
        list(500, String),
        list(500, (i) => String(499 - i)),
        "math",
      ),
    ).toMatchObject({ equal: true });
  });

  it("nothing that is read is run", () => {
    for (const text of ["constructor", "__proto__", "process.exit(1)", "toString()", "require('fs')"]) {
      expect(grade(text, "2", "math")).toMatchObject({ equal: false });
      expect(() => extract(`Final Answer: ${text}`, "math")).not.toThrow();
    }
  });
});
