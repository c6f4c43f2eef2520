import { describe, expect, it } from "vitest";
import type { EstimatorError } from "../../src/credit/estimator-error.js";
import type { SweepRow } from "../../src/credit/thresholds.js";
import {
  accuracyFigure,
  critiqueFigure,
  curvesFigure,
  estimatorFigure,
  lengthFigure,
  loopFigure,
  roleColors,
  thresholdFigure,
  treeFigure,
  valueFigure,
} from "../../src/figures/index.js";
import { renderSvg } from "../../src/show/svg.js";
import type { Node, Question } from "../../src/types.js";
import { forest } from "../forest.js";

const nodes = forest(12);
const tree = nodes.filter((node) => node.question_id === "q3");
const hostile = `<script>alert("1")</script></svg>&'`;
const marks = (svg: string, shape: string) => {
  const group = svg.match(new RegExp(`<g [^>]*aria-label="${shape}"[^>]*>(.*?)</g>`, "s"))?.[1] ?? "";
  return group.match(/<(path|circle|rect|line|text) /g)?.length ?? 0;
};
const question: Question = {
  id: "q3",
  benchmark: "arithmetic",
  split: "test",
  question: "Mia has 14 marbles and gets 28 more. How many does she have?",
  choices: null,
  answer: "42",
};
const sweep: SweepRow[] = ["generator", "verifier", "refiner"].flatMap((role, r) =>
  [0, 0.25, 0.5, 0.75, 1].map((threshold, i) => ({
    threshold,
    role,
    nodes: 1200 * (r + 1),
    examples: 1000 - 200 * i,
    pairs: i === 4 ? 0 : 100 + 10 * r,
    meanValue: i === 4 ? null : 0.5 + 0.1 * i,
    noise: null,
    expectedNoise: 0.05 * i,
  })),
);

describe("tree figure", () => {
  it("draws every node with an edge to it, its path and its answer", () => {
    const svg = renderSvg(treeFigure(tree, { question }));
    expect(tree).toHaveLength(39);
    expect(marks(svg, "link")).toBe(39);
    const dots = svg.match(/<g aria-label="dot" stroke="#222222" stroke-width="1.5">(.*?)<\/g>/)![1]!;
    expect(dots.match(/<path /g)).toHaveLength(39);
    for (const node of tree) expect(svg).toContain(`>${node.node_id}: ${node.answer ?? "no answer"}<`);
    expect(svg).toContain("Reference answer: 42");
    expect(svg).toContain("3 generator outputs, 9 verifier outputs, 27 refiner outputs");
  });

  it("gives value 0 vermilion, value 1 blue, θ grey, and a missing value white", () => {
    const values = [0, 1, 0.5, null];
    const four: Node[] = values.map((value, i) => ({ ...tree[0]!, node_id: `g${i}`, branch: i, value, correct: true }));
    const fills = [...renderSvg(treeFigure(four)).matchAll(/<path transform[^>]* fill="([^"]+)"/g)].map((m) => m[1]);
    expect(fills.slice(-4)).toEqual(["rgb(213, 94, 0)", "rgb(0, 114, 178)", "rgb(232, 232, 232)", "white"]);
  });

  it("tells right, wrong and missing answers apart by shape", () => {
    const three: Node[] = [true, false, null].map((correct, i) => ({
      ...tree[0]!,
      node_id: `g${i}`,
      branch: i,
      correct,
    }));
    const shapes = [...renderSvg(treeFigure(three)).matchAll(/<path transform[^>]* d="([^"]+)"/g)].map((m) => m[1]);
    expect(new Set(shapes.slice(-3)).size).toBe(3);
  });

  it("rings siblings with the same text and different labels, and those alone", () => {
    const labelled = (rows: [text: string, label: boolean][]) =>
      rows.map(([text, label], branch) => ({
        ...tree[0]!,
        node_id: `g${branch}`,
        branch,
        text,
        value: Number(label),
        label,
      }));
    const rings = (svg: string) => svg.match(/<circle [^>]*r="9"/g)?.length ?? 0;
    const noisy = treeFigure(
      labelled([
        ["a", true],
        ["a", false],
        ["b", true],
        ["c", false],
      ]),
    );
    expect(rings(renderSvg(noisy))).toBe(2);
    expect(noisy.caption).toContain("Ring: a sibling has the same text and the other label");
    const clean = treeFigure(
      labelled([
        ["a", true],
        ["a", true],
        ["b", false],
      ]),
    );
    expect(rings(renderSvg(clean))).toBe(0);
    expect(clean.caption).not.toContain("Ring");
  });

  it("draws other shapes of trees, and says when one is partly sampled", () => {
    const uneven = tree.filter((node) => node.depth < 2 && node.node_id !== "g1.v0");
    expect(marks(renderSvg(treeFigure(uneven)), "link")).toBe(11);
    expect(treeFigure(uneven).caption).not.toContain("Partly sampled");
    const partial = uneven.map((node) => (node.node_id === "g1" ? { ...node, value: null } : node));
    expect(treeFigure(partial).caption).toContain("Partly sampled");
  });

  it("keeps labels apart in thin trees and drops them where a column is crowded", () => {
    const chain = tree.filter((node) => /^g0(\.v[01](\.r0)?)?$/.test(node.node_id));
    const rows = (svg: string) =>
      [...svg.matchAll(/translate\([\d.]+,([\d.]+)\)">g0\.v\d: /g)]
        .map((match) => Number(match[1]))
        .sort((a, b) => a - b);
    const [first, second] = rows(renderSvg(treeFigure(chain)));
    expect(second! - first!).toBeGreaterThan(40);
    const wide = renderSvg(treeFigure(forest(1, 8)));
    expect(wide).toContain(">g7: ");
    expect(rows(wide)).toEqual([]);
  });

  it("refuses nodes of several questions", () => {
    expect(() => treeFigure(nodes)).toThrow(/one question, got 12/);
  });

  it("keeps hostile answers, ids and questions as text", () => {
    const evil = tree.map((node) => ({ ...node, question_id: hostile, answer: hostile }));
    const svg = renderSvg(treeFigure(evil, { question: { ...question, id: hostile, question: hostile } }));
    expect(svg).not.toContain("<script");
    expect(svg.match(/<\/svg>/g)).toHaveLength(1);
    expect(svg).toContain("&lt;script&gt;");
  });
});

describe("value figure", () => {
  it("draws one bar per distinct value and role, of the right share", () => {
    const svg = renderSvg(valueFigure(nodes));
    const bars = new Set(nodes.map((node) => `${node.role} ${node.value!.toFixed(2)}`));
    expect(svg.match(/<line [^>]*stroke="#(0072B2|E69F00|009E73)"/g)).toHaveLength(bars.size);
    const refiners = nodes.filter((node) => node.role === "refiner");
    const share = (100 * refiners.filter((node) => node.value === 1).length) / refiners.length;
    expect(svg).toContain(`value &gt; 0.5: ${share.toFixed(1)} %`);
  });

  it("says how many nodes and questions it leaves out", () => {
    const partial = nodes.map((node) => (node.node_id === "g0" ? { ...node, value: null } : node));
    expect(renderSvg(valueFigure(partial))).toContain(
      "12 questions, 12 of them partly sampled; 456 nodes with a value; 12",
    );
  });
});

describe("threshold figure", () => {
  it("draws a step curve per role and names axis, counts and threshold", () => {
    const svg = renderSvg(thresholdFigure(sweep, "pairs", 0.25));
    expect(marks(svg, "line")).toBe(3);
    for (const said of ["preference pairs (count)", "generator 1,200, verifier 2,400", "θ = 0.25"]) {
      expect(svg).toContain(said);
    }
  });

  it("draws what a model expects as points, since nothing is known between them", () => {
    // The legends have dots too; the figure's own are last.
    const dots = (svg: string) =>
      [...svg.matchAll(/<g aria-label="dot"[^>]*>(.*?)<\/g>/gs)].at(-1)![1]!.match(/<path /g)?.length;
    const expected = renderSvg(thresholdFigure(sweep, "expectedNoise"));
    expect(marks(expected, "line")).toBe(0);
    expect(dots(expected)).toBe(15);
    expect(thresholdFigure(sweep, "expectedNoise").caption).toContain("nothing is drawn between them");
    const both = thresholdFigure(
      sweep.map((row) => ({ ...row, noise: row.role === "refiner" ? null : 0.1 })),
      "noise",
    );
    expect(marks(renderSvg(both), "line")).toBe(2);
    expect(dots(renderSvg(both))).toBe(10);
    expect(both.caption).toContain("Points: expected to be wrong by the model");
  });

  it("leaves a gap where a measure is null and says when it was not measured at all", () => {
    const dots = (svg: string) => svg.match(/<g aria-label="dot" fill="white"[^>]*>(.*?)<\/g>/)![1]!.match(/<path /g);
    expect(dots(renderSvg(thresholdFigure(sweep, "share")))).toHaveLength(15);
    expect(dots(renderSvg(thresholdFigure(sweep, "meanValue")))).toHaveLength(12);
    expect(renderSvg(thresholdFigure(sweep, "noise"))).toContain("not measured");
  });
});

describe("figures of the outputs", () => {
  it("shows each role's accuracy with its number of nodes", () => {
    const svg = renderSvg(accuracyFigure(nodes));
    const generators = nodes.filter((node) => node.role === "generator");
    const right = generators.filter((node) => node.correct === true).length;
    expect(svg).toContain(`${((100 * right) / generators.length).toFixed(1)} %`);
    for (const n of ["n = 36", "n = 108", "n = 324", "12 questions"]) expect(svg).toContain(n);
  });

  it("shows refinements under right and wrong critiques apart for right and wrong answers", () => {
    const svg = renderSvg(critiqueFigure(nodes));
    expect(svg.match(/<rect [^>]*fill="#(D55E00|56B4E9)"/g)).toHaveLength(4);
    expect(svg).toContain("after a wrong answer");
    expect(svg).toContain("324 refinements");
  });

  it("gives a single question its bars without intervals", () => {
    expect(renderSvg(accuracyFigure(tree))).toContain("n = 27");
  });

  it("marks truncated completions and says how many have no token count", () => {
    const uncounted = nodes.map((node, i) => (i < 5 ? { ...node, completion_tokens: null } : node));
    const svg = renderSvg(lengthFigure(uncounted));
    expect(svg).toContain("5 of them left out");
    expect(svg).toMatch(/<rect [^>]*fill="#000000"/);
    expect(svg).toMatch(/<rect [^>]*fill="#0072B2"/);
  });
});

it("says why there is nothing to draw", () => {
  expect(renderSvg(valueFigure([]))).toContain("no complete trees");
  expect(renderSvg(thresholdFigure([], "pairs"))).toContain("no complete trees");
  expect(renderSvg(treeFigure([]))).toContain("no completions sampled");
  expect(renderSvg(accuracyFigure([]))).toContain("no completions sampled");
  expect(renderSvg(critiqueFigure(nodes.filter((node) => node.depth < 2)))).toContain("no refinements");
  expect(renderSvg(lengthFigure([]))).toContain("no completions sampled");
});

it("keeps a role's colour whatever other roles are drawn", () => {
  const two = roleColors(["generator", "refiner"]);
  const four = roleColors(["generator", "verifier", "verifier-2", "refiner"]);
  expect(two.range).toEqual([four.range[0], four.range[3]]);
  expect(new Set(four.range).size).toBe(4);
});

describe("the schematic of the method", () => {
  const svg = renderSvg(loopFigure());

  it("names the four stages, and draws a tree twice: 14 outputs by role, then by label", () => {
    for (const stage of ["1 · Sample a tree", "2 · Assign credit", "3 · Train the roles", "4 · Answer as a team"])
      expect(svg).toContain(`>${stage}<`);
    const dots = [...svg.matchAll(/<g [^>]*aria-label="dot"[^>]*>(.*?)<\/g>/gs)].map(([, inner]) => inner!);
    expect(dots.map((inner) => inner.match(/<(path|circle) /g)!.length)).toEqual([14, 1, 14, 1]);
  });

  it("backs up its rewards as the text says: a value is the mean of what follows, and good means above θ", () => {
    for (const value of ["0.75", "0.25", "0.5"]) expect(svg).toContain(`>${value}<`);
    const credit = [...svg.matchAll(/<g [^>]*aria-label="dot"[^>]*>(.*?)<\/g>/gs)][2]![1]!;
    // Good: four right final answers, one critique, one answer.
    expect(credit.match(/fill="#0072B2"/g)).toHaveLength(6);
    expect(credit.match(/fill="#D55E00"/g)).toHaveLength(8);
  });

  it("trains the generator on good outputs alone, verifier and refiner on pairs as well", () => {
    expect(svg.match(/>SFT on</g)).toHaveLength(3);
    expect(svg.match(/>DPO on</g)).toHaveLength(2);
  });
});

describe("estimator figure", () => {
  const bias = { mean: 0, low: -0.1, high: 0.1, n: 8, clusters: 4 };
  const row = { target: "value" as const, nodes: 8, bias, deviation: 0.2, labelled: 1, wrong: 0.1 };
  const rows: EstimatorError[] = ["generator", "verifier"].flatMap((role) => [
    { ...row, role, name: "mean", nodeBias: 0.02 },
    { ...row, role, name: "rloo", target: "advantage", nodeBias: 0 },
    { ...row, role, name: "posterior", target: "value > θ", nodeBias: null },
  ]);

  it("draws bias and deviation of each estimator in a panel per role, and no bias of a label", () => {
    const svg = renderSvg(estimatorFigure(rows));
    for (const text of ["estimates of the value", "estimates of the label", "mean", "rloo", "posterior", "verifier"])
      expect(svg).toContain(`>${text}<`);
    expect(svg).not.toContain("estimates of the gain");
    const dots = svg.slice(svg.indexOf('aria-label="dot"'));
    expect(dots.match(/<path [^>]*fill="#0072B2"/g)).toHaveLength(6);
    expect(dots.match(/<path [^>]*fill="#D55E00"/g)).toHaveLength(4);
    expect(renderSvg(estimatorFigure([]))).toContain("no estimator measured");
  });
});

describe("curves figure", () => {
  const curve = (places: readonly number[]) => places.map((x) => ({ curve: "bound", x, y: 1 / x }));
  const draw = (places: readonly number[], logX = false) =>
    renderSvg(curvesFigure(curve(places), { title: "Bound", x: "n", y: "ε", logX }));

  it("marks few places, whose whole numbers are the ticks, and draws many as a line alone", () => {
    const few = draw([14, 39, 84], true);
    expect(few.match(/<circle [^>]*r="4.5"/g)).toHaveLength(3);
    for (const tick of [14, 39, 84]) expect(few).toContain(`>${tick}</text>`);
    const many = draw(Array.from({ length: 40 }, (_, i) => i + 1));
    expect(many).not.toMatch(/<circle [^>]*r="4.5"/);
    expect(draw([])).toContain("nothing was computed");
  });
});
