/**
 * Whether two answers state the same: their kinds, parts and numbers. Order counts in tuples and not in sets; an
 * assignment equals its value; a bare list may be a tuple without its brackets. Symmetric by construction: every rule
 * that looks at kinds is tried in both directions. Pure.
 */
import { type Decision, hasVariables, type Step, samePolynomial, sameScalar } from "../algebra/equality.js";
import { evaluate } from "../algebra/numeric.js";
import {
  add,
  type Budget,
  constant,
  fromAtom,
  fromTerm,
  multiply,
  type Polynomial,
  pi,
  scale,
  type Term,
  zeroPolynomial,
} from "../algebra/polynomial.js";
import { negate, rational } from "../algebra/rational.js";
import type { Interval, Value } from "./kinds.js";
import { asParts } from "./regions.js";

/** The steps that can decide between two readable answers. */
export type CompareStep = Step | "structure" | "unit" | "text";

/** `note` says in a few words what differs. */
export interface Comparison {
  equal: boolean;
  step: CompareStep;
  note: string;
}

const no = (step: CompareStep, note: string): Comparison => ({ equal: false, step, note });
const yes = (step: CompareStep): Comparison => ({ equal: true, step, note: "" });
const of = ({ equal, step }: Decision): Comparison =>
  equal ? yes(step) : no(step, step === "undecided" ? "no step could decide" : "the values differ");

/** Pairs of unordered items that are tried beyond those with the same canonical form. */
const maxUnmatched = 24;

/** Compares two values. */
export function compareValues(a: Value, b: Value, budget: Budget): Comparison {
  return oneWay(a, b, budget) ?? oneWay(b, a, budget) ?? no("structure", `a ${nameOf(a)} is not a ${nameOf(b)}`);
}

const nameOf = ({ type }: Value): string =>
  type === "scalar" ? "number" : type === "named" ? "value with a name" : type;

/** The rules for these kinds in this order; null where there are none. */
function oneWay(a: Value, b: Value, budget: Budget): Comparison | null {
  if (a.type === "named") return named(a, b, budget);
  switch (a.type) {
    case "scalar":
      return b.type === "scalar" ? scalars(a, b, budget) : null;
    case "text":
      if (b.type !== "text") return null;
      return a.words === b.words ? yes("text") : no("text", "the words differ");
    case "based":
      if (b.type !== "based") return null;
      return a.digits === b.digits && a.base === b.base
        ? yes("canonical form")
        : no("canonical form", "digits or base differ");
    case "tuple":
      if (b.type === "tuple") {
        if (a.open !== b.open || a.close !== b.close) return no("structure", "the brackets differ");
        return inOrder(a.items, b.items, budget);
      }
      if (b.type === "region") return regions(asParts(a), b.parts, budget);
      // A point may lose its brackets; [−2, 2] is an interval, and "−2, 2" is not.
      if (b.type === "list" && !b.braces && a.open === "(" && a.close === ")")
        return inOrder(a.items, b.items.map(unnamed), budget);
      return null;
    case "list":
      if (b.type === "region") return regions(asParts(a), b.parts, budget);
      if (b.type === "list") return lists(a, b, budget);
      return a.braces && distinct(a).length === 1 ? compareValues(a.items[0]!, b, budget) : null;
    case "region":
      if (b.type !== "region") return null;
      if (a.subject !== null && b.subject !== null && a.subject !== b.subject)
        return no("structure", "the subjects differ");
      return regions(a.parts, b.parts, budget);
    case "matrix":
      if (b.type !== "matrix") return null;
      if (a.rows.length !== b.rows.length || a.rows[0]!.length !== b.rows[0]!.length)
        return no("structure", "the sizes differ");
      return every(a.rows.flat(), b.rows.flat(), (x, y) => of(sameScalar(x, y, budget)));
    case "ratio":
      if (b.type !== "ratio") return null;
      if (a.items.length !== b.items.length) return no("structure", "the lengths differ");
      return every(a.items.slice(1), b.items.slice(1), (x, y) =>
        of(
          samePolynomial(
            multiply(x.value, b.items[0]!.value, budget),
            multiply(y.value, a.items[0]!.value, budget),
            budget,
          ),
        ),
      );
    case "equation":
      if (b.type !== "equation") return null;
      return proportion(a.difference, b.difference, budget) === null
        ? no("canonical form", "no multiple of each other")
        : yes("canonical form");
    case "inequality":
      return b.type === "inequality" ? inequalities(a, b, budget) : null;
  }
}

function every<T>(a: readonly T[], b: readonly T[], compare: (x: T, y: T) => Comparison): Comparison {
  let decisive = yes("canonical form");
  for (const [i, x] of a.entries()) {
    const result = compare(x, b[i]!);
    if (!result.equal) return { ...result, note: `item ${i + 1}: ${result.note}` };
    if (result.step !== "canonical form") decisive = result;
  }
  return decisive;
}

function scalars(a: Value & { type: "scalar" }, b: Value & { type: "scalar" }, budget: Budget): Comparison {
  if (a.unit !== "" && b.unit !== "" && a.unit !== b.unit) return no("unit", `units ${a.unit} and ${b.unit}`);
  const first = of(sameScalar(a.scalar, b.scalar, budget));
  if (first.equal) return first;
  // 28 % equals 28, in case per cent were asked for, and always 0.28; 60° equals 60 and π/3.
  for (const [unit, size] of relative) {
    if ((a.unit === unit) === (b.unit === unit)) continue;
    const [x, y] = [a, b].map(({ scalar: s, unit: own }) =>
      own === unit ? { value: multiply(s.value, size, budget), places: null } : s,
    );
    return of(sameScalar(x!, y!, budget));
  }
  for (const [x, y] of [
    [a.also, b.scalar],
    [a.scalar, b.also],
    [a.also, b.also],
  ]) {
    const other = x && y && of(sameScalar(x, y, budget));
    if (other?.equal) return other;
  }
  return first;
}

/** Units that are numbers themselves. */
const relative: readonly [string, Polynomial][] = [
  ["%", constant(rational(1n, 100n))],
  ["°", scale(fromAtom(pi), rational(1n, 180n))],
];

type Named = Value & { type: "named" };

const isNamed = (value: Value): value is Named => value.type === "named";
const unnamed = (value: Value): Value => (isNamed(value) ? value.value : value);

/** The items, if there are any and all have names. */
const allNamed = (items: readonly Value[]): readonly Named[] | null =>
  items.length > 0 && items.every(isNamed) ? items : null;

function named(a: Named, b: Value, budget: Budget): Comparison | null {
  if (b.type === "named") {
    // W(n) = 1 and W(x) = 1 name the same function, and y = x + 1 is f(x) = x + 1.
    const [isCallA, isCallB] = [a.head !== a.name, b.head !== b.name];
    if (
      a.name === b.name ||
      (a.head === b.head && isCallA && isCallB) ||
      (isCallA && b.name === "y") ||
      (isCallB && a.name === "y")
    )
      return compareValues(a.value, b.value, budget);
    if (a.equation && b.equation) {
      return proportion(a.equation, b.equation, budget) === null
        ? no("structure", `${a.name} is not ${b.name}`)
        : yes("canonical form");
    }
    return no("structure", `${a.name} is not ${b.name}`);
  }
  if (b.type === "equation") {
    if (!a.equation) return no("structure", "an assignment is not an equation");
    return proportion(a.equation, b.difference, budget) === null
      ? no("canonical form", "no multiple of each other")
      : yes("canonical form");
  }
  if (a.parts && b.type === "list" && b.items.every(isNamed)) {
    const items = itemsOf(a);
    return items && byName(items, b.items, budget);
  }
  return compareValues(a.value, b, budget);
}

/** (x, y) = (1, 2) as x = 1, y = 2. */
function itemsOf({ parts, value }: Named): Named[] | null {
  if (value.type !== "tuple" || value.items.length !== parts!.length) return null;
  return value.items.map((item, i) => ({
    type: "named",
    name: parts![i]!,
    head: parts![i]!,
    parts: null,
    value: item,
    equation: null,
  }));
}

function byName(a: readonly Named[], b: readonly Named[], budget: Budget): Comparison {
  if (a.length !== b.length) return no("structure", "the lengths differ");
  const values = new Map(b.map(({ name, value }) => [name, value]));
  const missing = a.find(({ name }) => !values.has(name));
  if (missing) return no("structure", `${missing.name} is missing`);
  return inOrder(
    a.map(({ value }) => value),
    a.map(({ name }) => values.get(name)!),
    budget,
  );
}

function inOrder(a: readonly Value[], b: readonly Value[], budget: Budget): Comparison {
  if (a.length !== b.length) return no("structure", `${a.length} items are not ${b.length}`);
  return every(a, b, (x, y) => compareValues(x, y, budget));
}

function lists(a: Value & { type: "list" }, b: Value & { type: "list" }, budget: Budget): Comparison {
  const [namedA, namedB] = [allNamed(a.items), allNamed(b.items)];
  if (namedA && namedB) return byName(namedA, namedB, budget);
  // "AB = 4, CD = 5" against "4, 5": the names say which comes first.
  if (namedA || namedB) return inOrder(a.items.map(unnamed), b.items.map(unnamed), budget);
  let [x, y] = [distinct(a), distinct(b)];
  if (x.length !== y.length && Math.max(x.length, y.length) <= maxUnmatched)
    [x, y] = [different(x, a, budget), different(y, b, budget)];
  if (x.length !== y.length) return no("structure", `${x.length} items are not ${y.length}`);
  // Words in a row may be a ranking.
  if (!(a.braces && b.braces) && x.every(({ type }) => type === "text")) return inOrder(x, y, budget);
  const [left, right] = unmatched(x, y);
  if (left.length > maxUnmatched) return no("undecided", "too many items without a partner");
  return left.length === 0 ? yes("canonical form") : matched(left, right, budget);
}

/** The items of a set, without those of the same canonical form; a bare list keeps what it repeats. */
function distinct({ items, braces }: Value & { type: "list" }): readonly Value[] {
  const keys = new Set<string>();
  return items.filter((item) => {
    const key = braces ? keyOf(item) : "";
    return key === "" || (!keys.has(key) && keys.add(key));
  });
}

/** The items of a set, without those that equal an earlier one in another form. */
function different(items: readonly Value[], { braces }: Value & { type: "list" }, budget: Budget): readonly Value[] {
  // A rounded number beside the exact one is not meant as the same element.
  const isSame = (one: Value, other: Value) => {
    const { equal, step } = compareValues(one, other, budget);
    return equal && step !== "rounding";
  };
  return braces ? items.filter((item, i) => !items.slice(0, i).some((other) => isSame(other, item))) : items;
}

/** The items that remain when those with the same canonical form are paired off. */
function unmatched(a: readonly Value[], b: readonly Value[]): [Value[], Value[]] {
  const partners = new Map<string, Value[]>();
  const open: Value[] = [];
  for (const item of b) {
    const key = keyOf(item);
    const same = partners.get(key);
    if (key === "") open.push(item);
    else if (same) same.push(item);
    else partners.set(key, [item]);
  }
  const rest = a.filter((item) => partners.get(keyOf(item))?.pop() === undefined);
  return [rest, [...open, ...[...partners.values()].flat()]];
}

/**
 * Whether every item can be paired with a different partner: augmenting paths, so that the order of the items does not
 * matter.
 */
function matched(a: readonly Value[], b: readonly Value[], budget: Budget): Comparison {
  const results = a.map((x) => b.map((y) => compareValues(x, y, budget)));
  const partner = new Map<number, number>();
  const place = (i: number, tried: Set<number>): boolean =>
    results[i]!.some((result, j) => {
      if (!result.equal || tried.has(j)) return false;
      tried.add(j);
      const holder = partner.get(j);
      if (holder !== undefined && !place(holder, tried)) return false;
      partner.set(j, i);
      return true;
    });
  if (!a.every((_, i) => place(i, new Set()))) return no("structure", "an item has no partner");
  const decisive = [...partner].map(([j, i]) => results[i]![j]!).find(({ step }) => step !== "canonical form");
  return decisive ?? yes("canonical form");
}

/** A text that only equal items share; "" for kinds whose items are compared one by one. */
function keyOf(value: Value): string {
  if (value.type === "scalar") return value.also ? "" : `${value.scalar.value.key} ${value.unit}`;
  if (value.type === "text") return `"${value.words}"`;
  if (value.type === "tuple" && value.items.every(({ type }) => type === "scalar")) {
    return `${value.open}${value.items.map(keyOf).join(",")}${value.close}`;
  }
  return "";
}

/** Regions part by part, after touching parts were joined and all were put in order. */
function regions(a: readonly Interval[] | null, b: readonly Interval[] | null, budget: Budget): Comparison | null {
  if (!a || !b) return null;
  const [x, y] = [ordered(a, budget), ordered(b, budget)];
  if (x.length !== y.length) return no("structure", `${x.length} parts are not ${y.length}`);
  return every(x, y, (p, q) => {
    if (p.lowOpen !== q.lowOpen || p.highOpen !== q.highOpen) return no("structure", "open and closed ends differ");
    if ((p.low === null) !== (q.low === null) || (p.high === null) !== (q.high === null))
      return no("structure", "the ends differ");
    const low = p.low && q.low ? of(sameScalar(p.low, q.low, budget)) : yes("canonical form");
    if (!low.equal) return low;
    return p.high && q.high ? of(sameScalar(p.high, q.high, budget)) : low;
  });
}

function ordered(parts: readonly Interval[], budget: Budget): Interval[] {
  const located = parts.map((part) => ({
    part,
    at: part.low === null ? -Infinity : (evaluate(part.low.value, null)?.[0] ?? Number.NaN),
  }));
  if (located.some(({ at }) => Number.isNaN(at))) return [...parts];
  located.sort((a, b) => a.at - b.at);
  const result: Interval[] = [];
  for (const { part } of located) {
    const last = result.at(-1);
    const touches =
      last?.high && part.low && !(last.highOpen && part.lowOpen) && sameScalar(last.high, part.low, budget).equal;
    if (touches) result[result.length - 1] = { ...last, high: part.high, highOpen: part.highOpen };
    else result.push(part);
  }
  return result;
}

function inequalities(
  a: Value & { type: "inequality" },
  b: Value & { type: "inequality" },
  budget: Budget,
): Comparison {
  if (a.links.length !== b.links.length) return no("structure", "the chains have different lengths");
  return every(a.links, b.links, (x, y) => {
    if (x.sign !== y.sign) return no("structure", "strict and not strict");
    const factor = proportion(x.difference, y.difference, budget);
    const same = factor !== null && (factor > 0 || x.sign === "!=");
    return same ? yes("canonical form") : no("canonical form", "no positive multiple of each other");
  });
}

/**
 * The sign of the constant c with a = c·b, as 1 or −1; null if there is none. The coefficients of one product of
 * variables in both give c; then a times the one must equal b times the other.
 */
function proportion(p: Polynomial, q: Polynomial, budget: Budget): number | null {
  const [a, b] = [p, q].map((r) => wholePowers(r, budget)) as [Polynomial, Polynomial];
  const first = a.terms.find((t) => variablePart(t) !== "");
  if (!first) return null;
  const part = variablePart(first);
  const [x, y] = [coefficient(a, part), coefficient(b, part)];
  if (y.terms.length === 0) return null;
  if (!samePolynomial(multiply(a, y, budget), multiply(b, x, budget), budget).equal) return null;
  const [u, v] = [evaluate(x, null), evaluate(y, null)];
  return u && v && u[0] * v[0] < 0 ? -1 : 1;
}

/** Multiplied by the variables in denominators: y = 1/x and xy = 1 are one equation. */
function wholePowers(p: Polynomial, budget: Budget): Polynomial {
  let result = p;
  const least = new Map<string, Term["factors"][number]>();
  for (const t of p.terms) {
    for (const factor of t.factors) {
      if (factor.atom.kind !== "variable" || factor.exponent.numerator >= 0n) continue;
      const before = least.get(factor.atom.key);
      if (
        !before ||
        factor.exponent.numerator * before.exponent.denominator <
          before.exponent.numerator * factor.exponent.denominator
      )
        least.set(factor.atom.key, factor);
    }
  }
  for (const { atom, exponent } of least.values()) result = multiply(result, fromAtom(atom, negate(exponent)), budget);
  return result;
}

const isVariable = (factor: Term["factors"][number]): boolean =>
  factor.atom.kind === "variable" ||
  hasVariables(fromAtom(factor.atom)) ||
  (factor.atom.kind === "call" && !/^(?:sin|cos|ln)$/.test(factor.atom.name!));

const variablePart = (t: Term): string =>
  t.factors
    .filter(isVariable)
    .map(({ atom, exponent }) => `${atom.key}^${exponent.numerator}/${exponent.denominator}`)
    .join("*");

/** The coefficient of a product of variables. */
const coefficient = (p: Polynomial, part: string): Polynomial =>
  p.terms
    .filter((t) => variablePart(t) === part)
    .map((t) =>
      fromTerm(
        t.coefficient,
        t.factors.filter((f) => !isVariable(f)),
      ),
    )
    .reduce(add, zeroPolynomial);
