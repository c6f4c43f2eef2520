/** Figures of credit: how values are distributed, and how a threshold labels them. */
import * as Plot from "@observablehq/plot";
import type { SweepRow } from "../credit/thresholds.js";
import type { Node } from "../types.js";
import {
  count,
  empty,
  figure,
  palette,
  panelNote,
  questionCount,
  roleColors,
  rolesOf,
  thetaRule,
  xAxis,
  yAxis,
} from "./style.js";

/** What a threshold figure shows on its vertical axis: `share` is examples / nodes, the others are columns of a row. */
export type ThresholdMeasure = "share" | "examples" | "pairs" | "meanValue" | "noise" | "expectedNoise";

/**
 * Distribution of values per role (paper, Section 4.2). With n samples per state values are multiples of 1/n, 1/n², …,
 * so each distinct value (rounded to 0.01) is a bar of its own rather than part of a bin.
 * @param theta draws the threshold, [0, 1]
 */
export function valueFigure(nodes: readonly Node[], theta = 0.5): Plot.PlotOptions {
  const title = "Values by role";
  const valued = nodes.filter((node) => node.value !== null);
  if (valued.length === 0) return empty(title, "no complete trees");
  const roles = rolesOf(valued);
  const panels = roles.map((role) => {
    const values = valued.filter((node) => node.role === role).map((node) => Math.round(node.value! * 100) / 100);
    const bars = [...new Set(values)].map((value) => {
      const share = values.filter((v) => v === value).length / values.length;
      return { role, value, share };
    });
    const positive = valued.filter((node) => node.role === role && node.value! > theta).length / values.length;
    return { role, bars, n: values.length, positive };
  });
  const most = Math.max(...panels.map((panel) => panel.bars.length));
  const left = nodes.length - valued.length;
  return figure({
    title,
    subtitle:
      `${questionCount(nodes)}; ${count(valued.length)} nodes with a value` +
      (left > 0 ? `; ${count(left)} nodes above missing completions left out` : ""),
    caption: "Values are backed up from the leaves, whose value is 1 for a right answer, otherwise 0.",
    height: 90 + 110 * roles.length,
    marginTop: 30,
    marginRight: 190,
    x: { ...xAxis("value"), domain: [0, 1], inset: 12 },
    y: { ...yAxis("share of the role's nodes (%)"), percent: true, ticks: 4 },
    fy: { domain: roles, axis: null, padding: 0.18 },
    color: roleColors(roles),
    marks: [
      Plot.ruleX(
        panels.flatMap((panel) => panel.bars),
        {
          x: "value",
          y1: 0,
          y2: "share",
          fy: "role",
          stroke: "role",
          strokeWidth: Math.max(2, Math.min(14, 260 / most)),
        },
      ),
      Plot.ruleY([0]),
      ...thetaRule(theta, { fy: roles.slice(0, 1) }),
      Plot.text(panels, {
        ...panelNote,
        text: (p: (typeof panels)[number]) =>
          `${p.role}\nn = ${count(p.n)}\nvalue > ${theta}: ${(100 * p.positive).toFixed(1)} %`,
      }),
    ],
  });
}

const measures: Record<ThresholdMeasure, { title: string; label: string; unit: "count" | "percent" | "value" }> = {
  share: { title: "Share of nodes labelled good", label: "nodes with value > θ (%)", unit: "percent" },
  examples: { title: "SFT examples", label: "SFT examples (count)", unit: "count" },
  pairs: { title: "Preference pairs", label: "preference pairs (count)", unit: "count" },
  meanValue: { title: "Mean value of the SFT examples", label: "mean value", unit: "value" },
  noise: { title: "Label noise", label: "labels that a second estimate flips (%)", unit: "percent" },
  expectedNoise: { title: "Expected label noise", label: "labels expected to be wrong (%)", unit: "percent" },
};

/**
 * One measure against the threshold θ, a curve per role. Labels change only where θ passes a value, and `>` is strict, so
 * what counts labels is drawn as steps that keep their height from each row's θ to the next: exact with the thresholds that
 * `sweepThresholds` takes by default. The expected noise also varies between its values and jumps at them, so it is drawn
 * as points alone. Under `noise` it is drawn too, hollow, as far as the rows have it.
 * @param rows of `sweepThresholds`, in any order; a null measure leaves a gap
 * @param theta the threshold in use, [0, 1], drawn as a dashed line
 */
export function thresholdFigure(rows: readonly SweepRow[], measure: ThresholdMeasure, theta = 0.5): Plot.PlotOptions {
  const { title: noun, label, unit } = measures[measure];
  const title = `${noun} against the threshold θ`;
  const height = (row: SweepRow) =>
    measure === "share" ? (row.nodes > 0 ? row.examples / row.nodes : null) : row[measure];
  const sorted = [...rows].sort((a, b) => a.threshold - b.threshold);
  if (!sorted.some((row) => row.nodes > 0)) return empty(title, "no complete trees");
  if (!sorted.some((row) => height(row) !== null)) return empty(title, "not measured in these rows");
  const roles = [...new Set(rows.map((row) => row.role))];
  const nodes = roles.map((role) => `${role} ${count(sorted.find((row) => row.role === role)!.nodes)}`);
  const isModel = measure === "expectedNoise";
  const isBoth = measure === "noise" && sorted.some((row) => row.noise !== null && row.expectedNoise !== null);
  const channels = { x: "threshold", y: height, stroke: "role" };
  const point = { symbol: "role", strokeWidth: 1.6, r: 3.4 };
  const shapes = ["circle", "square", "triangle", "diamond", "star"] as const;
  return figure({
    title,
    subtitle: `Nodes with a value: ${nodes.join(", ")}`,
    caption: isModel
      ? "Points: computed at these θ; nothing is drawn between them."
      : isBoth
        ? "Steps: flipped by the second estimate. Points: expected to be wrong by the model, computed at these θ."
        : "Steps: a label changes only where θ passes a value.",
    x: { ...xAxis("threshold θ on a node's value"), domain: [0, 1], inset: 8 },
    y: {
      ...yAxis(label),
      ...(unit === "percent" && { percent: true }),
      ...(unit === "value" ? { domain: [0, 1] } : { zero: true, nice: true }),
      ...(unit === "count" && { tickFormat: count }),
    },
    color: { ...roleColors(roles), legend: true },
    symbol: { domain: roles, range: roles.map((_, i) => shapes[i % shapes.length]!) },
    marks: [
      Plot.ruleY([0], { stroke: palette.ink }),
      ...thetaRule(theta),
      ...(isModel ? [] : [Plot.line(sorted, { ...channels, z: "role", curve: "step-after", strokeWidth: 2.2 })]),
      ...(isBoth
        ? [
            Plot.dot(sorted, {
              ...channels,
              ...point,
              y: (row: SweepRow) => (row.noise === null ? null : row.expectedNoise),
            }),
          ]
        : [Plot.dot(sorted, { ...channels, ...point, fill: "white" })]),
    ],
  });
}
