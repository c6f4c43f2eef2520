/**
 * Exact fractions of big integers. Scope: the arithmetic that grading needs; results beyond {@link maxBits} bits are
 * refused with {@link Overrun} rather than computed, so that no answer can cost more than a bounded amount of work. Pure.
 */

/** An exact fraction in lowest terms, `denominator` ≥ 1. */
export interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** A number, a tree or a polynomial would grow beyond its bounds. Thrown and caught inside `answers/` only. */
export class Overrun extends Error {
  override name = "Overrun";
}

/** The text has no reading as mathematics, or its value is undefined (1/0). Thrown and caught inside `answers/` only. */
export class Unreadable extends Error {
  override name = "Unreadable";
}

/** Numerators and denominators keep below 2^maxBits, about 1,200 decimal digits. */
const maxBits = 4_096;
const bound = 1n << BigInt(maxBits);

const magnitude = (n: bigint): bigint => (n < 0n ? -n : n);

/** Greatest common divisor, ≥ 0; gcd(0, 0) = 0. */
export function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [magnitude(a), magnitude(b)];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

/** n/d in lowest terms. @throws Unreadable if d is 0; Overrun beyond {@link maxBits} */
export function rational(n: bigint, d = 1n): Rational {
  if (d === 1n) return checked(n, 1n);
  if (d === 0n) throw new Unreadable("division by zero");
  const g = gcd(n, d);
  return d < 0n ? checked(-n / g, -d / g) : checked(n / g, d / g);
}

function checked(numerator: bigint, denominator: bigint): Rational {
  if (magnitude(numerator) >= bound || denominator >= bound) {
    throw new Overrun(`a number of more than ${maxBits} bits`);
  }
  return { numerator, denominator };
}

export const zero: Rational = { numerator: 0n, denominator: 1n };
export const one: Rational = { numerator: 1n, denominator: 1n };
export const integer = (n: number | bigint): Rational => rational(BigInt(n));

export const isInteger = (r: Rational): boolean => r.denominator === 1n;
export const sign = (r: Rational): number => (r.numerator > 0n ? 1 : r.numerator < 0n ? -1 : 0);
export const same = (a: Rational, b: Rational): boolean =>
  a.numerator === b.numerator && a.denominator === b.denominator;

export function add(a: Rational, b: Rational): Rational {
  if (a.denominator === 1n && b.denominator === 1n) return checked(a.numerator + b.numerator, 1n);
  return rational(a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator);
}

export const negate = (a: Rational): Rational => ({ numerator: -a.numerator, denominator: a.denominator });
export const subtract = (a: Rational, b: Rational): Rational => add(a, negate(b));

export function multiply(a: Rational, b: Rational): Rational {
  if (a.denominator === 1n && b.denominator === 1n) return checked(a.numerator * b.numerator, 1n);
  return rational(a.numerator * b.numerator, a.denominator * b.denominator);
}

/** @throws Unreadable if b is 0 */
export const divide = (a: Rational, b: Rational): Rational =>
  rational(a.numerator * b.denominator, a.denominator * b.numerator);

/** a to an integer power. @throws Unreadable for 0 to a negative power; Overrun before anything large is computed */
export function power(a: Rational, exponent: bigint): Rational {
  if (exponent === 0n) return one;
  if (isInteger(a) && (a.numerator === 1n || a.numerator === 0n) && exponent > 0n) return a;
  const base = exponent < 0n ? rational(a.denominator, a.numerator) : a;
  const bits = BigInt(Math.max(bitLength(base.numerator), bitLength(base.denominator)));
  const times = magnitude(exponent);
  // |base| = 1 is bounded, whatever the exponent.
  if (magnitude(base.numerator) === 1n && base.denominator === 1n) return times % 2n === 0n ? one : base;
  if ((bits - 1n) * times > BigInt(maxBits)) throw new Overrun(`a number of more than ${maxBits} bits`);
  return checked(base.numerator ** times, base.denominator ** times);
}

/** Bits of |n|; 0 for 0. */
export const bitLength = (n: bigint): number => (n === 0n ? 0 : magnitude(n).toString(2).length);

/** Sign of a − b: −1, 0 or 1. */
export function compare(a: Rational, b: Rational): number {
  const difference = a.numerator * b.denominator - b.numerator * a.denominator;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** The largest integer ≤ a. */
export function floor(a: Rational): bigint {
  const quotient = a.numerator / a.denominator;
  return a.numerator < 0n && quotient * a.denominator !== a.numerator ? quotient - 1n : quotient;
}

/** The nearest double; correct also where numerator and denominator alone would overflow. */
export function toNumber({ numerator, denominator }: Rational): number {
  if (denominator === 1n) return Number(numerator);
  const direct = Number(numerator) / Number(denominator);
  if (Number.isFinite(direct) && direct !== 0) return direct;
  const shift = BigInt(bitLength(denominator) - bitLength(numerator) + 64);
  const scaled = shift >= 0n ? (numerator << shift) / denominator : numerator / (denominator << -shift);
  return Number(scaled) * 2 ** -Number(shift);
}

/** A short unique text: `3`, `-1/2`. */
export const format = (r: Rational): string =>
  r.denominator === 1n ? r.numerator.toString() : `${r.numerator}/${r.denominator}`;

/** The integer r with r^n = a, for a ≥ 0 and n ≥ 1, or null if there is none. Newton's iteration from above. */
export function exactRoot(a: bigint, n: number): bigint | null {
  if (a < 2n || n === 1) return a;
  const bits = bitLength(a);
  if (n >= bits) return null;
  const degree = BigInt(n);
  let x = 1n << BigInt(Math.ceil(bits / n));
  for (;;) {
    const next = ((degree - 1n) * x + a / x ** (degree - 1n)) / degree;
    if (next >= x) break;
    x = next;
  }
  return x ** degree === a ? x : null;
}
