/** The vote of several readings of answers to one question. Pure. */
import { answerKind, sameAnswer } from "../answers/index.js";
import { majorityVote } from "../team/vote.js";
import type { Question } from "../types.js";

/**
 * The first reading of the answer that most of them state, equal answers in different notations counting as one.
 * @param read in the order of the passes
 * @returns undefined if none states an answer
 */
export function majorityReading<R extends { answer: string | null }>(
  question: Question,
  read: readonly R[],
): R | undefined {
  const kind = answerKind(question);
  const voted = majorityVote(
    read.map(({ answer }) => answer),
    (a, b) => sameAnswer(a, b, kind),
  );
  return read.find(({ answer }) => answer !== null && answer === voted);
}
