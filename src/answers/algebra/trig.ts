/**
 * Exact values of sine and cosine at rational multiples of π, and the other trigonometric functions as quotients of the
 * two. Scope: multiples of π/12 and π/10; other angles are only brought into the first quadrant. Pure.
 */
import {
  add,
  type Budget,
  call,
  constant,
  fromAtom,
  multiply,
  negate,
  type Polynomial,
  pi,
  scale,
  unit,
  zeroPolynomial,
} from "./polynomial.js";
import { raise, raiseRational } from "./powers.js";
import {
  compare,
  floor,
  format,
  negate as negateRational,
  one,
  type Rational,
  rational,
  sign,
  subtract,
} from "./rational.js";

const root = (n: number): Polynomial => raiseRational(rational(BigInt(n)), rational(1n, 2n));
const over = (p: Polynomial, n: number): Polynomial => scale(p, rational(1n, BigInt(n)));

/** Sine at multiples of π in the first quadrant. Angle as a fraction of π, then the value. */
const sines: readonly (readonly [string, () => Polynomial])[] = [
  ["0", () => zeroPolynomial],
  ["1/12", () => over(add(root(6), negate(root(2))), 4)],
  ["1/10", () => over(add(root(5), constant(rational(-1n))), 4)],
  ["1/6", () => constant(rational(1n, 2n))],
  ["1/4", () => over(root(2), 2)],
  ["3/10", () => over(add(root(5), unit), 4)],
  ["1/3", () => over(root(3), 2)],
  ["5/12", () => over(add(root(6), root(2)), 4)],
  ["1/2", () => unit],
];
const sineTable = new Map(sines);

/** The fraction of π an angle is, or null. */
export function turns(angle: Polynomial): Rational | null {
  if (angle.terms.length === 0) return rational(0n);
  const [only, second] = angle.terms;
  if (second || only!.factors.length !== 1) return null;
  const { atom, exponent } = only!.factors[0]!;
  return atom === pi && exponent.numerator === 1n && exponent.denominator === 1n ? only!.coefficient : null;
}

const half = rational(1n, 2n);

/** sin(πr), exact where the table has it. */
function sineOfTurns(r: Rational): Polynomial {
  // Into [0, 2), then by symmetry into [0, 1/2].
  const period = subtract(r, rational(2n * floor(rational(r.numerator, 2n * r.denominator))));
  const [lower, flip] = compare(period, one) >= 0 ? [subtract(period, one), true] : [period, false];
  const angle = compare(lower, half) > 0 ? subtract(one, lower) : lower;
  const exact = sineTable.get(format(angle));
  // Everything else is a cosine, so that sin(2π/7) and cos(3π/14) are one atom.
  const value = exact ? exact() : fromAtom(call("cos", [scale(fromAtom(pi), subtract(half, angle))]));
  return flip ? negate(value) : value;
}

/** Sine or cosine of an angle in radians. */
function sineOrCosine(name: "sin" | "cos", angle: Polynomial): Polynomial {
  const r = turns(angle);
  if (r) return sineOfTurns(name === "sin" ? r : subtract(half, r));
  // Sine is odd and cosine even: one of ±angle represents both.
  const flipped = sign(angle.terms[0]!.coefficient) < 0;
  const value = fromAtom(call(name, [flipped ? negate(angle) : angle]));
  return flipped && name === "sin" ? negate(value) : value;
}

/** sin, cos, tan, sec, csc, cot of an angle in radians. @throws Unreadable where it is undefined, as tan(π/2) is */
export function trigonometric(name: string, angle: Polynomial, budget: Budget): Polynomial {
  const inverse = (p: Polynomial): Polynomial => raise(p, negateRational(one), budget);
  const [sine, cosine] = [() => sineOrCosine("sin", angle), () => sineOrCosine("cos", angle)];
  switch (name) {
    case "sin":
      return sine();
    case "cos":
      return cosine();
    case "tan":
      return multiply(sine(), inverse(cosine()), budget);
    case "cot":
      return multiply(cosine(), inverse(sine()), budget);
    case "sec":
      return inverse(cosine());
    default:
      return inverse(sine());
  }
}

/** cos(πr) + i sin(πr) without its i: the two parts of e^{iπr}. */
export const circle = (r: Rational): [cosine: Polynomial, sine: Polynomial] => [
  sineOfTurns(subtract(half, r)),
  sineOfTurns(r),
];
