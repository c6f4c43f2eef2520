/**
 * Canonical forms of scalars: sums of products of atoms to rational powers, with rational coefficients. Atoms are
 * variables, π, e, i, prime roots, and whatever cannot be taken apart further: sums to powers that are not expanded,
 * values of functions, powers with a variable exponent. Two polynomials are equal if their keys are. Work is counted
 * and capped, so hostile input ends in {@link Overrun}. Pure.
 */
import {
  add as addRational,
  exactRoot,
  floor,
  format,
  gcd,
  isInteger,
  multiply as multiplyRational,
  negate as negateRational,
  Overrun,
  one,
  power as powerRational,
  type Rational,
  rational,
  sign,
  Unreadable,
} from "./rational.js";

/** What a polynomial is made of. Atoms with equal keys are equal. */
export interface Atom {
  readonly key: string;
  readonly kind: "variable" | "constant" | "imaginary" | "root" | "sum" | "call" | "power";
  /** Name of a variable, constant or function. */
  readonly name?: string;
  /** Radicand of a root, ≥ 2: a prime, or beyond the search for prime factors no perfect power. */
  readonly radicand?: bigint;
  /** The sum itself, or the arguments of a function. */
  readonly parts?: readonly Polynomial[];
  /** Base of a power, and the product (with coefficient 1) in its exponent. */
  readonly base?: Atom;
  readonly exponent?: Term;
}

export interface Factor {
  readonly atom: Atom;
  readonly exponent: Rational;
}

export interface Term {
  readonly coefficient: Rational;
  /** By key, without repetition; exponents are never 0. */
  readonly factors: readonly Factor[];
  readonly key: string;
}

/** Terms by key, without repetition; coefficients are never 0. The empty sum is 0. */
export interface Polynomial {
  readonly terms: readonly Term[];
  readonly key: string;
}

/** Counts work. One unit is a product of two small terms, about a microsecond. */
export class Budget {
  constructor(private left = 8_000) {}
  spend(steps: number): void {
    this.left -= steps;
    if (this.left < 0) throw new Overrun("too much work to expand");
  }
  /** Whether so much work would leave half of the budget for what comes after it. */
  affords(steps: number): boolean {
    return 2 * steps < this.left;
  }
}

/** Sums to larger powers stay powers until they have to be compared with something of another form. */
const maxEagerPower = 8n;
const maxLatePower = 200n;
/** Sums that would have more terms stay powers. */
const maxTerms = 600;
/** Primes up to here are found in radicands. */
const maxPrime = 1_000;
/** Integer powers of roots below this many bits are multiplied out. */
const maxPower = 4_000n;

const small = 1n << 64n;
const medium = 1n << 512n;
const weight = ({ numerator: n, denominator: d }: Rational): number => {
  const size = n < 0n ? -n : n;
  if (size < small && d < small) return 1;
  // Fractions are reduced at every step, whole numbers are not.
  if (d === 1n) return size < medium ? 2 : 20;
  return size < medium && d < medium ? 10 : 200;
};

export const zeroPolynomial: Polynomial = { terms: [], key: "0" };
export const isZero = (p: Polynomial): boolean => p.terms.length === 0;

function polynomial(terms: readonly Term[]): Polynomial {
  if (terms.length === 0) return zeroPolynomial;
  let key = "";
  for (const t of terms) key += `${key === "" ? "" : "+"}${format(t.coefficient)}${t.key === "" ? "" : `*${t.key}`}`;
  return { terms, key };
}

const factorKey = (factors: readonly Factor[]): string => {
  let key = "";
  for (const { atom, exponent } of factors) {
    key += `${key === "" ? "" : "*"}${atom.key}${exponent === one || format(exponent) === "1" ? "" : `^${format(exponent)}`}`;
  }
  return key;
};

const term = (coefficient: Rational, factors: readonly Factor[]): Term => ({
  coefficient,
  factors,
  key: factorKey(factors),
});

export const constant = (value: Rational): Polynomial =>
  value.numerator === 0n ? zeroPolynomial : polynomial([{ coefficient: value, factors: [], key: "" }]);

export const unit: Polynomial = constant(one);

/** The rational number a polynomial is, or null. */
export function asRational(p: Polynomial): Rational | null {
  if (p.terms.length === 0) return { numerator: 0n, denominator: 1n };
  return p.terms.length === 1 && p.terms[0]!.factors.length === 0 ? p.terms[0]!.coefficient : null;
}

/** One term; the factors in order and without repetition. */
export const fromTerm = (coefficient: Rational, factors: readonly Factor[]): Polynomial =>
  polynomial([term(coefficient, factors)]);
export const fromAtom = (atom: Atom, exponent: Rational = one): Polynomial =>
  polynomial([term(one, [{ atom, exponent }])]);
export const variable = (name: string): Atom => ({ kind: "variable", name, key: name });
export const pi: Atom = { kind: "constant", name: "pi", key: "π" };
export const euler: Atom = { kind: "constant", name: "e", key: "e" };
export const infinity: Atom = { kind: "constant", name: "infinity", key: "∞" };
export const imaginary: Atom = { kind: "imaginary", key: "i" };
export const call = (name: string, parts: readonly Polynomial[]): Atom => ({
  kind: "call",
  name,
  parts,
  key: `${name}(${parts.map((p) => p.key).join("; ")})`,
});
const sumAtom = (p: Polynomial): Atom => ({ kind: "sum", parts: [p], key: `(${p.key})` });

export function add(a: Polynomial, b: Polynomial): Polynomial {
  if (isZero(a)) return b;
  if (isZero(b)) return a;
  const terms: Term[] = [];
  let [i, j] = [0, 0];
  while (i < a.terms.length || j < b.terms.length) {
    const [s, t] = [a.terms[i], b.terms[j]];
    if (s && t && s.key === t.key) {
      const coefficient = addRational(s.coefficient, t.coefficient);
      if (coefficient.numerator !== 0n) terms.push({ ...s, coefficient });
      i++;
      j++;
    } else if (!t || (s && s.key < t.key)) {
      terms.push(s!);
      i++;
    } else {
      terms.push(t);
      j++;
    }
  }
  return polynomial(terms);
}

/** The sum of many, in one pass. @throws Overrun when the budget is spent */
export function sumOf(parts: readonly Polynomial[], budget: Budget): Polynomial {
  if (parts.length <= 2) return parts.reduce(add, zeroPolynomial);
  const sums = new Map<string, Term>();
  for (const part of parts) for (const t of part.terms) collect(sums, t, budget);
  return collected(sums);
}

function collect(sums: Map<string, Term>, t: Term, budget: Budget): void {
  const before = sums.get(t.key);
  if (!before) {
    budget.spend(weight(t.coefficient) + (t.factors.length >> 1));
    sums.set(t.key, t);
    return;
  }
  const coefficient = addRational(before.coefficient, t.coefficient);
  budget.spend(weight(coefficient) + (t.factors.length >> 1));
  sums.set(t.key, { ...t, coefficient });
}

const collected = (sums: Map<string, Term>): Polynomial =>
  polynomial([...sums.values()].filter((t) => t.coefficient.numerator !== 0n).sort(byKey));

export function scale(p: Polynomial, by: Rational): Polynomial {
  if (by.numerator === 0n) return zeroPolynomial;
  return polynomial(p.terms.map((t) => ({ ...t, coefficient: multiplyRational(t.coefficient, by) })));
}
export const negate = (p: Polynomial): Polynomial => scale(p, negateRational(one));
export const subtract = (a: Polynomial, b: Polynomial): Polynomial => add(a, negate(b));

/** The product. @throws Overrun when the budget is spent */
export function multiply(a: Polynomial, b: Polynomial, budget: Budget): Polynomial {
  if (a === unit) return b;
  if (b === unit) return a;
  const [x, y] = [asRational(a), asRational(b)];
  if (x) return scale(b, x);
  if (y) return scale(a, y);
  const sums = new Map<string, Term>();
  for (const s of a.terms) {
    for (const t of b.terms) {
      const coefficient = multiplyRational(s.coefficient, t.coefficient);
      const factors = merge(s.factors, t.factors);
      if (!factors.some(isReducible)) collect(sums, term(coefficient, factors), budget);
      else for (const part of reduce(coefficient, factors, budget).terms) collect(sums, part, budget);
    }
  }
  return collected(sums);
}

const byKey = (a: { key: string }, b: { key: string }): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

/** Factors of a product: exponents of the same atom add up. */
function merge(a: readonly Factor[], b: readonly Factor[]): Factor[] {
  const merged: Factor[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [s, t] = [a[i], b[j]];
    if (s && t && s.atom.key === t.atom.key) {
      const exponent = addRational(s.exponent, t.exponent);
      if (exponent.numerator !== 0n) merged.push({ atom: s.atom, exponent });
      i++;
      j++;
    } else if (!t || (s && s.atom.key < t.atom.key)) {
      merged.push(s!);
      i++;
    } else {
      merged.push(t);
      j++;
    }
  }
  return merged;
}

/** Whether {@link reduce} would change something. */
function isReducible({ atom, exponent }: Factor): boolean {
  switch (atom.kind) {
    case "imaginary":
      return exponent.numerator !== 1n;
    case "root":
      return exponent.numerator >= exponent.denominator || exponent.numerator < 0n;
    case "sum":
      return exponent.numerator >= exponent.denominator;
    case "call":
      return exponent.numerator > 1n && (atom.name === "sin" || atom.name === "abs");
    default:
      return false;
  }
}

/** Applies what atoms satisfy: i² = −1, √2² = 2, |u|² = u², sin² = 1 − cos²; expands sums to whole powers. */
function reduce(
  coefficient: Rational,
  factors: readonly Factor[],
  budget: Budget,
  largest = maxEagerPower,
): Polynomial {
  let value = coefficient;
  let expanded: Polynomial | null = null;
  const kept: Factor[] = [];
  const times = (p: Polynomial) => {
    expanded = expanded ? multiply(expanded, p, budget) : p;
  };
  for (const factor of factors) {
    const { atom, exponent } = factor;
    const whole = floor(exponent);
    if (atom.kind === "imaginary" && isInteger(exponent)) {
      const turn = ((whole % 4n) + 4n) % 4n;
      if (turn >= 2n) value = negateRational(value);
      if (turn % 2n === 1n) kept.push({ atom, exponent: one });
    } else if (atom.kind === "root" && whole !== 0n && fits(atom.radicand!, whole)) {
      value = multiplyRational(value, powerRational(rational(atom.radicand!), whole));
      const rest = addRational(exponent, rational(-whole));
      if (rest.numerator !== 0n) kept.push({ atom, exponent: rest });
    } else if (atom.kind === "sum" && whole >= 1n) {
      const power = expand(atom.parts![0]!, whole, budget, largest);
      if (power) {
        times(power);
        const rest = addRational(exponent, rational(-whole));
        if (rest.numerator !== 0n) kept.push({ atom, exponent: rest });
      } else kept.push(factor);
    } else if (atom.kind === "call" && (atom.name === "sin" || atom.name === "abs") && whole >= 2n && whole <= 64n) {
      const [inner] = atom.parts!;
      const square =
        atom.name === "abs"
          ? multiply(inner!, inner!, budget)
          : subtract(unit, fromAtom(call("cos", [inner!]), rational(2n)));
      for (let n = whole; n >= 2n; n -= 2n) times(square);
      const rest = addRational(exponent, rational(-(whole - (whole % 2n))));
      if (rest.numerator !== 0n) kept.push({ atom, exponent: rest });
    } else kept.push(factor);
  }
  const single = polynomial([term(value, kept)]);
  return expanded ? multiply(single, expanded, budget) : single;
}

const fits = (base: bigint, exponent: bigint): boolean =>
  BigInt(base.toString(2).length) * (exponent < 0n ? -exponent : exponent) <= maxPower;

/** A sum to a whole power, multiplied out; null where the power is too large or it would have too many terms. */
function expand(p: Polynomial, exponent: bigint, budget: Budget, largest: bigint): Polynomial | null {
  if (exponent > largest) return null;
  const n = Number(exponent);
  let count = 1;
  for (let k = 1; k < p.terms.length && count <= maxTerms; k++) count = (count * (n + k)) / k;
  if (count > maxTerms || !budget.affords(count * p.terms.length * (n > 50 ? 4 : 2))) return null;
  let power = unit;
  for (let i = 0; i < n; i++) power = multiply(power, p, budget);
  return power;
}

/** All sums to whole powers multiplied out, as far as they can be. @throws Overrun when the budget is spent */
export const multiplyOut = (p: Polynomial, budget: Budget): Polynomial =>
  p.terms.some((t) => t.factors.some(isReducible))
    ? sumOf(
        p.terms.map((t) => reduce(t.coefficient, t.factors, budget, maxLatePower)),
        budget,
      )
    : p;

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
  // A negative power of a sum stays whole; of a positive one the whole part is expanded.
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

const rootAtom = (radicand: bigint): Atom => ({ kind: "root", radicand, key: `#${radicand}` });

/** Whether a radicand is certainly prime; a larger one has no prime factor up to {@link maxPrime}. */
export const isCertainPrime = (radicand: bigint): boolean => radicand < BigInt(maxPrime * maxPrime);

const primes: readonly number[] = Array.from({ length: maxPrime - 1 }, (_, i) => i + 2).filter((n) => {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
});

/** Prime factors up to {@link maxPrime} with their multiplicities, and what is left as the smallest root of itself. */
export function primeFactors(n: bigint): [bigint, bigint][] {
  const found: [bigint, bigint][] = [];
  let rest = n;
  for (const prime of primes) {
    // Doubles divide far faster than big integers; a remainder below 2^53 is exact in them.
    if (rest <= Number.MAX_SAFE_INTEGER) return [...found, ...smallFactors(Number(rest), prime)];
    const p = BigInt(prime);
    let times = 0n;
    for (; rest % p === 0n; rest /= p) times++;
    if (times > 0n) found.push([p, times]);
  }
  return [...found, ...largeFactors(rest)];
}

/** The same for a number that a double holds and that has no prime factor below `from`. */
function smallFactors(n: number, from: number): [bigint, bigint][] {
  const found: [bigint, bigint][] = [];
  let rest = n;
  for (const prime of primes) {
    if (prime < from) continue;
    if (prime * prime > rest) break;
    let times = 0n;
    for (; rest % prime === 0; rest /= prime) times++;
    if (times > 0n) found.push([BigInt(prime), times]);
  }
  return rest === 1 ? found : [...found, ...largeFactors(BigInt(rest))];
}

/** What is left without small prime factors: a prime, or a power of something, or not known. */
function largeFactors(rest: bigint): [bigint, bigint][] {
  if (rest === 1n) return [];
  if (rest >= maxPrime * maxPrime) {
    for (const degree of [2, 3, 5, 7]) {
      const root = exactRoot(rest, degree);
      if (root !== null) return primeFactors(root).map(([p, k]) => [p, k * BigInt(degree)]);
    }
  }
  return [[rest, 1n]];
}

/** A product to the power of another: base^(coefficient · product), for a base that is an atom. */
export function powerAtom(base: Atom, exponent: Term): Polynomial {
  const shape = { ...exponent, coefficient: one };
  const atom: Atom = { kind: "power", base, exponent: shape, key: `${base.key}^[${shape.key}]` };
  return fromAtom(atom, exponent.coefficient);
}

export { rootAtom, sumAtom };
