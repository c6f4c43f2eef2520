/** Accuracy under both modes of extraction, from texts that were sampled once. Pure. */
import { type ExtractionMode, extractionModes, gradeText } from "../answers/index.js";
import { InputError } from "../errors.js";
import type { EvaluationRow, Node, Question } from "../types.js";
import { majorityReading } from "./majority.js";

/** Shares in [0, 1] of what is right in each mode. */
export type ByMode = { name: string } & Record<ExtractionMode, number>;

/** Accuracy of each role's own answers, in order of appearance. @throws InputError if a question is missing */
export function rolesByMode(questions: readonly Question[], nodes: readonly Node[]): ByMode[] {
  const known = byId(questions);
  const graded = new Map<string, boolean>();
  return shares(
    nodes,
    ({ role }) => role,
    ({ question_id, text }, mode) => {
      const key = `${mode}\n${question_id}\n${text}`;
      const correct = graded.get(key) ?? gradeText(known(question_id), text, mode).correct === true;
      graded.set(key, correct);
      return correct;
    },
  );
}

/**
 * Accuracy of each system's votes at its last turn, in order of appearance.
 * @returns nothing where the rows of evaluation.parquet hold no texts
 * @throws InputError if a question is missing
 */
export function systemsByMode(
  questions: readonly Question[],
  rows: readonly (EvaluationRow & { text?: string | null })[],
): ByMode[] {
  if (!rows.every(({ text }) => typeof text === "string")) return [];
  const known = byId(questions);
  const last = new Map(rows.map(({ system, turn }) => [system, turn]));
  const votes = new Map<string, { system: string; question: Question; texts: string[] }>();
  for (const { system, seed, question_id, turn, text } of rows) {
    if (turn !== last.get(system)) continue;
    const key = `${system}\n${seed}\n${question_id}`;
    const vote = votes.get(key) ?? { system, question: known(question_id), texts: [] };
    vote.texts.push(text!);
    votes.set(key, vote);
  }
  return shares(
    [...votes.values()],
    ({ system }) => system,
    ({ question, texts }, mode) => {
      const read = texts.map((text) => gradeText(question, text, mode));
      return majorityReading(question, read)?.correct === true;
    },
  );
}

/** The share of items that are right, by name and mode. */
function shares<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  isRight: (item: T, mode: ExtractionMode) => boolean,
): ByMode[] {
  return [...new Set(items.map(nameOf))].map((name) => {
    const own = items.filter((item) => nameOf(item) === name);
    const share = (mode: ExtractionMode) => own.filter((item) => isRight(item, mode)).length / own.length;
    const modes = Object.fromEntries(extractionModes.map((mode) => [mode, share(mode)]));
    return { name, ...(modes as Record<ExtractionMode, number>) };
  });
}

function byId(questions: readonly Question[]): (id: string) => Question {
  const known = new Map(questions.map((question) => [question.id, question]));
  return (id) => {
    const question = known.get(id);
    if (!question) throw new InputError(`question ${id} is not among the questions; pass those that were answered`);
    return question;
  };
}
