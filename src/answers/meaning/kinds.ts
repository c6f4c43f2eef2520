/** The kinds of values that an answer can state. Types only. */
import type { Scalar } from "../algebra/equality.js";
import type { Polynomial } from "../algebra/polynomial.js";

/** A stretch of the number line; null for an end at infinity. */
export interface Interval {
  low: Scalar | null;
  high: Scalar | null;
  lowOpen: boolean;
  highOpen: boolean;
}

export type Value =
  /** `also`: the decimal behind ≈, an answer as good as the exact one. */
  | { type: "scalar"; scalar: Scalar; unit: string; also: Scalar | null }
  | { type: "text"; words: string }
  | { type: "based"; digits: string; base: number }
  /** Ordered, in brackets; two items may be an interval. */
  | { type: "tuple"; open: string; close: string; items: Value[] }
  /** `braces`: written as a set, so never a tuple. */
  | { type: "list"; items: Value[]; braces: boolean }
  /** `subject`: the variable that lies in it, where one was named. */
  | { type: "region"; parts: Interval[]; subject: string | null }
  | { type: "matrix"; rows: Scalar[][] }
  | { type: "ratio"; items: Scalar[] }
  /** `head` is the name without arguments; `parts` the names on the left of (x, y) = …; `equation` left minus right. */
  | { type: "named"; name: string; head: string; parts: string[] | null; value: Value; equation: Polynomial | null }
  | { type: "equation"; difference: Polynomial }
  /** Each link says that a difference is positive, or not negative; for ≠ that it is not zero. */
  | { type: "inequality"; links: { difference: Polynomial; sign: "<" | "<=" | "!=" }[] };
