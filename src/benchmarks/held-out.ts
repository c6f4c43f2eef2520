/**
 * Held-out questions are never trained on, nor training questions evaluated. Pure. What it leaves out: questions that were
 * reworded, such as GSM-Symbolic's variants of GSM8K; and the training files themselves (train/leak.ts).
 */
import { InputError } from "../errors.js";
import type { Question } from "../types.js";

/** A text in the form that is compared: letters' case, white space and typographic variants do not count. */
export const normalised = (text: string): string => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();

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
