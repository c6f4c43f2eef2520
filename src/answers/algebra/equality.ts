/**
 * Whether two scalars are equal. Steps, in this order: the canonical forms are the same; their difference vanishes once
 * it is brought over one denominator; it is a combination of quantities known to be independent, so it cannot vanish; a
 * decimal is the other number rounded; the values at fixed points agree or differ. Pure.
 */
import { evaluate, sample } from "./numeric.js";
import {
  type Atom,
  asRational,
  type Budget,
  fromAtom,
  isZero,
  multiply,
  multiplyOut,
  type Polynomial,
  subtract,
} from "./polynomial.js";
import { isCertainPrime } from "./primes.js";
import {
  add,
  bitLength,
  compare,
  floor,
  gcd,
  isInteger,
  subtract as minus,
  negate,
  Overrun,
  type Rational,
  rational,
  toNumber,
} from "./rational.js";
import { turns } from "./trig.js";

/** Which step decided. */
export type Step = "canonical form" | "rounding" | "sampling" | "undecided";

/** A value and, where it was written as a decimal, how many places it has. */
export interface Scalar {
  value: Polynomial;
  places: number | null;
}

/** A value that was not written as a decimal. */
export const scalarOf = (value: Polynomial): Scalar => ({ value, places: null });

export interface Decision {
  equal: boolean;
  step: Step;
}

const decided = (equal: boolean, step: Step): Decision => ({ equal, step });

/** Compares two scalars; symmetric. */
export function sameScalar(a: Scalar, b: Scalar, budget: Budget): Decision {
  if (a.value.key === b.value.key) return decided(true, "canonical form");
  if (isRounded(a, b) || isRounded(b, a)) return decided(true, "rounding");
  const exact = sameExactly(a.value, b.value, budget);
  if (exact !== null) return decided(exact, "canonical form");
  return sampled(a.value, b.value);
}

/** Compares two canonical forms, without rounding. */
export function samePolynomial(a: Polynomial, b: Polynomial, budget: Budget): Decision {
  return sameScalar(scalarOf(a), scalarOf(b), budget);
}

/** True or false where algebra decides, null where it does not. */
function sameExactly(a: Polynomial, b: Polynomial, budget: Budget): boolean | null {
  try {
    const difference = multiplyOut(cleared(subtract(a, b), budget), budget);
    if (isZero(difference)) return true;
    return independent(difference) ? false : null;
  } catch (error) {
    if (error instanceof Overrun) return null;
    throw error;
  }
}

/** Multiplies by the denominators, so that sums there are expanded too. */
export function cleared(p: Polynomial, budget: Budget): Polynomial {
  let result = p;
  for (let round = 0; round < 8 && !isZero(result); round++) {
    const least = new Map<string, { atom: Atom; exponent: Rational }>();
    for (const t of result.terms) {
      for (const { atom, exponent } of t.factors) {
        if (exponent.numerator >= 0n || (atom.kind !== "sum" && atom.kind !== "call")) continue;
        const before = least.get(atom.key);
        if (!before || compare(exponent, before.exponent) < 0) least.set(atom.key, { atom, exponent });
      }
    }
    if (least.size === 0) return result;
    for (const { atom, exponent } of least.values()) {
      const whole = -floor(exponent);
      // A large power cannot be expanded; the common factor then remains, and at worst an equality is missed.
      if (whole > 64n) return result;
      result = multiply(result, fromAtom(atom, rational(whole)), budget);
    }
  }
  return result;
}

/**
 * Whether distinct products of these atoms are certainly linearly independent over the rational numbers: variables, π, e,
 * i, roots of primes, logarithms of primes, functions without a meaning, sine and cosine of one angle (canonical forms
 * contain no sin²). Then a difference with terms left is not zero.
 */
function independent(p: Polynomial): boolean {
  const composite: bigint[] = [];
  const angles = new Set<string>();
  for (const t of p.terms) {
    for (const { atom, exponent } of t.factors) {
      switch (atom.kind) {
        case "variable":
          if (atom.name!.startsWith("digits ")) return false;
          break;
        case "constant":
        case "imaginary":
          break;
        case "root":
          if (!isInteger(exponent) && isCertainPrime(atom.radicand!)) break;
          // Too large to be multiplied out, as in 10^5000: only the same product is the same number.
          if (isInteger(exponent)) break;
          if (!composite.includes(atom.radicand!)) composite.push(atom.radicand!);
          break;
        case "power":
          if (
            atom.base!.kind === "sum" ||
            atom.exponent!.factors.some(({ atom: inner }) => inner.kind === "sum" || inner.kind === "call")
          )
            return false;
          break;
        case "call":
          if (atom.name === "ln" && asRational(atom.parts![0]!) !== null) break;
          if ((atom.name === "sin" || atom.name === "cos") && turns(atom.parts![0]!) === null) {
            angles.add(atom.parts![0]!.key);
            if (angles.size > 1 || exponent.numerator < 0n) return false;
          } else if (knownFunctions.test(atom.name!)) return false;
          break;
        case "sum":
          return false;
      }
    }
  }
  // Large radicands may share a prime that was not found.
  return composite.every((a, i) => composite.every((b, j) => i <= j || gcd(a, b) === 1n));
}

const knownFunctions = /^(?:sin|cos|ln|abs|arcsin|arccos|arctan|sinh|cosh|tanh|floor|ceil|factorial|binom)$/;

/** The least number of places and digits with which a decimal may represent a fraction, or any other number. */
const enoughForFraction = 4;
const enoughForAny = 6;

/**
 * Whether a is a decimal equal to b rounded or truncated at a's last place. A terminating decimal is exact, so b must
 * not be one; and short ones are estimates, not answers: 0.33 is not 1/3, nor 703.717 224π.
 */
function isRounded(a: Scalar, b: Scalar): boolean {
  const decimal = a.places === null || b.places !== null ? null : asRational(a.value);
  if (!decimal) return false;
  const places = a.places!;
  const digits = (decimal.numerator < 0n ? -decimal.numerator : decimal.numerator).toString().length;
  const least = asRational(b.value) ? enoughForFraction : enoughForAny;
  if (places < least || digits < least || places > 300) return false;
  const unit = rational(1n, 10n ** BigInt(places));
  const exact = asRational(b.value);
  if (exact) {
    if (terminates(exact)) return false;
    return isNear(decimal, exact, unit);
  }
  const value = evaluate(b.value, null);
  if (value === null || value[1] !== 0 || Math.abs(value[0]) > 1e12) return false;
  const error = toNumber(decimal) - value[0];
  const noise = 4e-16 * Math.abs(value[0]);
  return Math.abs(error) <= toNumber(unit) / 2 + noise;
}

/** |decimal − exact| ≤ half a unit, or truncated towards zero. */
function isNear(decimal: Rational, exact: Rational, unit: Rational): boolean {
  const error = minus(decimal, exact);
  const size = error.numerator < 0n ? negate(error) : error;
  if (compare(add(size, size), unit) <= 0) return true;
  return compare(size, unit) < 0 && error.numerator < 0n === exact.numerator > 0n;
}

function terminates({ denominator }: Rational): boolean {
  let rest = denominator;
  while (rest % 2n === 0n) rest /= 2n;
  while (rest % 5n === 0n) rest /= 5n;
  return rest === 1n;
}

/** Coefficients beyond this are too fine for floating point to confirm anything. */
const maxHeightBits = 30;

function sampled(a: Polynomial, b: Polynomial): Decision {
  const agreed = sample(a, b, hasVariables(a) || hasVariables(b));
  if (agreed === 0) return decided(false, "sampling");
  if (agreed === null || height(a) > maxHeightBits || height(b) > maxHeightBits) return decided(false, "undecided");
  return decided(true, "sampling");
}

const atomsOf = (p: Polynomial): Atom[] =>
  p.terms.flatMap((t) => t.factors.flatMap(({ atom }) => [atom, ...inside(atom)]));
const inside = (atom: Atom): Atom[] => [
  ...(atom.parts ?? []).flatMap(atomsOf),
  ...(atom.base ? [atom.base, ...inside(atom.base)] : []),
  ...(atom.exponent ? atom.exponent.factors.flatMap((f) => [f.atom, ...inside(f.atom)]) : []),
];

/** Whether the value depends on anything that is not known. */
export const hasVariables = (p: Polynomial): boolean =>
  atomsOf(p).some(({ kind, name }) => kind === "variable" && name !== "-1");

/** The bits of the largest whole number in a canonical form. */
function height(p: Polynomial): number {
  let most = 0;
  for (const { coefficient, factors } of p.terms) {
    most = Math.max(most, bitLength(coefficient.numerator), bitLength(coefficient.denominator));
    for (const { atom } of factors) {
      if (atom.radicand) most = Math.max(most, bitLength(atom.radicand));
      for (const part of atom.parts ?? []) most = Math.max(most, height(part));
    }
  }
  return most;
}
