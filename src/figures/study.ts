/** Figures of a study: accuracy along one of its axes, a line for each combination of the others. */
import * as Plot from "@observablehq/plot";
import type { CellResult } from "../study/results.js";
import { dotDomain } from "./lines.js";
import { count, empty, figure, palette, plural, xAxis, yAxis } from "./style.js";

/** What an axis is called under the figure, where its name says too little. */
const axisNames: Readonly<Record<string, string>> = {
  threshold: "threshold θ",
  branching: "children per state n",
  beta: "β of DPO",
  round: "round of training (0: untrained)",
  thresholdRise: "rise of θ from round to round",
  minGap: "least gap of a pair's values",
};

const colors = [
  palette.blue,
  palette.vermilion,
  palette.green,
  palette.purple,
  palette.orange,
  palette.skyBlue,
  palette.black,
];
const symbols = ["circle", "square", "triangle", "diamond2", "star", "wye", "cross"];

/** One cell in the figure. */
interface Point {
  x: number | string;
  mean: number;
  low: number;
  high: number;
  group: string;
  said: string;
  isReference: boolean;
}

/**
 * Accuracy with 95 % intervals along one axis. Votes are drawn against the tokens that they take, and any other axis with
 * numbers to scale; the line between two numbers of votes is what a mix of the two gives, so that at one place on the
 * horizontal axis teams are compared at exactly equal tokens; intervals are bands then. Of more combinations than there are colours those are drawn
 * that have the reference's values.
 * @param results of all cells; those without a result are left out, and counted in the subtitle
 * @param axis a varied one
 */
export function studyFigure(results: readonly CellResult[], axis: string): Plot.PlotOptions {
  const isVotes = axis === "votes";
  const title = isVotes ? "Accuracy against tokens spent on votes" : `Accuracy by ${axis}`;
  const others = (values: CellResult["values"]) =>
    Object.entries(values)
      .filter(([name]) => name !== axis)
      .map(([name, label]) => (name === "system" || name === "team" ? label : `${name} ${label}`))
      .join(", ");
  const reference = results.find(({ isReference }) => isReference);
  const all = [...new Set(results.map(({ values }) => others(values)))];
  const isSlice = all.length > colors.length;
  const shown = results.filter(({ values }) => !isSlice || (reference && others(values) === others(reference.values)));
  const measured = shown.filter(({ accuracy, tokens }) => accuracy !== null && (!isVotes || tokens !== null));
  if (measured.length === 0) return empty(title, results.length === 0 ? "no cells" : "no cell is evaluated yet");
  const isNumeric =
    isVotes || measured.every(({ values }) => values[axis] !== "" && Number.isFinite(Number(values[axis])));
  const groups = all.filter((name) => measured.some(({ values }) => others(values) === name));
  const points = measured.map(({ values, accuracy, tokens, isReference }): Point => {
    const label = values[axis]!;
    const { mean, low, high } = accuracy!;
    const x = isVotes ? tokens! : isNumeric ? Number(label) : label;
    return { x, mean, low, high, group: others(values), said: label, isReference };
  });
  points.sort((a, b) => (isNumeric ? Number(a.x) - Number(b.x) : 0));
  const labels = [...new Set(shown.map(({ values }) => values[axis]!))];
  const ends = points.flatMap(({ mean, low, high }) => (Number.isNaN(low) ? [mean] : [low, high]));
  const left = shown.length - measured.length;
  const { clusters = 0, n = 0 } = measured[0]!.accuracy!;
  const paint = { domain: groups, range: groups.map((_, i) => colors[i]!) };
  const at = { x: "x", stroke: "group" } as const;
  const sets = groups.map((name, i) => ({
    name,
    own: points.filter(({ group }) => group === name),
    dx: isVotes ? 0 : 11 * (i - (groups.length - 1) / 2),
  }));
  return figure({
    title,
    subtitle:
      `${plural(clusters, "held-out question")}, ${plural(n, "answer")} per cell` +
      (isSlice ? "; the other axes at the reference's values" : "") +
      (left > 0 ? `; ${plural(left, "cell")} without a result` : ""),
    caption:
      `${isVotes ? "Bands" : "Lines up and down"}: 95 % intervals with the question as the unit.${isVotes ? " Numbers: answers voted on. Between two points a line is their mix." : ""}` +
      (reference && measured.includes(reference) ? " The ring marks the reference." : ""),
    height: 380,
    marginTop: 12,
    x: isVotes
      ? {
          ...xAxis("completion tokens per question (logarithmic)"),
          type: "log",
          inset: 24,
          ticks: 6,
          tickFormat: count,
        }
      : isNumeric
        ? {
            ...xAxis(axisNames[axis] ?? axis),
            inset: 24,
            ticks: [...new Set(points.map(({ x }) => Number(x)))],
            tickFormat: String,
          }
        : { ...xAxis(axisNames[axis] ?? axis), type: "point", domain: labels, padding: 0.6 },
    y: { ...yAxis("accuracy (%)"), percent: true, domain: dotDomain(ends, 0.05).map((share) => 100 * share) },
    color: { ...paint, legend: groups.length > 1 },
    symbol: { domain: groups, range: groups.map((_, i) => symbols[i]!) },
    marks: [
      // Intervals at one place would hide one another, so they stand side by side; those of votes are bands.
      ...sets.map(({ own, dx }) =>
        isVotes
          ? Plot.areaY(own, { x: "x", y1: "low", y2: "high", fill: "group", fillOpacity: 0.1 })
          : Plot.ruleX(own, { ...at, dx, y1: "low", y2: "high", strokeWidth: 1.4, strokeOpacity: 0.6 }),
      ),
      ...sets.flatMap(({ own, name, dx }) => [
        ...(isNumeric ? [Plot.line(isVotes ? mixes(own, [name]) : own, { ...at, dx, y: "mean" })] : []),
        Plot.dot(own, { x: "x", y: "mean", dx, fill: "group", symbol: "group", stroke: "white", r: isVotes ? 4 : 6 }),
        Plot.dot(own, { filter: "isReference", x: "x", y: "mean", dx, r: 10, stroke: palette.ink, strokeWidth: 1.4 }),
      ]),
      ...(isVotes ? endLabels(points, groups) : []),
    ],
  });
}

/** The way from each number of votes to the next by mixing the two, which is straight in tokens and so bent on their logarithm. */
function mixes(points: readonly Point[], groups: readonly string[]): { x: number; mean: number; group: string }[] {
  const parts = 16;
  return groups.flatMap((group) => {
    const own = points.filter((point) => point.group === group);
    return own.flatMap(({ x, mean }, i) => {
      const next = own[i + 1];
      if (!next) return [{ x: Number(x), mean, group }];
      return Array.from({ length: parts }, (_, part) => {
        const share = part / parts;
        return { group, x: Number(x) + share * (Number(next.x) - Number(x)), mean: mean + share * (next.mean - mean) };
      });
    });
  });
}

/** The number of votes at both ends of each line. */
function endLabels(points: readonly Point[], groups: readonly string[]): Plot.Markish[] {
  const ends = groups.map((name) => points.filter(({ group }) => group === name));
  const at = { x: "x", y: "mean", text: "said", fill: palette.ink, stroke: "white", strokeWidth: 3 } as const;
  const label = (some: Point[], more: Plot.TextOptions) => Plot.text(some, { ...at, ...more });
  return [
    label(
      ends.map((own) => own[0]!),
      { textAnchor: "end", dx: -8 },
    ),
    label(
      ends.flatMap((own) => (own.length > 1 ? own.slice(-1) : [])),
      { textAnchor: "start", dx: 8 },
    ),
  ];
}
