/**
 * Writes values back as LaTeX, so that answers that are equal by algebra get one text. Scope: numbers, expressions, tuples,
 * lists, intervals and words; what has no short and unique notation here gives null, and keeps its own text. Pure.
 */

import { type Atom, asRational, type Factor, type Polynomial, type Term } from "../algebra/polynomial.js";
import { format, multiply, one, type Rational, rational } from "../algebra/rational.js";
import { formatNumber } from "../plain/number.js";
import { isUnitWord } from "../plain/units.js";
import type { Value } from "./kinds.js";

/** Longer texts are not useful; the answer then keeps its own. */
const maxLength = 300;

/** The text of a value, or null where it has no notation here. */
export function print(value: Value): string | null {
  const text = printed(value);
  return text !== null && text.length <= maxLength ? text : null;
}

function printed(value: Value): string | null {
  switch (value.type) {
    case "scalar": {
      const number = asRational(value.scalar.value);
      const written = number ? formatNumber(number) : polynomial(value.scalar.value);
      // "abc" would be read as a word, "a b c" is a product.
      const text =
        written && /^-?[a-zA-Z]{3,}$/.test(written) ? written.replace(/(?<=[a-zA-Z])(?=[a-zA-Z])/g, " ") : written;
      // Currency signs are dropped, as in numbers.
      return text === null || /^[$€£]?$/.test(value.unit) ? text : text + unit(value.unit, number !== null);
    }
    case "text":
      return words(value.words);
    case "based":
      return `${value.digits}_${value.base > 9 ? `{${value.base}}` : value.base}`;
    case "named":
      return print(value.value);
    case "tuple": {
      const items = all(value.items.map(printed));
      return items && `${value.open}${items.join(", ")}${value.close}`;
    }
    case "list": {
      const items = all(value.items.map(printed));
      if (!items || value.items.some(({ type }) => type === "named")) return null;
      // Words in a row may be a ranking.
      if (value.braces || !value.items.every(({ type }) => type === "text"))
        items.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      return value.braces ? `\\{${[...new Set(items)].join(", ")}\\}` : items.join(", ");
    }
    default:
      return null;
  }
}

/** After a number, a known unit is written unchanged; other units, and any after a formula, have to be \text. */
function unit(name: string, plain: boolean): string {
  if (plain && name === "°") return " degrees";
  const isKnown = name === "%" || name.replace(/\^\d$/, "").split(" ").every(isUnitWord);
  return plain && isKnown ? ` ${name}` : `\\text{ ${name.replace("^", "}^{")}}`;
}

/** Words that would be read as something else are marked as text. */
const words = (said: string): string =>
  /^[a-z]{3,}(?: [a-z]+)*$/.test(said) || /^\d{1,2}:\d\d$/.test(said) ? said : `\\text{${said}}`;

const all = <T>(items: (T | null)[]): T[] | null => (items.includes(null) ? null : (items as T[]));

/** Terms with the highest powers first. */
function polynomial(p: Polynomial): string | null {
  if (p.terms.length === 0) return "0";
  const terms = all([...p.terms].reverse().map(term));
  return terms?.join("+").replaceAll("+-", "-") ?? null;
}

function term(t: Term): string | null {
  const { numerator: n, denominator: d } = t.coefficient;
  const above = product(t.factors.filter(({ exponent }) => exponent.numerator > 0n));
  const below = product(t.factors.filter(({ exponent }) => exponent.numerator < 0n).map(inverse));
  if (above === null || below === null) return null;
  const size = n < 0n ? -n : n;
  const top = times(size, above) || "1";
  const bottom = times(d, below);
  return `${n < 0n ? "-" : ""}${bottom === "" ? top : `\\frac{${top}}{${bottom}}`}`;
}

const inverse = ({ atom, exponent }: Factor): Factor => ({ atom, exponent: multiply(exponent, rational(-1n)) });
const times = (n: bigint, factors: string): string =>
  n === 1n ? factors : /^\d/.test(factors) ? `${n}\\cdot ${factors}` : `${n}${factors}`;

/** Factors side by side; square roots of primes as one root. */
function product(factors: readonly Factor[]): string | null {
  let radicand = 1n;
  const parts: (string | null)[] = [];
  for (const { atom, exponent } of factors) {
    if (atom.kind === "root" && exponent.numerator === 1n && exponent.denominator === 2n) radicand *= atom.radicand!;
    else parts.push(factor(atom, exponent));
  }
  const found = all(parts);
  if (!found) return null;
  // A command needs a blank before a letter, a number a sign before a number.
  return [...found, ...(radicand > 1n ? [`\\sqrt{${radicand}}`] : [])].reduce(
    (text, part) =>
      text +
      (/\\[a-zA-Z]+$/.test(text) && /^[a-zA-Z]/.test(part) ? " " : /^\d/.test(part) && text !== "" ? "\\cdot " : "") +
      part,
    "",
  );
}

function factor(atom: Atom, exponent: Rational): string | null {
  const base = symbol(atom);
  if (base === null) return null;
  if (exponent === one || format(exponent) === "1") return base;
  if (format(exponent) === "1/2") return `\\sqrt{${base.replace(/^\((.*)\)$/s, "$1")}}`;
  return `${atom.kind === "call" || atom.kind === "power" ? `(${base})` : base}^{${format(exponent)}}`;
}

const greek = /^(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|tau|phi|omega|Delta)$/;

function symbol(atom: Atom): string | null {
  switch (atom.kind) {
    case "constant":
      return atom.name === "pi" ? "\\pi" : atom.name === "e" ? "e" : "\\infty";
    case "imaginary":
      return "i";
    case "root":
      return atom.radicand!.toString();
    case "variable": {
      const [name = "", ...index] = atom.name!.split("_");
      if (!/^(?:[a-zA-Z]'*|[a-zA-Z]{4,})$/.test(name) || !index.every((part) => /^\w+$/.test(part))) return null;
      if (name.length > 1 && !name.endsWith("'") && !greek.test(name)) return null;
      return [name.length > 1 && !name.endsWith("'") ? `\\${name}` : name, ...index.map((part) => `{${part}}`)].join(
        "_",
      );
    }
    case "sum": {
      const inner = polynomial(atom.parts![0]!);
      return inner && `(${inner})`;
    }
    case "call": {
      const args = all(atom.parts!.map(polynomial));
      if (!args) return null;
      if (atom.name === "abs") return `|${args[0]}|`;
      if (/^(?:sin|cos|ln|arcsin|arccos|arctan)$/.test(atom.name!)) return `\\${atom.name}(${args[0]})`;
      return /^[fghFGH]$/.test(atom.name!) ? `${atom.name}(${args.join(",")})` : null;
    }
    case "power": {
      const [base, exponent] = [symbol(atom.base!), term(atom.exponent!)];
      return base && exponent && `${base}^{${exponent}}`;
    }
  }
}
