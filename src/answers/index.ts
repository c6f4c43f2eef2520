/**
 * Reading and grading answers: numbers (GSM8K, GSM-Symbolic, arithmetic), letters (CommonsenseQA) and LaTeX (MATH).
 * Scope: numbers are compared exactly; LaTeX that is not a number is compared as normalised text, without algebra, so
 * `(1,2)` equals `\left(1, 2\right)` but `a+b` differs from `b+a`. Pure and deterministic; linear in the input's length.
 */
import type { Question } from "../types.js";
import { type AnswerKind, extract } from "./extract.js";
import { grade } from "./grade.js";
import { parseQuantity } from "./number.js";
import { normalizeText } from "./undress.js";

export { canonical } from "./canonical.js";
export { type AnswerKind, type Extraction, extract, lastBox, type Rule } from "./extract.js";
export { type GradeStep, grade, type Verdict } from "./grade.js";
export { formatNumber, limits, parseQuantity, type Quantity, type Rational } from "./number.js";

/** How a question's answers are read: by letter where it has options, as LaTeX for MATH, else as a number if it is one. */
export function answerKind(question: Question): AnswerKind {
  if (question.choices !== null) return "choice";
  return question.benchmark !== "math" && parseQuantity(question.answer) ? "number" : "math";
}

/** The kind of a bare reference answer of an unknown benchmark: one letter A–E, else a plain number, else LaTeX. */
export function inferKind(gold: string): AnswerKind {
  const text = normalizeText(gold);
  if (/^\(?[A-E]\)?$/.test(text)) return "choice";
  const quantity = parseQuantity(gold);
  return quantity && (quantity.unit === null || quantity.unit === "%") ? "number" : "math";
}

/**
 * Reads the answer out of a completion and grades it against the question's.
 * @returns the canonical answer and whether it is right; both null where the completion states no answer
 */
export function gradeText(question: Question, text: string): { answer: string | null; correct: boolean | null } {
  const kind = answerKind(question);
  const found = extract(text, kind, question.choices);
  if (!found) return { answer: null, correct: null };
  return { answer: found.answer, correct: grade(question.answer, found.answer, kind).equal };
}
