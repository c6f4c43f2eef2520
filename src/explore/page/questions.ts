/** The questions of the run: filters by what their outputs are, search, order, and the list. */
import { thousands } from "../../format.js";
import { type Trait, traits } from "../credit.js";
import { type App, type Order, questionValues } from "./app.js";
import { choice, fill, h, many, tick } from "./dom.js";
import { type List, list } from "./list.js";
import { passThrough } from "./parts.js";
import { searcher } from "./search.js";

const ticks: readonly (readonly [Trait, string, string])[] = [
  ["mixed", "mixed siblings", "outputs of one state with both labels"],
  [
    "contradicted",
    "identical, labels differ",
    "a sibling has the same text and the other label: one of the two labels is wrong",
  ],
  ["flipped", "label flipped", "the label is not the dataset’s: move θ"],
  ["good", "good", "value > θ"],
  ["example", "SFT example", "becomes a supervised example"],
  ["chosen", "chosen", "the better output of a pair"],
  ["rejected", "rejected", "the worse output of a pair"],
  ["cutOff", "cut off", "ended by max_tokens"],
  [
    "disputed",
    "graders disagree",
    "strict and flexible extraction, or the dataset and this version’s grader, give different verdicts",
  ],
  ["partial", "partly sampled", "something below it is missing"],
];
const answers = [
  ["", "any answer"],
  ["right", "right"],
  ["wrong", "wrong"],
  ["unanswered", "no answer"],
] as const;
const orders: readonly (readonly [Order, string])[] = [
  ["run", "as in the run"],
  ["value-low", "lowest value first"],
  ["value-high", "highest value first"],
  ["near-theta", "value nearest θ first"],
  ["pairs", "most pairs first"],
];

/** Whether an output is among those that are looked for. */
export type Matches = (node: number) => boolean;

export function questions(app: App): {
  element: HTMLElement;
  matches: Matches;
  isFiltered: () => boolean;
  move(step: number): void;
  focusSearch(): void;
} {
  const { about, trees, columns } = app;
  const { start } = columns;
  const search = searcher(
    about.questions.length,
    async (item) => {
      const { question, texts } = await passThrough.question(item);
      return { whole: [question.id, question.question, ...(question.choices ?? [])], texts };
    },
    (isChange) => (isChange ? app.update({}) : draw()),
  );

  const isFiltered = () => {
    const { role, answer, traits: wanted, words } = app.filter;
    return role !== null || answer !== null || wanted.size > 0 || words !== "";
  };
  const matches: Matches = (node) => {
    const { role, answer, traits: wanted } = app.filter;
    if (role !== null && trees.depth[node] !== role) return false;
    let mask = answer === null ? 0 : traits[answer];
    for (const name of wanted) mask |= traits[name];
    if ((app.credit.traits[node]! & mask) !== mask) return false;
    const found = search.latest()?.hits;
    if (!found) return true;
    const texts = found.get(trees.tree[node]!);
    return texts === null || texts?.has(columns.text[node]!) === true;
  };

  let values: Float64Array = new Float64Array();
  let matching = new Int32Array();
  const rows: List = list(
    "questions",
    (q) => {
      const [id, beginning] = about.questions[q]!;
      const value = values[q]!;
      const shown = Number.isNaN(value) ? "no value" : value.toFixed(2);
      const found = isFiltered() ? `${thousands(matching[q]!)} found` : "";
      return {
        name: `${id}, value ${shown}${found && `, ${found}`}: ${beginning}`,
        content: [
          h(
            "span.row-head",
            {},
            h("b", {}, id),
            h("span.meter", { "--share": Number.isNaN(value) ? 0 : value, "aria-hidden": "true" }),
            h("span", {}, shown),
          ),
          h("span.row-text", {}, found && h("em", {}, `${found} · `), beginning),
        ],
      };
    },
    (q) =>
      app.update({ route: { ...app.route, benchmark: null, question: about.questions[q]![0], node: undefined } }, true),
  );

  const change = (filter: Partial<App["filter"]>) => app.update({ filter: { ...app.filter, ...filter } });
  const field = h("input", { type: "search", placeholder: "search in texts", "aria-label": "search in texts" });
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      change({ words: field.value.trim() });
      void search.start(field.value);
    }, 250);
  });
  const lasting = trees.lasting.reduce((all, marks) => all | marks, 0);
  const always = traits.cutOff | traits.disputed | traits.partial;
  const shownTicks = ticks.filter(([name]) => (traits[name] & always) === 0 || (traits[name] & lasting) !== 0);
  const fields = h(
    "div.fields",
    {},
    choice(
      "Role",
      [["", "any role"], ...about.roles.map(({ name }, depth) => [String(depth), name] as const)],
      "",
      (value) => change({ role: value === "" ? null : Number(value) }),
    ),
    choice("Answer", answers, "", (value) => change({ answer: value === "" ? null : value })),
    choice("Order", orders, app.order, (order) => app.update({ order })),
  );
  const boxes = h(
    "fieldset.ticks",
    {},
    h("legend", {}, "Outputs that are"),
    shownTicks.map(([name, label, title]) =>
      tick(
        label,
        false,
        (isOn) => {
          const wanted = new Set(app.filter.traits);
          if (isOn) wanted.add(name);
          else wanted.delete(name);
          change({ traits: wanted });
        },
        title,
      ),
    ),
  );
  const missing = ticks.filter((each) => !shownTicks.includes(each)).map(([, label]) => label);
  const summary = h("p.summary", { role: "status", "aria-live": "polite" });
  const element = h(
    "nav.questions",
    { "aria-label": "questions" },
    field,
    h(
      "details.filters",
      { open: true },
      h("summary", {}, "Filters"),
      fields,
      boxes,
      missing.length > 0 && h("p.faint", {}, `None in this run: ${missing.join(", ")}.`),
    ),
    summary,
    rows.element,
  );

  let items: number[] = [];
  app.view(draw);
  function draw(): void {
    values = questionValues(trees, app.credit);
    const total = about.questions.length;
    matching = new Int32Array(total);
    let outputs = 0;
    const filtered = isFiltered();
    if (filtered)
      for (let node = 0; node < trees.tree.length; node++)
        if (matches(node)) {
          matching[trees.tree[node]!]! += 1;
          outputs++;
        }
    items = Array.from({ length: total }, (_, q) => q).filter((q) => !filtered || matching[q]! > 0);
    items.sort(comparison(app.order));
    rows.show(items, items.indexOf(app.question()));
    fill(
      summary,
      filtered
        ? `${many(outputs, "output")} in ${thousands(items.length)} of ${many(total, "question")}${search.progress()}`
        : `${many(total, "question")}, ${many(start.at(-1)!, "output")}`,
    );
  }

  function comparison(order: Order): (a: number, b: number) => number {
    // Without a value last, whichever way.
    const by = (key: (q: number) => number) => (a: number, b: number) => {
      const [x, y] = [key(a), key(b)];
      return Number.isNaN(x) || Number.isNaN(y) ? Number(Number.isNaN(x)) - Number(Number.isNaN(y)) : x - y;
    };
    if (order === "value-low") return by((q) => values[q]!);
    if (order === "value-high") return by((q) => -values[q]!);
    if (order === "near-theta") return by((q) => Math.abs(values[q]! - app.setting().threshold));
    if (order === "pairs") return by((q) => -(app.credit.pairs[q] ?? 0));
    return () => 0;
  }

  return {
    element,
    matches,
    isFiltered,
    move(step) {
      const place = items.indexOf(app.question());
      const next = items[Math.max(0, Math.min(items.length - 1, place + step))];
      if (next !== undefined)
        app.update(
          { route: { ...app.route, benchmark: null, question: about.questions[next]![0], node: undefined } },
          true,
        );
    },
    focusSearch: () => field.focus(),
  };
}
