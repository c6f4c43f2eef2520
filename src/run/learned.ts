/**
 * Which questions a run's adapters have learned from: its own, and those of the runs that trained the team it was sampled with
 * (iterated training). None of them is unseen, whatever the last round was trained on.
 */
import { basename, dirname, join } from "node:path";
import { RunError } from "../errors.js";
import type { Question } from "../types.js";
import { findManifest, readManifest, readQuestions } from "./manifest.js";

/**
 * The questions of a run and of all rounds before it. Rounds on the same questions, the usual case, need no other folder.
 * @param dir a run folder; those of earlier rounds lie beside it
 * @throws RunError if an earlier round asked other questions and its folder is missing or was made anew
 */
export async function learnedQuestions(dir: string): Promise<Question[]> {
  const { config, benchmark } = await readManifest(dir);
  const questions = await readQuestions(dir);
  const read = new Set([benchmark.questions_sha256]);
  for (const { run, questions_sha256 } of config.adapters?.learned ?? []) {
    if (read.has(questions_sha256)) continue;
    const earlier = join(dirname(dir), run);
    const found = await findManifest(earlier);
    if (found?.benchmark.questions_sha256 !== questions_sha256)
      throw new RunError(
        `run "${basename(dir)}" speaks with adapters that learned from the questions of run "${run}", and ` +
          `${found ? `${earlier} holds others now` : `there is no run in ${earlier}`}; put it back, so that no question it was ` +
          "trained on is taken for unseen",
      );
    questions.push(...(await readQuestions(earlier)));
    read.add(questions_sha256);
  }
  return questions;
}
