/** Text that others wrote, as a terminal may print it. Pure. */

/** Controls (C0, DEL, C1), format characters (bidi, zero width, tags), line separators, halves of a surrogate pair. */
const hidden = /\r\n|[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const lineBreak = /[\t\n\v\f\r\u0085\u2028\u2029]/;

/** A character as JSON escapes it, so that a line of JSON means the same with it. */
const escaped = (character: string): string =>
  character
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");

/**
 * A text in which nothing steers a terminal, hides or reorders other text: such characters are shown as `\u001b`. Line
 * feeds and tabs stay. Done twice it is the same.
 */
export const visible = (text: string): string =>
  text.replace(hidden, (found) => (found === "\r\n" ? "\n" : "\n\t".includes(found) ? found : escaped(found)));

/** The same on one line: white space with a line break or a tab in it becomes one space. */
export const oneLine = (text: string): string =>
  visible(text.replace(/[\s\u0085]+/g, (space) => (lineBreak.test(space) ? " " : space)));
