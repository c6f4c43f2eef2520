/** Named curves over a number, for what a notebook computes itself: simulations, bounds, sweeps. */
import * as Plot from "@observablehq/plot";
import { count, empty, figure, palette, xAxis, yAxis } from "./style.js";

/** A point of a curve. */
export interface CurvePoint {
  /** The curve's name. */
  curve: string;
  x: number;
  y: number;
}

export interface CurvesOptions {
  title: string;
  subtitle?: string;
  /** What the axes show, with units. */
  x: string;
  y: string;
  /** Axis of x with equal distances for equal ratios; x must then be > 0. */
  logX?: boolean;
  /** Horizontal lines to compare with, with their names. */
  levels?: readonly { y: number; text: string }[];
}

const colors = [palette.blue, palette.orange, palette.green, palette.purple, palette.vermilion, palette.skyBlue];
const dashes = ["none", "8 3", "2 3", "8 3 2 3", "14 4", "4 4"];

/** Curves in the order of their first points, told apart by colour, dashes and their names; at most six. */
export function curvesFigure(points: readonly CurvePoint[], options: CurvesOptions): Plot.PlotOptions {
  const { title, subtitle, x, y, logX = false, levels = [] } = options;
  const names = [...new Set(points.map(({ curve }) => curve))];
  if (names.length === 0) return empty(title, "nothing was computed");
  // Few places are measurements of their own: each is marked, and whole numbers are the ticks.
  const places = [...new Set(points.map((point) => point.x))];
  const isFew = places.length <= 16;
  const ticks = isFew && places.every(Number.isInteger) ? { ticks: places, tickFormat: count } : {};
  return figure({
    title,
    ...(subtitle !== undefined && { subtitle }),
    x: { ...xAxis(x), ...(logX && { type: "log" }), ...ticks },
    y: { ...yAxis(y), nice: true },
    color: { domain: names, range: names.map((_, i) => colors[i % colors.length]!), legend: true },
    marks: [
      Plot.ruleY(levels, { y: "y", stroke: palette.ink, strokeDasharray: "4 3" }),
      Plot.text(levels, { y: "y", text: "text", frameAnchor: "right", textAnchor: "end", dy: -9, fontSize: 12 }),
      ...names.map((name, i) =>
        Plot.lineY(
          points.filter(({ curve }) => curve === name),
          { x: "x", y: "y", stroke: "curve", strokeWidth: 2.2, strokeDasharray: dashes[i % dashes.length]! },
        ),
      ),
      ...(isFew ? [Plot.dot(points, { x: "x", y: "y", fill: "curve", stroke: "white", r: 4.5 })] : []),
    ],
  });
}
