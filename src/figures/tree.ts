/** The picture of one question's search tree. */
import * as Plot from "@observablehq/plot";
import { identicalSiblings, isContradictory } from "../credit/label-noise.js";
import { InputError } from "../errors.js";
import type { Node, Question } from "../types.js";
import { empty, figure, palette, plural, rolesOf, shorten } from "./style.js";

interface Placed {
  node: Node;
  parent: Placed | undefined;
  /** Column: depth + 1; the question is column 0. */
  x: number;
  /** Row; a leaf takes one. */
  y: number;
}

/** Rows an inner node needs at least, because its label is above it and its value below. */
const innerRows = 3;

/** Siblings are placed below each other in order, a parent in the middle of its children. */
function layout(nodes: readonly Node[]): { placed: Placed[]; rows: number; last: number } {
  const byId = new Map(nodes.map((node) => [node.node_id, { node, x: node.depth + 1, y: 0 } as Placed]));
  const placed = [...byId.values()].sort((a, b) => a.node.branch - b.node.branch);
  const children = new Map<Placed | undefined, Placed[]>();
  for (const p of placed) {
    p.parent = p.node.parent_id === null ? undefined : byId.get(p.node.parent_id);
    const siblings = children.get(p.parent);
    if (siblings) siblings.push(p);
    else children.set(p.parent, [p]);
  }
  const last = Math.max(...placed.map((p) => p.x));
  const total = (group: readonly Placed[]): number => group.reduce((sum, p) => sum + span(p), 0);
  const span = (p: Placed): number => Math.max(p.x < last ? innerRows : 1, total(children.get(p) ?? []));
  const place = (group: readonly Placed[], top: number): void => {
    let row = top;
    for (const p of group) {
      const below = children.get(p) ?? [];
      const rows = span(p);
      place(below, row + (rows - total(below)) / 2);
      p.y = below.length > 0 ? (below[0]!.y + below.at(-1)!.y) / 2 : row + (rows - 1) / 2;
      row += rows;
    }
  };
  const first = children.get(undefined) ?? [];
  place(first, 0);
  return { placed, rows: total(first), last };
}

/**
 * The search tree of one question from left to right, a column per role (paper, Section 4.2 and Figure 2). Colour is a
 * node's value, shape whether its own answer is right, the label its path and answer. A ring marks outputs that have a
 * sibling with the same text, byte for byte, and the other label: label noise, not a better output.
 * @param nodes rows of one question, in any order; the tree may be partly sampled
 * @param options.question adds the question's text and reference answer
 * @param options.theta the value drawn in grey, in (0, 1)
 * @throws InputError if the rows belong to several questions
 */
export function treeFigure(
  nodes: readonly Node[],
  options: { question?: Question; theta?: number } = {},
): Plot.PlotOptions {
  const { question, theta = 0.5 } = options;
  const ids = [...new Set(nodes.map((node) => node.question_id))];
  if (ids.length > 1) {
    throw new InputError(`a tree figure shows one question, got ${ids.length}; filter the nodes by question_id`);
  }
  const title = `Search tree of question ${shorten(question?.id ?? ids[0] ?? "", 40)}`;
  if (nodes.length === 0) return empty(title, "no completions sampled for this question");

  const roles = rolesOf(nodes);
  const { placed, rows, last } = layout(nodes);
  const rowHeight = Math.max(4, Math.min(17, 1400 / rows));
  const root = { x: 0, y: (rows - 1) / 2 };
  const sizes = roles.map((role) => plural(nodes.filter((node) => node.role === role).length, `${role} output`));
  const partial = nodes.some((node) => node.value === null);

  const contradicted = new Set(identicalSiblings(nodes).filter(isContradictory).flat());

  const name = (p: Placed) => `${p.node.node_id}: ${shorten(p.node.answer ?? "no answer", 14)}`;
  const verdict = (p: Placed) => (p.node.correct === null ? "none" : p.node.correct ? "right" : "wrong");
  // A column with too many nodes for its labels keeps its colours and shapes alone.
  const crowded = (x: number) => placed.filter((p) => p.x === x).length * 44 > rows * rowHeight;
  const labelled = new Set(Array.from({ length: last }, (_, x) => x).filter((x) => !crowded(x)));
  const inner = {
    filter: (p: Placed) => p.x < last && labelled.has(p.x),
    x: "x",
    y: "y",
    stroke: "white",
    strokeWidth: 4,
  };
  const outer = { filter: (p: Placed) => p.x === last && rowHeight >= 10, x: "x", y: "y" };
  return figure({
    title,
    subtitle: question && `${shorten(question.question, 400)} (Reference answer: ${shorten(question.answer, 40)})`,
    caption:
      `${sizes.join(", ")}. Colour and number: value, backed up from the leaves (1 for a right answer, otherwise 0). ` +
      "Shape: the node's own answer." +
      (contradicted.size > 0
        ? " Ring: a sibling has the same text and the other label, so one of them is wrong (label noise)."
        : "") +
      (partial ? " Partly sampled tree: white nodes have no value." : ""),
    width: 210 + 155 * last,
    height: 60 + rowHeight * rows,
    marginTop: 44,
    marginLeft: 44,
    marginRight: 150,
    marginBottom: 16,
    x: { axis: null, domain: [0, last] },
    y: { axis: null, domain: [rows - 0.5, -0.5] },
    color: {
      type: "linear",
      domain: [0, theta, 1],
      range: [palette.vermilion, palette.neutral, palette.blue],
      unknown: "white",
      legend: true,
      label: `value (grey: θ = ${theta})`,
    },
    symbol: {
      domain: ["right", "wrong", "none"],
      range: ["circle", "diamond2", "triangle"],
      legend: true,
      label: "own answer",
    },
    marks: [
      Plot.link(placed, {
        x1: (p: Placed) => p.parent?.x ?? root.x,
        y1: (p: Placed) => p.parent?.y ?? root.y,
        x2: "x",
        y2: "y",
        curve: "bump-x",
        stroke: "#b0b0b0",
      }),
      Plot.dot([root], { x: "x", y: "y", r: 4, fill: palette.ink }),
      Plot.text([root], { x: "x", y: "y", text: () => "question", dy: -14, fill: palette.ink }),
      Plot.dot(placed, {
        x: "x",
        y: "y",
        fill: { value: (p: Placed) => p.node.value, scale: "color" },
        symbol: verdict,
        r: { value: (p: Placed) => (p.x < last ? 5.5 : Math.min(5.5, rowHeight / 2)), scale: null },
        stroke: palette.ink,
        strokeWidth: Math.min(1.5, rowHeight / 8),
      }),
      Plot.text(placed, { ...inner, text: name, dy: -15, fill: palette.ink }),
      Plot.text(placed, { ...inner, text: (p: Placed) => p.node.value?.toFixed(2) ?? "", dy: 15, fill: palette.faint }),
      Plot.text(placed, { ...outer, text: name, textAnchor: "start", dx: 12, fontSize: 12, fill: palette.ink }),
      Plot.text(roles, {
        x: (_: string, i: number) => i + 1,
        frameAnchor: "top",
        dy: -32,
        text: (role: string) => role,
        fontWeight: 600,
        fontSize: 14,
        fill: palette.ink,
      }),
      Plot.dot(
        placed.filter(({ node }) => contradicted.has(node)),
        { x: "x", y: "y", r: 9, stroke: palette.purple, strokeWidth: 2 },
      ),
    ],
  });
}
