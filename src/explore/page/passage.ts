/** What somebody said, with the words that its answer was read from, and how it was read and graded. */
import { answerKind, type Extraction, type ExtractionMode, extract, grade, type Rule } from "../../answers/index.js";
import type { Question } from "../../types.js";
import { type Child, h } from "./dom.js";
import { mark } from "./mark.js";

const ruleText: Readonly<Record<Rule, string>> = {
  "final answer": "the last “Final Answer: …”",
  boxed: "the last box",
  hashes: "the last “#### …”",
  "answer is": "the last “the answer is …”",
  bare: "the whole text is an answer",
  conclusion: "a last sentence that concludes",
  "only one": "a single line with one number",
  last: "the last number, formula or letter (flexible)",
};

/** What was said, the words that the answer was read from marked. */
export function passage(text: string, found: Extraction | null): HTMLElement {
  if (text === "") return h("pre.text", {}, h("em", {}, "(nothing)"));
  if (!found) return h("pre.text", {}, text);
  const [start, end] = found.span;
  const name = `the answer was read here: ${ruleText[found.rule]}`;
  return h("pre.text", {}, text.slice(0, start), h("mark", { title: name }, text.slice(start, end)), text.slice(end));
}

/** The answer that this version of the grader reads. */
export const reading = (text: string, question: Question, mode: ExtractionMode): Extraction | null =>
  extract(text, answerKind(question), question.choices, mode);

/**
 * How an answer was read and graded, in words.
 * @param recorded the answer in the dataset, null for none
 */
export function verdictText(
  text: string,
  question: Question,
  mode: ExtractionMode,
  recorded: { answer: string | null; correct: boolean | null },
): Child[] {
  const found = reading(text, question, mode);
  const kind = answerKind(question);
  const graded = found && grade(question.answer, kind === "math" ? found.text : found.answer, kind);
  const lines: Child[] = found
    ? [
        h("p", {}, "Read as ", h("b", {}, found.answer), ` by rule: ${ruleText[found.rule]}.`),
        h("p", {}, `Graded ${graded!.equal ? "right" : "wrong"}; ${graded!.reason}.`),
      ]
    : [h("p", {}, `No answer is stated (${mode} extraction), so it counts as wrong.`)];
  if ((found?.answer ?? null) !== recorded.answer || (graded?.equal ?? false) !== (recorded.correct === true)) {
    const held = recorded.answer === null ? "no answer" : `${recorded.answer}, ${mark(recorded.correct).word}`;
    lines.push(h("p.warning", {}, `The dataset holds another verdict (${held}): another grader or judge gave it.`));
  }
  const other = mode === "strict" ? "flexible" : "strict";
  const second = reading(text, question, other);
  if ((second?.answer ?? null) !== (found?.answer ?? null))
    lines.push(h("p.warning", {}, `With ${other} extraction it would be ${second ? second.answer : "no answer"}.`));
  return lines;
}
