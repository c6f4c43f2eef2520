/** Figures of what happens within a team: accuracy after each turn (paper, Figure 3), and flips (Figure 2). */
import * as Plot from "@observablehq/plot";
import type { PublishedFlips } from "../evaluate/published.js";
import { flips, perTurn } from "../evaluate/results.js";
import { percent } from "../format.js";
import type { EvaluationRow } from "../types.js";
import { dotDomain, inTableOrder, lineFrame, lineNames, lines, trainingOf, trainingScales } from "./lines.js";
import { empty, figure, palette, plural, xAxis, yAxis } from "./style.js";

/** The three teams that Figure 3's comparison needs, with a vote of three. */
const mainTeams = ["MA+MV", "STaR MA+MV", "MALT"];

/** Systems with more than one turn, in table order: the three main teams, or all systems if none of these is there. */
function teamsOf(rows: readonly EvaluationRow[]): string[] {
  const turns = new Map<string, Set<string>>();
  for (const { system, turn } of rows) turns.set(system, (turns.get(system) ?? new Set()).add(turn));
  const several = [...turns].flatMap(([system, own]) => (own.size > 1 ? [{ system }] : []));
  const found = inTableOrder(several).map(({ system }) => system);
  const main = found.filter((system) => mainTeams.includes(system));
  return main.length > 0 ? main : found;
}

function asked(rows: readonly EvaluationRow[]): string {
  const questions = new Set(rows.map((row) => row.question_id)).size;
  return `${plural(questions, "held-out question")}, ${plural(new Set(rows.map((row) => row.seed)).size, "seed")}`;
}

/** Heights of labels that would overlap, moved apart to at least `gap`, in the order given. */
function spread(heights: readonly number[], gap: number): number[] {
  const order = heights.map((_, i) => i).sort((a, b) => heights[a]! - heights[b]!);
  const placed = [...heights];
  for (let round = 0; round < 50; round++) {
    for (let i = 1; i < order.length; i++) {
      const [low, high] = [order[i - 1]!, order[i]!];
      const lack = gap - (placed[high]! - placed[low]!);
      if (lack <= 0) continue;
      placed[low]! -= lack / 2;
      placed[high]! += lack / 2;
    }
  }
  return placed;
}

/**
 * Accuracy after each turn with 95 % intervals: generator, verifier by the answer it states itself, refiner (Figure 3).
 * Dashed: the final accuracy of single agents.
 * @param systems teams to draw; default those of Table 1 that vote
 * @param baselines single agents, as far as they were evaluated
 */
export function turnsFigure(
  rows: readonly EvaluationRow[],
  systems: readonly string[] = teamsOf(rows),
  baselines: readonly string[] = ["SA", "SA+MV"],
): Plot.PlotOptions {
  const title = "Accuracy after each turn";
  if (systems.length === 0) return empty(title, "no system of several turns evaluated");
  const evaluated = new Set(rows.map((row) => row.system));
  const series = systems.map((system) => ({ system, turns: perTurn(rows, system) }));
  const turns = series.map((s) => s.turns.map(({ turn }) => turn)).sort((a, b) => b.length - a.length)[0]!;
  const points = series.flatMap(({ system, turns: own }, i) =>
    own.map(({ turn, voted: { mean, low, high } }) => {
      // Side by side, so that intervals do not hide one another.
      const x = turns.indexOf(turn) + 0.07 * (i - (series.length - 1) / 2);
      return { system, kind: trainingOf(system), x, mean, low, high };
    }),
  );
  const single = baselines.filter((name) => evaluated.has(name));
  const rules = single.map((system) => ({ system, mean: perTurn(rows, system).at(-1)!.voted.mean }));
  const ends = [...points.flatMap(({ mean, low, high }) => (Number.isNaN(low) ? [mean] : [low, high]))];
  const [low, high] = dotDomain([...ends, ...rules.map(({ mean }) => mean)]);
  const last = [...series.map(({ system }) => points.filter((point) => point.system === system).at(-1)!), ...rules];
  const heights = spread(
    last.map(({ mean }) => mean),
    (high - low) * 0.062,
  );
  const labels = last.map(({ system, mean }, i) => ({
    ...{ system, mean, kind: trainingOf(system), y: heights[i]!, drawn: i < series.length },
  }));
  const right = turns.length - 0.72;
  return figure({
    title,
    subtitle: asked(rows.filter(({ system }) => systems.includes(system))),
    caption:
      "Votes over the passes of a system, after each turn. Lines up and down: 95 % intervals with the question as the unit; " +
      "the systems met the same questions, so their differences are surer than the intervals suggest.",
    height: 370,
    marginTop: 12,
    marginRight: 176,
    x: {
      ...xAxis("turn"),
      domain: [-0.3, right],
      ticks: turns.map((_, i) => i),
      tickFormat: (i: number) => turns[i] ?? "",
    },
    y: { ...yAxis("accuracy (%)"), percent: true, domain: [100 * low, 100 * high] },
    ...trainingScales(systems),
    marks: [
      Plot.ruleY(rules, { y: "mean", stroke: palette.faint, strokeDasharray: "5 4" }),
      Plot.line(points, { x: "x", y: "mean", z: "system", stroke: "kind", strokeWidth: 2.2 }),
      Plot.ruleX(points, { x: "x", y1: "low", y2: "high", stroke: "kind", strokeWidth: 1.6 }),
      Plot.dot(points, { x: "x", y: "mean", fill: "kind", symbol: "kind", stroke: "white", r: 6 }),
      Plot.dot(labels, {
        filter: ({ drawn }) => drawn,
        ...{ frameAnchor: "right", dx: 12, y: "y", r: 5, stroke: "white" },
        fill: "kind",
        symbol: "kind",
      }),
      Plot.text(labels, {
        filter: ({ drawn }) => !drawn,
        ...{ frameAnchor: "right", dx: 12, y: "y", text: () => "– –", fill: palette.faint },
      }),
      Plot.text(labels, {
        ...{ frameAnchor: "right", textAnchor: "start", dx: 26, y: "y", fill: palette.ink },
        text: ({ system, mean }) => `${system} ${percent(mean)}`,
      }),
    ],
  });
}

/** What became of the baseline's answers, in the order of Figure 2, and their colours. */
const fates = ["wrong → right", "right → right", "wrong → wrong", "right → wrong"] as const;
const fateColors = [palette.green, "#b7dcec", "#dddddd", palette.vermilion];

/**
 * What became of the baseline's answers after the last turn, as shares of all questions (Figure 2). The difference of the
 * outer parts is the gain in accuracy.
 * @param systems default the teams of Table 1 that vote
 * @param published drawn below, under the names of their benchmarks
 * @param baseline `SA+MV` in the paper
 */
export function flipsFigure(
  rows: readonly EvaluationRow[],
  published: readonly PublishedFlips[] = [],
  systems: readonly string[] = teamsOf(rows),
  baseline = "SA+MV",
): Plot.PlotOptions {
  const title = `What became of ${baseline}'s answers`;
  if (systems.length === 0) return empty(title, "no system of several turns evaluated");
  if (!rows.some(({ system }) => system === baseline))
    return empty(title, `the baseline ${baseline} was not evaluated`);
  const measured = systems.map((system) => {
    const { toCorrect, toIncorrect, ofRight } = flips(rows, system, baseline).at(-1)!;
    const keptRight = ofRight.n / toCorrect.n - toIncorrect.mean;
    const shares = [toCorrect.mean, keptRight, 1 - toCorrect.mean - keptRight - toIncorrect.mean, toIncorrect.mean];
    return { name: system, shares };
  });
  const printed = published.flatMap(({ benchmark, corrected, kept_right, kept_wrong, broken }) => {
    const shares = [corrected, kept_right, kept_wrong, broken];
    return shares.includes(null) ? [] : [{ name: `MALT on ${benchmark}`, shares: shares as number[] }];
  });
  const models = [...new Set(published.map(({ model }) => model))].join(", ");
  const { names, rows: bars } = lines(
    [
      { heading: "measured here", rows: measured },
      { heading: "published", rows: printed },
    ],
    ({ name }) => name,
  );
  const parts = bars.flatMap(({ shares, y }) => {
    let from = 0;
    return shares.map((share, i) => {
      const part = { y, fate: fates[i]!, share, from: 100 * from, to: 100 * (from + share) };
      from += share;
      return part;
    });
  });
  return figure({
    title,
    subtitle: asked(rows.filter(({ system }) => systems.includes(system))),
    caption:
      `Each question's vote under ${baseline} and after the team's last turn.` +
      (printed.length > 0 ? ` Published: ${models}.` : ""),
    ...lineFrame(names, 8),
    width: 760,
    marginRight: 48,
    x: { ...xAxis("share of the questions (%)"), domain: [0, 100] },
    color: { domain: [...fates], range: fateColors, legend: true },
    marks: [
      ...lineNames(names),
      Plot.rectX(parts, {
        ...{ x1: "from", x2: "to", fill: "fate", stroke: "white" },
        y1: ({ y }) => y - 0.4,
        y2: ({ y }) => y + 0.4,
      }),
      Plot.text(parts, {
        filter: ({ fate, share }) => fate !== fates[3] && share >= 0.04,
        ...{ y: "y", x: ({ from, to }) => (from + to) / 2, text: ({ share }) => (100 * share).toFixed(1) },
        fill: ({ fate }) => (fate === fates[0] ? "white" : palette.ink),
      }),
      // The last part is the narrowest, but there is space to its right.
      Plot.text(parts, {
        filter: ({ fate }) => fate === fates[3],
        ...{ y: "y", x: "to", text: ({ share }) => (100 * share).toFixed(1), textAnchor: "start", dx: 6 },
        fill: palette.vermilion,
      }),
    ],
  });
}
