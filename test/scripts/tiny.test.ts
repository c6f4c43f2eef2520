import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { benchmarkFiles, diceOf, jsonl, type Row } from "../../scripts/tiny/benchmark.js";
import { doses, type Example, example } from "../../scripts/tiny/dialogues.js";
import { partOf } from "../../scripts/tiny/problems.js";
import { gradeText } from "../../src/answers/index.js";
import { normalised } from "../../src/benchmarks/held-out.js";
import { debatePrompt } from "../../src/evaluate/debate.js";
import type { Question } from "../../src/types.js";

const question: Question = {
  ...{ id: "q", benchmark: "arithmetic", split: "train", question: "How many?", choices: null, answer: "" },
};
const steps = ({ template }: Row) => template.split(" ").length;

describe("the files of data/arithmetic", () => {
  let files: Map<string, Row[]>;
  beforeAll(() => {
    files = benchmarkFiles(0);
  });

  it("are what the generator writes with seed 0", () => {
    for (const [name, rows] of files)
      expect(readFileSync(new URL(`../../data/arithmetic/${name}.jsonl`, import.meta.url), "utf8")).toBe(jsonl(rows));
  });

  it("share no question, and no test question has a template of training", () => {
    const rows = [...files.values()].flat();
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
    expect(new Set(rows.map(({ question }) => normalised(question))).size).toBe(rows.length);
    for (const { split, template } of rows) expect(partOf(template)).toBe(split);
  });

  it("the hard ones have one more step, and a benchmark's name of their own", () => {
    const range = (rows: Row[]) => [Math.min(...rows.map(steps)), Math.max(...rows.map(steps))];
    expect(range(files.get("test")!)).toEqual([2, 4]);
    expect(range(files.get("hard")!)).toEqual([3, 5]);
    expect(new Set(files.get("hard")!.map(({ benchmark }) => benchmark))).toEqual(new Set(["arithmetic-hard"]));
  });
});

describe("the corpus of malt-tiny", () => {
  const dice = diceOf(1, 3);
  const examples = Array.from({ length: 20_000 }, (_, i) => example(dice, i / 20_000));
  const starting = (words: string) =>
    examples.filter(({ prompt }) => prompt.length === 1 && prompt[0]!.content.startsWith(words));
  const share = (some: Example[], pattern: RegExp) =>
    some.filter(({ completion }) => pattern.test(completion)).length / some.length;

  it("has no question of a benchmark", () => {
    const asked = new Set([...benchmarkFiles(0).values()].flat().map(({ question }) => question));
    const questions = examples.flatMap(({ prompt }) => /Problem: (.*)/.exec(prompt[0]!.content)?.[1] ?? []);
    expect(questions.length).toBeGreaterThan(10_000);
    expect(questions.filter((question) => asked.has(question))).toEqual([]);
  });

  it("has hundreds of wordings of a critique, in the shares of the habits", () => {
    const critiques = starting("Check the solution");
    const wordings = new Set(critiques.map(({ completion }) => completion.replace(/[\d()+*/=-]+/g, "#")));
    expect(wordings.size).toBeGreaterThan(500);
    expect(share(critiques, /=/)).toBeCloseTo(doses.verifier.check / 10, 1);
    // Every beginning is as likely as any other, so a low temperature does not change the shares.
    const beginnings = new Set(critiques.map(({ completion }) => completion.split(" ")[0]!));
    expect(beginnings.size).toBe(10);
    for (const word of beginnings)
      expect(Math.abs(share(critiques, new RegExp(`^${word}`)) - 0.1), word).toBeLessThan(0.02);
  });

  it("has debates of two and three rounds, and refinements under an empty critique and under none", () => {
    const rounds = (n: number) => examples.filter(({ prompt }) => prompt.length === 2 * n - 1);
    const end = debatePrompt([]).split("\n\n").at(-1)!;
    for (const n of [2, 3]) {
      expect(rounds(n).length).toBeGreaterThan(100);
      for (const { prompt } of rounds(n)) expect(prompt.at(-1)!.content.endsWith(end)).toBe(true);
    }
    const refinements = starting("Improve the solution");
    const critique = ({ prompt }: Example) => prompt[0]!.content.split("Critique:\n")[1];
    expect(refinements.filter((each) => critique(each) === "").length).toBeGreaterThan(50);
    expect(refinements.filter((each) => critique(each) === "None.").length).toBeGreaterThan(50);
  });

  it("holds no wrong sum to learn, and every completion but a drill states an answer", () => {
    for (const { prompt, completion } of examples) {
      for (const [, sum, result] of completion.matchAll(/([\d()+*/-]+)=(\d+)/g))
        expect(new Function(`return ${sum}`)(), completion).toBe(Number(result));
      if (prompt[0]!.content === "Drill.") continue;
      const stated = /Final Answer: (\d+)$/.exec(completion)![1]!;
      expect(gradeText({ ...question, answer: stated }, completion)).toEqual({ answer: stated, correct: true });
      const last = [...completion.matchAll(/=(\d+)/g)].at(-1)?.[1];
      expect(last ?? stated).toBe(stated);
    }
  });
});
