/**
 * What a phrase states, such as the rest of a line behind "Final Answer:": the formula or number in a sentence. Where a
 * sentence names several, none is guessed. Pure; phrases are capped, so that no pattern sees long text.
 */

import { canonical } from "../meaning/canonical.js";
import { isReadable } from "../meaning/value.js";
import { parseChoice } from "../plain/choice.js";
import type { AnswerKind } from "../plain/kind.js";
import { formatNumber, parseQuantity, readNumber } from "../plain/number.js";
import { undress } from "../plain/undress.js";
import { isUnitWord } from "../plain/units.js";

/** A phrase is read up to here; a statement that begins later does not count. */
const maxPhrase = 2_000;

/** A formula in a sentence; the span includes its delimiters. */
interface Formula {
  start: number;
  end: number;
}

/** Spans of `$…$`, `$$…$$`, `\(…\)` and `\[…\]`, in order. A `$` in front of a blank or digit may be currency. */
export function formulas(text: string): Formula[] {
  const found: Formula[] = [];
  const opening = /\\[([]|(?<!\\)\$\$?/g;
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const open = match[0];
    const close = open === "\\(" ? "\\)" : open === "\\[" ? "\\]" : open;
    const end = closing(text, opening.lastIndex, close);
    if (end < 0) continue;
    found.push({ start: match.index, end: end + close.length });
    opening.lastIndex = end + close.length;
  }
  return found;
}

/** Inline formulas stay within their paragraph; an escaped `\$` does not close one. */
function closing(text: string, from: number, close: string): number {
  for (let end = text.indexOf(close, from); end >= 0; end = text.indexOf(close, end + 1)) {
    if (text[end - 1] === "\\" && close[0] !== "\\") continue;
    const isDisplay = close === "\\]" || close === "$$";
    return !isDisplay && /\n\s*\n|^\s*\n|\n\s*$/.test(text.slice(from, end)) ? -1 : end;
  }
  return -1;
}

/** The first sentence; a full stop counts where a new sentence or nothing follows and no formula is open. */
export function firstSentence(phrase: string): string {
  const spans = formulas(phrase);
  const stop = /[.!?]["”*]?(?=\s+["“(*\\]?[A-Z]|\s*$)/g;
  for (let match = stop.exec(phrase); match; match = stop.exec(phrase)) {
    const at = match.index;
    if (spans.some(({ start, end }) => start < at && at < end)) continue;
    // "a.m." and "approx." end no sentence, nor does a numbered point.
    if (/(?:\b[ap]\.m|\bapprox|\bno|\beq|^\s*\d{1,2})$/i.test(phrase.slice(0, at)) && at + 1 < phrase.length) continue;
    return phrase.slice(0, at);
  }
  return phrase;
}

/** The bare answer a phrase states, as written; null if it states none, or several. */
export function stated(phrase: string, kind: "number" | "math"): string | null {
  const sentence = firstSentence(phrase.slice(0, maxPhrase))
    .replace(/\\?["“”]/g, " ")
    .trim();
  if (sentence === "") return null;
  if (kind === "number") return numberIn(sentence);
  const spans = formulas(sentence);
  if (spans.length > 0) return formulaIn(sentence, spans);
  const tail = sentence.slice(lastVerb(sentence)).trim();
  if (tail !== sentence && tail !== "" && isReadable(tail)) return tail;
  return isReadable(sentence) ? sentence : numberIn(sentence);
}

/** The last number, expression or letter of a line; null where there is none. */
export function lastIn(line: string, kind: AnswerKind, choices: readonly string[] | null): string | null {
  if (kind === "choice") {
    const clauses = line.split(/[.!?;,]\s+|\bbut\b/).reverse();
    return clauses.find((clause) => parseChoice(clause, choices) !== null) ?? null;
  }
  const number = numbersIn(undress(line)).at(-1)?.text ?? null;
  if (kind === "number") return number;
  const formula = formulas(line).at(-1);
  const behind = line.slice(formula?.end ?? 0);
  if (formula && !/\d/.test(behind)) return line.slice(formula.start, formula.end);
  const tail = behind
    .slice(Math.max(lastVerb(behind), behind.lastIndexOf("=") + 1, behind.lastIndexOf(":") + 1))
    .trim();
  return /[\d\\^]/.test(tail) && isReadable(tail) ? tail : number;
}

/** Offset behind the last "is", "are" or "equals"; 0 without one. */
function lastVerb(sentence: string): number {
  let end = 0;
  for (const match of sentence.matchAll(
    /\b(?:is|are|equals|be)\b(?: (?:equal to|exactly|approximately|about|simply|just|thus))?:?/g,
  )) {
    end = match.index + match[0].length;
  }
  return end;
}

/** Text between two formulas that makes them parts of one answer. */
const connects = /^\s*(?:[,;]|,?\s*(?:and|or)\b|\\text\{\s*(?:and|or)\s*\})*\s*$/;
/** What may follow a formula and belongs to it. */
const unitBehind =
  /^\s*(?:%|\\%|°|(?:percent|pct|degrees?|dollars?|cents?|units?|cm|mm|km|m|kg|g|miles?|meters?|feet|inches|hours?|minutes?|seconds?|days?|years?)\b(?:\s?\^\s?[23])?)/;

/**
 * The formula that is the answer: one at the beginning, else the first behind "is" or a colon, else the last; with
 * formulas joined to it by commas or "and", and a unit behind it.
 */
function formulaIn(sentence: string, spans: readonly Formula[]): string | null {
  const groups: Formula[] = [];
  for (const { start, end } of spans) {
    const last = groups.at(-1);
    if (last && connects.test(sentence.slice(last.end, start))) last.end = end;
    else groups.push({ start, end });
  }
  const before = ({ start }: Formula) => sentence.slice(Math.max(0, start - 40), start);
  const answers =
    groups.find(({ start }) => sentence.slice(0, start).trim() === "") ??
    groups.find((g) =>
      /(?:\b(?:is|are|equals|be)|=|:)\s*(?:approximately|about|exactly|equal to)?\s*$/.test(before(g)),
    );
  const chosen = answers ?? groups.at(-1)!;
  const unit = unitBehind.exec(sentence.slice(chosen.end))?.[0] ?? "";
  return sentence.slice(chosen.start, chosen.end) + unit;
}

/** Words that may separate the answer from a further number that is not part of it. */
const aside = /(?:[,;:] |\(|\b(?:in|per|every|each|for|out of|because|since|from|after|with)\b)/i;

/** A number named in a sentence: the only one, or the first if the others are an aside. */
function numberIn(sentence: string): string | null {
  const plain = undress(sentence.slice(0, maxPhrase));
  const said = plain.slice(Math.max(plain.lastIndexOf("="), plain.lastIndexOf("≈")) + 1);
  const numbers = numbersIn(said);
  const [first, second] = numbers;
  if (!first || isExpression(said, numbers)) return null;
  // "1,5" is a list or a decimal.
  if (numbers.some(({ end }) => /^,\d/.test(said.slice(end, end + 2)))) return null;
  if (!second) return first.text;
  const between = said.slice(first.end, second.start);
  const leads = said.slice(0, first.start).trim() === "";
  if (leads && aside.test(between) && /[\p{L}(]/u.test(between)) return first.text;
  // "50 + 50" is not 50.
  const isSum = numbers.some(({ end }, i) => /^\s*[-+*/×÷]\s*$/.test(said.slice(end, numbers[i + 1]?.start ?? end)));
  return !isSum && numbers.every(({ value }) => value === first.value) ? first.text : null;
}

/** Roots, powers, indices, braces and letters that touch a number make an expression, not a number in a sentence. */
function isExpression(text: string, numbers: readonly Named[]): boolean {
  const between = numbers.map(({ start }, i) => text.slice(numbers[i - 1]?.end ?? 0, start));
  const rest = [...between, text.slice(numbers.at(-1)!.end)];
  if (rest.some((part) => /[\\^_{}]/.test(part))) return true;
  return numbers.some(({ end }) => {
    const letters = /^\p{L}+/u.exec(text.slice(end, end + 20))?.[0];
    return letters !== undefined && !(letters.length > 1 && isUnitWord(letters));
  });
}

interface Named {
  value: string;
  text: string;
  start: number;
  end: number;
}

/** Numbers in plain text, each with a per cent sign behind it. */
export function numbersIn(text: string): Named[] {
  const found: Named[] = [];
  const opening = /(?<![\p{L}\d.,])(?:-\s?)?(?:\\frac|\.?\d)/gu;
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const number = readNumber(text, match.index);
    if (!number) continue;
    const percent = /\s?(?:\\?%|percent\b)/y;
    percent.lastIndex = number.end;
    const end = number.end + (percent.exec(text)?.[0].length ?? 0);
    found.push({ value: formatNumber(number.value), text: text.slice(match.index, end), start: match.index, end });
    opening.lastIndex = Math.max(end, opening.lastIndex);
  }
  return found;
}

/** A word that stands alone marks a text as prose; names of functions and units touch something else. */
const standingWord = /(?:^|\s)(?!and\b|or\b)[A-Za-z]{3,}[.,:;!?]?(?=\s|$)/;

/** Whether the whole text is an answer of this kind and nothing else. */
export function isBare(text: string, kind: "number" | "math"): boolean {
  if (text.length > maxPhrase) return false;
  // "12 + 7 = 19" is a line of working, as a completion that was cut off may end with; "x = 19" is an answer.
  if (kind === "number") return !text.includes("\n") && canonical(text, kind) !== null && !/\d[^=]*=/.test(text);
  if (!text.includes("\n") && parseQuantity(text) !== null && isReadable(text)) return true;
  if (/^[A-Za-z]{2,}[.!]?$/.test(text)) return true;
  const spans = formulas(text);
  if (spans.length === 0) return !text.includes("\n") && !standingWord.test(text) && isReadable(text);
  const edges = [{ start: 0, end: 0 }, ...spans, { start: text.length, end: text.length }];
  return edges.slice(1).every(({ start }, i) => connects.test(text.slice(edges[i]!.end, start).replace(/\.$/, "")));
}
