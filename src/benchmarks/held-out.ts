/**
 * Held-out questions are never trained on, nor training questions evaluated. Pure. What it leaves out: questions that were
 * reworded, such as GSM-Symbolic's variants of GSM8K; and the training files themselves (train/leak.ts).
 */
import { InputError } from "../errors.js";
import type { Question } from "../types.js";

/** A text in the form that is compared: letters' case, white space and typographic variants do not count. */
export const normalised = (text: string): string => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();

/**
 * MATH as published asks one question in both parts of its original split (`train/geometry/6032.json` is
 * `test/precalculus/24307.json`). Nobody put it there by mistake, so it is no reason to refuse the paper's own split.
 */
const isPublishedTwice = (benchmark: string, trained: string, tested: string): boolean =>
  benchmark === "math" && trained.startsWith("train/") && tested.startsWith("test/");

/** The held-out questions without those that the benchmark itself also has among the run's questions. */
export function unseen(questions: readonly Question[], heldOut: readonly Question[]): Question[] {
  const trained = new Map(questions.map(({ id, question }) => [normalised(question), id]));
  return heldOut.filter(({ benchmark, id, question }) => {
    const same = trained.get(normalised(question));
    return same === undefined || !isPublishedTwice(benchmark, same, id);
  });
}

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
        : same !== undefined &&
          !isPublishedTwice(benchmark, id, same) &&
          `has the text of the held-out question "${same}" in ${file}`;
      const math =
        benchmark === "math"
          ? " (PRM800K's 12,000 training questions hold 4,500 of MATH's 5,000 test questions: keep to one split)"
          : "";
      if (seen) throw new InputError(`question "${id}" of the run ${seen}${math}; ${advice}, or hold out another file`);
    }
  }
}
