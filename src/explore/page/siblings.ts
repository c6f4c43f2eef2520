/** Outputs of one state side by side, with the words in which the others differ from the chosen one. */
import { diffWordsWithSpace } from "diff";
import { type Child, h } from "./dom.js";

/** Differences beyond this many words are not looked for, which bounds the work. */
const maxEditLength = 1_500;

export interface Said {
  title: Child;
  text: string;
  isChosen: boolean;
}

export function sideBySide(outputs: readonly Said[]): HTMLElement {
  const chosen = outputs.find(({ isChosen }) => isChosen)!;
  return h(
    "div.siblings",
    { role: "group", "aria-label": "siblings side by side" },
    outputs.map(({ title, text, isChosen }) =>
      h(
        "article.sibling",
        { "data-chosen": isChosen },
        h("header", {}, title),
        isChosen ? h("pre.text", {}, text) : compared(chosen.text, text),
      ),
    ),
  );
}

function compared(chosen: string, text: string): Child {
  if (text === chosen) return [h("p.faint", {}, "The same text, byte for byte:"), h("pre.text", {}, text)];
  const changes = diffWordsWithSpace(chosen, text, { maxEditLength });
  if (!changes) return [h("p.faint", {}, "Too different to compare word by word:"), h("pre.text", {}, text)];
  return h(
    "pre.text",
    {},
    changes.map(({ value, added, removed }) => (added ? h("ins", {}, value) : removed ? h("del", {}, value) : value)),
  );
}
