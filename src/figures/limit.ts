/** How the number of requests in flight finds what a server can take. */
import * as Plot from "@observablehq/plot";
import { count, empty, figure, palette, xAxis, yAxis } from "./style.js";

/** The bound on the requests in flight, sampled over time. */
export interface LimitPoint {
  /** What the server has: a panel of the figure, and its dashed line. */
  slots: number;
  /** How the bound is found: a line of the panel. */
  known: string;
  seconds: number;
  limit: number;
}

const colors = [palette.blue, palette.vermilion, palette.green, palette.purple];

/** The bound over time, a panel per server; dashed: one request for each slot. */
export function limitFigure(points: readonly LimitPoint[]): Plot.PlotOptions {
  const title = "Requests in flight that are allowed";
  if (points.length === 0) return empty(title, "no limit observed");
  const servers = [...new Set(points.map(({ slots }) => slots))].sort((a, b) => a - b);
  const known = [...new Set(points.map((point) => point.known))];
  const values = [...servers, ...points.map(({ limit }) => limit)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const ticks = [1, 10, 100, 1000].flatMap((x) => [x, 2 * x, 5 * x]).filter((x) => low <= x && x <= high);
  return figure({
    title,
    caption: "Dashed: one request for each slot.",
    subtitle: `Servers of ${servers.map(count).join(", ")} slots`,
    width: 760,
    y: {
      ...yAxis("limit (requests, logarithmic)"),
      type: "log",
      domain: [low, high],
      ticks,
      tickFormat: count,
      inset: 8,
    },
    x: { ...xAxis("time since the first request (s)"), ticks: 4, zero: true },
    fx: { domain: servers, label: null, tickFormat: (slots: number) => `${count(slots)} slots`, padding: 0.12 },
    color: { domain: known, range: known.map((_, i) => colors[i % colors.length]!), legend: true },
    marks: [
      Plot.frame({ stroke: "#d0d0d0" }),
      Plot.ruleY(servers, { fx: (slots: number) => slots, y: (slots: number) => slots, strokeDasharray: "4 3" }),
      Plot.line(points, {
        fx: "slots",
        x: "seconds",
        y: "limit",
        z: "known",
        stroke: "known",
        curve: "step-after",
        strokeWidth: 2,
      }),
    ],
  });
}
