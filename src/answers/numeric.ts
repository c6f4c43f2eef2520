/**
 * Values of canonical forms in floating point, at points that are fixed once and for all. Numbers can refute an equality
 * and, where nothing exact decides, confirm it within a stated tolerance. Complex arithmetic; no randomness. Pure.
 */
import type { Atom, Polynomial, Term } from "./polynomial.js";
import { toNumber } from "./rational.js";

/** Real and imaginary part. */
export type Complex = readonly [re: number, im: number];
/** Values of the variables. */
export type Point = (name: string) => number;

const add = (a: Complex, b: Complex): Complex => [a[0] + b[0], a[1] + b[1]];
const times = (a: Complex, b: Complex): Complex => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
const modulus = (a: Complex): number => Math.hypot(a[0], a[1]);
const ln = (a: Complex): Complex => [Math.log(modulus(a)), Math.atan2(a[1], a[0])];
const exp = (a: Complex): Complex => {
  const size = Math.exp(a[0]);
  return a[1] === 0 ? [size, 0] : [size * Math.cos(a[1]), size * Math.sin(a[1])];
};
const inverse = (a: Complex): Complex => {
  const square = a[0] * a[0] + a[1] * a[1];
  return [a[0] / square, -a[1] / square];
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
const minusI: Complex = [0, -1];
const cosine: Function1 = (z) => {
  if (z[1] === 0) return [Math.cos(z[0]), 0];
  const sum = add(exp(times(i, z)), exp(times(minusI, z)));
  return [sum[0] / 2, sum[1] / 2];
};
const sine: Function1 = (z) => {
  if (z[1] === 0) return [Math.sin(z[0]), 0];
  const difference = add(exp(times(i, z)), times([-1, 0], exp(times(minusI, z))));
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

/**
 * The value of p, or null where it has none here: variables without a point, functions without a meaning, overflow.
 * @param point null for an expression without variables
 */
export function evaluate(p: Polynomial, point: Point | null): Complex | null {
  const value = sum(p, point);
  return value !== null && Number.isFinite(value[0]) && Number.isFinite(value[1]) ? value : null;
}

function sum(p: Polynomial, point: Point | null): Complex | null {
  let total: Complex = [0, 0];
  for (const t of p.terms) {
    const value = product(t, point);
    if (value === null) return null;
    total = add(total, value);
  }
  return total;
}

function product(t: Term, point: Point | null): Complex | null {
  let result: Complex = [toNumber(t.coefficient), 0];
  for (const { atom, exponent } of t.factors) {
    const base = atomValue(atom, point);
    if (base === null) return null;
    const power = toNumber(exponent);
    const isOddRoot = base[1] === 0 && base[0] < 0 && exponent.denominator % 2n === 1n;
    const value: Complex =
      power === 1
        ? base
        : power === -1
          ? inverse(base)
          : isOddRoot
            ? [(exponent.numerator % 2n === 0n ? 1 : -1) * (-base[0]) ** power, 0]
            : raise(base, [power, 0]);
    result = times(result, value);
  }
  return result;
}

function atomValue(atom: Atom, point: Point | null): Complex | null {
  switch (atom.kind) {
    case "constant":
      if (atom.name === "infinity") return null;
      return [atom.name === "pi" ? Math.PI : Math.E, 0];
    case "imaginary":
      return i;
    case "root":
      return [Number(atom.radicand), 0];
    case "variable":
      if (atom.name === "-1") return [-1, 0];
      return point ? [point(atom.name!), 0] : null;
    case "sum":
      return sum(atom.parts![0]!, point);
    case "power": {
      const [base, exponent] = [atomValue(atom.base!, point), product(atom.exponent!, point)];
      return base && exponent && raise(base, exponent);
    }
    case "call": {
      if (!Object.hasOwn(functions, atom.name!) || atom.parts!.length !== 1) return null;
      const argument = sum(atom.parts![0]!, point);
      return argument && functions[atom.name!]!(argument);
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

/** Values that differ by more than this refute an equality. All relative to the sum of the terms' sizes. */
const refutes = 1e-10;
/** Values that differ by no more than this confirm it; what lies between is rounding, or a difference too fine to see. */
const confirms = 1e-13;
/** Terms may be so many times larger than their sum for the sum to confirm anything. */
const maxCancellation = 1e5;
/** A term has to be at least this share of the whole at some point. */
const visible = 1e-7;
/** So many points have to agree before an equality counts as confirmed. */
const enough = 5;

/**
 * Compares two canonical forms at the fixed points. With variables, only points at which both are real count, since that
 * is where an answer about real variables is meant to hold.
 * @returns how many points agreed, 1 without variables; 0 refuted at some point; null where too few points have values
 */
export function sample(a: Polynomial, b: Polynomial, hasVariables: boolean): number | null {
  let agreed = 0;
  const unseen = new Set([...a.terms, ...b.terms]);
  for (const point of hasVariables ? points : [null]) {
    const [x, y] = [evaluate(a, point), evaluate(b, point)];
    if (x === null || y === null) continue;
    if (hasVariables && (x[1] === 0) !== (y[1] === 0) && Math.max(Math.abs(x[1]), Math.abs(y[1])) > refutes) continue;
    const [left, right] = [sizes(a, point), sizes(b, point)];
    const size = left.concat(right).reduce((sum, n) => sum + n, 0);
    const difference = Math.hypot(x[0] - y[0], x[1] - y[1]);
    if (difference > refutes * size) return 0;
    if (difference > confirms * size) continue;
    // Where large terms cancel, agreement says little; 0 itself is what terms cancel to.
    const isZero = left.length === 0 || right.length === 0;
    if (!isZero && size > maxCancellation * Math.max(modulus(x), modulus(y))) continue;
    for (const [i, t] of a.terms.entries()) if (left[i]! > visible * size) unseen.delete(t);
    for (const [i, t] of b.terms.entries()) if (right[i]! > visible * size) unseen.delete(t);
    agreed++;
  }
  // A term that is too small everywhere could be left out without anything being noticed.
  return agreed < (hasVariables ? enough : 1) || unseen.size > 0 ? null : agreed;
}
