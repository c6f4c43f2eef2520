/** Figures over a run's questions: how hard they are, and how far the siblings of a state agree. */
import * as Plot from "@observablehq/plot";
import { siblingsOf } from "../credit/pairs.js";
import { percent } from "../format.js";
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

/**
 * How many questions have which share of right final answers, so of right leaves. A question at 0 or 100 % gives no
 * preference pair for any role: its siblings do not differ.
 * @param nodes rows of any number of questions; partly sampled trees count with the leaves they have
 */
export function difficultyFigure(nodes: readonly Node[]): Plot.PlotOptions {
  const title = "How hard the questions are for this team";
  const last = rolesOf(nodes).at(-1);
  const leaves = new Map<string, { right: number; all: number }>();
  for (const node of nodes) {
    if (node.role !== last) continue;
    const sum = leaves.get(node.question_id) ?? { right: 0, all: 0 };
    sum.all += 1;
    sum.right += Number(node.correct === true);
    leaves.set(node.question_id, sum);
  }
  if (leaves.size === 0) return empty(title, "no final answers sampled");
  const kinds = ["all wrong", "mixed", "all right"];
  // Ten bins between the two ends, which are bins of their own: at the ends there is nothing to learn from siblings.
  const bins = Array.from({ length: 12 }, (_, bin) => ({ bin, questions: 0 }));
  for (const { right, all } of leaves.values()) {
    const share = right / all;
    const bin = share === 0 ? 0 : share === 1 ? 11 : 1 + Math.min(9, Math.floor(share * 10));
    bins[bin]!.questions += 1;
  }
  const kind = (bin: number) => kinds[bin === 0 ? 0 : bin === 11 ? 2 : 1]!;
  const label = (bin: number) => (bin === 0 ? "0" : bin === 11 ? "100" : `${10 * (bin - 1)}–${10 * bin}`);
  return figure({
    title,
    subtitle: `${questionCount(nodes)}; ${plural(
      [...leaves.values()].reduce((n, l) => n + l.all, 0),
      "final answer",
    )}`,
    x: { ...xAxis("right final answers of a question (%)"), domain: bins.map(({ bin }) => label(bin)), tickSize: 0 },
    y: {
      ...yAxis("questions (count)"),
      nice: true,
      zero: true,
      tickFormat: (n: number) => (n % 1 === 0 ? count(n) : ""),
    },
    color: { domain: kinds, range: [palette.vermilion, palette.skyBlue, palette.blue], legend: true },
    marks: [
      Plot.barY(bins, { x: ({ bin }) => label(bin), y: "questions", fill: ({ bin }) => kind(bin) }),
      Plot.text(bins, {
        filter: ({ questions }) => questions > 0,
        x: ({ bin }) => label(bin),
        y: "questions",
        text: ({ questions }) => count(questions),
        dy: -8,
        fill: palette.ink,
      }),
      Plot.ruleY([0], { stroke: palette.ink }),
    ],
  });
}

/**
 * How many different answers the siblings of a state give, per role: the diversity that branching buys. A completion
 * without an answer counts as an answer of its own kind.
 * @param nodes rows of any number of questions
 */
export function agreementFigure(nodes: readonly Node[]): Plot.PlotOptions {
  const title = "Different answers among the siblings of a state";
  const all = siblingsOf(nodes).map((siblings) => ({
    role: siblings[0]!.role,
    answers: new Set(siblings.map(({ answer }) => answer)),
  }));
  if (all.length === 0) return empty(title, "no completions sampled");
  const roles = rolesOf(nodes);
  const most = Math.max(...all.map(({ answers }) => answers.size));
  const kinds = Array.from({ length: most }, (_, i) => String(i + 1));
  const rows = roles.flatMap((role) => {
    const own = all.filter((state) => state.role === role);
    let from = 0;
    return kinds.map((kind) => {
      const share = own.filter(({ answers }) => String(answers.size) === kind).length / own.length;
      from += share;
      return { role, kind, share, from: from - share, to: from };
    });
  });
  const sizes = roles.map((role) => `${role} ${count(all.filter((state) => state.role === role).length)}`);
  return figure({
    title,
    subtitle: `States: ${sizes.join(", ")}`,
    caption: "1: all siblings give the same answer. A completion without an answer counts as an answer of its own.",
    height: 100 + 56 * roles.length,
    marginLeft: 96,
    x: { ...xAxis("share of the role's states (%)"), percent: true, domain: [0, 100] },
    y: { domain: roles, label: null, tickSize: 0, padding: 0.25 },
    color: { type: "ordinal", domain: kinds, scheme: "blues", legend: true, label: "different answers" },
    marks: [
      Plot.barX(rows, { y: "role", x1: "from", x2: "to", fill: "kind", stroke: "white" }),
      Plot.text(rows, {
        filter: ({ share }) => share >= 0.07,
        y: "role",
        x: ({ from, to }) => (from + to) / 2,
        text: ({ share }) => percent(share),
        fill: ({ kind }) => (Number(kind) === most && most > 1 ? "white" : palette.ink),
      }),
    ],
  });
}

/** How many questions have so many preference pairs for a role. */
export interface PairCount {
  role: string;
  /** Pairs of one question. */
  pairs: number;
  questions: number;
}

/**
 * Distribution of the preference pairs over the questions, a panel per role. The bar at zero, in grey, counts the
 * questions without a pair.
 * @param rows one for each role and number of pairs that occurs
 * @param roles names in the order of the panels
 */
export function pairCountFigure(rows: readonly PairCount[], roles: readonly string[]): Plot.PlotOptions {
  const title = "Preference pairs per question";
  if (rows.length === 0) return empty(title, "no questions");
  const panels = roles.map((role) => {
    const own = rows.filter((row) => row.role === role);
    const questions = own.reduce((sum, row) => sum + row.questions, 0);
    const without = own.find((row) => row.pairs === 0)?.questions ?? 0;
    return { role, questions, without, pairs: own.reduce((sum, row) => sum + row.pairs * row.questions, 0) };
  });
  return figure({
    title,
    subtitle: `${plural(Math.max(...panels.map(({ questions }) => questions)), "question")}; grey: questions without a pair`,
    height: 90 + 110 * roles.length,
    marginRight: 190,
    x: { ...xAxis("pairs of one question (count)"), inset: 14 },
    y: { ...yAxis("questions (count)"), ticks: 4, nice: true },
    fy: { domain: [...roles], axis: null, padding: 0.18 },
    color: { ...roleColors(roles), unknown: palette.faint },
    marks: [
      Plot.ruleX(rows, {
        x: "pairs",
        y1: 0,
        y2: "questions",
        fy: "role",
        stroke: (row: PairCount) => (row.pairs === 0 ? null : row.role),
        strokeWidth: Math.max(2, Math.min(14, 300 / Math.max(1, ...rows.map((row) => row.pairs)))),
      }),
      Plot.ruleY([0], { stroke: palette.ink }),
      Plot.text(panels, {
        ...panelNote,
        text: (p: (typeof panels)[number]) =>
          `${p.role}\n${plural(p.pairs, "pair")}\nnone: ${percent(p.without / p.questions)}\nof the questions`,
      }),
    ],
  });
}
