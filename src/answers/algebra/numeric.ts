/**
 * Values of canonical forms in floating point, at fixed points, each with a bound for its rounding error. Numbers can
 * refute an equality and, where nothing exact decides, confirm it within a stated tolerance. Complex arithmetic; no
 * randomness. Pure.
 */
import type { Atom, Polynomial, Term } from "./polynomial.js";
import { toNumber } from "./rational.js";

/** Real and imaginary part, and a bound for the error. */
export type Approximation = readonly [re: number, im: number, error: number];
/** Values of the variables. */
export type Point = (name: string) => number;

type Complex = readonly [re: number, im: number];

/** Relative error of one operation, with a margin. */
const epsilon = 4e-16;

const plus = (a: Complex, b: Complex): Complex => [a[0] + b[0], a[1] + b[1]];
const times = (a: Complex, b: Complex): Complex => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
const modulus = ([re, im]: readonly [number, number, ...unknown[]]): number =>
  im === 0 ? Math.abs(re) : Math.hypot(re, im);
const ln = (a: Complex): Complex => [Math.log(modulus(a)), Math.atan2(a[1], a[0])];
const exp = (a: Complex): Complex => {
  const size = Math.exp(a[0]);
  return a[1] === 0 ? [size, 0] : [size * Math.cos(a[1]), size * Math.sin(a[1])];
};
function raise(a: Complex, b: Complex): Complex {
  if (a[0] === 0 && a[1] === 0) return b[0] > 0 ? [0, 0] : [Number.NaN, 0];
  if (a[1] === 0 && b[1] === 0 && (a[0] > 0 || Number.isInteger(b[0]))) return [a[0] ** b[0], 0];
  return exp(times(ln(a), b));
}

type Function1 = (x: Complex) => Complex;
const real =
  (f: (x: number) => number): Function1 =>
  ([re, im]) =>
    im === 0 ? [f(re), 0] : [Number.NaN, 0];
const i: Complex = [0, 1];
const cosine: Function1 = (z) => {
  if (z[1] === 0) return [Math.cos(z[0]), 0];
  const sum = plus(exp(times(i, z)), exp(times([0, -1], z)));
  return [sum[0] / 2, sum[1] / 2];
};
const sine: Function1 = (z) => {
  if (z[1] === 0) return [Math.sin(z[0]), 0];
  const difference = plus(exp(times(i, z)), times([-1, 0], exp(times([0, -1], z))));
  return times([0, -0.5], difference);
};
const functions: Readonly<Record<string, Function1>> = {
  sin: sine,
  cos: cosine,
  ln,
  abs: (z) => [modulus(z), 0],
  arcsin: real(Math.asin),
  arccos: real(Math.acos),
  arctan: real(Math.atan),
  sinh: real(Math.sinh),
  cosh: real(Math.cosh),
  tanh: real(Math.tanh),
  floor: real(Math.floor),
  ceil: real(Math.ceil),
};

/** f at an inexact value: the change of f within the error becomes the error of the result. */
function applied(f: Function1, [re, im, error]: Approximation): Approximation {
  const value = f([re, im]);
  const shifted = error === 0 ? value : f([re + error, im]);
  const spread = modulus([value[0] - shifted[0], value[1] - shifted[1]]);
  // Where the shifted argument leaves the domain, as at arcsin 1, nothing is known about the change.
  return [value[0], value[1], (Number.isNaN(spread) ? Math.sqrt(error) : spread) + epsilon * modulus(value)];
}

/**
 * The value of p, or null where it cannot be computed: variables without a point, functions without a meaning,
 * overflow.
 * @param point null for an expression without variables
 */
export function evaluate(p: Polynomial, point: Point | null): Approximation | null {
  const value = sum(p, point);
  return value?.every(Number.isFinite) ? value : null;
}

function sum(p: Polynomial, point: Point | null): Approximation | null {
  let [re, im, error] = [0, 0, 0];
  for (const t of p.terms) {
    const value = product(t, point);
    if (value === null) return null;
    re += value[0];
    im += value[1];
    error += value[2] + epsilon * modulus(value);
  }
  return [re, im, error];
}

function product(t: Term, point: Point | null): Approximation | null {
  let result: Approximation = [toNumber(t.coefficient), 0, 0];
  for (const { atom, exponent } of t.factors) {
    const base = atomValue(atom, point);
    if (base === null) return null;
    const power = toNumber(exponent);
    const isOddRoot = base[1] === 0 && base[0] < 0 && power % 1 !== 0 && exponent.denominator % 2n === 1n;
    const sign = exponent.numerator % 2n === 0n ? 1 : -1;
    const value =
      power === 1 ? base : applied((x) => (isOddRoot ? [sign * (-x[0]) ** power, 0] : raise(x, [power, 0])), base);
    const [re, im] = times([result[0], result[1]], [value[0], value[1]]);
    const size = modulus([re, im]);
    result = [re, im, modulus(result) * value[2] + modulus(value) * result[2] + epsilon * size];
  }
  return result;
}

function atomValue(atom: Atom, point: Point | null): Approximation | null {
  switch (atom.kind) {
    case "constant":
      if (atom.name === "infinity") return null;
      return atom.name === "pi" ? [Math.PI, 0, epsilon * Math.PI] : [Math.E, 0, epsilon * Math.E];
    case "imaginary":
      return [0, 1, 0];
    case "root":
      return [Number(atom.radicand), 0, 0];
    case "variable":
      if (atom.name === "-1") return [-1, 0, 0];
      return point ? [point(atom.name!), 0, 0] : null;
    case "sum":
      return sum(atom.parts![0]!, point);
    case "power": {
      const [base, exponent] = [atomValue(atom.base!, point), product(atom.exponent!, point)];
      if (!base || !exponent) return null;
      const inBase = applied((x) => raise(x, [exponent[0], exponent[1]]), base);
      return [inBase[0], inBase[1], inBase[2] + modulus(inBase) * modulus(ln([base[0], base[1]])) * exponent[2]];
    }
    case "call": {
      if (!Object.hasOwn(functions, atom.name!) || atom.parts!.length !== 1) return null;
      const argument = sum(atom.parts![0]!, point);
      return argument && applied(functions[atom.name!]!, argument);
    }
  }
}

/** The moduli of the terms. */
const sizes = (p: Polynomial, point: Point | null): number[] =>
  p.terms.map((t) => {
    const value = product(t, point);
    return value === null ? 0 : modulus(value);
  });

/** A fixed value for every variable name: positive at the first four points, of either sign at the others. */
function pointAt(index: number): Point {
  return (name) => {
    let hash = Math.imul(index + 1, 0x9e3779b1);
    for (let k = 0; k < name.length; k++) hash = Math.imul(hash ^ name.charCodeAt(k), 0x85ebca6b) ^ (hash >>> 13);
    hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2ae35);
    const fraction = ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
    const size = 0.3 + 2 * fraction;
    return index >= 4 && hash & 1 ? -size : size;
  };
}
const points: readonly Point[] = Array.from({ length: 10 }, (_, k) => pointAt(k));

/** Values that differ by more than this refute an equality, if it is far beyond rounding. Relative to the values. */
const refutes = 1e-10;
const beyondRounding = 100;
/**
 * Values that differ by no more than this confirm it; in between it may be rounding, or a difference too small to see.
 */
const confirms = 1e-13;
/** A term has to be at least this share of the whole at some point. */
const visible = 1e-7;
/** This many points have to agree before an equality counts as confirmed. */
const enough = 5;

/**
 * Compares two canonical forms at the fixed points. With variables, only points at which both are real count, because
 * an answer about real variables is meant for real values.
 * @returns how many points agreed, 1 without variables; 0 refuted at some point; null where too few points can tell
 */
export function sample(a: Polynomial, b: Polynomial, hasVariables: boolean): number | null {
  let agreed = 0;
  const unseen = new Set([...a.terms, ...b.terms]);
  for (const point of hasVariables ? points : [null]) {
    const [x, y] = [evaluate(a, point), evaluate(b, point)];
    if (x === null || y === null) continue;
    if (hasVariables && isReal(x) !== isReal(y)) continue;
    const [left, right] = [sizes(a, point), sizes(b, point)];
    // Against 0, only the size of the cancelling terms gives a scale for the comparison.
    const isZero = left.length === 0 || right.length === 0;
    const terms = left.concat(right).reduce((total, n) => total + n, 0);
    const size = isZero ? terms : Math.max(modulus(x), modulus(y));
    const error = x[2] + y[2];
    const difference = Math.hypot(x[0] - y[0], x[1] - y[1]);
    if (difference > refutes * size && difference > beyondRounding * error) return 0;
    // Where large terms cancel, agreement says little.
    if (difference > Math.max(confirms * size, error) || error > refutes * size) continue;
    for (const [k, t] of a.terms.entries()) if (left[k]! > visible * terms) unseen.delete(t);
    for (const [k, t] of b.terms.entries()) if (right[k]! > visible * terms) unseen.delete(t);
    agreed++;
  }
  // If a term is too small everywhere, the comparison cannot tell whether it is there.
  return agreed < (hasVariables ? enough : 1) || unseen.size > 0 ? null : agreed;
}

const isReal = ([, im, error]: Approximation): boolean => Math.abs(im) <= Math.max(refutes, beyondRounding * error);
