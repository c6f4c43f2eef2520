/** Turns one below the other, as in a conversation: a path of a tree, or a pass of an evaluation. */
import type { ExtractionMode } from "../../answers/index.js";
import { questionText } from "../../team/prompts.js";
import type { Question } from "../../types.js";
import { type Child, h } from "./dom.js";
import { mark } from "./mark.js";
import { passage, reading } from "./passage.js";

export interface SpokenTurn {
  role: string;
  /** Its depth, for the colour. */
  depth: number;
  /** Null where the run did not keep it. */
  text: string | null;
  answer: string | null;
  correct: boolean | null;
  /** More about it, such as a link or its tokens. */
  note?: Child;
}

/** @param question null where the run did not keep it: then answers are not looked for in the texts */
export function conversation(
  question: Question | null,
  mode: ExtractionMode,
  turns: readonly SpokenTurn[],
): HTMLElement {
  return h(
    "ol.dialogue",
    {},
    question &&
      h(
        "li.turn",
        {},
        h("header", {}, h("b", {}, "question"), ` (reference answer: ${question.answer})`),
        h("pre.text", {}, questionText(question)),
      ),
    turns.map(({ role, depth, text, answer, correct, note }) => {
      const { sign, word } = mark(correct);
      return h(
        "li.turn",
        { "data-depth": depth },
        h("header", {}, h("b", {}, role), ` ${sign} ${answer === null ? word : `${answer}, ${word}`}`, " ", note),
        text === null
          ? h("p.faint", {}, "The text was not kept.")
          : passage(text, question && reading(text, question, mode)),
      );
    }),
  );
}
