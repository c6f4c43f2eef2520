/**
 * One text per answer, so that a vote can count equal answers by equal texts. Scope: numbers, letters and plain LaTeX; two
 * formulas that are equal only by algebra may keep different texts, which `grade` then compares. Pure.
 */
import { parseChoice } from "./choice.js";
import type { AnswerKind } from "./extract.js";
import { formatNumber, limits, parseQuantity } from "./number.js";
import { asRational } from "./polynomial.js";
import type { Rational } from "./rational.js";
import { tryRead } from "./readable.js";
import { normalizeText } from "./undress.js";

/** Longer texts have no canonical form. */
const maxText = 1_000_000;

/**
 * Canonical form of a bare answer: see `formatNumber` for numbers, an upper-case letter for choices, for "math" a number
 * (with its unit, if it has one) or normalised LaTeX.
 * @returns null where the text is no answer of this kind
 */
export function canonical(answer: string, kind: AnswerKind, choices: readonly string[] | null = null): string | null {
  if (answer.length > maxText) return null;
  if (kind === "choice") return parseChoice(answer, choices);
  const quantity = parseQuantity(answer) ?? (kind === "math" ? parseQuantity(normalizeText(answer)) : null);
  if (!quantity && kind === "number") {
    const value = calculated(answer);
    return value && formatNumber(value);
  }
  if (!quantity) return normalizeText(answer) || null;
  const number = formatNumber(quantity.value);
  return kind === "number" || quantity.unit === null ? number : `${number} ${quantity.unit}`;
}

/** The rational number that an expression such as `(9+1)` or `\sqrt{64}` is; null for anything else. */
function calculated(text: string): Rational | null {
  if (text.length > limits.characters) return null;
  const value = tryRead(text);
  const bare = value?.type === "named" ? value.value : value;
  return bare?.type === "scalar" ? asRational(bare.scalar.value) : null;
}
