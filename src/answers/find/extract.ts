/**
 * Finds the answer that a completion states. Rules in order, the first that applies decides: the last
 * `Final Answer: X` (paper, Appendix A.4), the last `\boxed{X}`, the last `#### X` (GSM8K), the last "the answer is X",
 * a completion that is only an answer, a last sentence that concludes, and a single line with one number or formula.
 * Within a rule the last one counts, because a model may correct itself, and there is no fallback: if the last one
 * cannot be read, there is no answer. In the flexible mode, what the completion ends with then counts. Linear in the length. Pure.
 */

import { canonical } from "../meaning/canonical.js";
import { parseChoice } from "../plain/choice.js";
import type { AnswerKind } from "../plain/kind.js";
import { parseQuantity } from "../plain/number.js";
import { undress } from "../plain/undress.js";
import { type Box, lastBox } from "./boxes.js";
import { ownText, speakerChanges } from "./own.js";
import { firstSentence, formulas, isBare, lastIn, numbersIn, stated } from "./phrase.js";

/** Which rule found an answer. */
export type Rule = "final answer" | "boxed" | "hashes" | "answer is" | "bare" | "conclusion" | "only one" | "last";

/** An answer found in a text. */
export interface Extraction {
  /** Canonical form: equal strings are equal answers. */
  answer: string;
  /** The answer as written, for `grade`. */
  text: string;
  /** Offsets [start, end) of the phrase it was read from. */
  span: [start: number, end: number];
  rule: Rule;
}

/** Text beyond this many characters is not searched. */
const maxText = 1_000_000;
/** Of a long line, this many last characters are looked at. */
const maxTail = 2_000;
/** A single line up to this length may state an answer without any marker. */
const maxLine = 160;

/** What counts as an answer; see `extract`. */
export const extractionModes = ["strict", "flexible"] as const;
export type ExtractionMode = (typeof extractionModes)[number];

/**
 * Finds the answer a completion states. Thoughts (`<think>…</think>`) and what a next speaker says do not count.
 * @param choices option texts of a multiple-choice question, so that an option may be named by its own words
 * @param mode "strict": an answer has to be stated, as with lm-evaluation-harness's `strict-match`. "flexible": where none
 *   is, the last number, mathematical expression or letter is taken, as with its `flexible-extract`; it replaces no
 *   answer that is stated, not even one that cannot be read
 * @returns null if no rule applies, or if the phrase the deciding rule found is not an answer of this kind
 */
export function extract(
  text: string,
  kind: AnswerKind,
  choices: readonly string[] | null = null,
  mode: ExtractionMode = "strict",
): Extraction | null {
  const found = findAnswer(text, kind, choices, mode);
  const answer = found && canonical(found.text, kind, choices);
  return found && answer !== null ? { answer, ...found } : null;
}

type Found = Omit<Extraction, "answer">;

/** The same without the canonical form, for callers that compare the answer as written. */
export function findAnswer(
  text: string,
  kind: AnswerKind,
  choices: readonly string[] | null = null,
  mode: ExtractionMode = "strict",
): Found | null {
  const own = text.length > maxText ? null : ownText(text);
  if (own === null) return null;
  const changes = speakerChanges(own);
  const next = changes.find(({ index, to }) => decides(own.slice(0, index), kind, choices, to === "role"));
  const part = next ? own.slice(0, next.index) : own;
  const found = located(part, kind, true, true);
  const stated = found && read(part, found, kind, choices);
  if (stated || mode === "strict" || (found && isAttempt(part, found, kind))) return stated;
  const last = (to: number) => lastAnswer(own.slice(0, to), kind, choices);
  if (next) return last(next.index);
  const reply = changes.find(({ index, to }) => to === "role" && last(index) !== null);
  return last(reply?.index ?? own.length);
}

/** Whether a phrase holds an answer, if only one that cannot be read, as "5 or 6"; "Final Answer: X" holds none. */
const isAttempt = (text: string, { start, end }: Located, kind: AnswerKind): boolean =>
  (kind === "choice" ? /\b[A-E]\b/ : /[\d$\\]/).test(text.slice(start, end));

/** Whether a text states an answer, or fails to. */
function decides(text: string, kind: AnswerKind, choices: readonly string[] | null, concludes: boolean): boolean {
  const found = located(text, kind, concludes);
  return found !== null && (isAttempt(text, found, kind) || read(text, found, kind, choices) !== null);
}

/** The phrase that states the answer. */
const located = (text: string, kind: AnswerKind, concludes: boolean, alone = false): Located | null =>
  marked(text, kind) ?? unmarked(text, kind, concludes, alone);

/** The answer in what was located. */
function read(own: string, found: Located, kind: AnswerKind, choices: readonly string[] | null): Found | null {
  const answer = found.content ?? bareAnswer(own.slice(found.start, found.end), kind, choices);
  if (answer === null || undress(answer) === "") return null;
  if (kind !== "math" && canonical(answer, kind, choices) === null) return null;
  return { text: answer, span: [found.start, found.end], rule: found.rule };
}

interface Located {
  start: number;
  end: number;
  rule: Rule;
  /** The answer's text where it is not simply the span: the contents of boxes. */
  content?: string;
}

/** The answer in a phrase: the whole of it where that is one, else what its sentence states. */
function bareAnswer(phrase: string, kind: AnswerKind, choices: readonly string[] | null): string | null {
  if (kind === "choice") return phrase;
  if (kind === "math") return stated(phrase, kind);
  // "100 (50 + 50)" is 100 with an aside, so it is read as a sentence before any product is computed.
  if (parseQuantity(phrase) !== null) return phrase;
  return stated(phrase, kind) ?? (canonical(phrase, kind, choices) === null ? null : phrase);
}

/** Boxes with the same value in different notation, as "12x − 34, or −34 + 12x", are one answer. */
function boxed({ start, end, contents }: Box, kind: AnswerKind): Located {
  const forms = new Set(
    contents.length > 1 ? contents.map((content) => canonical(content, kind) ?? content) : contents,
  );
  return { start, end, content: forms.size > 1 ? contents.join(", ") : contents.at(-1)!, rule: "boxed" };
}

/** Words that announce an answer; an option may also be called so. */
const answerIs = /\banswer(?: is\b|[*_]{0,3}:| (?=\$|\\[([]))/gi;
const optionIs = /\b(?:answer|option|choice)(?: is\b|[*_]{0,3}:| (?=\$|\\[([]))/gi;

/** The text that a marker points to. */
function marked(text: string, kind: AnswerKind): Located | null {
  const marker = lastMatch(text, /final answer(?:[*_]{0,3}:| is\b| ?[*_#]{0,3}[ \t]*(?=\n|$))/gi);
  if (marker) {
    const box = lastBox(text, marker.index);
    return box ? boxed(box, kind) : payload(text, marker.index + marker[0].length, "final answer");
  }
  const box = lastBox(text, 0);
  if (box) return boxed(box, kind);
  const hashes = text.lastIndexOf("#### ");
  if (hashes >= 0) return payload(text, hashes + 5, "hashes");
  const phrase = lastMatch(text, kind === "choice" ? optionIs : answerIs);
  return phrase && payload(text, phrase.index + phrase[0].length, "answer is");
}

const lastMatch = (text: string, pattern: RegExp): RegExpExecArray | null => {
  let last: RegExpExecArray | null = null;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) last = match;
  return last;
};

/** The rest of the marker's line, or the next line that is not blank; decoration does not count as content. */
function payload(text: string, from: number, rule: Rule): Located {
  let start = from;
  while (start < text.length && " \t\r\n*_#:>`".includes(text[start]!)) start++;
  // Displayed mathematics may run over several lines.
  const closer = text.startsWith("\\[", start) ? "\\]" : text.startsWith("$$", start) ? "$$" : "\n";
  const stop = text.indexOf(closer, closer === "\n" ? start : start + 2);
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
 * An answer without a marker: one that is the whole text.
 * @param concludes whether a last sentence that concludes counts too
 * @param alone whether a single line counts that names one number
 */
function unmarked(text: string, kind: AnswerKind, concludes: boolean, alone: boolean): Located | null {
  const [start, end] = trimmed(text, 0, text.length);
  const all = text.slice(start, end);
  if (kind === "choice" ? isBareChoice(all) : isBare(all, kind))
    return { start, end, rule: "bare", ...(kind === "choice" ? {} : { content: all }) };
  const conclusion = concludes ? concluding(text, end, kind) : null;
  if (conclusion || kind === "choice" || !alone) return conclusion;
  return end - start <= maxLine && !all.includes("\n") && namesOne(all) ? { start, end, rule: "only one" } : null;
}

/** A line that begins with its letter: `B`, `(B) library`, `B is correct`. */
function isBareChoice(line: string): boolean {
  if (line.length > maxLine || line.includes("\n")) return false;
  if (/^[({"'[]*[A-Za-z](?:[})\].:"']|$)/.test(undress(line))) return true;
  return /^\W*[A-Z]\W+(?:\p{Lu}|is\b)/u.test(line) && parseChoice(line) !== null;
}

/** A last sentence that begins with "Therefore" or the like; only a remark without numbers may follow it. */
function concluding(text: string, end: number, kind: AnswerKind): Located | null {
  let opening: RegExpExecArray | null = null;
  const words = /\b(?:(?:Therefore|Thus|Hence|Consequently|So)\b,?|[Ww]e (?:find|conclude) that\b)/g;
  for (let match = words.exec(text); match; match = words.exec(text)) {
    // "So" has other uses inside a sentence.
    if (
      !match[0].startsWith("So") ||
      /^$|[.!?]\s{1,3}$|\n\s{0,3}$/.test(text.slice(Math.max(0, match.index - 4), match.index))
    )
      opening = match;
  }
  if (!opening) return null;
  const start = opening.index + opening[0].length;
  const sentence = firstSentence(text.slice(start, Math.min(end, start + 1_000)));
  const stop = start + sentence.length;
  const isFinished = /[.!]/.test(text[stop] ?? "");
  if (!isFinished || /[\d$\\]/.test(text.slice(stop, end))) return null;
  if (kind === "choice" ? parseChoice(sentence) === null : !namesOne(sentence)) return null;
  const [from, to] = trimmed(text, start, stop);
  return { start: from, end: to, rule: "conclusion" };
}

/** A sentence with one of these words states nothing. */
const hedges =
  /\b(?:not|never|cannot|unsure|unclear|maybe|perhaps|possibly|might|may|could|guess|unknown|if|suppose|assume)\b|n['’]t\b/i;

/** Whether a sentence states one formula, or no formula and one number. */
function namesOne(sentence: string): boolean {
  if (hedges.test(sentence)) return false;
  const spans = formulas(sentence);
  if (spans.length > 0) return spans.length === 1;
  const plain = undress(sentence);
  return new Set(numbersIn(plain).map(({ value }) => value)).size === 1 && !/\d\s*[-+*/×÷^=]\s*$/.test(plain);
}

/** Lines, from the end, in which an answer that is not stated is looked for. */
const maxLines = 100;

/** The last number, expression or letter: what a completion ends with, without saying that it is the answer. */
function lastAnswer(own: string, kind: AnswerKind, choices: readonly string[] | null): Found | null {
  let stop = own.length;
  for (let count = 0; stop > 0 && count < maxLines; count++) {
    const from = own.lastIndexOf("\n", stop - 1) + 1;
    const [start, end] = trimmed(own, from, stop);
    const text = start < end ? lastIn(own.slice(Math.max(start, end - maxTail), end), kind, choices) : null;
    if (text !== null) return { text, span: [start, end], rule: "last" };
    stop = from - 1;
  }
  return null;
}
