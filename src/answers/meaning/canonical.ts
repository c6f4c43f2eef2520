/**
 * One text per answer, so that a vote can count equal answers by equal texts. Equal texts are always equal answers; two
 * answers that are equal only by the last steps of `grade` (sampling, rounding) may keep different texts. Pure.
 */

import { asRational } from "../algebra/polynomial.js";
import type { Rational } from "../algebra/rational.js";
import { parseChoice } from "../plain/choice.js";
import type { AnswerKind } from "../plain/kind.js";
import { formatNumber, limits, parseQuantity } from "../plain/number.js";
import { normalizeText } from "../plain/undress.js";
import { print } from "./print.js";
import { tryRead } from "./value.js";

/** Longer texts have no canonical form. */
const maxText = 1_000_000;
/** One form may contain another, as "{{x}}" does; real answers need one round. */
const maxRounds = 4;

/**
 * Canonical form of a bare answer: see `formatNumber` for numbers, an upper-case letter for choices, for "math" a number
 * (with its unit, if it has one), else the answer's value written as LaTeX, else its text, normalised.
 * @returns null where the text is no answer of this kind
 */
export function canonical(answer: string, kind: AnswerKind, choices: readonly string[] | null = null): string | null {
  if (answer.length > maxText) return null;
  if (kind === "choice") return parseChoice(answer, choices);
  if (kind === "number") {
    const value = parseQuantity(answer)?.value ?? calculated(answer);
    return value && formatNumber(value);
  }
  let form = latex(answer);
  for (let round = 0; round < maxRounds && form !== null; round++) {
    const next = latex(form);
    if (next === form) return form;
    form = next;
  }
  return form;
}

function latex(answer: string): string | null {
  const value = answer.length > limits.characters ? null : tryRead(answer);
  return (value && print(value)) ?? (normalizeText(answer) || null);
}

/** The rational number that an expression such as `(9+1)` or `\sqrt{64}` is; null for anything else. */
function calculated(text: string): Rational | null {
  if (text.length > limits.characters) return null;
  const value = tryRead(text);
  const bare = value?.type === "named" ? value.value : value;
  return bare?.type === "scalar" ? asRational(bare.scalar.value) : null;
}
