import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { gradeText } from "../../src/answers/index.js";
import {
  caseGraders,
  confusion,
  type GraderCase,
  loadCases,
  movement,
  regrade,
  runGraders,
} from "../../src/evaluate/graders.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Question } from "../../src/types.js";
import { forest } from "../forest.js";

describe("cases", () => {
  it("the project's own: this grader agrees with all, comparing texts calls nothing different equal but misses much", async () => {
    const cases = await loadCases();
    const of = (name: string) => confusion(cases, cases.map(caseGraders[name]!)).at(-1)!;
    expect(of("malt")).toMatchObject({ kind: "all", agreement: 1, falsePositives: 0, misses: 0 });
    expect(of("same text").missRate).toBeGreaterThan(0.3);
    const recorded = cases.filter((row) => row.mathVerify !== null);
    expect(recorded).toHaveLength(cases.length);
  });

  it("counts by kind, false positives apart from misses", () => {
    const row = (kind: string, expected: boolean): GraderCase => ({
      id: "",
      kind,
      gold: "",
      pred: "",
      input: "raw",
      expected,
      mathVerify: null,
    });
    const cases = [row("a", true), row("a", false), row("a", false), row("b", true)];
    expect(confusion(cases, [true, true, false, false])).toEqual([
      { kind: "a", cases: 3, agreement: 2 / 3, falsePositives: 1, falsePositiveRate: 0.5, misses: 0, missRate: 0 },
      { kind: "b", cases: 1, agreement: 0, falsePositives: 0, falsePositiveRate: Number.NaN, misses: 1, missRate: 1 },
      { kind: "all", cases: 4, agreement: 0.5, falsePositives: 1, falsePositiveRate: 0.5, misses: 1, missRate: 0.5 },
    ]);
    expect(() => confusion(cases, [true])).toThrow(/1 verdicts for 4 cases/);
  });

  it("names the line and the field of a bad case, and leaves disputed ones out", async () => {
    const folder = await mkdtemp(join(tmpdir(), "malt-audit-"));
    const path = join(folder, "cases.jsonl");
    const good = { id: "1", kind: "k", gold: "1", pred: "1", input: "raw", expected: true };
    try {
      await writeFile(path, `${JSON.stringify(good)}\n\n${JSON.stringify({ ...good, disputed: "sources differ" })}\n`);
      expect(await loadCases(path)).toEqual([{ ...good, mathVerify: null }]);
      await writeFile(path, `\ufeff${JSON.stringify({ ...good, note: "#" }).replace('"#"', "NaN")}\r\n`);
      expect(await loadCases(path)).toEqual([{ ...good, mathVerify: null }]);
      await writeFile(path, `\ufeff\r\n${JSON.stringify({ ...good, expected: "yes" })}\r\n`);
      await expect(loadCases(path)).rejects.toThrow(/line 2: field "expected"/);
      await expect(loadCases(join(folder, "none.jsonl"))).rejects.toThrow(/cannot read .*ENOENT/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("another grader on the same completions", () => {
  const questions = Array.from(
    { length: 6 },
    (_, q): Question => ({
      ...{ id: `q${q}`, benchmark: "arithmetic", split: "train", question: "?", choices: null, answer: "42" },
    }),
  );
  const roles = maltRoles(3);
  const rows = forest(6);
  const before = regrade(questions, roles, rows, gradeText);

  it("the same grader changes nothing; nor do the labels that the rows had before matter", () => {
    const again = regrade(questions, roles, [...before].reverse(), gradeText);
    expect(again).toEqual(before);
    for (const row of movement(before, again)) {
      expect(row).toMatchObject({ becameRight: 0, becameWrong: 0, labelsMoved: 0 });
      expect(row.pairsAfter).toBe(row.pairsBefore);
    }
  });

  it("one that calls everything right leaves no pair, and moves every label that was false", () => {
    const after = regrade(questions, roles, rows, () => ({ answer: "42", correct: true }));
    for (const row of movement(before, after)) {
      const wrong = before.filter((node) => node.role === row.role && node.correct !== true).length;
      expect(row).toMatchObject({ accuracyAfter: 1, becameRight: wrong, becameWrong: 0, pairsAfter: 0 });
      expect(row.labelsMoved).toBe(before.filter((node) => node.role === row.role && node.label === false).length);
      expect(row.pairsBefore).toBeGreaterThan(0);
    }
    expect(() => movement(before, after.slice(1))).toThrow(/different nodes/);
  });

  it("a lenient grader takes the last number where none is stated, a strict one only the reference's letters, a generous one what is close", () => {
    const [question] = questions;
    const graded = (name: string, text: string) => runGraders[name]!(question!, text);
    expect(graded("malt", "I have 42")).toEqual({ answer: "42", correct: true });
    expect(graded("malt", "First 40, then 42 of them")).toEqual({ answer: null, correct: null });
    expect(graded("flexible", "First 40, then 42 of them")).toEqual({ answer: "42", correct: true });
    expect(graded("flexible", "Final Answer: 42 apples. I had 40 before")).toEqual({ answer: "42", correct: true });
    expect(graded("same text", "Final Answer: 42")).toEqual({ answer: "42", correct: true });
    expect(graded("same text", "Final Answer: 42.0\nDone.")).toEqual({ answer: "42.0", correct: false });
    expect(graded("same text", "It is 42")).toEqual({ answer: null, correct: null });
    expect(graded("close enough", "Final Answer: 43")).toEqual({ answer: "43", correct: true });
    expect(graded("close enough", "Final Answer: 45")).toEqual({ answer: "45", correct: false });
  });
});
