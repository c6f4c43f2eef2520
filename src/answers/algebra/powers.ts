/**
 * Canonical forms to rational powers, as school mathematics means them: odd roots of negative numbers are real, √x² = |x|.
 * Radicands are factored into primes, so that √12 = 2√3 and √2·√3 = √6. Pure; work is bounded by the budget.
 */
import {
  type Atom,
  type Budget,
  byKey,
  call,
  constant,
  expand,
  type Factor,
  fits,
  fromAtom,
  imaginary,
  isZero,
  maxEagerPower,
  merge,
  multiply,
  negate,
  type Polynomial,
  polynomial,
  reduce,
  rootAtom,
  scale,
  sumAtom,
  type Term,
  term,
  unit,
} from "./polynomial.js";
import { primeFactors } from "./primes.js";
import {
  add as addRational,
  floor,
  gcd,
  isInteger,
  multiply as multiplyRational,
  negate as negateRational,
  one,
  power as powerRational,
  type Rational,
  rational,
  sign,
  Unreadable,
} from "./rational.js";

/** Whether an atom is known to be a positive real number. */
const isPositive = ({ kind, name, base }: Atom): boolean =>
  kind === "root" ||
  (kind === "constant" && name !== "infinity") ||
  (kind === "call" && name === "abs") ||
  (kind === "power" && isPositive(base!));

/**
 * p to a rational power, as school mathematics means it: odd roots of negative numbers are real, √x² = |x|.
 * @throws Unreadable for 0 to a negative power and for even roots of −1 beyond the square root
 */
export function raise(p: Polynomial, exponent: Rational, budget: Budget): Polynomial {
  if (exponent.numerator === 0n) {
    if (isZero(p)) throw new Unreadable("0 to the power of 0");
    return unit;
  }
  if (isZero(p)) {
    if (exponent.numerator < 0n) throw new Unreadable("division by zero");
    return p;
  }
  if (p.terms.length === 1) return raiseTerm(p.terms[0]!, exponent, budget);
  if (isInteger(exponent) && exponent.numerator > 0n) {
    const expanded = expand(p, exponent.numerator, budget, maxEagerPower);
    if (expanded) return expanded;
  }
  const { content, primitive, negative } = primitivePart(p);
  const flip = negative && isInteger(exponent);
  const base = negative && !flip ? negate(primitive) : primitive;
  const factor = raiseRational(content, exponent);
  const atom = fromReduced(sumAtom(base), exponent, budget);
  const product = multiply(factor, atom, budget);
  return flip && exponent.numerator % 2n !== 0n ? negate(product) : product;
}

const fromReduced = (atom: Atom, exponent: Rational, budget: Budget): Polynomial =>
  // A negative power of a sum stays whole; for a positive one the integer part is expanded.
  exponent.numerator > 0n ? reduce(one, [{ atom, exponent }], budget) : fromAtom(atom, exponent);

/** p = ± content · primitive: whole coefficients without a common divisor, the first of them positive. */
export function primitivePart(p: Polynomial): { content: Rational; primitive: Polynomial; negative: boolean } {
  let [n, d] = [0n, 1n];
  for (const { coefficient } of p.terms) {
    n = gcd(n, coefficient.numerator);
    d = (d / gcd(d, coefficient.denominator)) * coefficient.denominator;
  }
  const content = rational(n, d);
  const negative = sign(p.terms[0]!.coefficient) < 0;
  return { content, negative, primitive: scale(p, rational(negative ? -d : d, n)) };
}

function raiseTerm(t: Term, exponent: Rational, budget: Budget): Polynomial {
  const whole = isInteger(exponent);
  const odd = exponent.denominator % 2n === 1n;
  const isConstant = t.factors.every(({ atom }) => isPositive(atom));
  if (!whole && !isConstant && sign(t.coefficient) < 0 && !odd) {
    // √(−x): the sign stays inside, since x may be negative.
    const content = t.coefficient;
    const inner = polynomial([term(negateRational(one), t.factors)]);
    return multiply(raiseRational(negateRational(content), exponent), fromAtom(sumAtom(inner), exponent), budget);
  }
  let result = raiseRational(t.coefficient, exponent);
  const factors: Factor[] = [];
  for (const factor of t.factors) {
    const { atom } = factor;
    if (atom.kind === "imaginary" && !whole) {
      factors.push({ atom: sumAtom(fromAtom(atom)), exponent: multiplyRational(factor.exponent, exponent) });
      continue;
    }
    const product = multiplyRational(factor.exponent, exponent);
    // An even power under an even root: √(x²) = |x|.
    const loses = !odd && !isPositive(atom) && isInteger(factor.exponent) && factor.exponent.numerator % 2n === 0n;
    factors.push({ atom: loses ? call("abs", [fromAtom(atom)]) : atom, exponent: product });
  }
  for (const factor of factors) result = multiply(result, reduce(one, [factor], budget), budget);
  return result;
}

/** A rational number to a rational power: prime factors with exponents in (0, 1) remain as roots. */
export function raiseRational(value: Rational, exponent: Rational): Polynomial {
  if (value.numerator === 1n && value.denominator === 1n) return unit;
  if (isInteger(exponent) && fits(value.numerator, exponent.numerator) && fits(value.denominator, exponent.numerator)) {
    return constant(powerRational(value, exponent.numerator));
  }
  let result: Term = term(one, []);
  if (value.numerator < 0n) {
    if (exponent.denominator % 2n === 1n) {
      if (exponent.numerator % 2n !== 0n) result = term(rational(-1n), []);
    } else if (exponent.denominator === 2n) {
      const turn = ((exponent.numerator % 4n) + 4n) % 4n;
      result = term(rational(turn === 1n ? 1n : -1n), [{ atom: imaginary, exponent: one }]);
    } else throw new Unreadable("an even root of a negative number");
  }
  const factors: Factor[] = [];
  let coefficient = result.coefficient;
  const place = (base: bigint, times: bigint) => {
    const full = multiplyRational(rational(times), exponent);
    const whole = floor(full);
    if (fits(base, whole)) {
      coefficient = multiplyRational(coefficient, powerRational(rational(base), whole));
      const rest = addRational(full, rational(-whole));
      if (rest.numerator !== 0n) factors.push({ atom: rootAtom(base), exponent: rest });
    } else factors.push({ atom: rootAtom(base), exponent: full });
  };
  for (const [prime, times] of primeFactors(value.numerator < 0n ? -value.numerator : value.numerator))
    place(prime, times);
  for (const [prime, times] of primeFactors(value.denominator)) place(prime, -times);
  factors.sort((a, b) => byKey(a.atom, b.atom));
  return polynomial([term(coefficient, merge(result.factors, factors))]);
}
