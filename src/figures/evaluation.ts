/**
 * Figures that compare systems: accuracy (paper, Table 1), what is lost without a part of MALT (Tables 4 and 5), and
 * accuracy against the tokens spent. Turns and flips are in turns.ts.
 */
import * as Plot from "@observablehq/plot";
import type { PublishedRow } from "../evaluate/published.js";
import type { SystemResult } from "../evaluate/results.js";
import { percent } from "../format.js";
import { plusMinus } from "../stats/means.js";
import { ablationSystems, allSystems, mixSystems, plainName } from "../team/systems.js";
import { dotDomain, inTableOrder, lineFrame, lineNames, lines, trainingOf, trainingScales } from "./lines.js";
import { count, empty, figure, palette, plural, xAxis, yAxis } from "./style.js";

/** Whether another point is just above this one: less than ten percentage points, at about as many tokens. */
function isUnder<T extends { tokens: number; mean: number }>(point: T, points: readonly T[]): boolean {
  return points.some(
    ({ tokens, mean }) =>
      Math.abs(Math.log(tokens / point.tokens)) < 0.1 && mean > point.mean && mean < point.mean + 0.1,
  );
}

/** The number of answers: of the system that has most. */
function asked(results: readonly SystemResult[]): string {
  const most = (number: (result: SystemResult) => number) => Math.max(...results.map(number));
  const questions = most(({ accuracy }) => accuracy.clusters);
  const seeds = most(({ bySeed }) => bySeed.length);
  const answers = most(({ accuracy }) => accuracy.n);
  return `${plural(questions, "held-out question")}, ${plural(seeds, "seed")}, ${count(answers)} answers per system`;
}

/** "published: Llama-3.1-8B-Instruct, MATH" */
const source = ({ model, benchmark }: PublishedRow): string => `published: ${model}, ${benchmark}`;

/**
 * Accuracy of each system with its 95 % interval, grouped by training (Table 1).
 * @param published rows of one model and benchmark, drawn in a panel of their own
 */
export function systemsFigure(
  results: readonly SystemResult[],
  published: readonly PublishedRow[] = [],
): Plot.PlotOptions {
  const title = "Accuracy of each system";
  if (results.length === 0) return empty(title, "no system evaluated");
  const ordered = inTableOrder(results);
  const scales = trainingScales(ordered.map(({ system }) => system));
  const headings = { untrained: "untrained", STaR: "STaR: SFT on the positives", MALT: "MALT", "in part": "in part" };
  const groups = scales.color.domain.map((kind) => ({
    heading: headings[kind],
    rows: ordered.filter(({ system }) => trainingOf(system) === kind),
  }));
  const { names, rows } = lines(groups, ({ system }) => system);
  const theirs = new Map(published.map((row) => [row.system, row]));
  const panels = ["measured here", ...published.slice(0, 1).map(source)];
  const points = rows.flatMap(({ system, accuracy: { mean, low, high }, y }) => {
    const at = { y, kind: trainingOf(system) };
    const paper = theirs.get(system);
    const own = { ...at, panel: panels[0]!, mean, low, high, said: percent(mean) };
    if (paper === undefined || paper.accuracy === null) return [own];
    const std = paper.std ?? Number.NaN;
    const theirOwn = { mean: paper.accuracy, low: paper.accuracy - std, high: paper.accuracy + std };
    return [own, { ...at, panel: panels[1]!, ...theirOwn, said: `${plusMinus(paper.accuracy)} %` }];
  });
  const ends = points.flatMap(({ mean, low, high }) => (Number.isNaN(low) ? [mean] : [low, high]));
  const [low, high] = dotDomain(ends, 0.35);
  const at = { y: "y", fx: "panel" };
  return figure({
    title,
    subtitle: asked(results),
    caption:
      "Lines: 95 % intervals with the question as the unit." +
      (panels.length > 1 ? " Published: ± one standard deviation over four seeds." : ""),
    ...lineFrame(names),
    width: panels.length > 1 ? 820 : 640,
    x: {
      ...xAxis("accuracy (%)"),
      percent: true,
      domain: percentages([low, high]),
      grid: true,
      ticks: tens(low, high),
    },
    fx: { domain: panels, axis: "top", label: null, padding: 0.05 },
    ...scales,
    marks: [
      ...lineNames(names, panels[0]!),
      Plot.ruleY(points, { ...at, x1: "low", x2: "high", stroke: "kind", strokeWidth: 2.2 }),
      Plot.dot(points, { ...at, x: "mean", fill: "kind", symbol: "kind", r: 5 }),
      Plot.text(points, {
        ...at,
        x: ({ mean, high }) => (Number.isNaN(high) ? mean : high),
        text: "said",
        textAnchor: "start",
        dx: 8,
        fill: palette.ink,
      }),
    ],
  });
}

/** A domain of shares for a scale with `percent`. */
const percentages = (domain: readonly number[]): number[] => domain.map((share) => 100 * share);

/** Ticks in tens of percent; the room for text beyond 100 % gets none. */
const tens = (low: number, high: number): number[] =>
  Array.from({ length: 11 }, (_, i) => 10 * i).filter((tick) => tick >= 100 * low && tick <= 100 * high);

/** What a system of Tables 4 and 5 is, in words. */
function partLabel(system: string): string {
  const mix = mixSystems.find(({ name }) => name === system);
  if (!mix) return system.startsWith("ablation ") ? system.slice(9).replaceAll("+", " + ") : system;
  const trained = mix.roles.filter(({ name }) => mix.adapters[name]);
  const missing = mix.roles.filter(({ name }) => !mix.adapters[name]);
  return trained.length > 1 ? `${missing[0]?.name} untrained` : `only ${trained[0]?.name} trained`;
}

/**
 * What MALT loses without a part of it: accuracy minus MALT's, with the 95 % interval of the paired difference. Roles
 * untrained (Table 4), roles left out (Table 5), and any further systems given.
 * @param results compared with MALT; systems without a comparison are left out
 * @param published rows of Tables 4 and 5 of one model and benchmark, drawn as hollow diamonds
 */
export function ablationFigure(
  results: readonly SystemResult[],
  published: readonly PublishedRow[] = [],
): Plot.PlotOptions {
  const title = "What MALT loses without a part of it";
  const compared = inTableOrder(results).filter(({ against }) => against !== null);
  if (compared.length === 0) return empty(title, "no part of MALT evaluated");
  const within = (systems: readonly { name: string }[]) =>
    compared.filter(({ system }) => systems.some(({ name }) => name === system));
  const known = [...mixSystems, ...ablationSystems].map(({ name }) => name);
  const { names, rows } = lines(
    [
      { heading: "some roles untrained (Table 4)", rows: within(mixSystems) },
      { heading: "some roles left out (Table 5)", rows: within(ablationSystems) },
      { heading: "others", rows: compared.filter(({ system }) => !known.includes(system)) },
    ],
    ({ system }) => partLabel(system),
  );
  const whole = published.find(({ system }) => system === "MALT")?.accuracy ?? null;
  const points = rows.map(({ system, against, y }) => {
    const { mean, low, high } = against!.difference;
    const theirs = published.find((row) => row.system === system)?.accuracy ?? null;
    const paper = whole === null || theirs === null ? null : 100 * (theirs - whole);
    // The comparison is MALT minus the system.
    return { y, mean: -100 * mean, low: -100 * high, high: -100 * low, paper };
  });
  const drawn = points.filter(({ paper }) => paper !== null);
  const ends = points.flatMap(({ mean, low, high, paper }) => [
    mean,
    ...(Number.isNaN(low) ? [] : [low, high]),
    paper ?? 0,
  ]);
  return figure({
    title,
    subtitle: asked(results),
    caption:
      "Dots: measured here, with 95 % intervals of the paired difference over questions." +
      (drawn.length > 0 ? ` Hollow diamonds: ${source(published[0]!)}, without intervals.` : ""),
    ...lineFrame(names),
    x: { ...xAxis("accuracy minus MALT's (percentage points)"), domain: dotDomain([0, ...ends]), grid: true },
    marks: [
      Plot.ruleX([0], { stroke: palette.ink }),
      Plot.text(["MALT"], { x: [0], frameAnchor: "top", dy: -12, fill: palette.ink }),
      ...lineNames(names),
      Plot.ruleY(points, { y: "y", x1: "low", x2: "high", stroke: palette.blue, strokeWidth: 2.2 }),
      Plot.dot(points, { y: "y", x: "mean", fill: palette.blue, r: 5 }),
      Plot.dot(drawn, {
        y: ({ y }) => y + 0.3,
        x: "paper",
        symbol: "diamond2",
        stroke: palette.ink,
        fill: "white",
        r: 4,
      }),
    ],
  });
}

const speakerSymbols: Record<string, Plot.SymbolType> = {
  "single agent": "circle",
  "several roles": "square",
  debate: "triangle",
};

/** Ticks at 1, 2 and 5 times powers of ten between the fewest and the most tokens. */
function steps(points: readonly { tokens: number }[]): number[] {
  const [fewest, most] = [Math.min, Math.max].map((pick) => pick(...points.map(({ tokens }) => tokens)));
  const all = Array.from({ length: 8 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
  return all.filter((tick) => tick >= fewest! / 1.1 && tick <= most! * 1.1);
}

/** The team behind a system, whatever the number of its answers that are voted on. */
const teamOf = (system: string): string => plainName(system).replace(/\+MV$| w\/o MV$/, "");

/**
 * Accuracy against the completion tokens that one question takes (equal-token accounting): a line per team, a point per
 * number of votes.
 * @param results systems whose tokens were not counted are left out
 */
export function tokensFigure(results: readonly SystemResult[]): Plot.PlotOptions {
  const title = "Accuracy against tokens spent";
  const points = inTableOrder(results).flatMap(({ system, votes, tokens, accuracy: { mean, low, high } }) => {
    const named = allSystems.find(({ name }) => name === system);
    const speakers = named ?? allSystems.find(({ name }) => name === plainName(system));
    const kind = speakers?.debate ? "debate" : (speakers?.roles.length ?? 1) > 1 ? "several roles" : "single agent";
    const training = trainingOf(system);
    // Only a vote at equal tokens is known by what was measured alone.
    const voters = named && !named.tokensOf ? named.votes : votes;
    return tokens === null ? [] : [{ team: teamOf(system), votes: voters, tokens, mean, low, high, kind, training }];
  });
  if (points.length === 0)
    return empty(title, results.length === 0 ? "no system evaluated" : "tokens were not counted");
  const kinds = Object.keys(speakerSymbols).filter((kind) => points.some((point) => point.kind === kind));
  const left = results.length - points.length;
  const { color } = trainingScales(results.map(({ system }) => system));
  const ends = points.flatMap(({ mean, low, high }) => (Number.isNaN(low) ? [mean] : [low, high]));
  return figure({
    title,
    subtitle: asked(results) + (left > 0 ? `; ${plural(left, "system")} left out, their tokens were not counted` : ""),
    caption: "Numbers: answers voted on. Lines up and down: 95 % intervals with the question as the unit.",
    height: 380,
    marginTop: 12,
    x: {
      ...xAxis("completion tokens per question (logarithmic)"),
      type: "log",
      inset: 24,
      ticks: steps(points),
      tickFormat: count,
    },
    y: { ...yAxis("accuracy (%)"), percent: true, domain: percentages(dotDomain(ends, 0.05)) },
    color: { ...color, legend: true },
    symbol: { domain: kinds, range: kinds.map((kind) => speakerSymbols[kind]!), legend: true },
    marks: [
      Plot.line(points, { x: "tokens", y: "mean", z: "team", stroke: "training", strokeWidth: 1.6 }),
      Plot.ruleX(points, {
        x: "tokens",
        y1: "low",
        y2: "high",
        stroke: "training",
        strokeWidth: 1.4,
        strokeOpacity: 0.6,
      }),
      Plot.dot(points, { x: "tokens", y: "mean", fill: "training", symbol: "kind", stroke: "white", r: 6 }),
      // Of two overlapping dots, the lower has its number below.
      ...[true, false].map((isBelow) =>
        Plot.text(points, {
          filter: (point: (typeof points)[number]) => isUnder(point, points) === isBelow,
          ...{ x: "tokens", y: "mean", text: "votes", textAnchor: "start", dx: 9, dy: isBelow ? 9 : -8 },
          ...{ fill: palette.ink, stroke: "white", strokeWidth: 3 },
        }),
      ),
    ],
  });
}
