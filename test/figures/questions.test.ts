import { describe, expect, it } from "vitest";
import { agreementFigure, difficultyFigure, pairCountFigure } from "../../src/figures/index.js";
import { renderSvg } from "../../src/show/svg.js";
import type { Node } from "../../src/types.js";
import { forest } from "../forest.js";

const template = forest(1)[0]!;

/** One state of one role per question: an answer per sibling, "42" is right. */
const state = (question_id: string, answers: (string | null)[]): Node[] =>
  answers.map((answer, i) => ({
    ...template,
    ...{ question_id, node_id: `g${i}`, branch: i, answer, correct: answer === null ? null : answer === "42" },
  }));

describe("difficultyFigure", () => {
  it("keeps questions that are all right or all wrong out of the bins between", () => {
    const nodes = [
      ...state("a", ["42", "42"]),
      ...state("b", ["7", null]),
      ...state("c", ["42", "7"]),
      ...state("d", ["7", "42"]),
    ];
    const svg = renderSvg(difficultyFigure(nodes));
    expect(svg).toContain("4 questions; 8 final answers");
    const data = (difficultyFigure(nodes).marks![0] as unknown as { data: { bin: number; questions: number }[] }).data;
    expect(data.filter(({ questions }) => questions > 0)).toEqual([
      { bin: 0, questions: 1 },
      { bin: 6, questions: 2 },
      { bin: 11, questions: 1 },
    ]);
  });

  it("says that there is nothing to draw", () => {
    expect(renderSvg(difficultyFigure([]))).toContain("no final answers sampled");
  });
});

describe("agreementFigure", () => {
  it("counts different answers per state, no answer as one of its own", () => {
    const nodes = [
      ...state("a", ["42", "42", "42"]),
      ...state("b", ["42", "7", "7"]),
      ...state("c", ["42", "7", null]),
    ];
    const svg = renderSvg(agreementFigure([...nodes, ...state("d", ["1", "1", "1"])]));
    expect(svg).toContain("States: generator 4");
    expect(svg.match(/50\.0 %/g)).toHaveLength(1);
    expect(svg.match(/25\.0 %/g)).toHaveLength(2);
  });

  it("says that there is nothing to draw", () => {
    expect(renderSvg(agreementFigure([]))).toContain("no completions sampled");
  });
});

describe("pairCountFigure", () => {
  it("says for each role how many pairs there are and how many questions give none", () => {
    const rows = [
      { role: "generator", pairs: 0, questions: 3 },
      { role: "generator", pairs: 2, questions: 1 },
      { role: "verifier", pairs: 1, questions: 4 },
    ];
    const svg = renderSvg(pairCountFigure(rows, ["generator", "verifier"]));
    for (const text of ["2 pairs", "none: 75.0 %", "4 pairs", "none: 0.0 %", "4 questions;"])
      expect(svg).toContain(text);
  });

  it("says that there is nothing to draw", () => {
    expect(renderSvg(pairCountFigure([], ["generator"]))).toContain("no questions");
  });
});
