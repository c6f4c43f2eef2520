/**
 * Reading and grading answers: numbers (GSM8K, GSM-Symbolic, arithmetic), letters (CommonsenseQA) and LaTeX (MATH).
 * Scope: numbers are compared exactly; LaTeX that is not a number is compared as normalised text, without algebra, so
 * `(1,2)` equals `\left(1, 2\right)` but `a+b` differs from `b+a`. Pure and deterministic; linear in the input's length.
 */
import type { Question } from "../types.js";
import { type AnswerKind, extract } from "./extract.js";
import { grade } from "./grade.js";
import { limits, parseQuantity } from "./number.js";
import { normalizeText } from "./undress.js";

export { lastBox } from "./boxes.js";
export { canonical } from "./canonical.js";
export { type AnswerKind, type Extraction, extract, find, type Rule } from "./extract.js";
export { type GradeStep, grade, type Verdict } from "./grade.js";
export { formatNumber, limits, parseQuantity, type Quantity } from "./number.js";
export type { Rational } from "./rational.js";

/** How a question's answers are read: by letter where it has options, as LaTeX for MATH, else as a number if it is one. */
export function answerKind(question: Question): AnswerKind {
  if (question.choices !== null) return "choice";
  return question.benchmark !== "math" && parseQuantity(question.answer) ? "number" : "math";
}

/**
 * The kind of a bare reference answer of an unknown benchmark: one letter A–E, with or without the option's words, else a
 * plain number without a unit, else LaTeX.
 */
export function inferKind(gold: string): AnswerKind {
  if (gold.length > limits.characters) return "math";
  const text = normalizeText(gold);
  if (/^\(?[A-E]\)?$|^\([A-E]\)\s?\p{L}|^[A-E][).:]\s?\p{L}{2}|^[B-E] \p{Lu}/u.test(text)) return "choice";
  const quantity = /[/=:]|frac/.test(gold) ? null : parseQuantity(gold);
  return quantity && quantity.unit === null ? "number" : "math";
}

/**
 * Reads the answer out of a completion and grades it against the question's.
 * @returns the canonical answer and whether it is right; both null where the completion states no answer
 */
export function gradeText(question: Question, text: string): { answer: string | null; correct: boolean | null } {
  const kind = answerKind(question);
  const found = extract(text, kind, question.choices);
  if (!found) return { answer: null, correct: null };
  return {
    answer: found.answer,
    correct: grade(question.answer, kind === "math" ? found.text : found.answer, kind).equal,
  };
}
