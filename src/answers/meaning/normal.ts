/**
 * From a tree to its canonical form: the value of a scalar expression as a polynomial in atoms. Known functions are
 * evaluated where that is exact; the others become atoms over the canonical forms of their arguments. What has no value
 * as a scalar (lists, relations, matrices) is {@link Unreadable}. Pure; work is bounded by the budget.
 */
import { evaluate } from "../algebra/numeric.js";
import {
  type Atom,
  add,
  asRational,
  type Budget,
  call,
  constant,
  euler,
  fromAtom,
  imaginary,
  infinity,
  isZero,
  multiply,
  negate,
  type Polynomial,
  pi,
  powerAtom,
  rootAtom,
  scale,
  subtract,
  sumAtom,
  sumOf,
  type Term,
  unit,
  variable,
  zeroPolynomial,
} from "../algebra/polynomial.js";
import { primitivePart, raise } from "../algebra/powers.js";
import { primeFactors } from "../algebra/primes.js";
import {
  floor,
  isInteger,
  multiply as multiplyRational,
  negate as negateRational,
  one,
  type Rational,
  rational,
  sign,
  Unreadable,
} from "../algebra/rational.js";
import { circle, trigonometric } from "../algebra/trig.js";
import type { Tree } from "../latex/tree.js";

const trigNames = /^(?:sin|cos|tan|sec|csc|cot)$/;
/** Factorials and binomials up to here are multiplied out. */
const maxFactorial = 400n;

/** The canonical form of an expression. @throws Unreadable if it is no scalar or undefined; Overrun beyond the budget */
export function normal(tree: Tree, budget: Budget): Polynomial {
  budget.spend(1);
  switch (tree.type) {
    case "number":
      return constant(tree.value);
    case "digits":
      return fromAtom(variable(`digits ${tree.text}`));
    case "symbol":
      return symbol(tree.name);
    case "infinity":
      return fromAtom(infinity);
    case "sum":
      return sumOf(
        tree.terms.map((t) => normal(t, budget)),
        budget,
      );
    case "product":
      return tree.factors.reduce((product, f) => multiply(product, normal(f, budget), budget), unit);
    case "quotient":
      return multiply(
        normal(tree.above, budget),
        raise(normal(tree.below, budget), negateRational(one), budget),
        budget,
      );
    case "power":
      return toPower(normal(tree.base, budget), normal(tree.exponent, budget), budget);
    case "root":
      return nthRoot(normal(tree.radicand, budget), tree.index, budget);
    case "call":
      return apply(tree.name, tree.args, budget);
    case "quantity":
      return inUnit(normal(tree.value, budget), tree.unit, budget);
    case "ratio":
      if (tree.parts.length === 2)
        return normal({ type: "quotient", above: tree.parts[0]!, below: tree.parts[1]!, mixed: false }, budget);
      throw new Unreadable("a ratio of more than two numbers");
    default:
      throw new Unreadable(`a ${tree.type} where a number is expected`);
  }
}

function symbol(name: string): Polynomial {
  if (name === "pi") return fromAtom(pi);
  if (name === "e") return fromAtom(euler);
  if (name === "i") return fromAtom(imaginary);
  return fromAtom(variable(name));
}

/** Inside an expression a degree is π/180 and a per cent 1/100; other units have no value. */
function inUnit(value: Polynomial, name: string, budget: Budget): Polynomial {
  if (name === "°") return scale(multiply(value, fromAtom(pi), budget), rational(1n, 180n));
  if (name === "%") return scale(value, rational(1n, 100n));
  if (name === "" || name === "$" || name === "rad") return value;
  throw new Unreadable(`the unit ${name} inside an expression`);
}

function nthRoot(radicand: Polynomial, index: number, budget: Budget): Polynomial {
  return raise(radicand, rational(1n, BigInt(index)), budget);
}

/** base^exponent; a constant part of the exponent becomes a number, the rest atoms. */
function toPower(base: Polynomial, exponent: Polynomial, budget: Budget): Polynomial {
  const number = asRational(exponent);
  if (number) return raise(base, number, budget);
  if (isZero(base)) throw new Unreadable("0 to a variable power");
  if (asRational(base)?.numerator === 1n && base.key === "1") return unit;
  let result = unit;
  for (const part of exponent.terms) {
    const factor = part.factors.length === 0 ? raise(base, part.coefficient, budget) : termPower(base, part, budget);
    result = multiply(result, factor, budget);
  }
  return result;
}

function termPower(base: Polynomial, exponent: Term, budget: Budget): Polynomial {
  const [only, second] = base.terms;
  if (second) {
    const { content, primitive, negative } = primitivePart(base);
    const atom = sumAtom(negative ? negate(primitive) : primitive);
    return multiply(constantPower(content, exponent, budget), powerAtom(atom, exponent), budget);
  }
  let result = constantPower(only!.coefficient, exponent, budget);
  for (const factor of only!.factors) {
    const scaled = { ...exponent, coefficient: multiplyRational(exponent.coefficient, factor.exponent) };
    result = multiply(result, atomPower(factor.atom, scaled, budget), budget);
  }
  return result;
}

function constantPower(value: Rational, exponent: Term, budget: Budget): Polynomial {
  let result = unit;
  if (value.numerator < 0n) result = powerAtom(variable("-1"), exponent);
  const magnitude = value.numerator < 0n ? -value.numerator : value.numerator;
  for (const [prime, times] of primeFactors(magnitude)) {
    const scaled = { ...exponent, coefficient: multiplyRational(exponent.coefficient, rational(times)) };
    result = multiply(result, powerAtom(rootAtom(prime), scaled), budget);
  }
  for (const [prime, times] of primeFactors(value.denominator)) {
    const scaled = { ...exponent, coefficient: multiplyRational(exponent.coefficient, rational(-times)) };
    result = multiply(result, powerAtom(rootAtom(prime), scaled), budget);
  }
  return result;
}

/** e^{iπr} and e^{ln x} have exact values. */
function atomPower(base: Atom, exponent: Term, budget: Budget): Polynomial {
  if (base !== euler) return powerAtom(base, exponent);
  const names = exponent.factors.map(({ atom, exponent: e }) => (e.numerator === 1n && isInteger(e) ? atom.key : "?"));
  if (names.join(" ") === "i π") {
    const [cosine, sine] = circle(exponent.coefficient);
    return add(cosine, multiply(fromAtom(imaginary), sine, budget));
  }
  const [first] = exponent.factors;
  if (names.length === 1 && first!.atom.kind === "call" && first!.atom.name === "ln") {
    return raise(first!.atom.parts![0]!, exponent.coefficient, budget);
  }
  return powerAtom(base, exponent);
}

function apply(name: string, args: readonly Tree[], budget: Budget): Polynomial {
  if (/^(?:sum|prod|int|lim|max|min|gcd|lcm)$/.test(name))
    return fromAtom(variable(`${name}(${args.map((a) => treeKey(a, budget)).join("; ")})`));
  const values = args.map((arg) => normal(arg, budget));
  const [x, y] = values;
  if (x === undefined) throw new Unreadable(`${name} of nothing`);
  if (trigNames.test(name)) return trigonometric(name, x, budget);
  switch (name) {
    case "exp":
      return toPower(fromAtom(euler), x, budget);
    case "ln":
      return logarithm(x, budget);
    case "log": {
      const base = y ?? constant(rational(10n));
      return multiply(logarithm(x, budget), raise(logarithm(base, budget), negateRational(one), budget), budget);
    }
    case "abs":
      return magnitude(x);
    case "floor":
    case "ceil":
      return rounded(name, x);
    case "factorial":
      return factorial(x);
    case "binom":
      return binomial(x, y, values);
    default:
      return fromAtom(call(name, values));
  }
}

/** The natural logarithm; of a positive fraction, by prime factors, so that ln 6 = ln 2 + ln 3. */
function logarithm(x: Polynomial, budget: Budget): Polynomial {
  if (isZero(x)) throw new Unreadable("the logarithm of 0");
  const [only, second] = x.terms;
  if (second || sign(only!.coefficient) < 0) return fromAtom(call("ln", [x]));
  if (
    !only!.factors.every(
      ({ atom }) => atom === euler || atom.kind === "root" || (atom.kind === "power" && atom.base === euler),
    )
  ) {
    return fromAtom(call("ln", [x]));
  }
  const ofPrime = (p: bigint): Polynomial => fromAtom(call("ln", [constant(rational(p))]));
  let result = zeroPolynomial;
  for (const [p, times] of primeFactors(only!.coefficient.numerator))
    if (p > 1n) result = add(result, scale(ofPrime(p), rational(times)));
  for (const [p, times] of primeFactors(only!.coefficient.denominator))
    if (p > 1n) result = subtract(result, scale(ofPrime(p), rational(times)));
  for (const { atom, exponent } of only!.factors) {
    if (atom === euler) result = add(result, constant(exponent));
    else if (atom.kind === "root") result = add(result, scale(ofPrime(atom.radicand!), exponent));
    else result = add(result, scale({ terms: [atom.exponent!], key: `1*${atom.exponent!.key}` }, exponent));
  }
  budget.spend(result.terms.length);
  return result;
}

function magnitude(x: Polynomial): Polynomial {
  const number = asRational(x);
  if (number) return sign(number) < 0 ? negate(x) : x;
  const value = evaluate(x, null);
  // Without variables the sign is fixed, but near 0 rounding could flip it.
  if (value && Math.abs(value[1]) < 1e-12 && Math.abs(value[0]) > 1e-9) return value[0] < 0 ? negate(x) : x;
  const { content, primitive } = primitivePart(x);
  return scale(fromAtom(call("abs", [primitive])), content);
}

function rounded(name: "floor" | "ceil", x: Polynomial): Polynomial {
  const number = asRational(x);
  if (number) return constant(rational(name === "floor" ? floor(number) : -floor(negateRational(number))));
  const value = evaluate(x, null);
  if (value && value[1] === 0 && Math.abs(value[0]) < 1e9 && Math.abs(value[0] - Math.round(value[0])) > 1e-6) {
    return constant(rational(BigInt(name === "floor" ? Math.floor(value[0]) : Math.ceil(value[0]))));
  }
  return fromAtom(call(name, [x]));
}

function factorial(x: Polynomial): Polynomial {
  const n = asRational(x);
  if (!n || !isInteger(n) || n.numerator < 0n || n.numerator > maxFactorial) return fromAtom(call("factorial", [x]));
  let product = 1n;
  for (let k = 2n; k <= n.numerator; k++) product *= k;
  return constant(rational(product));
}

function binomial(n: Polynomial, k: Polynomial | undefined, values: readonly Polynomial[]): Polynomial {
  const [a, b] = [asRational(n), k ? asRational(k) : null];
  if (!a || !b || !isInteger(a) || !isInteger(b)) return fromAtom(call("binom", values));
  const [top, bottom] = [a.numerator, b.numerator];
  if (top < 0n || bottom < 0n || top > maxFactorial) return fromAtom(call("binom", values));
  let result = 1n;
  for (let i = 0n; i < bottom; i++) result = (result * (top - i)) / (i + 1n);
  return constant(rational(result));
}

/** A text that equal trees share, for what is compared by its form: bounds of sums, relations in them. */
function treeKey(tree: Tree, budget: Budget): string {
  switch (tree.type) {
    case "relation":
      return tree.sides.map((side, i) => `${tree.signs[i - 1] ?? ""}${treeKey(side, budget)}`).join("");
    case "list":
      return `${tree.open}${tree.items.map((item) => treeKey(item, budget)).join(",")}${tree.close}`;
    case "call":
      if (tree.name === "from" || tree.name === "to") return `${tree.name} ${treeKey(tree.args[0]!, budget)}`;
      return normal(tree, budget).key;
    default:
      return normal(tree, budget).key;
  }
}
