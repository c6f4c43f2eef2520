/**
 * Numbers as people and models write them, read into exact fractions. One left-to-right pass over capped text; no
 * floating point, no evaluation of expressions. Pure.
 *
 * Read: signs, currency, thousands separators (`1,234`, `1{,}234`, `1\,234`), decimals, fractions (`3/4`, `\frac34`,
 * `6 \div 5`), mixed numbers, scientific notation, `million` and similar words, numbers in words, a trailing unit or
 * per cent sign. Not read, on purpose: sums, roots, lists, ranges, other bases, a decimal comma (`1,2` may be a list).
 */
import { multiply, divide as quotient, type Rational, rational } from "../algebra/rational.js";
import { undress } from "./undress.js";
import { readWords } from "./words.js";

/** A number and what it counts. */
export interface Quantity {
  value: Rational;
  /** As written, lower case, e.g. `cm`, `square feet`; `%` for per cent; null without one. Currency signs are dropped. */
  unit: string | null;
}

/** Longer text, more digits or a larger exponent is not read as a number: hostile input costs nothing. */
export const limits = { characters: 2_000, digits: 400, exponent: 400 } as const;

const scales: Readonly<Record<string, bigint>> = {
  hundred: 100n,
  thousand: 1_000n,
  million: 1_000_000n,
  billion: 1_000_000_000n,
  trillion: 1_000_000_000_000n,
};

/** Words of fewer than three letters are variables, except for these. */
const shortUnits = new Set(
  "m g s h l cm mm km kg mg ml kl oz lb lbs ft in yd mi hr hrs min sec ms mph kph cl dl gb mb tb kb kw am pm sq cu".split(
    " ",
  ),
);
/** Words that continue an expression rather than name a unit. */
const notUnits = new Set(
  "pi and or to plus minus times over sqrt sin cos tan log not than hundred thousand million billion trillion".split(
    " ",
  ),
);

const divide = (a: Rational, b: Rational): Rational | null => (b.numerator === 0n ? null : quotient(a, b));

/** A number that begins at an offset of a text, and the offset behind it. */
export interface NumberAt {
  value: Rational;
  end: number;
}

const match = (pattern: RegExp, text: string, at: number): RegExpExecArray | null => {
  pattern.lastIndex = at; // every pattern below is sticky
  return pattern.exec(text);
};
const skipSpace = (text: string, at: number): number => at + (match(/\s*/y, text, at)?.[0].length ?? 0);

const decimalPattern = /(?:[1-9]\d{0,2}(?:(?:,|\{,\})\d{3})+(?![\d])|\d+)(?:\.\d+|\.(?!\d))?|\.\d+/y;

/** Unsigned decimal with optional thousands separators. */
function readDecimal(text: string, at: number): NumberAt | null {
  const found = match(decimalPattern, text, at)?.[0];
  if (found === undefined) return null;
  const [whole = "", decimals = ""] = found.replace(/[,{}]/g, "").split(".");
  if (whole.length + decimals.length > limits.digits) return null;
  return { value: rational(BigInt(whole + decimals), 10n ** BigInt(decimals.length)), end: at + found.length };
}

/** A signed decimal, bare or in one pair of braces or parentheses. */
function readAtom(text: string, at: number): NumberAt | null {
  const start = skipSpace(text, at);
  const open = text[start];
  if (open === "{" || open === "(") {
    const inner = readSigned(text, start + 1, readDecimal);
    const close = inner ? skipSpace(text, inner.end) : start;
    return inner && text[close] === (open === "{" ? "}" : ")") ? { value: inner.value, end: close + 1 } : null;
  }
  return readDecimal(text, start);
}

function readSigned(text: string, at: number, read: (text: string, at: number) => NumberAt | null): NumberAt | null {
  const sign = match(/\s*([+-]?)\s*/y, text, at);
  const found = read(text, at + (sign?.[0].length ?? 0));
  if (!found || sign?.[1] !== "-") return found;
  return { value: { numerator: -found.value.numerator, denominator: found.value.denominator }, end: found.end };
}

/** `\frac{a}{b}`, `\frac ab`, `\frac12`: each argument is a group or a single digit. */
function readFrac(text: string, at: number): NumberAt | null {
  if (!text.startsWith("\\frac", at)) return null;
  const argument = (from: number): NumberAt | null => {
    const start = skipSpace(text, from);
    if (text[start] === "{") return readAtom(text, start);
    const digit = match(/\d/y, text, start)?.[0];
    return digit === undefined ? null : { value: rational(BigInt(digit), 1n), end: start + 1 };
  };
  const above = argument(at + 5);
  const below = above && argument(above.end);
  const value = above && below && divide(above.value, below.value);
  return value && below ? { value, end: below.end } : null;
}

/** `a/b` or `a \div b`. */
function readSlash(text: string, at: number): NumberAt | null {
  const above = readAtom(text, at);
  const slash = above && match(/\s*(?:\/|÷|\\div(?![a-z]))\s*/y, text, above.end);
  const below = slash && readSigned(text, above.end + slash[0].length, readAtom);
  const value = above && below && divide(above.value, below.value);
  return value && below ? { value, end: below.end } : null;
}

/** A whole number followed by a proper fraction. */
function readMixed(text: string, at: number): NumberAt | null {
  const whole = match(/(\d{1,400})(\s+(?=\d)|\s*(?=\\frac))/y, text, at);
  if (!whole) return null;
  const next = at + whole[0].length;
  const part = readFrac(text, next) ?? (match(/\d+\s*\//y, text, next) ? readSlash(text, next) : null);
  if (!part || part.value.numerator <= 0n || part.value.numerator >= part.value.denominator) return null;
  const { numerator, denominator } = part.value;
  return { value: rational(BigInt(whole[1]!) * denominator + numerator, denominator), end: part.end };
}

/** A power of ten behind a number: `e5`, `\times 10^{5}`, `x 10^-5`, or a scale word. */
function readScale(text: string, at: number): NumberAt | null {
  const word = match(/\s*([a-z]+)/iy, text, at);
  const scale = word && Object.hasOwn(scales, word[1]!.toLowerCase()) ? scales[word[1]!.toLowerCase()] : undefined;
  if (word && scale) return { value: rational(scale, 1n), end: at + word[0].length };
  const power = match(
    /[eE]([+-]?\d{1,4})(?![\w.])|\s*(?:\\times|\\cdot|×|\*|x)\s*10\^(?:\{\s*([+-]?\d{1,4})\s*\}|([+-]?\d{1,4}))/y,
    text,
    at,
  );
  if (!power) return null;
  const exponent = Number(power[1] ?? power[2] ?? power[3]);
  if (Math.abs(exponent) > limits.exponent) return null;
  const ten = 10n ** BigInt(Math.abs(exponent));
  return { value: exponent < 0 ? rational(1n, ten) : rational(ten, 1n), end: at + power[0].length };
}

/** Reads the longest number that begins at `at` of undressed text; units are not read. */
export function readNumber(text: string, at = 0): NumberAt | null {
  const base = readSigned(text, at, (t, i) => readMixed(t, i) ?? readFrac(t, i) ?? readSlash(t, i) ?? readAtom(t, i));
  const scale = base && readScale(text, base.end);
  if (!base || !scale) return base;
  return { value: multiply(base.value, scale.value), end: scale.end };
}

/** What follows a number: "" for nothing, a unit, or null where it is not a unit, so that the whole is not a number. */
function unitOf(tail: string): string | null {
  const attached = !/^[\s{(]/.test(tail);
  const text = tail
    .replace(/[{}()*_`~]/g, " ")
    .replace(/[\s.!]+$/, "")
    .trim()
    .toLowerCase();
  if (text === "") return "";
  if (/^(?:\\?%|per ?cent|pct|percentage)(?: points?)?$/.test(text)) return "%";
  if (/^(?:\^? ?\\circ|°|degrees?)(?: ?[cf])?$/.test(text)) return "degrees";
  if (!/^[a-z'’.\-/ ]+(?:\^ ?[23]|[²³])?$/.test(text)) return null;
  const words = text
    .replace(/\^? ?[23²³]$/, "")
    .split(/[ /.-]+/)
    .filter((word) => word !== "");
  const isUnit = (word: string) => !notUnits.has(word) && (shortUnits.has(word) || word.length >= 3 || word === "of");
  // "9xy" and "5m" are products in LaTeX; only well-known units of two letters may touch the number.
  if (attached && !(shortUnits.has(words[0] ?? "") && words[0]!.length > 1)) return null;
  return words.length > 0 && words.length <= 8 && words.every(isUnit) ? text : null;
}

/**
 * Reads text that as a whole is one number, with or without a unit.
 * @returns null for anything else, and for text beyond the {@link limits}
 */
export function parseQuantity(text: string): Quantity | null {
  if (text.length > limits.characters) return null;
  // Most numbers are a few digits.
  if (/^-?\d{1,15}$/.test(text)) return { value: rational(BigInt(text), 1n), unit: null };
  const plain = undress(text);
  // "x = 720" and "5 + 4 = 9" are answers; "x^2 + y^2 = 9", "x >= 9" and "x = 5, y = 9" are not the number 9.
  const equals = Math.max(plain.lastIndexOf("="), plain.lastIndexOf("≈"));
  const left = plain.slice(0, Math.max(equals, 0));
  if (!/^[a-zA-Z\\_{}() ]*$/.test(left) && !/^[\d.,+\-*/÷×() =≈]*$/.test(left)) return null;
  const side = plain.slice(equals + 1);
  const whole = readNumber(side) ?? unwrap(side) ?? readWords(side, 0);
  if (!whole) return null;
  const unit = unitOf(side.slice(whole.end));
  return unit === null ? null : { value: whole.value, unit: unit === "" ? null : unit };
}

/** A fraction or mixed number inside one pair of braces or parentheses: `(\frac{1}{2})`. */
function unwrap(text: string): NumberAt | null {
  const start = skipSpace(text, 0);
  if (text[start] !== "(" && text[start] !== "{") return null;
  const inner = readNumber(text, start + 1);
  const close = inner ? skipSpace(text, inner.end) : start;
  return inner && text[close] === (text[start] === "(" ? ")" : "}") ? { value: inner.value, end: close + 1 } : null;
}

/**
 * The canonical text of a number: `-1234`; a terminating decimal without trailing zeros, `0.75`; else a fraction in
 * lowest terms, `1/3`. Two numbers are equal exactly when their canonical texts are.
 */
export function formatNumber({ numerator, denominator }: Rational): string {
  if (denominator === 1n) return numerator.toString();
  let [rest, twos, fives] = [denominator, 0, 0];
  for (; rest % 2n === 0n; rest /= 2n) twos++;
  for (; rest % 5n === 0n; rest /= 5n) fives++;
  const decimals = Math.max(twos, fives);
  if (rest !== 1n || decimals > limits.digits) return `${numerator}/${denominator}`;
  const magnitude = numerator < 0n ? -numerator : numerator;
  const digits = ((magnitude * 10n ** BigInt(decimals)) / denominator).toString().padStart(decimals + 1, "0");
  return `${numerator < 0n ? "-" : ""}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}
