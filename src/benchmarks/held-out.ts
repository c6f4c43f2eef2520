/**
 * Training never sees a test question. Checked in three steps: the run has no question of a test split, none of its
 * questions is a held-out one, and every prompt of the training files is about a question of the run. What it leaves
 * out: questions that were reworded, such as GSM-Symbolic's variants of GSM8K.
 */
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { InputError, RunError } from "../errors.js";
import type { Message, Question } from "../types.js";

/** A text as it is compared: letters' case, white space and typographic variants do not count. */
const normalised = (text: string): string => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();

/**
 * @param questions of the run that the training files were made from
 * @param heldOut questions that are kept for evaluation, by the file they come from
 * @throws InputError that names the first question of the run which is one of them, by id or by text
 */
export function checkHeldOut(questions: readonly Question[], heldOut: ReadonlyMap<string, readonly Question[]>): void {
  const test = questions.find(({ split }) => split === "test");
  const advice = "train on a run over training questions";
  if (test) throw new InputError(`question "${test.id}" of the run is of split "test"; ${advice}`);
  for (const [file, kept] of heldOut) {
    // Ids are unique only within a benchmark.
    const ids = new Set(kept.map(({ benchmark, id }) => JSON.stringify([benchmark, id])));
    const texts = new Map(kept.map(({ id, question }) => [normalised(question), id]));
    for (const { benchmark, id, question } of questions) {
      const same = texts.get(normalised(question));
      const seen = ids.has(JSON.stringify([benchmark, id]))
        ? `has the id of a held-out question in ${file}`
        : same !== undefined && `has the text of the held-out question "${same}" in ${file}`;
      if (seen) throw new InputError(`question "${id}" of the run ${seen}; ${advice}, or hold out another file`);
    }
  }
}

/**
 * Reads training files and checks that each prompt holds the text of a question of the run.
 * @returns the number of rows of each file, by its name
 * @throws RunError that names the first line which is damaged or about something else
 */
export async function checkPrompts(
  files: readonly string[],
  questions: readonly Question[],
): Promise<Map<string, number>> {
  const texts = questions.map(({ question }) => normalised(question));
  const counts = new Map<string, number>();
  for (const file of files) {
    let rows = 0;
    // Rows are in the order of the questions, so the one of the row before, or the next, is nearly always the right one.
    let at = 0;
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line.trim() === "") continue;
      rows++;
      const said = promptOf(line);
      if (said === null)
        throw new RunError(
          `${basename(file)} line ${rows} holds no prompt of chat messages; run \`malt export\` again`,
        );
      const prompt = normalised(said);
      let left = texts.length;
      while (left > 0 && !prompt.includes(texts[at]!)) {
        at = (at + 1) % texts.length;
        left--;
      }
      if (left === 0)
        throw new RunError(
          `the prompt in ${basename(file)} line ${rows} holds no question of the run ("${said.slice(0, 60)}…"); ` +
            "run `malt export` again",
        );
    }
    counts.set(basename(file), rows);
  }
  return counts;
}

/** What the messages of a row's prompt say; null if the line is no such row. */
function promptOf(line: string): string | null {
  try {
    const { prompt } = JSON.parse(line) as { prompt: readonly Message[] };
    return prompt.map(({ content }) => content).join("\n");
  } catch {
    return null;
  }
}
