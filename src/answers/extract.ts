/**
 * Finds the answer that a completion states. Rules in order, the first that applies decides: the last
 * `Final Answer: X` (paper, Appendix A.4), the last `\boxed{X}`, the last `#### X` (GSM8K), the last "the answer is X",
 * and a completion that is nothing but an answer. Within a rule the last one counts, because a model may correct itself,
 * and there is no way back: where the last one cannot be read, there is no answer. Linear in the length. Pure.
 */
import { canonical } from "./canonical.js";
import { formatNumber, limits, parseQuantity, readNumber } from "./number.js";
import { undress } from "./undress.js";

/** How answers of a question are read and compared. */
export type AnswerKind = "number" | "choice" | "math";

/** Which rule found an answer. */
export type Rule = "final answer" | "boxed" | "hashes" | "answer is" | "bare";

/** An answer found in a text. */
export interface Extraction {
  /** Canonical form: equal strings are equal answers. */
  answer: string;
  /** Offsets [start, end) of the phrase it was read from. */
  span: [start: number, end: number];
  rule: Rule;
}

/** Text beyond this many characters is not searched. */
const MAX_TEXT = 1_000_000;

/**
 * Finds the answer a completion states.
 * @param choices option texts of a multiple-choice question, so that an option may be named by its own words
 * @returns null if no rule applies, or if the phrase the deciding rule found is not an answer of this kind
 */
export function extract(text: string, kind: AnswerKind, choices: readonly string[] | null = null): Extraction | null {
  if (text.length > MAX_TEXT) return null;
  const own = text.slice(0, ownLength(text));
  const found = locate(own);
  if (!found) {
    const [start, end] = trimmed(own, 0, own.length);
    const answer = isBare(own.slice(start, end), kind) ? canonical(own.slice(start, end), kind, choices) : null;
    return answer === null ? null : { answer, span: [start, end], rule: "bare" };
  }
  const { start, end, rule } = found;
  const phrase = found.content ?? own.slice(start, end);
  const answer =
    found.content === undefined
      ? (canonical(clip(phrase, kind), kind, choices) ?? inProse(phrase, kind))
      : canonical(phrase, kind, choices);
  return answer === null ? null : { answer, span: [start, end], rule };
}

interface Located {
  start: number;
  end: number;
  rule: Rule;
  /** The answer's text where it is not simply the span: the contents of boxes. */
  content?: string;
}

/** Ends the completion where another speaker or the next few-shot question begins. */
function ownLength(text: string): number {
  // A whole token: "0<|y+2|<5" is mathematics.
  const special = text.search(/<\|[a-z_][a-z0-9_]{1,40}\|>|<\/s>|<eos>|<end_of_turn>/i);
  const limit = special < 0 ? text.length : special;
  const first = /^[\s*_#>]*final answer/im.exec(text);
  if (!first) return limit;
  const next = /^(?:question|problem)(?: \d{1,4})?:/gim;
  next.lastIndex = first.index + first[0].length;
  return Math.min(limit, next.exec(text)?.index ?? limit);
}

function locate(text: string): Located | null {
  const marker = lastMatch(text, /final answer(?:[*_]{0,3}:| is\b| ?[*_#]{0,3}[ \t]*(?=\n|$))/gi);
  if (marker) {
    return lastBox(text, marker.index) ?? payload(text, marker.index + marker[0].length, "final answer");
  }
  const box = lastBox(text, 0);
  if (box) return box;
  const hashes = text.lastIndexOf("#### ");
  if (hashes >= 0) return payload(text, hashes + 5, "hashes");
  const phrase = lastMatch(text, /\banswer(?: is\b|[*_]{0,3}:| (?=\$|\\[([]))/gi);
  return phrase && payload(text, phrase.index + phrase[0].length, "answer is");
}

const lastMatch = (text: string, pattern: RegExp): RegExpExecArray | null => {
  let last: RegExpExecArray | null = null;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) last = match;
  return last;
};

/** The rest of the marker's line, or the next line that is not blank; decoration is no content. */
function payload(text: string, from: number, rule: Rule): Located {
  let start = from;
  while (start < text.length && " \t\r\n*_#:>`".includes(text[start]!)) start++;
  // Displayed mathematics may run over several lines.
  const closer = text.startsWith("\\[", start) ? "\\]" : text.startsWith("$$", start) ? "$$" : "\n";
  const stop = text.indexOf(closer, start + 2);
  const [first, end] = trimmed(text, start, stop < 0 ? text.length : closer === "\n" ? stop : stop + 2);
  return { start: first, end, rule };
}

function trimmed(text: string, from: number, to: number): [number, number] {
  let [start, end] = [from, to];
  while (start < end && " \t\r\n*_`".includes(text[start]!)) start++;
  while (end > start && " \t\r\n*_`".includes(text[end - 1]!)) end--;
  return [start, end];
}

/**
 * The last `\boxed{…}` at or after `from`, with boxes joined to it only by commas or "and": these are one answer.
 * A box that is never closed was cut off; its content is then empty, so that no earlier box is taken for the answer.
 */
export function lastBox(text: string, from: number): Located | null {
  const boxes: { start: number; end: number; content: string }[] = [];
  const opening = /\\(?:boxed|fbox)\s?\{/g;
  opening.lastIndex = from;
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const start = match.index;
    const end = closingBrace(text, opening.lastIndex);
    if (end < 0) return { start, end: text.length, rule: "boxed", content: "" };
    boxes.push({ start, end: end + 1, content: text.slice(opening.lastIndex, end) });
    opening.lastIndex = end + 1;
  }
  const last = boxes.length - 1;
  if (last < 0) return null;
  let first = last;
  while (first > 0 && /^[\s$,]{0,8}(?:and)?[\s$]{0,4}$/.test(text.slice(boxes[first - 1]!.end, boxes[first]!.start)))
    first--;
  const content = boxes
    .slice(first)
    .map((box) => box.content)
    .join(", ");
  return { start: boxes[first]!.start, end: boxes[last]!.end, rule: "boxed", content };
}

/** Offset of the brace that closes the group whose content starts at `from`; −1 if none does. `\{` is a letter. */
function closingBrace(text: string, from: number): number {
  for (let i = from, depth = 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "{") depth++;
    else if (text[i] === "}" && --depth === 0) return i;
  }
  return -1;
}

/** A completion without any marker counts only if it is as a whole an answer. */
function isBare(text: string, kind: AnswerKind): boolean {
  if (text.length > limits.characters || text.includes("\n")) return false;
  // "12 + 7 = 19" is a line of working, as a completion that was cut off may end with; "x = 19" is an answer.
  if (kind === "number") return parseQuantity(text) !== null && !/\d[^=]*=/.test(text);
  if (kind === "choice") return /^[({"'[]*[A-Za-z](?:[})\].:"']|$)/.test(undress(text));
  return parseQuantity(text) !== null || /^(?:\$[^$]+\$|\\\(.+\\\))[.]?$/.test(text);
}

/** In LaTeX, what a sentence says behind the formula is not part of it: `$x$. I hope it is correct.` */
function clip(phrase: string, kind: AnswerKind): string {
  if (kind !== "math") return phrase;
  const math = /^(?:\$([^$]{1,1000})\$(?=[\s.,;]|$)|\\\((.{1,1000}?)\\\))/.exec(phrase);
  return math?.[1] ?? math?.[2] ?? phrase;
}

/** Words that may stand between the answer and a further number that is not part of it. */
const aside = /(?:[,;:] |\(|\b(?:in|per|every|each|for|out of|because|since|from|after|with)\b)/i;

/** A number named in a sentence: the only one, or the first if the others are an aside. Other kinds: none. */
function inProse(phrase: string, kind: AnswerKind): string | null {
  if (kind !== "number" || phrase.length > limits.characters) return null;
  const plain = undress(phrase);
  const digit = plain.search(/\d/);
  if (digit < 0) return null;
  const stop = plain.slice(digit).search(/[.!?](?:\s|$)/);
  const sentence = stop < 0 ? plain : plain.slice(0, digit + stop);
  const said = sentence.slice(Math.max(sentence.lastIndexOf("="), sentence.lastIndexOf("≈")) + 1);
  // Roots, powers, subscripts and other commands make an expression, not a number in a sentence.
  if (/[\\^_]/.test(said.replace(/\\(?:frac|times|div|%)/g, ""))) return null;
  const numbers = numbersIn(said);
  const [first, second] = numbers;
  if (!first) return null;
  const distinct = new Set(numbers.map((n) => n.value));
  if (distinct.size === 1) return first.value;
  const leads = said.slice(0, first.start).trim() === "";
  const between = said.slice(first.end, second!.start);
  return leads && aside.test(between) && /[\p{L}(]/u.test(between) ? first.value : null;
}

function numbersIn(text: string): { value: string; start: number; end: number }[] {
  const found: { value: string; start: number; end: number }[] = [];
  const opening = /(?<![\p{L}\d.,])(?:-\s?)?(?:\\frac|\.?\d)/gu;
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const number = readNumber(text, match.index);
    if (!number) continue;
    found.push({ value: formatNumber(number.value), start: match.index, end: number.end });
    opening.lastIndex = Math.max(number.end, opening.lastIndex);
  }
  return found;
}
