import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gradeCase } from "../../src/answers/case.js";
import {
  type AnswerKind,
  answerKind,
  canonical,
  type ExtractionMode,
  extract,
  grade,
  gradeText,
  inferKind,
  type Verdict,
} from "../../src/answers/index.js";
import { gradeFile } from "../../src/cli/grade.js";
import type { Question } from "../../src/types.js";

const question = (answer: string, extra: Partial<Question> = {}): Question => ({
  id: "q",
  benchmark: "gsm8k",
  split: "test",
  question: "?",
  choices: null,
  answer,
  ...extra,
});

describe("grade", () => {
  it.each<[string, string, AnswerKind, string]>([
    ["1234", "$1,234.00", "number", "equal"],
    ["0.5", "\\frac{1}{2}", "number", "equal"],
    ["25", "25%", "number", "equal"],
    ["0.25", "25%", "number", "different"],
    ["1/3", "0.333", "number", "different"],
    ["9", "9x", "number", "unparsable"],
    ["9", "", "number", "unparsable"],
    ["", "", "number", "unparsable"],
    ["B", "(b)", "choice", "equal"],
    ["B", "C", "choice", "different"],
    ["B", "A or B", "choice", "unparsable"],
    ["\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\dfrac{\\pi}{2})", "math", "equal"],
    ["p - q", "$p-q$.", "math", "equal"],
    ["\\text{odd}", "\\text{not odd}", "math", "different"],
    ["5 cm", "5", "math", "equal"],
    ["5 cm", "5 m", "math", "different"],
    ["x^2+y^2=9", "9", "math", "different"],
    ["1,2", "1.2", "math", "different"],
    ["1 2", "12", "math", "unparsable"],
    ["p - q", "-q+p", "math", "equal"],
    ["\\sqrt{961}", "31", "number", "equal"],
    ["0.28", "28%", "math", "equal"],
    ["1,22", "1.22", "math", "equal"],
  ])("%j and %j as %s: %s", (gold, pred, kind, verdict) => {
    expect(grade(gold, pred, kind)).toMatchObject({ verdict, equal: verdict === "equal" });
    expect(grade(pred, gold, kind)).toMatchObject({ verdict, equal: verdict === "equal" });
  });

  const piece = fc.constantFrom(
    ..."0123456789ABCDE.,-+/ ()={}^_\\$%xy*",
    "\\frac",
    "\\text",
    "\\left(",
    " cm",
    "million",
    "or",
  );
  const messy = fc.array(piece, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(""));
  const kind = fc.constantFrom<AnswerKind>("number", "choice", "math");

  it("is reflexive for every answer that is not blank", () => {
    fc.assert(
      fc.property(messy, kind, (text, k) => {
        fc.pre(text.trim() !== "");
        expect(grade(text, text, k).verdict).toBe("equal");
      }),
      { numRuns: 2_000 },
    );
  });

  it("is symmetric", () => {
    fc.assert(
      fc.property(messy, messy, kind, (a, b, k) => {
        const { reason: _1, ...one } = grade(a, b, k);
        const { reason: _2, ...other } = grade(b, a, k);
        expect(one).toEqual(other);
      }),
      { numRuns: 3_000 },
    );
  });

  it("a canonical answer is its own canonical form", () => {
    fc.assert(
      fc.property(messy, kind, (text, k) => {
        const form = canonical(text, k);
        if (form !== null) expect(canonical(form, k)).toBe(form);
      }),
      { numRuns: 3_000 },
    );
  });

  it("is quick on hostile answers", () => {
    const started = performance.now();
    for (const text of [
      "9^{9^{9^{9}}}",
      "7".repeat(100_000),
      "{".repeat(100_000),
      `${"{".repeat(5e4)}1${"}".repeat(5e4)}`,
    ]) {
      for (const k of ["number", "choice", "math"] as const) {
        expect(grade(text, text, k).equal).toBe(true);
        expect(grade("1", `${text}+1`, k).equal).toBe(false);
      }
    }
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe("kinds", () => {
  it("a question with options is a choice, a MATH question math, another with a plain number a number", () => {
    expect(answerKind(question("B", { choices: ["x", "y"] }))).toBe("choice");
    expect(answerKind(question("7", { benchmark: "math" }))).toBe("math");
    expect(answerKind(question("7"))).toBe("number");
    expect(answerKind(question("x+1"))).toBe("math");
  });

  it.each([
    ["C", "choice"],
    ["\\text{(B)}", "choice"],
    ["1,234", "number"],
    ["40\\%", "math"],
    ["1/3", "math"],
    ["(C) Cecile", "choice"],
    ["A = 5", "math"],
    ["5 cm", "math"],
    ["x", "math"],
    ["F", "math"],
  ])("%s is of kind %s", (gold, expected) => {
    expect(inferKind(gold)).toBe(expected);
  });
});

describe("gradeText", () => {
  it("gives the canonical answer and whether it is right, or null for both", () => {
    expect(gradeText(question("3600"), "450 * 8 = 3,600\nFinal Answer: 3,600 people")).toEqual({
      answer: "3600",
      correct: true,
    });
    expect(gradeText(question("3600"), "Final Answer: 3601")).toEqual({ answer: "3601", correct: false });
    expect(gradeText(question("3600"), "I give up")).toEqual({ answer: null, correct: null });
    const choices = ["bank", "library"];
    expect(gradeText(question("B", { choices }), "Final Answer: library")).toEqual({ answer: "B", correct: true });
  });
});

async function verdictsOf(path: string, mode?: ExtractionMode) {
  const verdicts: ({ id: string } & Verdict)[] = [];
  for await (const verdict of gradeFile(path, mode)) verdicts.push(verdict);
  return verdicts;
}

describe("malt grade", () => {
  async function lines(content: string | Buffer, mode?: ExtractionMode) {
    const folder = await mkdtemp(join(tmpdir(), "malt-grade-"));
    try {
      const path = join(folder, "cases.jsonl");
      await writeFile(path, content);
      return await verdictsOf(path, mode);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  it("reads files of other systems: a byte order mark, Windows line ends, line separators within a text", async () => {
    const row = (id: string, pred: string) => JSON.stringify({ id, gold: "5", pred, input: "text" });
    const content = `\ufeff${row("a", "x\u2028Final Answer: 5")}\r\n\r\n${row("b", "Final Answer: 6")}\r\n`;
    for (const bytes of [content, Buffer.from(content, "utf16le")])
      expect((await lines(bytes)).map(({ id, equal }) => [id, equal])).toEqual([
        ["a", true],
        ["b", false],
      ]);
    await expect(lines(`${content}\n{"id":"c","gold":"1","pred":NaN}\n`)).rejects.toThrow(
      /cases\.jsonl line 5: field "pred": .*received null/,
    );
  });

  it("answers every line in order", async () => {
    const rows = [
      { id: "1", gold: "72", pred: "72.0", input: "raw" },
      { id: "2", gold: "72", pred: "It is 71.\nFinal Answer: 72", input: "text" },
      { id: "3", gold: "#### 5", pred: "no idea", input: "text" },
      { id: "4", gold: "B", pred: "Final Answer: (B)", input: "text", kind: "choice" },
    ];
    const verdicts = await lines(`${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
    expect(verdicts.map((v) => [v.id, v.equal, v.verdict])).toEqual([
      ["1", true, "equal"],
      ["2", true, "equal"],
      ["3", false, "unparsable"],
      ["4", true, "equal"],
    ]);
  });

  it("takes what a text ends with in the flexible mode", async () => {
    const row = `${JSON.stringify({ id: "1", gold: "72", pred: "first 8, then 9 times it\nmakes 72", input: "text" })}\n`;
    expect((await lines(row)).map(({ equal }) => equal)).toEqual([false]);
    expect((await lines(row, "flexible")).map(({ equal }) => equal)).toEqual([true]);
  });

  it("names the line and field of a bad case, and an unreadable file", async () => {
    await expect(lines('{"id":"1","gold":"1","pred":"1"}\n{"id":"2","gold":1,"pred":"1"}\n')).rejects.toThrow(
      /line 2: field "gold"/,
    );
    await expect(lines("{\n")).rejects.toThrow(/line 1: not valid JSON/);
    await expect(verdictsOf("/nonexistent/cases.jsonl")).rejects.toThrow(/cannot read .*ENOENT/);
  });
});

const cases = join(process.env.MALT_BENCHMARKS ?? new URL("../../../shared/data", import.meta.url).pathname, "graders");

describe.skipIf(!existsSync(cases))("public grader cases (MALT_BENCHMARKS)", () => {
  it.each([
    // Of the two that do not agree, one demands 0.33 = 1/3, the other an asymmetry; see data/graders/README.md.
    ["grader-cases.jsonl", 0.99, ["c0188"]],
    ["grader-real.jsonl", 1, []],
  ])("%s: %d agree, and nothing else that is wrong is called right", async (name, share, contested) => {
    const rows = (await readFile(join(cases, name), "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter((row) => !row.disputed);
    const verdicts = rows.map((row) => gradeCase(row).equal);
    expect(rows.filter((row, i) => verdicts[i] === row.expected).length / rows.length).toBeGreaterThanOrEqual(share);
    expect(rows.filter((row, i) => verdicts[i] && !row.expected).map((row) => row.id)).toEqual(contested);
  });

  it("extract-cases.jsonl: every answer is found, and where none is stated none is", async () => {
    const rows = (await readFile(join(cases, "extract-cases.jsonl"), "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { id: string; text: string; answer_kind: string; expected: string | null });
    const wrong = rows.filter(({ text, answer_kind, expected }) => {
      const kind = ({ numeric: "number", choice: "choice", latex: "math" } as const)[answer_kind]!;
      const found = extract(text, kind);
      return expected === null ? found !== null : !found || !grade(expected, found.text, kind).equal;
    });
    expect(wrong).toEqual([]);
  });
});
