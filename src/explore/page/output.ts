/** One output in full: what it saw and said, how it was read and graded, its siblings, what it became, and its path. */

import { pairSiblings } from "../../credit/pairs.js";
import { thousands } from "../../format.js";
import { messages } from "../../team/prompts.js";
import type { Turn } from "../../types.js";
import { traits } from "../credit.js";
import { nodeIdOf, type QuestionPacket } from "../trees.js";
import type { App } from "./app.js";
import { conversation } from "./dialogue.js";
import { type Child, fill, h, many, section, shownIn } from "./dom.js";
import { mark } from "./mark.js";
import { readQuestion } from "./parts.js";
import { passage, reading, verdictText } from "./passage.js";
import { formatRoute } from "./route.js";
import { sideBySide } from "./siblings.js";

export function output(app: App): HTMLElement {
  const { about, columns, trees } = app;
  const element = h("section.output", { "aria-label": "output", "aria-live": "polite" });
  const idOf = (node: number) => nodeIdOf(columns, about.roles, node);
  const linkTo = (node: number, text = idOf(node)) =>
    h("a", { href: formatRoute({ ...app.route, node: idOf(node) }, about.setting) }, text);
  /** Which sections a person closed or opened. */
  const isOpen = new Map<string, boolean>();
  const part = (title: string, opened: boolean, ...children: readonly Child[]) => {
    const details = section(title, isOpen.get(title) ?? opened, ...children);
    details.addEventListener("toggle", () => isOpen.set(title, details.open));
    return details;
  };

  async function draw(): Promise<void> {
    const question = app.question();
    element.hidden = app.route.benchmark !== null;
    if (element.hidden || question < 0) return fill(element);
    const packet = await readQuestion(question);
    if (question !== app.question()) return;
    const wanted = app.route.node;
    const [from, to] = [columns.start[question]!, columns.start[question + 1]!];
    let node = -1;
    for (let i = from; i < to && wanted !== undefined; i++) if (idOf(i) === wanted) node = i;
    if (wanted === undefined)
      return fill(element, h("p.faint", {}, "Choose an output of the tree: what it saw and said is shown here."));
    if (node < 0) return fill(element, h("p.warning", {}, `This tree has no output “${wanted}”.`));
    fill(element, ...parts(node, packet));
  }

  function parts(node: number, packet: QuestionPacket): Child[] {
    const { question } = packet;
    const textOf = (i: number) => packet.texts[columns.text[i]!]!;
    const readOf = (i: number) => ({
      answer: packet.answers[columns.text[i]!]!,
      correct: [false, true, null][columns.verdict[i]!]!,
    });
    const path: number[] = [];
    for (let at = node; at >= 0; at = columns.parent[at]!) path.unshift(at);
    const roleOf = (i: number) => about.roles[trees.depth[i]!]!;
    const turns: Turn[] = path.slice(0, -1).map((i) => ({ role: roleOf(i).name, text: textOf(i) }));
    const saw = messages(about.promptSet, roleOf(node), question, turns);
    const siblings = trees.states[trees.state[node]!]!;
    const below = trees.forest.expected[node]! > 0 ? childrenOf(node) : [];
    const spoken = (i: number) => ({
      ...{ role: roleOf(i).name, depth: trees.depth[i]!, text: textOf(i), ...readOf(i), note: linkTo(i) },
    });
    return [
      h(
        "h2",
        {},
        path.map((i, step) => [step > 0 && " › ", i === node ? idOf(i) : linkTo(i)]),
        ` · ${roleOf(node).name}`,
      ),
      facts(node, packet, from(node)),
      part(
        "What it said",
        true,
        passage(textOf(node), reading(textOf(node), question, about.extraction)),
        verdictText(textOf(node), question, about.extraction, readOf(node)),
      ),
      part("What it became", true, became(node)),
      part(
        `Siblings: ${many(siblings.length, "output")} of the same state`,
        true,
        sideBySide(
          siblings.map(({ node: i, label, value }) => ({
            title: [
              i === node ? h("b", {}, idOf(i)) : linkTo(i),
              ` ${mark(readOf(i).correct).sign} ${readOf(i).answer ?? "no answer"}`,
              h(
                "small",
                {},
                value === null ? " no value" : ` value ${value.toFixed(2)}, ${label ? "good" : "not good"}`,
              ),
            ],
            text: textOf(i),
            isChosen: i === node,
          })),
        ),
      ),
      part(
        "What it saw",
        false,
        saw.map(({ role, content }) => [h("p.faint", {}, role), h("pre.text", {}, content)]),
      ),
      part(
        "The path as a dialogue",
        false,
        conversation(question, about.extraction, path.map(spoken)),
        below.length > 0 &&
          h(
            "p",
            {},
            "Goes on with ",
            below.map((i, n) => [n > 0 && ", ", linkTo(i), ` ${mark(readOf(i).correct).sign}`]),
            ".",
          ),
      ),
    ];
  }

  const from = (node: number) => columns.start[trees.tree[node]!]!;

  function childrenOf(node: number): number[] {
    const found: number[] = [];
    const end = columns.start[trees.tree[node]! + 1]!;
    for (let i = node + 1; i < end; i++) if (columns.parent[i] === node) found.push(i);
    return found;
  }

  function facts(node: number, packet: QuestionPacket, first: number): HTMLElement {
    const { credit, dataset } = app;
    const value = credit.value[node]!;
    const before = dataset.label[node] === 1 ? "good" : dataset.label[node] === 0 ? "not good" : "no value";
    const label = credit.label[node] === 1 ? "good" : credit.label[node] === 0 ? "not good" : "no value";
    const tokens = columns.completionTokens[node]!;
    const prompt = columns.promptTokens[node]!;
    const rows: [string, Child][] = [
      ["value", Number.isNaN(value) ? "none: its subtree is incomplete" : `${Number(value.toFixed(4))}`],
      ["label", label === before ? label : [h("b", {}, label), ` (in the dataset: ${before})`]],
      ["ended by", about.ends[columns.end[node]!]!],
      ["tokens", `${prompt < 0 ? "?" : thousands(prompt)} read, ${tokens < 0 ? "?" : thousands(tokens)} written`],
      ["seed", String(packet.seeds[node - first])],
      ["model", about.models[columns.model[node]!]!],
    ];
    return h(
      "dl.facts",
      {},
      rows.map(([name, shown]) => h("div", {}, h("dt", {}, name), h("dd", {}, shown))),
    );
  }

  /** Which examples and pairs an output is in, by the same functions that export them; and if in none, why. */
  function became(node: number): Child[] {
    const setting = app.setting();
    const siblings = trees.states[trees.state[node]!]!;
    const has = (trait: keyof typeof traits) => (app.credit.traits[node]! & traits[trait]) !== 0;
    const pairs = pairSiblings(siblings, setting).filter(
      ([chosen, rejected]) => chosen.node === node || rejected.node === node,
    );
    const example = has("example")
      ? `An SFT example of the ${about.roles[trees.depth[node]!]!.name}.`
      : has("good")
        ? "No SFT example: the rule for examples leaves it out."
        : has("bad")
          ? "No SFT example: it is not good."
          : "No SFT example: it has no value.";
    if (pairs.length > 0)
      return [
        h("p", {}, example),
        h(
          "ul.pairs",
          {},
          pairs.map(([chosen, rejected]) => {
            const isChosen = chosen.node === node;
            const gap = (chosen.value! - rejected.value!).toFixed(2);
            return h(
              "li",
              {},
              isChosen ? "▲ chosen over " : "▼ rejected against ",
              linkTo(isChosen ? rejected.node : chosen.node),
              ` (gap ${gap})`,
            );
          }),
        ),
      ];
    const why = !has("mixed")
      ? "all outputs of its state have the same label"
      : has("contradicted") && setting.identical === "drop"
        ? "outputs with the same text are not paired, or the rule for pairs left it out"
        : "the rule for pairs left it out";
    return [h("p", {}, example), h("p", {}, `In no preference pair: ${why}.`)];
  }

  app.view(() => shownIn(element, draw()));
  return element;
}
