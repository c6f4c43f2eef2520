/** The notation of an answer, before any mathematics is done with it. Types and their smallest helpers. Pure. */
import { integer, type Rational } from "../algebra/rational.js";

/** How items of a list are joined: `1, 2`; `x < 1 or x > 2`. */
export type Joint = "," | "or";
/** Brackets of a list; "" for a bare one, "{" for a set, "<" for ⟨ ⟩. */
export type Bracket = "" | "(" | "[" | "{" | "<" | ")" | "]";

export type Tree =
  /** `places`: decimals as written, 0 for `8.`; null without a decimal point. */
  | { type: "number"; value: Rational; places: number | null }
  /** An integer or decimal with too many digits to compute with, in canonical spelling. */
  | { type: "digits"; text: string }
  | { type: "symbol"; name: string }
  | { type: "infinity" }
  | { type: "sum"; terms: Tree[] }
  | { type: "product"; factors: Tree[] }
  /** `mixed`: an integer directly in front is added, as in 1½. */
  | { type: "quotient"; above: Tree; below: Tree; mixed: boolean }
  | { type: "power"; base: Tree; exponent: Tree }
  | { type: "root"; radicand: Tree; index: number }
  /** ±, or ∓ where `flipped`. */
  | { type: "plusminus"; value: Tree; flipped: boolean }
  /** sin, log, abs, factorial, sum, … and functions without a meaning of their own, such as f. */
  | { type: "call"; name: string; args: Tree[] }
  | { type: "quantity"; value: Tree; unit: string }
  | { type: "based"; digits: string; base: number }
  | { type: "list"; open: Bracket; close: Bracket; items: Tree[]; joint: Joint }
  | { type: "relation"; sides: Tree[]; signs: string[] }
  | { type: "union"; parts: Tree[] }
  | { type: "difference"; from: Tree; without: Tree }
  | { type: "reals" }
  | { type: "ratio"; parts: Tree[] }
  | { type: "matrix"; rows: Tree[][] }
  | { type: "text"; words: string };

export const numberTree = (n: number | bigint): Tree => ({ type: "number", value: integer(n), places: null });

/** −tree; the sign becomes part of a plain number, so that −3.89 is still a decimal. */
export function negated(tree: Tree): Tree {
  if (tree.type === "number") {
    const { numerator, denominator } = tree.value;
    return { ...tree, value: { numerator: -numerator, denominator } };
  }
  if (tree.type === "based") {
    return { ...tree, digits: tree.digits.startsWith("-") ? tree.digits.slice(1) : `-${tree.digits}` };
  }
  if (tree.type === "quantity") return { ...tree, value: negated(tree.value) };
  return { type: "product", factors: [numberTree(-1), tree] };
}

/** Whether a tree is a name that may come before "=" without being part of the answer: x, AB, f(x), (p, q). */
export function isName(tree: Tree): boolean {
  switch (tree.type) {
    case "symbol":
      return tree.name !== "i" && tree.name !== "pi";
    case "text":
      return true;
    case "call":
      return !/^(?:abs|ln|log|exp|factorial|floor|ceil|norm)$/.test(tree.name);
    case "list":
      return tree.open === "(" && tree.close === ")" && tree.items.every(isName);
    case "ratio":
      return tree.parts.every(isName);
    case "quotient":
      return isName(tree.above) && isName(tree.below);
    case "product":
      // AB and m∠A are names of one thing; xy is a product of two.
      return (
        tree.factors.every(
          (f) => f.type === "symbol" && (/^\p{Lu}/u.test(f.name) || (f.name === "m" && tree.factors.length === 2)),
        ) || tree.factors.some((f) => f.type === "symbol" && f.name.startsWith("∠"))
      );
    default:
      return false;
  }
}

/** The tree with another one for each of its direct parts. */
function mapParts(tree: Tree, to: (part: Tree) => Tree): Tree {
  switch (tree.type) {
    case "sum":
      return { ...tree, terms: tree.terms.map(to) };
    case "product":
      return { ...tree, factors: tree.factors.map(to) };
    case "quotient":
      return { ...tree, above: to(tree.above), below: to(tree.below) };
    case "power":
      return { ...tree, base: to(tree.base), exponent: to(tree.exponent) };
    case "root":
      return { ...tree, radicand: to(tree.radicand) };
    case "plusminus":
    case "quantity":
      return { ...tree, value: to(tree.value) };
    case "call":
      return { ...tree, args: tree.args.map(to) };
    case "list":
      return { ...tree, items: tree.items.map(to) };
    case "relation":
      return { ...tree, sides: tree.sides.map(to) };
    case "union":
    case "ratio":
      return { ...tree, parts: tree.parts.map(to) };
    case "difference":
      return { ...tree, from: to(tree.from), without: to(tree.without) };
    case "matrix":
      return { ...tree, rows: tree.rows.map((row) => row.map(to)) };
    default:
      return tree;
  }
}

/** Follows ± with one sign and ∓ with the other. */
export function choose(tree: Tree, plus: boolean): Tree {
  const chosen = mapParts(tree, (part) => choose(part, plus));
  if (chosen.type !== "plusminus") return chosen;
  return chosen.flipped === plus ? negated(chosen.value) : chosen.value;
}

/** Whether ± or ∓ occurs in a tree. */
export function isDouble(tree: Tree): boolean {
  let found = tree.type === "plusminus";
  mapParts(tree, (part) => {
    found ||= isDouble(part);
    return part;
  });
  return found;
}
