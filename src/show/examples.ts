/** Passes of an evaluation as text, question and turns in full, as the paper's Appendix A.4 shows them. Pure. */
import type { EvaluationRow, Question } from "../types.js";
import { oneLine } from "../visible.js";

/**
 * One pass: the question, then what each role said, with a mark for a right or wrong answer.
 * @param turns of one pass, in speaking order
 * @param question left out where the run does not have it
 */
export function exampleText(turns: readonly EvaluationRow[], question?: Question): string {
  const [{ system, seed, pass, question_id } = { system: "", seed: 0, pass: 0, question_id: "" }] = turns;
  const title = `${system}, question ${oneLine(question_id)}, seed ${seed}, pass ${pass + 1}`;
  const asked = question ? [`question (answer: ${oneLine(question.answer)})\n${indented(question.question)}`] : [];
  const said = turns.map(({ turn, text, answer, correct }) => {
    const mark = answer === null ? "no answer" : `${oneLine(answer)}, ${correct ? "right" : "wrong"}`;
    return `${turn} (${mark})\n${indented(text ?? "… the text was not kept")}`;
  });
  return [title, ...asked, ...said].join("\n");
}

const indented = (text: string): string => text.trim().replace(/^/gm, "    ");
