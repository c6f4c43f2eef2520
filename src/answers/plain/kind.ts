/** The kinds of answers: which kind the answers to a question are, or a bare reference answer is. Pure. */
import type { Question } from "../../types.js";
import { labelled } from "./choice.js";
import { limits, parseQuantity } from "./number.js";
import { normalizeText } from "./undress.js";

/** How answers are read and compared. */
export type AnswerKind = "number" | "choice" | "math";

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
  if (
    /^\(?[A-E]\)?$|^\([A-E]\)\s?\p{L}|^[A-E][).:]\s?\p{L}{2}/u.test(text) ||
    /^[A-E]$/.test(labelled(gold)?.letter ?? "")
  )
    return "choice";
  const quantity = /[/=:]|frac/.test(gold) ? null : parseQuantity(gold);
  return quantity && quantity.unit === null ? "number" : "math";
}
