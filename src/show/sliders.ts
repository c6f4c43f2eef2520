/** Sliders of the credit in a notebook: θ, pooling and pairing move, and a tree and a run's counts follow. */
import { columns } from "../credit/score.js";
import { sweepThresholds } from "../credit/thresholds.js";
import { mixedQuestion, type OpenRun } from "../dataset/open.js";
import type { Node, Role } from "../types.js";
import { framedPage } from "./explorer.js";
import { escapeHtml, send, tableHtml } from "./notebook.js";
import { alignedTable } from "./text-table.js";

export interface SliderOptions {
  /** Id of the question whose tree is drawn; by default one whose tree disagrees with itself. */
  question?: string;
  /** Of the frame, in pixels. */
  height?: number;
}

/**
 * Shows sliders of θ, pooling and pairing: the tree's nodes recolour, and its pairs and the whole run's counts follow at
 * once, by the functions that export a run. The paper's setting (Section 4.3) is marked. Where a notebook is not trusted,
 * on GitHub and in exports without scripts, a table of a few settings stands there and says how to get the live form.
 * @throws InputError if there is no such question; RunError if the page has not been built; MaltError outside a tslab kernel
 */
export async function creditSliders(run: OpenRun, options: SliderOptions = {}): Promise<void> {
  send(await slidersOutput(run, options));
}

/** The forms of that output. */
export async function slidersOutput(
  run: OpenRun,
  { question, height = 780 }: SliderOptions = {},
): Promise<{ "text/html": string; "text/plain": string }> {
  const nodes = await run.nodes();
  const rows = fixedSettings(nodes, run.roles);
  const page = { view: "sliders", question: question ?? mixedQuestion(nodes) } as const;
  const frame = await framedPage(run, page, `sliders of run ${run.name}`, height);
  const live =
    "Above this table θ, pooling and pairing move, and the tree and all counts follow. If nothing is there, this notebook is " +
    "not trusted, or its page runs no scripts: open it with npm run lab, and run this cell or choose Trust Notebook in the " +
    `command palette (Ctrl+Shift+C). The explorer has the same sliders: npx malt view --run ${run.name}`;
  const caption = "What the run yields under a few settings, by the same functions";
  return {
    "text/html": `${frame}<p><small>${escapeHtml(live)}</small></p>${tableHtml(rows, { caption })}`,
    "text/plain": [
      `${caption}:`,
      alignedTable(
        Object.keys(rows[0]!),
        rows.map((row) => Object.values(row)),
      ),
      `Sliders of them are a web page: open this notebook with npm run lab, or npx malt view --run ${run.name}`,
    ].join("\n\n"),
  };
}

/** What each role yields: at a few thresholds, then under other poolings and pairings at the paper's threshold. */
function fixedSettings(nodes: readonly Node[], team: readonly Role[]): Record<string, string | number>[] {
  const { forest, tree, text } = columns(nodes, team);
  const roles = team.map(({ name }) => name);
  const settings = [
    ...[0, 0.3, 0.5, 0.7, 0.9].map((threshold) => ({ threshold, pooling: "mean", pairing: "all" }) as const),
    ...(["leaf-mean", "local", "max"] as const).map(
      (pooling) => ({ threshold: 0.5, pooling, pairing: "all" }) as const,
    ),
    ...(["one-per-state", "balanced"] as const).map(
      (pairing) => ({ threshold: 0.5, pooling: "mean", pairing }) as const,
    ),
  ];
  return settings.map(({ threshold, pooling, pairing }) => {
    const swept = sweepThresholds(forest, { roles, tree, text, pooling, pairing, thresholds: [threshold] });
    const isPaper = threshold === 0.5 && pooling === "mean" && pairing === "all";
    return {
      setting: `θ ${threshold}, ${pooling}, ${pairing}${isPaper ? " (paper)" : ""}`,
      ...Object.fromEntries(
        swept.flatMap(({ role, examples, pairs }) => [
          [`${role}: good`, examples],
          [`${role}: pairs`, pairs],
        ]),
      ),
    };
  });
}
