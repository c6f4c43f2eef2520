import { describe, expect, it } from "vitest";
import type { PublishedRow } from "../../src/evaluate/published.js";
import { summariseSystems } from "../../src/evaluate/results.js";
import { ablationFigure, flipsFigure, systemsFigure, tokensFigure, turnsFigure } from "../../src/figures/index.js";
import { renderSvg } from "../../src/show/svg.js";
import type { EvaluationRow } from "../../src/types.js";

const roles = ["generator", "verifier", "refiner"];

/** A system of one pass under one seed: a text of marks per turn, a mark per question, "+" for right. */
function answers(system: string, ...turns: string[]): EvaluationRow[] {
  return turns.flatMap((marks, t) =>
    [...marks].map((mark, q): EvaluationRow => {
      const answer = { answer: mark === "+" ? "1" : "0", correct: mark === "+" };
      const voted = { voted_answer: answer.answer, voted_correct: answer.correct };
      return {
        benchmark: "sums",
        text: null,
        system,
        seed: 0,
        question_id: `q${q}`,
        pass: 0,
        turn: roles[t]!,
        ...answer,
        ...voted,
        completion_tokens: 10,
      };
    }),
  );
}

const published = (system: string, accuracy: number): PublishedRow => ({
  ...{ model: "Model", benchmark: "MATH", system, printed: system, accuracy, std: 0.02 },
});

/** Texts of a figure in the order in which they are drawn. */
const texts = (svg: string): string[] => [...svg.matchAll(/<(?:text|tspan)[^>]*>([^<]+)</g)].map((match) => match[1]!);

const three = [
  ...answers("MALT", "+---", "++--", "+++-"),
  ...answers("STaR MA+MV", "+---", "+---", "+---"),
  ...answers("debate", "-+--"),
  ...answers("SA", "----"),
  ...answers("SA+MV", "+--+"),
];

describe("systemsFigure", () => {
  it("lists the systems in the table's order under how they were trained, whatever the order of the rows", () => {
    const said = texts(renderSvg(systemsFigure(summariseSystems(three))));
    const names = ["SA", "SA+MV", "debate", "STaR MA+MV", "MALT"];
    expect(said.filter((text) => names.includes(text)).slice(-5)).toEqual(names);
    expect(said).toContain("STaR: SFT on the positives");
    expect(said).toContain("75.0 %");
    expect(said.join()).not.toContain("published");
  });

  it("sets published numbers beside, with their own digits and where they come from", () => {
    const paper = [published("MALT", 0.5725), published("MA+MV", 0.535)];
    const svg = renderSvg(systemsFigure(summariseSystems(three), paper));
    expect(svg).toContain("57.25 %");
    expect(svg).not.toContain("53.50 %");
    expect(svg).toContain("published: Model, MATH");
    // Whether that is another model or benchmark than the measured one is not the figure's to know.
    expect(svg).not.toContain("another");
  });

  it("says that there is nothing to draw", () => {
    expect(renderSvg(systemsFigure([]))).toContain("no system evaluated");
  });
});

describe("ablationFigure", () => {
  const rows = [...answers("MALT", "+-+-"), ...answers("mix GR", "+---"), ...answers("ablation G+V", "+++-")];

  it("puts a part that is worse than MALT left of zero, by the measured and by the published difference", () => {
    const paper = [published("MALT", 0.5725), published("mix GR", 0.545)];
    const spec = ablationFigure(summariseSystems(rows, "MALT"), paper);
    const data = spec.marks!.flatMap((mark) => {
      const of = (mark as { data?: unknown }).data;
      return Array.isArray(of) ? (of as { mean?: number; paper?: number | null }[]) : [];
    });
    const points = data.filter(({ mean }) => mean !== undefined);
    expect(points.slice(0, 2).map(({ mean }) => mean)).toEqual([-25, 25]);
    expect(points[0]!.paper).toBeCloseTo(-2.75);
    const said = texts(renderSvg(spec));
    expect(said).toContain("verifier untrained");
    expect(said).toContain("G + V");
  });

  it("says that there is nothing to compare with MALT", () => {
    expect(renderSvg(ablationFigure(summariseSystems(answers("MALT", "+-"))))).toContain("no part of MALT evaluated");
  });
});

describe("turnsFigure", () => {
  it("draws the voting teams with their last turn's accuracy, and single agents as baselines", () => {
    const said = texts(renderSvg(turnsFigure([...three, ...answers("mix G", "+---", "+---", "+---")])));
    for (const label of ["MALT 75.0 %", "STaR MA+MV 25.0 %", "SA 0.0 %", "SA+MV 50.0 %"]) expect(said).toContain(label);
    expect(said.join()).not.toContain("mix G");
    expect(said.filter((text) => roles.includes(text))).toEqual(roles);
  });

  it("moves the names of equal systems apart", () => {
    const equal = [...answers("MALT", "+-", "+-"), ...answers("MA+MV", "+-", "+-"), ...answers("SA", "+-")];
    const svg = renderSvg(turnsFigure(equal));
    const heights = ["MALT", "MA+MV", "SA"].map((name) => {
      const place = new RegExp(`translate\\([^,]+,([\\d.]+)\\)"[^>]*>${name.replace("+", "\\+")} 50\\.0 %<`).exec(svg);
      return Number(place![1]);
    });
    const [first, second, third] = heights.sort((a, b) => a - b);
    expect(second! - first!).toBeGreaterThan(14);
    expect(third! - second!).toBeGreaterThan(14);
  });

  it("says that no system has turns", () => {
    expect(renderSvg(turnsFigure(answers("SA", "+-")))).toContain("no system of several turns evaluated");
  });
});

describe("flipsFigure", () => {
  it("splits all questions by what the baseline and the team got right", () => {
    // Of SA+MV's two right answers MALT keeps one; of its two wrong ones it mends both.
    const said = texts(renderSvg(flipsFigure(three, [], ["MALT"])));
    expect(said.filter((text) => /^\d+\.\d$/.test(text))).toEqual(["50.0", "25.0", "25.0"]);
  });

  it("draws published rows below, but not one that lacks a number", () => {
    const about = { model: "Model", corrected: 0.1, kept_right: 0.8, kept_wrong: 0.06 };
    const paper = [
      { ...about, benchmark: "GSM8K", broken: 0.04 },
      { ...about, benchmark: "CSQA", broken: null },
    ];
    const said = texts(renderSvg(flipsFigure(three, paper)));
    expect(said).toContain("MALT on GSM8K");
    expect(said).not.toContain("MALT on CSQA");
  });

  it("names the baseline that was not evaluated", () => {
    expect(renderSvg(flipsFigure(answers("MALT", "+", "+")))).toContain("the baseline SA+MV was not evaluated");
  });
});

describe("tokensFigure", () => {
  it("joins the votes of one team, and says whose tokens are unknown", () => {
    const blind = answers("STaR SA", "+-").map((row) => ({ ...row, completion_tokens: null }));
    const spec = tokensFigure(summariseSystems([...three, ...blind]));
    expect(spec.subtitle).toContain("1 system left out");
    const { data } = spec.marks![0] as unknown as { data: { team: string; votes: number; tokens: number }[] };
    expect(data.filter(({ team }) => team === "SA").map(({ votes }) => votes)).toEqual([1, 3]);
    expect(data.find(({ team }) => team === "MALT")!.tokens).toBe(30);
    const many = answers("SA+MV equal tokens", "+").flatMap((row) => [0, 1, 2, 3].map((pass) => ({ ...row, pass })));
    const [vote] = tokensFigure(summariseSystems(many)).marks! as unknown as { data: (typeof data)[number][] }[];
    expect(vote!.data).toMatchObject([{ team: "SA", votes: 4 }]);
    expect(renderSvg(tokensFigure(summariseSystems(blind)))).toContain("tokens were not counted");
  });
});
