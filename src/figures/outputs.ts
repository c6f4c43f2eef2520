/** Figures of the outputs themselves: how often they are right, what a critique changes, how long they are. */
import * as Plot from "@observablehq/plot";
import { critiqueValue, summariseRoles } from "../credit/summary.js";
import { percent } from "../format.js";
import type { Estimate } from "../stats/means.js";
import type { Node } from "../types.js";
import {
  count,
  empty,
  figure,
  palette,
  panelNote,
  plural,
  questionCount,
  roleColors,
  rolesOf,
  xAxis,
  yAxis,
} from "./style.js";

const intervals =
  "Bars: share of right answers; no answer counts as wrong. Lines: 95 % intervals with the question as the unit.";
/** Room above 100 % for the labels of a full bar. */
const percentAxis = { ...yAxis("right answers (%)"), percent: true, domain: [0, 114], ticks: [0, 20, 40, 60, 80, 100] };

/** Bars with intervals, each with its height and the size of its group; without an interval only the bar is drawn. */
const bars = <T extends Estimate>(
  rows: readonly T[],
  channels: { x: string; fill: string; fx?: string },
): Plot.Markish[] => {
  const { fill, ...at } = channels;
  return [
    Plot.barY(rows, { ...at, y: "mean", fill, insetLeft: 8, insetRight: 8 }),
    Plot.ruleX(rows, { ...at, y1: "low", y2: "high", stroke: palette.ink, strokeWidth: 1.8 }),
    Plot.text(rows, {
      ...at,
      y: (row: T) => (Number.isNaN(row.high) ? row.mean : row.high),
      text: (row: T) => `${percent(row.mean)}\nn = ${count(row.n)}`,
      lineAnchor: "bottom",
      dy: -6,
      lineHeight: 1.25,
      fill: palette.ink,
      stroke: "white",
      strokeWidth: 4,
    }),
    Plot.ruleY([0], { stroke: palette.ink }),
  ];
};

/** Accuracy of each role's own answers, in the order in which the roles speak, with 95 % intervals. */
export function accuracyFigure(nodes: readonly Node[]): Plot.PlotOptions {
  const title = "Accuracy of each role's own answers";
  if (nodes.length === 0) return empty(title, "no completions sampled");
  const rows = summariseRoles(nodes).map(({ role, accuracy }) => ({ role, ...accuracy }));
  const roles = rolesOf(nodes);
  return figure({
    title,
    subtitle: `${questionCount(nodes)}; ${plural(nodes.length, "completion")}`,
    caption: intervals,
    width: Math.max(520, 170 * roles.length),
    x: { domain: roles, label: null, padding: 0.2, tickSize: 0 },
    y: percentAxis,
    color: roleColors(roles),
    marks: bars(rows, { x: "role", fill: "role" }),
  });
}

/**
 * What a critique is worth: accuracy of the refinements under right and under wrong critiques, apart for right and for
 * wrong answers, because a right critique comes more often with a right answer.
 * @param nodes rows of any number of questions
 * @param roles as in `critiqueValue`, for a team other than G → V → R
 */
export function critiqueFigure(nodes: readonly Node[], roles?: Parameters<typeof critiqueValue>[1]): Plot.PlotOptions {
  const title = "Accuracy of the refinement by the critique it read";
  const rows = critiqueValue(nodes, roles).flatMap(({ answerRight, critiqueRight, refinement }) => {
    const group = `after a ${answerRight ? "right" : "wrong"} answer`;
    return refinement.n === 0 ? [] : [{ group, critique: critiqueRight ? "right" : "wrong", ...refinement }];
  });
  if (rows.length === 0) return empty(title, "no refinements that follow an answer and a critique");
  const refinements = rows.reduce((sum, row) => sum + row.n, 0);
  return figure({
    title,
    subtitle: `${questionCount(nodes)}; ${plural(refinements, "refinement")}`,
    caption: `${intervals} A critique is right if the answer it states itself is; one without an answer is not.`,
    width: 620,
    height: 350,
    marginTop: 36,
    x: { ...xAxis("critique"), domain: ["wrong", "right"], padding: 0.1, tickSize: 0 },
    fx: { domain: ["after a wrong answer", "after a right answer"], label: null, padding: 0.08 },
    y: percentAxis,
    color: { domain: ["wrong", "right"], range: [palette.vermilion, palette.skyBlue] },
    marks: bars(rows, { x: "critique", fill: "critique", fx: "group" }),
  });
}

/**
 * Lengths of the completions per role, in tokens. Truncated ones (finish_reason "length") are drawn apart, as they pile
 * up at the limit and end without an answer. Completions whose tokens the server did not count are left out, and the
 * figure says so.
 */
export function lengthFigure(nodes: readonly Node[]): Plot.PlotOptions {
  const title = "Lengths of the completions";
  const known = nodes.flatMap((n) => {
    const cut = n.finish_reason === "length";
    return n.completion_tokens === null ? [] : [{ role: n.role, tokens: n.completion_tokens, cut }];
  });
  if (known.length === 0)
    return empty(title, nodes.length === 0 ? "no completions sampled" : "tokens were not counted");
  const roles = rolesOf(nodes);
  const panels = roles.flatMap((role) => {
    const own = known.filter((row) => row.role === role);
    const lengths = own.map((row) => row.tokens).sort((a, b) => a - b);
    const median = lengths[lengths.length >> 1];
    return median === undefined ? [] : [{ role, n: own.length, median, cut: own.filter((row) => row.cut).length }];
  });
  const colors = roleColors(roles);
  const cutOff = "cut off";
  const interval = Math.max(1, Math.ceil(Math.max(...known.map((row) => row.tokens)) / 40));
  const left = nodes.length - known.length;
  return figure({
    title,
    subtitle:
      `${questionCount(nodes)}, ${plural(nodes.length, "completion")}` +
      (left > 0 ? `, ${count(left)} of them left out because their tokens were not counted` : ""),
    caption: `Bins of ${plural(interval, "token")}. Black: cut off at the token limit.`,
    height: 90 + 110 * roles.length,
    marginRight: 190,
    x: { ...xAxis("length (tokens)"), nice: true, zero: true },
    y: { ...yAxis("share of the role's completions (%)"), percent: true, ticks: 4 },
    color: { domain: [...colors.domain, cutOff], range: [...colors.range, palette.black] },
    fy: { domain: roles, axis: null, padding: 0.18 },
    marks: [
      Plot.rectY(
        known,
        Plot.binX<Plot.RectYOptions>(
          { y: "proportion-facet" },
          { x: "tokens", interval, fy: "role", fill: (row) => (row.cut ? cutOff : row.role) },
        ),
      ),
      Plot.ruleY([0], { stroke: palette.ink }),
      Plot.text(panels, {
        ...panelNote,
        text: (p: (typeof panels)[number]) =>
          `${p.role}\nn = ${count(p.n)}\nmedian ${count(p.median)} tokens\ntruncated ${percent(p.cut / p.n)}`,
      }),
    ],
  });
}
