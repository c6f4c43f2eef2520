/** Numbers in English words: `eighteen`, `one hundred and twenty-five`, `two thirds`. Scope: below 10^15. Pure. */
import { type Rational, rational } from "../algebra/rational.js";

const small: Readonly<Record<string, number>> = Object.fromEntries([
  ..."zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
    .split(" ")
    .map((word, n): [string, number] => [word, n]),
  ..."twenty thirty forty fifty sixty seventy eighty ninety"
    .split(" ")
    .map((word, n): [string, number] => [word, 10 * (n + 2)]),
]);
export const scales: Readonly<Record<string, number>> = { thousand: 1e3, million: 1e6, billion: 1e9, trillion: 1e12 };
const parts: Readonly<Record<string, number>> = {
  half: 2,
  halves: 2,
  third: 3,
  thirds: 3,
  quarter: 4,
  quarters: 4,
  fourth: 4,
  fourths: 4,
  fifth: 5,
  fifths: 5,
  sixth: 6,
  sixths: 6,
  seventh: 7,
  sevenths: 7,
  eighth: 8,
  eighths: 8,
  ninth: 9,
  ninths: 9,
  tenth: 10,
  tenths: 10,
};

/** One word, with the hyphen or white space in front of it. */
const word = /[\s-]*([a-z]+)(?![\p{L}\d])/iuy;

/**
 * Reads the longest number in words that begins at an offset.
 * @returns its value and the offset behind it, or null where none begins
 */
export function readWords(text: string, at: number): { value: Rational; end: number } | null {
  let [total, group, end] = [0, -1, at];
  let last = "";
  for (let from = at; ; ) {
    word.lastIndex = from;
    const found = word.exec(text);
    if (!found) break;
    const name = found[1]!.toLowerCase();
    const next = from + found[0].length;
    const value = Object.hasOwn(small, name) ? small[name]! : null;
    const scale = Object.hasOwn(scales, name) ? scales[name]! : null;
    if (value !== null) {
      // "twenty five", "hundred five", but not "five twenty" or "five six".
      const room = group < 0 ? 1_000 : group % 100 === 0 ? 100 : group % 10 === 0 && group % 100 >= 20 ? 10 : 0;
      if (value >= room || (group >= 0 && value === 0)) return null;
      group = Math.max(group, 0) + value;
    } else if (name === "hundred" && group > 0 && group < 10) group *= 100;
    else if (scale !== null && group > 0 && (total === 0 || total % (scale * 1000) === 0)) {
      total += group * scale;
      group = 0;
    } else if (
      (name === "and" && /hundred|thousand|million|billion|trillion/.test(last)) ||
      (name === "a" && group < 0)
    ) {
      from = next;
      last = name;
      if (name === "a" && !/^\s+(?:hundred|thousand|million|billion)\b/i.test(text.slice(next, next + 20))) return null;
      if (name === "a") group = 1;
      continue;
    } else {
      const part = Object.hasOwn(parts, name) && group > 0 && total === 0 ? parts[name]! : null;
      return part === null ? result(total, group, end) : { value: rational(BigInt(group), BigInt(part)), end: next };
    }
    from = next;
    end = next;
    last = name;
  }
  return result(total, group, end);
}

const result = (total: number, group: number, end: number) =>
  group < 0 && total === 0 ? null : { value: rational(BigInt(total + Math.max(group, 0))), end };
