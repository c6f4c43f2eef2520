/**
 * From notation to what an answer states: a number with its unit, a tuple, a set, a region of the number line, a matrix,
 * an equation, an assignment such as `x = 5`, or text. Pure; work is bounded by the budget.
 */
import { cleared, hasVariables, type Scalar, scalarOf } from "../algebra/equality.js";
import { Budget, constant, type Polynomial, subtract } from "../algebra/polynomial.js";
import { Overrun, Unreadable } from "../algebra/rational.js";
import { onTheDay, parse } from "../latex/parse.js";
import { isName, type Tree } from "../latex/tree.js";
import { decimalPoint } from "../plain/undress.js";
import { isUnitWord, normalizeUnit } from "../plain/units.js";
import { readWords } from "../plain/words.js";
import type { Value } from "./kinds.js";
import { matrix } from "./matrices.js";
import { normal } from "./normal.js";
import { asParts, inequality, partsOf, wholeLine, without } from "./regions.js";

/**
 * Reads what an answer states.
 * @throws Unreadable where it states nothing that can be read; Overrun beyond the caps
 */
export function readValue(text: string, budget: Budget): Value {
  return spelled(text) ?? build(parse(decimalPoint(spacedList(uncut(text)))), budget);
}

/** Runs an action that reads or compares; null where that is not possible for this text. */
export function attempt<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (error instanceof Unreadable || error instanceof Overrun) return null;
    throw error;
  }
}

/** What a text states, or null. */
export const tryRead = (text: string): Value | null => attempt(() => readValue(text, new Budget()));

/** Whether a text states something known, even if it is words that could each be a name. */
export const isReadable = (text: string): boolean => tryRead(text) !== null;

/** Without a box that was never closed, as in a reference that was cut off behind it. */
function uncut(text: string): string {
  const box = /^[\s$]*\\{1,2}(?:boxed|fbox)\s?\{/.exec(text);
  if (!box) return text;
  let depth = 1;
  for (let i = box[0].length; i < text.length && depth > 0; i++) {
    if (text[i] === "{" && text[i - 1] !== "\\") depth++;
    else if (text[i] === "}" && text[i - 1] !== "\\") depth--;
  }
  return depth === 1 ? text.slice(box[0].length) : text;
}

const spacing = String.raw`\s*(?:\\[,;: ]|\\q?quad(?![a-z])|~)\s*`;
const spacedNumbers = new RegExp(
  String.raw`^[\s$]*[-+]?\d+(?:\.\d+)?(?:${spacing}[-+]?(?!\d{3}(?!\d))\d+(?:\.\d+)?)+[\s$.]*$`,
);

/** `1\;2\;3`: numbers with only spacing commands between them are a list; groups of three digits are one number. */
const spacedList = (text: string): string =>
  spacedNumbers.test(text) ? text.replace(new RegExp(spacing, "g"), ", ") : text;

function build(tree: Tree, budget: Budget): Value {
  switch (tree.type) {
    case "text":
      return phrase(tree.words);
    case "based":
      return { type: "based", digits: tree.digits, base: tree.base };
    case "reals":
      return wholeLine;
    case "list":
      return list(tree, budget);
    case "relation":
      return relation(tree, budget);
    case "union": {
      const parts = tree.parts.map((part) => build(part, budget));
      const isSet = (part: Value): part is Value & { type: "list" } => part.type === "list" && part.braces;
      if (parts.every(isSet)) return { type: "list", items: parts.flatMap(({ items }) => items), braces: true };
      return { type: "region", subject: null, parts: parts.flatMap(partsOf) };
    }
    case "difference":
      return without(build(tree.from, budget), build(tree.without, budget));
    case "ratio":
      if (tree.parts.length > 2) return { type: "ratio", items: tree.parts.map((part) => scalar(part, budget)) };
      return ofScalar(scalar(tree, budget));
    case "quantity": {
      const value = build(tree.value, budget);
      if (value.type !== "scalar") throw new Unreadable("a unit behind something that is no number");
      return { ...value, unit: tree.unit };
    }
    default: {
      const rows = matrix(tree, budget);
      if (!rows) return ofScalar(scalar(tree, budget));
      const isOne = rows.length === 1 && rows[0]!.length === 1;
      return isOne ? ofScalar(rows[0]![0]!) : { type: "matrix", rows };
    }
  }
}

const ofScalar = (value: Scalar): Value => ({ type: "scalar", scalar: value, unit: "", also: null });

/** Lower case, without punctuation: `Monday.` and `monday` say the same. */
export const plainWords = (words: string): string =>
  words
    .toLowerCase()
    .replace(/\b([ap])\.? ?m\b\.?/g, "$1m")
    .replace(/[$\\{}"'`*_.,;!?]/g, " ")
    .replace(/\s+/g, " ")
    .trim();

/** A number in words, with or without what it counts; null for other words. */
function spelled(text: string): Value | null {
  if (!/^[a-z][a-z\s,.-]*$/i.test(text)) return null;
  const plain = plainWords(text);
  const number = readWords(plain, 0);
  const behind = number ? plain.slice(number.end).trim() : "";
  if (!number || !behind.split(" ").every((word) => word === "" || isUnitWord(word))) return null;
  return { type: "scalar", scalar: scalarOf(constant(number.value)), unit: normalizeUnit(behind), also: null };
}

/** Words: a number in letters, a list of words, or one phrase. */
function phrase(words: string): Value {
  const items = words
    .split(/,\s*(?:and\b)?|\band\b/)
    .map(plainWords)
    .filter((item) => item !== "");
  // "4:30 p.m." as text is the same time as outside of it.
  const time = /^(\d{1,2}:\d\d) ?([ap])\.? ?m\.?$/i.exec(words.trim());
  if (time) return { type: "text", words: onTheDay(time[1]!, `${time[2]!.toLowerCase()}m`) };
  const number = spelled(words);
  if (number) return number;
  const plain = plainWords(words);
  if (items.length < 2) return { type: "text", words: plain };
  return { type: "list", items: items.map((item) => ({ type: "text", words: item })), braces: false };
}

function scalar(tree: Tree, budget: Budget): Scalar {
  return { value: normal(tree, budget), places: tree.type === "number" ? tree.places : null };
}

function list(tree: Tree & { type: "list" }, budget: Budget): Value {
  const items = tree.items.map((item) => build(item, budget));
  if (tree.open === "<") return { type: "tuple", open: "(", close: ")", items };
  if (tree.open === "(" || tree.open === "[") return { type: "tuple", open: tree.open, close: tree.close, items };
  const braces = tree.open === "{";
  if (tree.joint === "or" && !braces && items.every(({ type }) => type === "region")) return joined(items);
  const [first] = items;
  // {x : x = ±2} is {2, −2}.
  if (braces && first?.type === "named" && items.every((item) => item.type === "named" && item.name === first.name))
    return { type: "list", items: items.map((item) => (item as Value & { type: "named" }).value), braces };
  if (first?.type === "named" && !braces) {
    // "n = 2, 3, 4" and "p = −1 and p = 2" list the values of one name.
    const rest = items.slice(1);
    const sameName = rest.every((item) => item.type === "named" && item.name === first.name);
    const unnamed = rest.every(
      ({ type }) => type !== "named" && type !== "equation" && type !== "inequality" && type !== "region",
    );
    if (sameName || unnamed) {
      const values = [first.value, ...rest.map((item) => (item.type === "named" ? item.value : item))];
      return { ...first, equation: null, value: { type: "list", items: values, braces: false } };
    }
  }
  return { type: "list", items, braces };
}

/** Regions of one subject, joined by "or". */
function joined(items: Value[]): Value {
  const regions = items as (Value & { type: "region" })[];
  const subjects = new Set(regions.map(({ subject }) => subject).filter((s) => s !== null));
  if (subjects.size > 1) throw new Unreadable("regions of different subjects");
  return { type: "region", subject: [...subjects][0] ?? null, parts: regions.flatMap(({ parts }) => parts) };
}

function relation(tree: Tree & { type: "relation" }, budget: Budget): Value {
  const { sides, signs } = tree;
  if (signs.every((s) => s === "=" || s === "~")) return equality(sides, signs, budget);
  if (signs.length === 1 && signs[0] === "in") {
    const value = build(sides[1]!, budget);
    const parts = value.type === "tuple" ? asParts(value) : null;
    if (parts) return { type: "region", parts, subject: null };
    return value;
  }
  return inequality(
    sides.map((side) => scalar(side, budget)),
    signs,
    budget,
  );
}

/** `x = 5`, `x = 1 + 1 = 2`, `AB = 4`, `2x + y = 3`, `x ≈ 1.41`. */
function equality(sides: Tree[], signs: string[], budget: Budget): Value {
  const last = sides.at(-1)!;
  const named = sides.find((side, i) => i < sides.length - 1 && isName(side));
  if (named && (sides.length > 2 || isName(sides[0]!))) return assignment(named, sides, signs, budget);
  if (sides.length === 2 && isName(last) && signs[0] === "=") return assignment(last, [last, sides[0]!], signs, budget);
  const value = build(last, budget);
  const before = build(sides.at(-2)!, budget);
  // As "5 + 4 = 9" states 9, so a product of matrices and what it gives.
  if (
    before.type === "matrix" &&
    value.type === "matrix" &&
    !before.rows.flat().some((cell) => hasVariables(cell.value))
  )
    return value;
  if (before.type !== "scalar" || value.type !== "scalar")
    throw new Unreadable("an equation between what are no numbers");
  if (hasVariables(before.scalar.value) || hasVariables(value.scalar.value)) {
    if (sides.length > 2 || signs[0] !== "=") throw new Unreadable("a chain of equations");
    return { type: "equation", difference: cleared(subtract(before.scalar.value, value.scalar.value), budget) };
  }
  // "5 + 4 = 9" states 9; "70/9 ≈ 7.78" states both.
  return signs.at(-1) === "~" ? { ...before, also: value.scalar } : { ...value, unit: value.unit || before.unit };
}

function assignment(name: Tree, sides: Tree[], signs: string[], budget: Budget): Value {
  const last = sides.at(-1)!;
  const before = sides.at(-2)!;
  let value = build(last, budget);
  if (signs.at(-1) === "~" && before !== name && value.type === "scalar") {
    const precise = build(before, budget);
    if (precise.type === "scalar") value = { ...precise, also: value.scalar };
  }
  const text = nameOf(name);
  let equation: Polynomial | null = null;
  if (
    value.type === "scalar" &&
    value.unit === "" &&
    (name.type === "symbol" || name.type === "call" || name.type === "product")
  ) {
    equation = cleared(subtract(normal(name, budget), value.scalar.value), budget);
    // "x = x² − 2" does not say what x is.
    if (name.type === "symbol" && mentions(value.scalar.value, name.name))
      return { type: "equation", difference: equation };
  }
  const parts = name.type === "list" ? name.items.map(nameOf) : null;
  return { type: "named", name: text, head: name.type === "call" ? name.name : text, parts, value, equation };
}

const mentions = (p: Polynomial, name: string): boolean =>
  p.terms.some((t) => t.factors.some(({ atom }) => atom.key.split(/[^\p{L}\d_']+/u).includes(name)));

function nameOf(tree: Tree): string {
  switch (tree.type) {
    case "symbol":
      return tree.name;
    case "text":
      return plainWords(tree.words);
    case "call":
      return `${tree.name}(${tree.args.map(nameOf).join(",")})`;
    case "product":
      return tree.factors.map(nameOf).join("");
    case "list":
      return `(${tree.items.map(nameOf).join(",")})`;
    case "ratio":
      return tree.parts.map(nameOf).join(":");
    case "quotient":
      return `${nameOf(tree.above)}/${nameOf(tree.below)}`;
    case "number":
      return `${tree.value.numerator}/${tree.value.denominator}`;
    default:
      return "?";
  }
}
