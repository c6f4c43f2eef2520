/** Figure of credit estimators: how far each is from what it estimates, and how much it varies. */
import * as Plot from "@observablehq/plot";
import type { EstimatorError, Target } from "../credit/estimator-error.js";
import { lineFrame, lineNames, lines } from "./lines.js";
import { empty, figure, palette, plural, xAxis } from "./style.js";

const headings: readonly [Target, string][] = [
  ["value", "of the value"],
  ["advantage", "of the advantage"],
  ["gain", "of the gain"],
  ["value > θ", "of the label"],
];
const errors = ["bias of an output", "standard deviation"] as const;

/**
 * Bias and standard deviation of each estimator, a line each under what it estimates, a panel per role. The two can be compared
 * on one line, and down the lines of one heading, whose credits have one unit; `grpo` counts in standard deviations.
 * @param rows of `estimatorErrors`
 */
export function estimatorFigure(rows: readonly EstimatorError[]): Plot.PlotOptions {
  const title = "What credit estimators get wrong";
  const roles = [...new Set(rows.map(({ role }) => role))];
  if (roles.length === 0) return empty(title, "no estimator measured");
  const all = [...new Map(rows.map((row) => [row.name, row])).values()];
  const { names, rows: placed } = lines(
    headings.map(([target, heading]) => ({ heading, rows: all.filter((row) => row.target === target) })),
    ({ name }) => name,
  );
  const points = rows.flatMap(({ name, role, nodeBias, deviation }) => {
    const { y } = placed.find((row) => row.name === name)!;
    const at = { y, role };
    return [
      { ...at, error: errors[1], x: deviation },
      ...(nodeBias === null ? [] : [{ ...at, error: errors[0], x: nodeBias }]),
    ];
  });
  const nodes = roles.map((role) => `${plural(rows.find((row) => row.role === role)!.nodes, "output")} of the ${role}`);
  const at = { x: "x", y: "y", fx: "role" } as const;
  return figure({
    title,
    subtitle: nodes.join(", "),
    caption:
      "Bias of an output: root mean square, so that errors of both signs do not cancel; there is none of a label. Deviation: of a single estimate.",
    ...lineFrame(names),
    width: 300 + 260 * roles.length,
    x: { ...xAxis("in the credit's own unit"), domain: [0, Math.max(...points.map(({ x }) => x)) * 1.06], grid: true },
    fx: { domain: roles, axis: "top", label: null, padding: 0.06 },
    color: { domain: errors, range: [palette.vermilion, palette.blue], legend: true },
    symbol: { domain: errors, range: ["diamond2", "circle"] },
    marks: [
      ...lineNames(names, roles[0]!),
      Plot.ruleX([0], { stroke: palette.ink }),
      Plot.dot(points, { ...at, fill: "error", symbol: "error", r: 5, stroke: "white" }),
    ],
  });
}
