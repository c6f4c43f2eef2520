/** What a setting makes of the tree in view: good outputs and pairs by role, and how the chosen output got its value. */
import { pairSiblings } from "../../credit/pairs.js";
import { nodeIdOf } from "../trees.js";
import type { App } from "./app.js";
import { type Child, fill, h, many, shownIn } from "./dom.js";
import { mark } from "./mark.js";
import { readQuestion } from "./parts.js";

export function account(app: App): HTMLElement {
  const { about, columns, trees } = app;
  const pairs = h("div");
  const chosen = h("div", { "aria-live": "polite" });
  const element = h("section.account", { "aria-label": "account of this tree" }, chosen, pairs);
  const idOf = (node: number) => nodeIdOf(columns, about.roles, node);
  const linkTo = (node: number) =>
    h("a", { href: `#${encodeURIComponent(app.route.question!)}/${idOf(node)}` }, idOf(node));
  const range = (question: number) => {
    const [from, to] = [columns.start[question]!, columns.start[question + 1]!];
    return Array.from({ length: to - from }, (_, i) => from + i);
  };

  /** Good outputs and pairs of one role in this tree. */
  function roleOf(nodes: readonly number[], depth: number): Child {
    const own = nodes.filter((node) => trees.depth[node] === depth);
    const states = [...new Set(own.map((node) => trees.state[node]!))].map((state) => trees.states[state]!);
    const made = states.flatMap((siblings) => pairSiblings(siblings, app.setting()));
    const good = own.filter((node) => app.credit.label[node] === 1).length;
    return [
      h(
        "p",
        { "data-tree-role": about.roles[depth]!.name },
        h("b", {}, about.roles[depth]!.name),
        `: ${good} of ${own.length} good, ${many(made.length, "pair")}`,
      ),
      made.length > 0 &&
        h(
          "ul.pairs",
          {},
          made.map(([better, worse]) =>
            h("li", {}, "▲ ", linkTo(better.node), " over ▼ ", linkTo(worse.node), ` (gap ${gap(better, worse)})`),
          ),
        ),
    ];
  }

  async function draw(): Promise<void> {
    const question = app.question();
    if (question < 0) return;
    const packet = await readQuestion(question);
    const nodes = range(question);
    fill(
      pairs,
      h("h3", {}, "This tree"),
      about.roles.map((_, depth) => roleOf(nodes, depth)),
    );
    const node = nodes.find((i) => idOf(i) === app.route.node);
    if (node === undefined)
      return fill(chosen, h("p.faint", {}, "Choose an output of the tree: how it got its value is shown here."));
    fill(
      chosen,
      h("h3", {}, `${idOf(node)} · ${about.roles[trees.depth[node]!]!.name}`),
      h("p.origin", {}, origin(app, nodes, node)),
      h("pre.text", {}, packet.texts[columns.text[node]!]!),
    );
  }

  app.view(() => shownIn(chosen, draw()));
  return element;
}

const gap = (better: { value: number | null }, worse: { value: number | null }): string =>
  (better.value! - worse.value!).toFixed(2);

/** In words and numbers, how an output got its value and its label. @param nodes of its tree */
function origin({ trees, columns, credit, setting }: App, nodes: readonly number[], node: number): string {
  const { pooling, threshold } = setting();
  const value = credit.value[node]!;
  if (Number.isNaN(value)) return "No value: a part of the tree below it is missing.";
  const two = (x: number) => x.toFixed(2);
  const verdict = `${two(value)} ${value > threshold ? ">" : "≤"} θ = ${two(threshold)}: ${value > threshold ? "good" : "not good"}.`;
  const below = (i: number) => nodes.filter((other) => columns.parent[other] === i);
  const children = below(node).filter((child) => !Number.isNaN(credit.value[child]!));
  if (trees.forest.expected[node] === 0) {
    const { word } = mark([false, true, null][columns.verdict[node]!]!);
    return `A leaf is graded itself: ${word}. ${verdict}`;
  }
  const values = children.map((child) => two(credit.value[child]!));
  if (pooling === "mean") return `Mean of its children: (${values.join(" + ")}) / ${values.length}. ${verdict}`;
  if (pooling === "max") return `Best of its children: the highest of ${values.join(", ")}. ${verdict}`;
  if (pooling === "local") {
    const good = children.filter((child) => credit.label[child] === 1).length;
    return `Good ones among its children: ${good} of ${children.length}. ${verdict}`;
  }
  const leaves = (i: number): number[] =>
    trees.forest.expected[i] === 0 ? [i] : below(i).flatMap((child) => leaves(child));
  const all = leaves(node);
  const right = all.reduce((sum, leaf) => sum + trees.forest.reward[leaf]!, 0);
  return `Right answers at its leaves: ${right} of ${all.length}. ${verdict}`;
}
