/**
 * What a server says, made fit to be shown or kept: its own words found in whatever it sends, the API key blotted out
 * first, then on one line, then cut. Every message about a server goes through here. Pure. What it leaves out: escape
 * sequences, which are made visible where a message is printed.
 */
import { parseJson } from "../json.js";

/** How much is read for a message, and how much of it is shown; characters. */
const longest = { read: 32_768, shown: 300 };

/** Pieces of the key from this length on are blotted out. */
const piece = 8;

/** Text that was sent by a server → the same on one line of at most 300 characters, without the API key. */
export type Shown = (text: string) => string;

/** How a server's words are shown to somebody who uses this key. */
export function shownWithout(key: string | null): Shown {
  const blot = blotter(key);
  // Cutting before the key is blotted out is safe at this one place: what it leaves is a piece like any other.
  return (text) => blot(text.slice(0, longest.read)).replace(/\s+/g, " ").trim().slice(0, longest.shown);
}

/**
 * Blots out a key: the whole, every piece of at least eight characters and what stands behind `Bearer`, also as JSON, URLs,
 * HTML and base64 write it, and with white space in it. A shorter key is blotted out where it stands as a word.
 */
export function blotter(key: string | null): Shown {
  const secret = key?.trim() ? lettersOf(key).text : "";
  const secrets = [secret, ...[0, 1, 2].map((shift) => base64(key ?? "", shift))].filter(
    ({ length }) => length >= piece,
  );
  const pieces = new Set(secrets.flatMap((each) => piecesOf(each)));
  const word = secret && secret.length < piece ? new RegExp(`(?<!\\w)${escaped(key!.trim())}(?!\\w)`, "g") : null;
  return (text) => {
    let safe = text;
    if (pieces.size > 0) {
      const { text: letters, from, to } = lettersOf(text);
      const found = piecesOf(letters).flatMap((each, i) => (pieces.has(each) ? [i] : []));
      let end = 0;
      safe = "";
      for (const i of found) {
        if (from[i]! >= end) safe += `${text.slice(end, from[i])}***`;
        end = to[i + piece - 1]!;
      }
      safe += text.slice(end);
    }
    if (word) safe = safe.replace(word, "***");
    // Somebody else's key, such as the one that a proxy uses for the server behind it. A word without a digit is none.
    return safe.replace(/\b(bearer|basic)(\s+|%20)(?=\S*\d)[\w.~+/=-]{8,}/gi, "$1 ***");
  };
}

/** All runs of {@link piece} characters, by where they begin. */
const piecesOf = (text: string): string[] =>
  Array.from({ length: Math.max(0, text.length - piece + 1) }, (_, i) => text.slice(i, i + piece));

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/** A key in the middle of something that is written in base64, without the letters that its neighbours change. */
const base64 = (key: string, shift: number): string =>
  Buffer.from("\0".repeat(shift) + key)
    .toString("base64")
    .replace(/=+$/, "")
    .slice(shift && shift + 1, -1)
    .toLowerCase();

const unit =
  /\\+(?:u([0-9a-f]{4})|[nrt])?|%([0-9a-f]{2})|&#x([0-9a-f]{1,6});|&#(\d{1,7});|&(amp|lt|gt|quot|apos);|\s+|./gis;
const named: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** The letters of a text as they are read, small and without white space, and where each stands in the text. */
function lettersOf(text: string): { text: string; from: number[]; to: number[] } {
  let letters = "";
  const from: number[] = [];
  const to: number[] = [];
  for (const { 0: as, 1: json, 2: url, 3: hex, 4: decimal, 5: name, index } of text.matchAll(unit)) {
    const code = json ?? url ?? hex;
    let letter = as;
    if (code !== undefined) letter = String.fromCharCode(Number.parseInt(code, 16));
    else if (decimal !== undefined) letter = String.fromCharCode(Number(decimal));
    else if (name !== undefined) letter = named[name.toLowerCase()]!;
    else if (/^[\\\s]/.test(as)) continue;
    // Some letters have another length when they are small; a key has none of them.
    const small = letter.toLowerCase();
    letters += small.length === 1 ? small : letter;
    from.push(index);
    to.push(index + as.length);
  }
  return { text: letters, from, to };
}

/** Fields in which servers put their words: OpenAI and vLLM, FastAPI, RFC 9457, gateways. */
const fields = ["title", "error", "errors", "message", "msg", "error_msg", "error_description", "detail", "reason"];

/** The words of an error page: out of JSON of any form, else without tags, else as it is. */
export function serverWords(page: string): string {
  const json = parseJson(page);
  if (json !== undefined) return spoken(json, 0) || page;
  const text = page.slice(0, longest.read);
  if (!/^\s*</.test(text)) return text;
  const bare = text.replace(/<(script|style)\b.*?<\/\1\s*>|<!--.*?-->/gis, " ").replace(/<[^<>]*>/g, " ");
  return bare.trim() || text;
}

function spoken(value: unknown, depth: number): string {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object" || depth > 4) return "";
  if (Array.isArray(value))
    return joined(
      value.map((each) => spoken(each, depth + 1)),
      "; ",
    );
  const said = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name.toLowerCase(), inner]));
  const words = joined(
    fields.map((name) => spoken(said[name], depth + 1)),
    ": ",
  );
  // FastAPI says beside the words which field they are about.
  const at = words && Array.isArray(said.loc) ? said.loc.filter((part) => part !== "body").join(".") : "";
  return at ? `${at}: ${words}` : words;
}

const joined = (words: readonly string[], by: string) => [...new Set(words.filter(Boolean))].join(by);
