/**
 * Canonical forms of scalars: sums of products of atoms to rational powers, with rational coefficients. Atoms are
 * variables, π, e, i, prime roots, and everything that cannot be decomposed further: sums to powers that are not
 * expanded, values of functions, powers with a variable exponent. Two polynomials are equal if their keys are. Work is
 * counted and capped, so hostile input ends in {@link Overrun}. Pure.
 */
import {
  add as addRational,
  floor,
  format,
  isInteger,
  multiply as multiplyRational,
  negate as negateRational,
  Overrun,
  one,
  power as powerRational,
  type Rational,
  rational,
} from "./rational.js";

/** The factors of a polynomial's terms. Atoms with equal keys are equal. */
export interface Atom {
  readonly key: string;
  readonly kind: "variable" | "constant" | "imaginary" | "root" | "sum" | "call" | "power";
  /** Name of a variable, constant or function. */
  readonly name?: string;
  /** Radicand of a root, ≥ 2: a prime, or, if too large for the search for prime factors, not a perfect power. */
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
  /** Whether this much work leaves half of the budget for later steps. */
  affords(steps: number): boolean {
    return 2 * steps < this.left;
  }
}

/** Sums to larger powers stay powers until they have to be compared with something of another form. */
export const maxEagerPower = 8n;
const maxLatePower = 200n;
/** Sums that would have more terms stay powers. */
const maxTerms = 600;
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

/** Keys are long, and most intermediate sums are never compared, so keys are computed on demand. */
class Sum implements Polynomial {
  private text: string | null = null;
  constructor(readonly terms: readonly Term[]) {}
  get key(): string {
    this.text ??= this.terms.map((t) => format(t.coefficient) + (t.key === "" ? "" : `*${t.key}`)).join("+");
    return this.text;
  }
}

export const polynomial = (terms: readonly Term[]): Polynomial =>
  terms.length === 0 ? zeroPolynomial : new Sum(terms);

const factorKey = (factors: readonly Factor[]): string => {
  let key = "";
  for (const { atom, exponent } of factors) {
    key += `${key === "" ? "" : "*"}${atom.key}${exponent === one || format(exponent) === "1" ? "" : `^${format(exponent)}`}`;
  }
  return key;
};

export const term = (coefficient: Rational, factors: readonly Factor[]): Term => ({
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
export const sumAtom = (p: Polynomial): Atom => ({ kind: "sum", parts: [p], key: `(${p.key})` });

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

export const byKey = (a: { key: string }, b: { key: string }): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

/** Factors of a product: exponents of the same atom add up. */
export function merge(a: readonly Factor[], b: readonly Factor[]): Factor[] {
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

/** Applies the identities of atoms: i² = −1, √2² = 2, |u|² = u², sin² = 1 − cos²; expands sums to whole powers. */
export function reduce(
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

export const fits = (base: bigint, exponent: bigint): boolean =>
  BigInt(base.toString(2).length) * (exponent < 0n ? -exponent : exponent) <= maxPower;

/** A sum to a whole power, multiplied out; null where the power is too large or it would have too many terms. */
export function expand(p: Polynomial, exponent: bigint, budget: Budget, largest: bigint): Polynomial | null {
  if (exponent > largest) return null;
  const n = Number(exponent);
  let count = 1;
  for (let k = 1; k < p.terms.length && count <= maxTerms; k++) count = (count * (n + k)) / k;
  if (count > maxTerms || !budget.affords(((count * n * p.terms.length) / 2) * (n > 50 ? 2 : 1))) return null;
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

export const rootAtom = (radicand: bigint): Atom => ({ kind: "root", radicand, key: `#${radicand}` });

/** A product to the power of another: base^(coefficient · product), for a base that is an atom. */
export function powerAtom(base: Atom, exponent: Term): Polynomial {
  const shape = { ...exponent, coefficient: one };
  const atom: Atom = { kind: "power", base, exponent: shape, key: `${base.key}^[${shape.key}]` };
  return fromAtom(atom, exponent.coefficient);
}
