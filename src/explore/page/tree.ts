/** The tree of a question: a column per role, moved through by arrow keys. */
import { hierarchy, tree as treeLayout } from "d3-hierarchy";
import { traits } from "../credit.js";
import { nodeIdOf, verdicts } from "../trees.js";
import type { App } from "./app.js";
import { fill, h, set, shownIn, svg, svgPath } from "./dom.js";
import { mark } from "./mark.js";
import { readQuestion } from "./parts.js";

const rowHeight = 25;
/** Of a column, in pixels: what its signs and numbers need beside the answer, and what a character of the answer needs. */
const besideAnswer = 126;
const characterWidth = 7.5;
/** Characters of an answer that a column has room for at least, if there are so long answers. */
const mostCharacters = 6;

/**
 * @param matches whether an output is among those that are looked for, if any are
 * @param onClick called when a node was clicked and is in the address
 */
export function tree(
  app: App,
  matches: (node: number) => boolean,
  isFiltered: () => boolean,
  onClick: () => void,
): { element: HTMLElement; focus(): void } {
  const { about, columns, trees } = app;
  const asked = h("div.asked");
  const canvas = h("div.canvas", { role: "tree", "aria-label": "outputs" });
  const heads = h("div.heads", { "aria-hidden": "true" });
  const scroller = h("div.scroller", {}, heads, canvas);
  const element = h("section.tree", { "aria-label": "tree" }, asked, scroller, legend());
  /** The element of each node in view, and where an arrow leads from it. */
  let items = new Map<number, HTMLElement>();
  let drawn = "";

  const select = (node: number, step = false) =>
    app.update({ route: { ...app.route, node: nodeIdOf(columns, about.roles, node) } }, step);

  /** Nodes of the question by the column they are in, from above. */
  let byDepth: number[][] = [];
  const children = (node: number) => [...items.keys()].filter((other) => columns.parent[other] === node);
  canvas.addEventListener("keydown", (event) => {
    const focused = [...items].find(([, item]) => item === document.activeElement)?.[0];
    if (focused === undefined) return;
    const column = byDepth[trees.depth[focused]!]!;
    const place = column.indexOf(focused);
    const targets: Record<string, number | undefined> = {
      ArrowUp: column[place - 1],
      ArrowDown: column[place + 1],
      Home: column[0],
      End: column.at(-1),
      ArrowLeft: columns.parent[focused]! < 0 ? undefined : columns.parent[focused],
      ArrowRight: children(focused)[0],
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    const target = targets[event.key];
    if (target === undefined) return;
    select(target);
    items.get(target)?.focus();
  });

  /** Places the nodes of a question: roles from left to right, siblings from above. A narrow window scrolls sideways. */
  function layout(question: number, answers: readonly (string | null)[]): void {
    const [from, to] = [columns.start[question]!, columns.start[question + 1]!];
    const below = new Map<number, number[]>();
    for (let i = from; i < to; i++) below.set(columns.parent[i]!, [...(below.get(columns.parent[i]!) ?? []), i]);
    const depths = about.roles.length;
    const longest = answers.reduce((most, answer) => Math.max(most, answer?.length ?? 0), 1);
    const least = besideAnswer + Math.ceil(characterWidth * Math.min(mostCharacters, longest));
    const width = Math.max(least, Math.min(200, Math.floor((scroller.clientWidth - 8) / depths)));
    const root = treeLayout<number>()
      .nodeSize([rowHeight, width])
      .separation((a, b) => (a.parent === b.parent ? 1 : 1.3))(hierarchy(-1, (i) => below.get(i)));
    const placed = root.descendants().slice(1);
    const top = Math.min(0, ...placed.map(({ x }) => x));
    const height = Math.max(0, ...placed.map(({ x }) => x)) - top + rowHeight;
    const y = (x: number) => x - top;
    const edges = placed
      .filter(({ depth }) => depth > 1)
      .map(({ x, depth, parent }) => {
        const [x1, x2] = [(depth - 2) * width + width - 14, (depth - 1) * width];
        const [y1, y2] = [y(parent!.x) + rowHeight / 2, y(x) + rowHeight / 2];
        const middle = (x1 + x2) / 2;
        return svgPath(`M${x1},${y1}C${middle},${y1} ${middle},${y2} ${x2},${y2}`);
      });
    items = new Map();
    byDepth = about.roles.map(() => []);
    // In the order of the dataset a parent comes before its children; a reader goes down one branch after the other.
    root.eachBefore((node) => {
      if (node.data < 0) return;
      const i = node.data;
      byDepth[node.depth - 1]!.push(i);
      const siblings = node.parent!.children!;
      items.set(
        i,
        h("div.node", {
          role: "treeitem",
          "aria-level": node.depth,
          "aria-setsize": siblings.length,
          "aria-posinset": siblings.indexOf(node) + 1,
          "--left": `${(node.depth - 1) * width}px`,
          "--top": `${y(node.x)}px`,
          "--width": `${width - 14}px`,
          click: () => {
            select(i, true);
            items.get(i)?.focus({ preventScroll: true });
            onClick();
          },
        }),
      );
    });
    set(canvas, { "--width": `${depths * width}px`, "--height": `${height}px` });
    fill(
      heads,
      about.roles.map(({ name }) => h("span", { "--width": `${width}px` }, name)),
    );
    fill(canvas, svg(depths * width, height, edges), ...items.values());
  }

  async function draw(): Promise<void> {
    const question = app.question();
    element.hidden = app.route.benchmark !== null;
    if (element.hidden) return;
    if (question < 0) {
      fill(asked, h("p.warning", {}, `There is no question “${app.route.question ?? ""}” in this run.`));
      fill(canvas);
      drawn = "";
      return;
    }
    const packet = await readQuestion(question);
    if (question !== app.question()) return;
    const state = `${question} ${scroller.clientWidth}`;
    if (state !== drawn) {
      const hadFocus = canvas.contains(document.activeElement);
      layout(question, packet.answers);
      drawn = state;
      const { id, question: text, choices, answer } = packet.question;
      fill(
        asked,
        h("h2", {}, id),
        h("pre.text", {}, text),
        choices &&
          h(
            "ol.choices",
            { type: "A" },
            choices.map((option) => h("li", {}, option)),
          ),
        h("p.faint", {}, "Reference answer: ", h("b", {}, answer)),
        items.size === 0 && h("p.warning", {}, "This question was not sampled."),
      );
      if (hadFocus) focus();
    }
    const selected = app.route.node;
    const ids = new Map([...items.keys()].map((i) => [nodeIdOf(columns, about.roles, i), i]));
    const current = ids.get(selected ?? "") ?? items.keys().next().value;
    for (const [id, i] of ids) show(i, id, packet.answers[columns.text[i]!] ?? null, id === selected, i === current);
  }

  /** Draws one node as it is under the setting. */
  function show(i: number, id: string, answer: string | null, isSelected: boolean, isReachable: boolean): void {
    const { credit } = app;
    const has = (trait: keyof typeof traits) => (credit.traits[i]! & traits[trait]) !== 0;
    const correct = [false, true, null][columns.verdict[i]!]!;
    const { sign, word } = mark(correct);
    const value = credit.value[i]!;
    const isLeaf = trees.forest.expected[i] === 0;
    const { threshold } = app.setting();
    const shownValue = Number.isNaN(value) ? "" : value.toFixed(2);
    const label = has("good") ? "good" : has("bad") ? "not good" : "no value";
    const found = isFiltered() && matches(i);
    const words = [
      `${id}, ${about.roles[trees.depth[i]!]!.name}`,
      answer === null ? word : `answers ${answer}, ${word}`,
      shownValue && `value ${shownValue}`,
      label,
      has("flipped") && "label flipped",
      has("chosen") && "chosen in a pair",
      has("rejected") && "rejected in a pair",
      has("contradicted") && "identical sibling with the other label",
      has("cutOff") && "cut off",
      found && "found by the filters",
    ].filter((part) => part);
    const item = items.get(i)!;
    set(item, {
      "aria-label": words.join(", "),
      "aria-selected": String(isSelected),
      tabindex: isReachable ? 0 : -1,
      "data-node": id,
      "data-label": label,
      "data-side": Number.isNaN(value) ? "none" : value > threshold ? "high" : "low",
      "data-found": found || null,
      "data-flipped": has("flipped") || null,
      "data-contradicted": has("contradicted") || null,
      "--mix": `${Math.round(100 * distance(value, threshold))}%`,
    });
    const pair = `${has("chosen") ? "▲" : ""}${has("rejected") ? "▼" : ""}`;
    fill(
      item,
      h("span.dot", {}, has("good") ? "●" : has("bad") ? "○" : "·"),
      h("span.step", {}, id.split(".").at(-1)!),
      h("span", { "data-verdict": verdicts[columns.verdict[i]!]! }, sign),
      h("span.answer", {}, answer ?? (has("cutOff") ? "cut off" : "no answer")),
      pair && h("span.pair", {}, pair),
      !isLeaf && h("span.value", {}, shownValue || "–"),
    );
  }

  const focus = () => items.get([...items].find(([, item]) => item.tabIndex === 0)?.[0] ?? -1)?.focus();
  const redraw = () => shownIn(asked, draw());
  app.view(redraw);
  new ResizeObserver(redraw).observe(scroller);
  return { element, focus };
}

/** How far a value lies from θ, as a share of what is possible on its side. */
function distance(value: number, theta: number): number {
  if (Number.isNaN(value)) return 0;
  return value > theta ? (value - theta) / (1 - theta) : theta === 0 ? 1 : (theta - value) / theta;
}

function legend(): HTMLElement {
  const parts = [
    ["●", "good: value > θ"],
    ["○", "not good"],
    ["✓ ✗ –", "its own answer: right, wrong, none"],
    ["▲ ▼", "chosen, rejected in a pair"],
  ];
  return h(
    "p.legend",
    {},
    parts.map(([sign, meaning]) => h("span", {}, h("b", {}, sign), ` ${meaning}`)),
    h("span", {}, h("b.ramp", { "aria-hidden": "true" }), " value 0, θ, 1"),
    h("span", {}, h("b.ring", { "aria-hidden": "true" }), " identical sibling, other label"),
    h("span", {}, h("b.corner", { "aria-hidden": "true" }), " label flipped"),
  );
}
