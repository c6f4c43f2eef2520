/**
 * Parts of the number line: intervals, their unions, and inequalities that say where one quantity lies. Other
 * inequalities, such as x + y > 1, stay inequalities: a difference that is positive. Pure.
 */
import { hasVariables, type Scalar, scalarOf } from "../algebra/equality.js";
import { evaluate } from "../algebra/numeric.js";
import { type Budget, constant, multiply, type Polynomial, scale, subtract } from "../algebra/polynomial.js";
import { divide, isInteger, negate as negateRational, one, sign, Unreadable } from "../algebra/rational.js";
import type { Interval, Value } from "./kinds.js";

export const wholeLine: Value = {
  type: "region",
  subject: null,
  parts: [{ low: null, high: null, lowOpen: true, highOpen: true }],
};

/** A value as parts of the number line. @throws Unreadable if it is none */
export function partsOf(value: Value): Interval[] {
  const parts = asParts(value);
  if (!parts) throw new Unreadable("a union of what is no interval");
  return parts;
}

/** A region, an interval written as a pair, or a set of numbers; null for anything else. */
export function asParts(value: Value): Interval[] | null {
  if (value.type === "region") return value.parts;
  if (value.type === "tuple" && value.items.length === 2 && value.items.every(({ type }) => type === "scalar")) {
    const [low, high] = value.items.map((item) => endpoint((item as Value & { type: "scalar" }).scalar));
    return [
      {
        low: low!,
        high: high!,
        lowOpen: value.open === "(" || low === null,
        highOpen: value.close === ")" || high === null,
      },
    ];
  }
  if (value.type === "list" && value.braces && value.items.every(({ type }) => type === "scalar")) {
    return value.items.map((item) => {
      const { scalar: point } = item as Value & { type: "scalar" };
      return { low: point, high: point, lowOpen: false, highOpen: false };
    });
  }
  return null;
}

const endpoint = (s: Scalar): Scalar | null => (/^-?\d*\*?∞$/.test(s.value.key) ? null : s);

/** The number line without some points. */
export function without(from: Value, points: Value): Value {
  const parts = asParts(from);
  const removed = points.type === "list" ? asParts({ ...points, braces: true }) : null;
  const [line] = parts ?? [];
  if (!removed || parts?.length !== 1 || line!.low !== null || line!.high !== null)
    throw new Unreadable("a difference of sets");
  return { type: "region", subject: null, parts: between(removed.map(({ low }) => low!)) };
}

/** The number line between points. @throws Unreadable where their order is not known */
function between(points: Scalar[]): Interval[] {
  const located = points.map((point) => ({ point, at: evaluate(point.value, null)?.[0] }));
  if (located.some(({ at }) => at === undefined)) throw new Unreadable("points without a place on the number line");
  located.sort((a, b) => a.at! - b.at!);
  const ends: (Scalar | null)[] = [null, ...located.map(({ point }) => point), null];
  return ends.slice(1).map((high, i) => ({ low: ends[i]!, high, lowOpen: true, highOpen: true }));
}

/** `x > 2`, `1 ≤ |z| < 3`, `x ≠ 3` as regions; other inequalities as the differences that are positive. */
export function inequality(sides: readonly Scalar[], signs: readonly string[], budget: Budget): Value {
  if (signs.length === 1 && signs[0] === "!=") return unequal(sides[0]!, sides[1]!);
  const down = signs.every((s) => s === ">" || s === ">=");
  if (!down && !signs.every((s) => s === "<" || s === "<=")) throw new Unreadable("a chain of mixed signs");
  const scalars = [...sides];
  if (down) scalars.reverse();
  const open = signs.map((s) => s === "<" || s === ">");
  if (down) open.reverse();
  const region = regionOf(scalars, open, budget);
  if (region) return region;
  const links = open.map((strict, i) => ({
    difference: subtract(scalars[i + 1]!.value, scalars[i]!.value),
    sign: strict ? ("<" as const) : ("<=" as const),
  }));
  return { type: "inequality", links };
}

/** Ascending sides of which all but one are constants. */
function regionOf(sides: Scalar[], open: boolean[], budget: Budget): Value | null {
  const variable = sides.filter(({ value }) => hasVariables(value) || /^1\*\w+\(/.test(value.key));
  const [subject] = variable;
  if (!subject || variable.length > 1 || sides.length > 3) return null;
  const at = sides.indexOf(subject);
  if (sides.length === 3 && at !== 1) return null;
  const low = at > 0 ? endpoint(sides[at - 1]!) : null;
  const high = at < sides.length - 1 ? endpoint(sides[at + 1]!) : null;
  const part = { low, high, lowOpen: low === null || open[at - 1]!, highOpen: high === null || open[at]! };
  return solved(subject.value, part, budget);
}

/** Where c·x + d, or |x|, lies in an interval; null for other subjects. */
function solved(p: Polynomial, part: Interval, budget: Budget): Value | null {
  const moving = p.terms.filter((t) => t.factors.length > 0);
  const [only] = moving;
  const factor = only?.factors[0];
  if (
    !factor ||
    moving.length > 1 ||
    only!.factors.length > 1 ||
    factor.exponent.numerator !== 1n ||
    !isInteger(factor.exponent)
  )
    return null;
  const { atom } = factor;
  if (atom.kind !== "variable" && atom.kind !== "call") return null;
  const offset = p.terms.find((t) => t.factors.length === 0)?.coefficient;
  const move = (end: Scalar | null): Scalar | null => {
    if (!end || (!offset && only!.coefficient.numerator === only!.coefficient.denominator)) return end;
    const shifted = offset ? subtract(end.value, constant(offset)) : end.value;
    return scalarOf(scale(shifted, divide(one, only!.coefficient)));
  };
  const flipped = sign(only!.coefficient) < 0;
  const moved: Interval = flipped
    ? { low: move(part.high), high: move(part.low), lowOpen: part.highOpen, highOpen: part.lowOpen }
    : { ...part, low: move(part.low), high: move(part.high) };
  if (atom.name !== "abs" || atom.kind !== "call") return { type: "region", parts: [moved], subject: atom.key };
  const inner = atom.parts![0]!;
  if (inner.terms.length !== 1) return null;
  const mirrored = {
    low: opposite(moved.high, budget),
    high: opposite(moved.low, budget),
    lowOpen: moved.highOpen,
    highOpen: moved.lowOpen,
  };
  // |x| < 3 is one stretch, 1 < |x| two.
  const parts = moved.low === null ? [{ ...moved, low: mirrored.low, lowOpen: mirrored.lowOpen }] : [mirrored, moved];
  return { type: "region", parts, subject: inner.key.replace(/^1\*/, "") };
}

const opposite = (end: Scalar | null, budget: Budget): Scalar | null =>
  end && scalarOf(multiply(end.value, constant(negateRational(one)), budget));

function unequal(left: Scalar, right: Scalar): Value {
  const [subject, point] = hasVariables(left.value) ? [left, right] : [right, left];
  if (/^1\*[\p{L}\d_']+$/u.test(subject.value.key) && !hasVariables(point.value)) {
    return { type: "region", parts: between([point]), subject: subject.value.key.slice(2) };
  }
  return { type: "inequality", links: [{ difference: subtract(left.value, right.value), sign: "!=" }] };
}
