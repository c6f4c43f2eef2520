/**
 * The method as one picture, after Figure 1 of the paper: sample a tree, assign credit, train the roles, answer as a team.
 * A schematic with made-up rewards; it shows no data.
 */
import * as Plot from "@observablehq/plot";
import { figure, palette, roleColors } from "./style.js";

interface Spot {
  x: number;
  y: number;
}
interface Dot extends Spot {
  role: string;
  value: number;
  parent: Dot | null;
}

const roles = ["generator", "verifier", "refiner"];
const colors = roleColors(roles);
const colorOf = (role: string): string => colors.range[roles.indexOf(role)]!;
/** Of the eight final answers, from the top; two outputs per state. */
const rewards = [1, 1, 1, 0, 1, 0, 0, 0];
const threshold = 0.5;

/** The small tree with its root at `left`, each value the mean of those below. */
function tree(left: number, top: number): { root: Spot; dots: Dot[] } {
  const [column, row] = [62, 25];
  const middle = top + (row * (rewards.length - 1)) / 2;
  const dots: Dot[] = [];
  const grow = (depth: number, from: number, to: number, parent: Dot | null): void => {
    const half = (to - from) / 2;
    for (const [start, end] of [
      [from, from + half],
      [from + half, to],
    ] as const) {
      const below = rewards.slice(start, end);
      const dot: Dot = {
        x: left + column * (depth + 1),
        y: top + row * ((start + end - 1) / 2),
        role: roles[depth]!,
        value: below.reduce((sum, reward) => sum + reward, 0) / below.length,
        parent,
      };
      dots.push(dot);
      if (depth < 2) grow(depth + 1, start, end, dot);
    }
  };
  grow(0, 0, rewards.length, null);
  return { root: { x: left, y: middle }, dots };
}

const say = (x: number, y: number, text: string, options: Plot.TextOptions = {}): Plot.Markish =>
  Plot.text([text], { x: [x], y: [y], fill: palette.ink, fontSize: 12, ...options });
const heading = (x: number, text: string): Plot.Markish =>
  say(x, 14, text, { textAnchor: "start", fontSize: 14, fontWeight: 600 });
const box = (x: number, y: number, width: number, height: number, stroke: string): Plot.Markish =>
  Plot.rect([0], { x1: [x], x2: [x + width], y1: [y], y2: [y + height], stroke, strokeWidth: 2, fill: "white", rx: 5 });
const arrow = (from: Spot, to: Spot, options: Plot.ArrowOptions = {}): Plot.Markish =>
  Plot.arrow([0], {
    ...{ x1: [from.x], y1: [from.y], x2: [to.x], y2: [to.y] },
    ...{ stroke: palette.faint, strokeWidth: 1.6, headLength: 9, ...options },
  });

function branches({ root, dots }: ReturnType<typeof tree>): Plot.Markish {
  const x1 = ({ parent }: Dot) => (parent ?? root).x;
  const y1 = ({ parent }: Dot) => (parent ?? root).y;
  return Plot.link(dots, { x1, y1, x2: "x", y2: "y", stroke: "#b0b0b0" });
}

/** Stage 1: the roles speak in turn, and final answers are graded. */
function sampled(left: number): Plot.Markish[] {
  const drawn = tree(left, 62);
  const leaves = drawn.dots.filter(({ role }) => role === "refiner");
  return [
    heading(left - 12, "1 · Sample a tree"),
    ...["answers", "critiques", "final answers"].map((name, i) => say(left + 62 * (i + 1), 40, name, { fontSize: 11 })),
    branches(drawn),
    Plot.dot(drawn.dots, { x: "x", y: "y", r: 7, fill: ({ role }: Dot) => colorOf(role), stroke: "white" }),
    Plot.dot([drawn.root], { x: "x", y: "y", r: 4, fill: palette.ink }),
    say(left - 12, drawn.root.y + 18, "question", {
      textAnchor: "start",
      fontSize: 11,
      stroke: "white",
      strokeWidth: 5,
    }),
    Plot.text(leaves, {
      ...{ x: "x", y: "y", dx: 12, textAnchor: "start", fontSize: 12, fontWeight: 600 },
      text: ({ value }: Dot) => (value === 1 ? "right" : "wrong"),
      fill: ({ value }: Dot) => (value === 1 ? palette.blue : palette.vermilion),
    }),
  ];
}

/** Stage 2: rewards go back up as means; the threshold makes them labels. */
function credited(left: number): Plot.Markish[] {
  const drawn = tree(left, 62);
  const isGood = ({ value }: Dot) => value > threshold;
  const inner = drawn.dots.filter(({ role }) => role !== "refiner");
  const pair = drawn.dots.filter(({ role, parent }) => role === "verifier" && parent !== null && isGood(parent));
  return [
    heading(left - 12, "2 · Assign credit"),
    arrow({ x: left + 196, y: 44 }, { x: left + 20, y: 44 }, { strokeDasharray: "4 3" }),
    say(left + 108, 33, "value = mean of what follows", { fontSize: 11 }),
    branches(drawn),
    Plot.dot(drawn.dots, {
      ...{ x: "x", y: "y", r: 7, symbol: (d: Dot) => (isGood(d) ? "circle" : "diamond2") },
      ...{ fill: (d: Dot) => (isGood(d) ? palette.blue : palette.vermilion), stroke: "white" },
    }),
    Plot.dot([drawn.root], { x: "x", y: "y", r: 4, fill: palette.ink }),
    Plot.text(inner, {
      x: "x",
      y: "y",
      dy: -15,
      text: ({ value }: Dot) => String(value),
      fontSize: 11,
      stroke: "white",
      strokeWidth: 3,
      fill: palette.ink,
    }),
    Plot.text(
      drawn.dots.filter(({ role }) => role === "refiner"),
      {
        x: "x",
        y: "y",
        dx: 12,
        textAnchor: "start",
        text: ({ value }: Dot) => String(value),
        fontSize: 11,
        fill: palette.ink,
      },
    ),
    Plot.rect([0], {
      ...{ x1: [pair[0]!.x - 15], x2: [pair[0]!.x + 15], y1: [pair[0]!.y - 26], y2: [pair[1]!.y + 13] },
      ...{ stroke: palette.purple, strokeWidth: 2, strokeDasharray: "3 2", rx: 6, fill: "none" },
    }),
    say(left - 12, 62 + 25 * 7 + 28, "blue circle: good, value above θ = 0.5", { textAnchor: "start", fontSize: 11 }),
    say(left - 12, 62 + 25 * 7 + 44, "dashed: a preference pair, good and bad siblings", {
      textAnchor: "start",
      fontSize: 11,
    }),
  ];
}

/** Stage 3: what each role is trained with. */
function learned(left: number): Plot.Markish[] {
  return [
    heading(left, "3 · Train the roles"),
    ...roles.flatMap((role, i) => {
      const y = 46 + 70 * i;
      const middle = y + 26;
      return [
        say(left, middle - 34, role, { textAnchor: "start", fontWeight: 600, fill: palette.ink }),
        box(left, y, 92, 46, colorOf(role)),
        say(left + 46, y + 23, "SFT on\ngood outputs", { fontSize: 11 }),
        ...(role === "generator"
          ? []
          : [
              arrow({ x: left + 92, y: y + 23 }, { x: left + 122, y: y + 23 }),
              box(left + 124, y, 92, 46, colorOf(role)),
              say(left + 170, y + 23, "DPO on\npairs", { fontSize: 11 }),
            ]),
      ];
    }),
  ];
}

/** Stage 4: the trained team answers three times and votes. */
function answered(top: number): Plot.Markish[] {
  const says = ["answer", "critique", "final answer"];
  const y = top + 46;
  return [
    say(16, top, "4 · Answer as a team", { textAnchor: "start", fontSize: 14, fontWeight: 600 }),
    say(16, y, "question", { textAnchor: "start" }),
    arrow({ x: 72, y }, { x: 116, y }),
    ...roles.flatMap((role, i) => {
      const x = 120 + 200 * i;
      return [
        box(x, y - 20, 96, 40, colorOf(role)),
        say(x + 48, y, role, { fontWeight: 600 }),
        arrow({ x: x + 98, y }, { x: x + 196, y }),
        say(x + 146, y - 10, says[i]!, { fontSize: 11 }),
      ];
    }),
    say(722, y, "three passes: the most\nfrequent final answer wins", { textAnchor: "start" }),
  ];
}

/**
 * The four stages of MALT: a tree of outputs, credit from its leaves, training of each role, and the team at test time.
 * Drawn with two outputs per state, where the paper has three.
 */
export function loopFigure(): Plot.PlotOptions {
  const identity = { type: "identity", axis: null } as const;
  return figure({
    title: "How MALT trains a team from final answers alone",
    subtitle:
      "A schematic after Figure 1 of the paper, with made-up rewards and two outputs per state instead of three",
    caption:
      "All roles begin as the same model, and each reads the question. The verifier also reads the answer, the refiner the " +
      "answer and its critique. SFT: supervised fine-tuning; DPO: direct preference optimisation.",
    width: 900,
    height: 412,
    margin: 0,
    x: identity,
    y: identity,
    marks: [
      ...sampled(28),
      arrow({ x: 288, y: 149 }, { x: 328, y: 149 }, { strokeWidth: 3, headLength: 6 }),
      ...credited(360),
      arrow({ x: 600, y: 149 }, { x: 640, y: 149 }, { strokeWidth: 3, headLength: 6 }),
      ...learned(668),
      Plot.link([0], { x1: [16], x2: [884], y1: [308], y2: [308], stroke: "#d0d0d0" }),
      ...answered(332),
    ],
  });
}
