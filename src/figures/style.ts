/**
 * The visual language of the figures. A role has the same colour in every figure (Okabe–Ito palette, safe for
 * colour-blind readers), values run from vermilion (0) over grey (θ) to blue (1), right and wrong differ in shape or
 * place as well as in colour, and the subtitle says how many things were counted.
 */
import * as Plot from "@observablehq/plot";
import type { Node } from "../types.js";

export const palette = {
  black: "#000000",
  orange: "#E69F00",
  skyBlue: "#56B4E9",
  green: "#009E73",
  yellow: "#F0E442",
  blue: "#0072B2",
  vermilion: "#D55E00",
  purple: "#CC79A7",
  neutral: "#e8e8e8",
  ink: "#222222",
  faint: "#6b6b6b",
};
const fixed = new Map([
  ["generator", palette.blue],
  ["verifier", palette.orange],
  ["refiner", palette.green],
]);
const spare = [palette.purple, palette.skyBlue, palette.vermilion, palette.black, palette.yellow];

/**
 * The colour of each role, for a Plot `color` scale. The paper's three have fixed colours; others take the remaining
 * ones in the order given, and repeat after five.
 */
export function roleColors(roles: readonly string[]): { domain: string[]; range: string[] } {
  const others = roles.filter((role) => !fixed.has(role));
  const color = (role: string) => fixed.get(role) ?? spare[others.indexOf(role) % spare.length]!;
  return { domain: [...roles], range: roles.map(color) };
}

/** What all figures share. Fonts fall back to the reader's own where the bundled one is not installed. */
export function figure(options: Plot.PlotOptions): Plot.PlotOptions {
  const font = "IBM Plex Sans, system-ui, sans-serif";
  return {
    width: 680,
    height: 340,
    marginTop: 28,
    marginLeft: 72,
    marginRight: 28,
    marginBottom: 48,
    ...options,
    style: { fontSize: "13px", fontFamily: font, color: palette.ink, background: "white" },
  };
}

/** A figure without data says so, under its own title, instead of drawing an empty frame. */
export function empty(title: string, reason: string): Plot.PlotOptions {
  const note = Plot.text([reason], { frameAnchor: "middle", fontSize: 15, fill: palette.faint });
  return figure({ title, height: 110, marginLeft: 20, marginBottom: 20, axis: null, marks: [note] });
}

/** An axis label as in papers: along the axis, centred, no arrow. */
const axis = { labelAnchor: "center", labelArrow: "none" } as const;
export const xAxis = (label: string): Plot.ScaleOptions => ({ ...axis, label, labelOffset: 40 });
export const yAxis = (label: string): Plot.ScaleOptions => ({ ...axis, label, labelOffset: 54, grid: true });

/** Where a panel's name and numbers are placed: right of it, from its top. */
export const panelNote: Plot.TextOptions = {
  fy: "role",
  frameAnchor: "top-right",
  textAnchor: "start",
  lineAnchor: "top",
  dx: 14,
  dy: 4,
  lineHeight: 1.35,
  fill: palette.ink,
};

/** The threshold as a dashed line with its name; `facet` says which panel shows the name. */
export function thetaRule(theta: number, facet: Plot.TextOptions = {}): Plot.Markish[] {
  const at = { x: [theta], frameAnchor: "top", textAnchor: "start", dx: 4, dy: -15, fontSize: 12 } as const;
  return [
    Plot.ruleX([theta], { stroke: palette.ink, strokeDasharray: "4 3" }),
    Plot.text([`θ = ${theta}`], { ...at, ...facet, fill: palette.ink }),
  ];
}

export const count = new Intl.NumberFormat("en-US").format;
export const plural = (n: number, noun: string): string => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
export const shorten = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1).trimEnd()}…` : text;

/** Roles in the order in which they speak. */
export function rolesOf(nodes: readonly Node[]): string[] {
  const depths = new Map(nodes.map((node) => [node.role, node.depth]));
  return [...depths].sort((a, b) => a[1] - b[1]).map(([role]) => role);
}

/** "12 questions", and how many of them have a node without a value: partial trees are never counted silently. */
export function questionCount(nodes: readonly Node[]): string {
  const all = new Set(nodes.map((node) => node.question_id));
  const partial = new Set(nodes.filter((node) => node.value === null).map((node) => node.question_id));
  return plural(all.size, "question") + (partial.size > 0 ? `, ${count(partial.size)} of them partly sampled` : "");
}
