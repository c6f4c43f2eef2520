/** Finds `\boxed{…}` in a completion, and which boxes together are one answer. Linear in the length. Pure. */
import { closingBrace } from "../latex/tokens.js";

/** The position of an answer. */
export interface Box {
  start: number;
  end: number;
  /** What the box holds; of several boxes that are one answer, all of them in order. */
  contents: string[];
}

/** Boxes further apart are answers to different things. */
const maxBetween = 80;
/** Words between two boxes that make the second another answer rather than a further part of the same. */
const parts = /\b(?:so|thus|hence|then|therefore|not|but|wrong|is|actually|instead|correct|because|since|gives?)\b/i;

/**
 * The last box at or after `from`, with boxes joined to it by commas, "and" or "or": these are one answer. A box that is
 * never closed was cut off; its content is then empty, so that no earlier box is taken for the answer.
 */
export function lastBox(text: string, from: number): Box | null {
  const boxes: { start: number; end: number; content: string }[] = [];
  const opening = /\\(?:boxed|fbox)\s?(?:\{|(\d[\d.,]*\d|[^\s{\\]))/g;
  opening.lastIndex = from;
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const [, bare] = match;
    // `\boxed 9`: without braces its content is the next token.
    const end = bare === undefined ? closingBrace(text, opening.lastIndex) : opening.lastIndex - 1;
    if (end < 0) return { start: match.index, end: text.length, contents: [""] };
    boxes.push({ start: match.index, end: end + 1, content: bare ?? text.slice(opening.lastIndex, end) });
    opening.lastIndex = end + 1;
  }
  const last = boxes.length - 1;
  if (last < 0) return null;
  let first = last;
  while (first > 0 && joins(text, boxes[first - 1]!.end, boxes[first]!.start)) first--;
  const contents = [...new Set(boxes.slice(first).map(({ content }) => content))];
  return { start: boxes[first]!.start, end: boxes[last]!.end, contents };
}

/** Whether the text between two boxes joins them: only signs, or a few words with "and" or "or". */
function joins(text: string, from: number, to: number): boolean {
  if (to - from > maxBetween) return false;
  const between = text.slice(from, to);
  if (/[.!?]\s|\n\s*\n/.test(between)) return false;
  const plain = between.replace(/\\[a-zA-Z]+/g, " ");
  const words = plain.match(/[a-zA-Z]+/g) ?? [];
  if (words.length === 0) return true;
  return words.length <= 6 && words.some((word) => word === "and" || word === "or") && !parts.test(plain);
}
