/**
 * Compares two bare answers and says which step decided. Scope: the steps before and after the mathematics: same text,
 * numbers, letters, and the verdict when an answer cannot be read. Pure and deterministic: work is counted, not timed,
 * so that a verdict does not depend on the machine.
 */

import { Budget } from "./algebra/polynomial.js";
import { canonical } from "./meaning/canonical.js";
import { type CompareStep, type Comparison, compareValues } from "./meaning/compare.js";
import { attempt, plainWords, tryRead } from "./meaning/value.js";
import type { AnswerKind } from "./plain/kind.js";
import { normalizeText } from "./plain/undress.js";

/** What decided: the same text, a number, a letter, or a step of the comparison of mathematics. */
export type GradeStep = CompareStep | "number" | "choice" | "unreadable";

/** The result of comparing two bare answers. "unparsable" is never equal. */
export interface Verdict {
  equal: boolean;
  verdict: "equal" | "different" | "unparsable";
  /** One line for a person; begins with the step. */
  reason: string;
  step: GradeStep;
}

/** Comparing may multiply out what reading left as powers. */
const compareBudget = 16_000;
/** Longer texts are compared only letter by letter. */
const maxText = 4_000;

const shown = (answer: string): string => JSON.stringify(answer.length > 60 ? `${answer.slice(0, 60)}…` : answer);

const equal = (step: GradeStep, why: string): Verdict => ({
  equal: true,
  verdict: "equal",
  reason: `${step}: ${why}`,
  step,
});
const different = (step: GradeStep, why: string): Verdict => ({
  equal: false,
  verdict: "different",
  reason: `${step}: ${why}`,
  step,
});
const expected: Record<AnswerKind, string> = { number: "a number", choice: "one option", math: "an answer" };
const unparsable = (side: string, answer: string, kind: AnswerKind): Verdict => {
  const reason = `unreadable: the ${side} ${shown(answer)} is not ${expected[kind]}`;
  return { equal: false, verdict: "unparsable", reason, step: "unreadable" };
};

/**
 * Compares two bare answers. Symmetric in `equal` and `verdict`, and reflexive for every answer that is not blank.
 *
 * Numbers: equal as exact fractions, so 0.5 = 1/2 and 0.333 ≠ 1/3. A per cent sign and units are dropped, since the
 * number benchmarks ask for bare numbers: 25% = 25 ≠ 1/4.
 * "math": equal as mathematics, see meaning/compare.ts; a unit may be left out, but two units must agree.
 */
export function grade(gold: string, pred: string, kind: AnswerKind): Verdict {
  const [a, b] = [gold.trim(), pred.trim()];
  if (a === "") return unparsable("reference", gold, kind);
  if (b === "") return unparsable("prediction", pred, kind);
  if (kind === "math") return a === b ? equal("text", "the same text") : gradeMath(a, b);
  const [x, y] = [canonical(gold, kind), canonical(pred, kind)];
  if (x !== null && y !== null) {
    return x === y ? equal(kind, `both are ${shown(x)}`) : different(kind, `${shown(x)} and ${shown(y)} differ`);
  }
  // Not of this kind, but the same text, so the same answer.
  if (a === b || sameText(a, b)) return equal("text", "the same text");
  return x === null ? unparsable("reference", gold, kind) : unparsable("prediction", pred, kind);
}

function sameText(a: string, b: string): boolean {
  if (a.length > maxText || b.length > maxText) return false;
  const [x, y] = [normalizeText(a), normalizeText(b)];
  return x !== "" && x === y;
}

const sameWords = (a: string, b: string): boolean =>
  a.length + b.length < maxText && plainWords(normalizeText(a)) === plainWords(normalizeText(b));

/** Digits alone, however many: leading zeros and zeros behind the point do not count. */
function plainDigits(text: string): string | null {
  if (!/^[-+]?\d+(?:\.\d*)?$/.test(text)) return null;
  let start = text[0] === "-" || text[0] === "+" ? 1 : 0;
  let end = text.length;
  if (text.includes(".")) {
    while (text[end - 1] === "0") end--;
    if (text[end - 1] === ".") end--;
  }
  while (start < end - 1 && text[start] === "0" && text[start + 1] !== ".") start++;
  const digits = text.slice(start, end);
  return text[0] === "-" && digits !== "0" ? `-${digits}` : digits;
}

/** `1,22` against `1.22`: a comma can be a list or a decimal; the other side tells. Thousands keep their meaning. */
const isDecimalComma = (a: string, b: string): boolean =>
  /^-?\d+,(?:\d{2}|\d{4,})$/.test(a) && a.replace(",", ".") === b;

function gradeMath(a: string, b: string): Verdict {
  if (isDecimalComma(a, b) || isDecimalComma(b, a)) return equal("number", "the same with a decimal comma");
  const [x, y] = [plainDigits(a), plainDigits(b)];
  if (x !== null && y !== null) {
    return x === y
      ? equal("number", `both are ${shown(x)}`)
      : different("number", `${shown(x)} and ${shown(y)} differ`);
  }
  const [left, right] = [a, b].map((text) => tryRead(text));
  if (left && right) {
    // In a fixed order, so that the verdict cannot depend on which side is the reference.
    const [first, second] = a < b ? [left, right] : [right, left];
    const result = attempt((): Comparison => compareValues(first, second, new Budget(compareBudget)));
    if (result?.equal) return equal(result.step, explained[result.step]);
    // `\text{No}` is a word, and "no" could be a product.
    if ((left.type === "text") !== (right.type === "text") && sameWords(a, b)) return equal("text", "the same words");
    if (result) return different(result.step, result.note);
    return sameText(a, b) ? equal("text", "the same text") : different("undecided", "too much work to compare");
  }
  if (sameText(a, b)) return equal("text", "the same text");
  return left ? unparsable("prediction", b, "math") : unparsable("reference", a, "math");
}

const explained: Record<CompareStep, string> = {
  "canonical form": "the same canonical form",
  rounding: "the decimal is the number, rounded",
  sampling: "the same values at fixed points",
  structure: "the same parts",
  unit: "the same unit",
  text: "the same words",
  undecided: "not decided",
};
