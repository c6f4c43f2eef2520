/** Puts the page together. */
import { openApp } from "./app.js";
import { fill, h, shownIn } from "./dom.js";
import { evaluation, tabs } from "./evaluation.js";
import { output } from "./output.js";
import { questions } from "./questions.js";
import { settings } from "./settings.js";
import { tree } from "./tree.js";

const keys = [
  ["arrow keys", "in the tree: to the parent, a child, the neighbours of a column; in a list: up and down"],
  ["[ and ]", "to the question before, the next one"],
  ["/", "search in the texts"],
  ["t", "to the tree"],
] as const;

async function start(): Promise<void> {
  const root = document.getElementById("app")!;
  const app = await openApp();
  const { about } = app;
  document.title = about.run;
  const sidebar = questions(app);
  const outputView = output(app);
  // In a narrow window the output is below the tree, out of sight.
  const reveal = () => {
    if (outputView.getBoundingClientRect().top > innerHeight - 120) outputView.scrollIntoView({ block: "start" });
  };
  const treeView = tree(app, sidebar.matches, sidebar.isFiltered, reveal);
  const trees = h("div.trees", {}, sidebar.element, treeView.element, outputView);
  const credit = settings(app);
  const help = h(
    "details.help",
    {},
    h("summary", {}, "Keys"),
    h(
      "dl",
      {},
      keys.map(([key, meaning]) => [h("dt", {}, key), h("dd", {}, meaning)]),
    ),
  );
  const views = await Promise.all(about.evaluations.map((_, i) => evaluation(app, i)));
  const unknown = h("p.warning");
  app.view(() => {
    const { benchmark } = app.route;
    trees.hidden = credit.hidden = benchmark !== null;
    unknown.hidden = benchmark === null || about.evaluations.some((each) => each.benchmark === benchmark);
    fill(unknown, `This run has no evaluation on “${benchmark ?? ""}”.`);
  });
  fill(
    root,
    h("header.top", {}, h("h1", {}, about.run), h("p.faint", {}, about.subtitle), tabs(app, about), help),
    h("main", {}, credit, unknown, trees, ...views),
  );
  addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || /^(?:INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
    const actions: Record<string, () => void> = {
      "[": () => sidebar.move(-1),
      "]": () => sidebar.move(1),
      "/": () => sidebar.focusSearch(),
      t: () => treeView.focus(),
    };
    const action = actions[event.key];
    if (!action || app.route.benchmark !== null) return;
    event.preventDefault();
    action();
  });
}

shownIn(document.getElementById("app")!, start());
