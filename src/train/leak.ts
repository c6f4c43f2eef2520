/**
 * Training never sees a test question: besides the run's questions (benchmarks/held-out.ts), every prompt of the training
 * files is checked to be about a question of the run.
 */
import { basename } from "node:path";
import { normalised } from "../benchmarks/held-out.js";
import { RunError } from "../errors.js";
import { linesOf } from "../lines.js";
import type { Message, Question } from "../types.js";

/**
 * Reads training files and checks that each prompt holds the text of a question of the run.
 * @returns the number of rows of each file, by its name
 * @throws RunError that names the first line that is damaged or not about a question of the run
 */
export async function checkTrainingPrompts(
  files: readonly string[],
  questions: readonly Question[],
): Promise<Map<string, number>> {
  const texts = questions.map(({ question }) => normalised(question));
  const counts = new Map<string, number>();
  for (const file of files) {
    let rows = 0;
    // Rows are in question order, so the previous row's question, or the one after it, is nearly always the right one.
    let at = 0;
    for await (const { number, text: line } of linesOf(file)) {
      if (line.trim() === "") continue;
      rows++;
      const said = promptOf(line);
      if (said === null)
        throw new RunError(
          `${basename(file)} line ${number} holds no prompt of chat messages; run \`malt export\` again`,
        );
      const prompt = normalised(said);
      let left = texts.length;
      while (left > 0 && !prompt.includes(texts[at]!)) {
        at = (at + 1) % texts.length;
        left--;
      }
      if (left === 0)
        throw new RunError(
          `the prompt in ${basename(file)} line ${number} holds no question of the run ("${said.slice(0, 60)}…"); ` +
            "run `malt export` again",
        );
    }
    counts.set(basename(file), rows);
  }
  return counts;
}

/** The text of a row's prompt messages; null if the line is no such row. */
function promptOf(line: string): string | null {
  try {
    const { prompt } = JSON.parse(line) as { prompt: readonly Message[] };
    return prompt.map(({ content }) => content).join("\n");
  } catch {
    return null;
  }
}
