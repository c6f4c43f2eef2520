/**
 * Reading and grading answers: numbers (GSM8K, GSM-Symbolic, arithmetic), letters (CommonsenseQA) and LaTeX (MATH).
 * Scope: numbers are compared exactly; LaTeX that is not a number is compared as normalised text, without algebra, so
 * `(1,2)` equals `\left(1, 2\right)` but `a+b` differs from `b+a`. Pure and deterministic; linear in the input's length.
 */
import type { Question } from "../types.js";
import { type AnswerKind, canonical, extract } from "./extract.js";
import { formatNumber, parseQuantity } from "./number.js";
import { normalizeText } from "./undress.js";

export { type AnswerKind, canonical, type Extraction, extract, lastBox, type Rule } from "./extract.js";
export { formatNumber, limits, parseQuantity, type Quantity, type Rational } from "./number.js";

/** The result of comparing two bare answers. "unparsable" is never equal. */
export interface Verdict {
  equal: boolean;
  verdict: "equal" | "different" | "unparsable";
  /** One line for a person. */
  reason: string;
}

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

const shown = (answer: string): string => JSON.stringify(answer.length > 60 ? `${answer.slice(0, 60)}…` : answer);

/**
 * Compares two bare answers. Symmetric in `equal` and `verdict`, and reflexive for every answer that is not blank.
 *
 * Numbers: equal as exact fractions, so 0.5 = 1/2 and 0.333 ≠ 1/3. A per cent sign and units are dropped, since the
 * number benchmarks ask for bare numbers: 25% = 25 ≠ 1/4. "math": the same, but two different units differ.
 */
export function grade(gold: string, pred: string, kind: AnswerKind): Verdict {
  const same = (how: string): Verdict => ({ equal: true, verdict: "equal", reason: how });
  const different = (how: string): Verdict => ({ equal: false, verdict: "different", reason: how });
  const unparsable = (side: string, answer: string): Verdict => ({
    equal: false,
    verdict: "unparsable",
    reason: `the ${side} ${shown(answer)} is not ${{ number: "a number", choice: "one option", math: "an answer" }[kind]}`,
  });
  if (gold.trim() === "") return unparsable("reference", gold);
  if (pred.trim() === "") return unparsable("prediction", pred);
  if (kind === "math") {
    const [a, b] = [parseQuantity(gold), parseQuantity(pred)];
    if (a && b) {
      const [x, y] = [formatNumber(a.value), formatNumber(b.value)];
      if (x !== y) return different(`${shown(x)} and ${shown(y)} are different numbers`);
      if (a.unit !== null && b.unit !== null && a.unit !== b.unit)
        return different(`units ${a.unit} and ${b.unit} differ`);
      return same(`both are ${shown(x)}`);
    }
  }
  const [x, y] = [canonical(gold, kind), canonical(pred, kind)];
  if (x !== null && y !== null) {
    return x === y ? same(`both are ${shown(x)}`) : different(`${shown(x)} and ${shown(y)} differ`);
  }
  // Not of the kind, yet the same text: the same answer all the same.
  if (gold === pred || (normalizeText(gold) !== "" && normalizeText(gold) === normalizeText(pred))) {
    return same("the same text");
  }
  return x === null ? unparsable("reference", gold) : unparsable("prediction", pred);
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
