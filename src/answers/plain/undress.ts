/**
 * Removes formatting that does not change a number or a letter: math delimiters, currency signs,
 * LaTeX fonts and spacing, markdown emphasis. Linear: each step is one pass with no nested repetition. Pure.
 */

const fonts = "text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox|hbox|operatorname|boxed|fbox|emph|rm|bf";
const fontCommand = new RegExp(String.raw`\\(?:${fonts})(?![a-zA-Z])`, "g");

/**
 * Turns decimal commas into points and removes points between thousands, where the text has no other meaning: `0,125`,
 * `1.234,56`, `1.234.567`, `1 234,5`, `2,74 €`. `1,5` may be a list and stays.
 */
export function decimalPoint(text: string): string {
  if (!/\d[., ]\d/.test(text)) return text;
  const number = /^([-+\s$€£]*)(\d[\d., ]*\d)([\s$€£.]*)$/.exec(text);
  // Dollars on both sides are math delimiters, and "$1,50$" a list.
  if (number) return number[1]! + plainNumber(number[2]!, /[€£]|^[^$]*\s\$/.test(text)) + number[3]!;
  return text.replace(/(?<![\d.,])(\d+),(\d{1,2})(?=\s+\$|\s*[€£])/g, "$1.$2");
}

/** Digits with points, commas and blanks between them. */
function plainNumber(text: string, isMoney: boolean): string {
  const join = (whole: string, rest: string | undefined): string =>
    whole.replace(/[. ]/g, "") + (rest === undefined ? "" : `.${rest}`);
  const decimal = /^(0),(\d{3,})$/.exec(text) ?? (isMoney ? /^(\d+),(\d{1,2})$/.exec(text) : null);
  const grouped =
    /^([1-9]\d{0,2}(?: \d{3})+)(?:[.,](\d+))?$/.exec(text) ??
    /^([1-9]\d{0,2}(?:\.\d{3})+),(\d+)$/.exec(text) ??
    /^([1-9]\d{0,2}(?:\.\d{3}){2,})$/.exec(text);
  const found = decimal ?? grouped;
  return found ? join(found[1]!, found[2]) : text;
}

/** Fractions of one sign. */
export const vulgar: Readonly<Record<string, string>> = {
  "½": "1/2",
  "⅓": "1/3",
  "⅔": "2/3",
  "¼": "1/4",
  "¾": "3/4",
  "⅕": "1/5",
  "⅛": "1/8",
};

/** The same answer in plain letters, digits and braces. Whitespace is kept where it separates. */
export function undress(text: string): string {
  // Most answers have no such formatting.
  if (/^-?[a-zA-Z0-9]+$/.test(text)) return text;
  return (
    decimalPoint(text)
      .replace(/[−–﹣－]/g, "-")
      .replace(/[\u00a0\u2009\u202f]/g, " ")
      .replace(/[½⅓⅔¼¾⅕⅛]/g, (sign) => ` ${vulgar[sign]}`)
      .replace(/,\\! ?(?=\d{3})|\s?\{\s?,\s?\}\s?(?=\d{3})/g, ",")
      .replace(/\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\!|\\[()[\]]/g, "")
      .replace(/\\[dtc]frac(?![a-z])/g, "\\frac")
      .replace(/\\(?:approx|simeq)(?![a-z])/g, "≈")
      .replace(/\\?[$€£¥₹]/g, "")
      // A thin space between digit groups is a thousands separator; every other LaTeX space separates.
      .replace(/(\d)\\,(?=\d{3}(?!\d))/g, "$1,")
      .replace(/(?<!\\)\\[,;: ]|~|\\q?quad(?![a-z])/g, " ")
      .replace(fontCommand, " ")
      .replace(/^[\s*_`]+/, "")
      .trim()
  );
}

/**
 * Normal form of an answer that is not a number, for comparison as text: undressed, without needless spaces, `x =` in
 * front, outer braces and a final full stop. It does no algebra: `a+b` and `b+a` stay different.
 */
export function normalizeText(text: string): string {
  let plain = text;
  // One layer may contain another, as in "{x = {5}}"; real answers need one or two rounds.
  for (let round = 0; round < 8; round++) {
    const next = normalizeOnce(plain);
    if (next === plain) break;
    plain = next;
  }
  return plain;
}

function normalizeOnce(text: string): string {
  const plain = undress(text)
    .replace(/\s+/g, " ")
    .replace(/ (?=[^\p{L}\d])|(?<=[^\p{L}\d]) |(?<=\d) (?=\p{L})|(?<=\p{L}) (?=\d)/gu, "")
    .replace(/\\frac(\d)(\d)/g, "\\frac{$1}{$2}")
    .replace(/\^\{?\\circ\}?/g, "")
    .replace(/^[a-zA-Z](?:=|\\in(?![a-z]))/, "");
  let end = plain.length;
  while (end > 0 && ".*_`".includes(plain[end - 1]!)) end--;
  return stripBraces(plain.slice(0, end));
}

/** Removes every pair of braces around the whole text, in one pass. */
function stripBraces(text: string): string {
  const open: number[] = [];
  const closes = new Map<number, number>();
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "{") open.push(i);
    else if (text[i] === "}") closes.set(open.pop() ?? -1, i);
  }
  let layers = 0;
  while (closes.get(layers) === text.length - 1 - layers) layers++;
  return text.slice(layers, text.length - layers);
}
