/** What the page knows and what is chosen in it. Views draw from it; a change goes through `update`, which redraws them. */
import type { About } from "../about.js";
import {
  type Credit,
  type CreditSetting,
  creditOf,
  type PreparedTrees,
  prepareTrees,
  type Trait,
  traits,
} from "../credit.js";
import type { TreeColumns } from "../trees.js";
import { readAbout, readTrees } from "./parts.js";
import { formatRoute, parseRoute, type Route } from "./route.js";

/** Which outputs are looked for. */
export interface Filter {
  /** Depth of the role, null for any. */
  role: number | null;
  answer: "right" | "wrong" | "unanswered" | null;
  traits: ReadonlySet<Trait>;
  /** Words to find in the texts; empty for none. */
  words: string;
}

export type Order = "run" | "value-low" | "value-high" | "near-theta" | "pairs";

export interface App {
  about: About;
  columns: TreeColumns;
  trees: PreparedTrees;
  /** Under the dataset's setting. */
  dataset: Credit;
  /** Under the chosen setting. */
  credit: Credit;
  route: Route;
  filter: Filter;
  order: Order;
  /** Index of each question by its id. */
  places: ReadonlyMap<string, number>;
  setting(): CreditSetting;
  /** The question in view, −1 if there is none of that id. */
  question(): number;
  /** Changes what is chosen and redraws. @param step whether "back" returns to what was before */
  update(change: Partial<Pick<App, "route" | "filter" | "order">>, step?: boolean): void;
  /** Calls a view now, and whenever something changed. */
  view(draw: () => void): void;
}

export async function openApp(): Promise<App> {
  const about = await readAbout();
  const columns = await readTrees();
  const trees = prepareTrees(columns, about.roles, about.ends);
  const dataset = creditOf(trees, about.setting);
  /** The question to open with. */
  const first = about.opens ?? about.questions[mostTelling(trees, dataset, about.setting.threshold)]?.[0];
  const views: (() => void)[] = [];
  let computed = "";

  const app: App = {
    ...{ about, columns, trees, dataset, credit: dataset, route: parseRoute(location.hash), order: "run" },
    filter: { role: null, answer: null, traits: new Set(), words: "" },
    places: new Map(about.questions.map(([id], i) => [id, i])),
    setting: () => ({ ...about.setting, ...app.route.setting }),
    question: () => app.places.get(app.route.question ?? "") ?? -1,
    update(change, step = false) {
      const before = formatRoute(app.route, about.setting);
      Object.assign(app, change);
      if (app.route.benchmark === null && app.route.question === undefined)
        app.route = { ...app.route, question: first, node: undefined };
      const after = formatRoute(app.route, about.setting);
      if (before !== after) {
        // Inside another page, such as a notebook's frame, a browser may refuse to change the address.
        try {
          history[step ? "pushState" : "replaceState"](null, "", after);
        } catch {}
      }
      redraw();
    },
    view(draw) {
      views.push(draw);
      draw();
    },
  };

  function redraw() {
    const setting = app.setting();
    if (JSON.stringify(setting) !== computed) {
      app.credit = creditOf(trees, setting, dataset.label);
      computed = JSON.stringify(setting);
    }
    for (const draw of views) draw();
  }

  if (app.route.benchmark === null && app.route.question === undefined) app.route = { ...app.route, question: first };
  // A link within the page is followed here, because in a notebook's frame it would lead to the notebook's own address.
  addEventListener("click", (event) => {
    const href = (event.target as Element).closest("a")?.getAttribute("href");
    if (!href?.startsWith("#") || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    app.update({ route: parseRoute(href) }, true);
  });
  addEventListener("hashchange", () => app.update({ route: parseRoute(location.hash) }));
  addEventListener("popstate", () => app.update({ route: parseRoute(location.hash) }));
  redraw();
  return app;
}

/** The question to open first: that with mixed siblings in most roles, and of those the one whose value is nearest θ. */
function mostTelling(trees: PreparedTrees, credit: Credit, theta: number): number {
  const roles = new Map<number, number>();
  for (const siblings of trees.states) {
    const { node } = siblings[0]!;
    if ((credit.traits[node]! & traits.mixed) === 0) continue;
    const question = trees.tree[node]!;
    roles.set(question, (roles.get(question) ?? 0) | (1 << trees.depth[node]!));
  }
  const ones = (bits: number) => bits.toString(2).replaceAll("0", "").length;
  const values = questionValues(trees, credit);
  const ranked = [...roles].sort(
    ([a, x], [b, y]) => ones(y) - ones(x) || Math.abs(values[a]! - theta) - Math.abs(values[b]! - theta),
  );
  return ranked[0]?.[0] ?? 0;
}

/** The value of each question's root, the mean of its answers' values; NaN without any. */
export function questionValues({ depth, tree }: PreparedTrees, { value, pairs }: Credit): Float64Array {
  const sum = new Float64Array(pairs.length);
  const known = new Int32Array(pairs.length);
  for (let i = 0; i < value.length; i++) {
    if (depth[i] !== 0 || Number.isNaN(value[i]!)) continue;
    sum[tree[i]!]! += value[i]!;
    known[tree[i]!]! += 1;
  }
  return sum.map((total, q) => total / known[q]!);
}
