/**
 * JSON as this project reads and writes it: equal values give equal texts, and an error in a hand-written line names
 * its place and field. Pure. The journal, which may end in half a line, has its own reader.
 */
import type * as z from "zod";
import { InputError } from "./errors.js";

/**
 * Parses one line.
 * @param at where it is: `cases.jsonl line 3`
 * @param help what a line should be, for the end of the message
 * @throws InputError naming the place, and the field if one is wrong
 */
export function parseLine<Row>(line: string, at: string, shape: z.ZodType<Row>, help: string): Row {
  let row: unknown;
  try {
    row = readJson(line);
  } catch (error) {
    throw notJson(at, error as Error);
  }
  const parsed = shape.safeParse(row);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  const field = path.length > 0 ? `field "${path.join(".")}": ` : "";
  throw new InputError(`${at}: ${field}${message}; ${help}`);
}

/**
 * A JSON text that somebody else wrote. NaN, Infinity and -Infinity, which Python's json.dumps writes and JSON does not
 * allow, are read as null: there is no value.
 * @throws SyntaxError if it is not JSON
 */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // Texts in quotes are matched first, so that what stands in them stays as it is.
    const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\bInfinity\b|\bNaN\b/gs;
    const plain = text.replace(tokens, (token) => (token.startsWith('"') ? token : "null"));
    if (plain === text) throw error;
    return JSON.parse(plain);
  }
}

/**
 * The values of a JSON document, one after another: the elements of a list, or objects that follow each other.
 * @returns each value's text, and the line it begins on, from 1; what is no value is given as it is, and the end of a
 *   list that is never closed as an empty text
 */
export function* valuesIn(document: string): Generator<{ line: number; text: string }> {
  const isList = /^\s*\[/.test(document);
  let from = isList ? document.indexOf("[") + 1 : 0;
  let [depth, line, counted, values, isClosed] = [0, 1, 0, 0, !isList];
  const value = (end: number) => {
    values++;
    const text = document.slice(from, end);
    const begin = from + text.search(/\S|$/);
    line += document.slice(counted, begin).split("\n").length - 1;
    counted = begin;
    return { line, text: text.trim() };
  };
  // A text in quotes holds no line end, so one that is never closed spoils its own line alone.
  const tokens = /"[^"\\\n]*(?:\\.[^"\\\n]*)*"|[{}[\],]/g;
  tokens.lastIndex = from;
  for (let match = tokens.exec(document); match && !(isList && isClosed); match = tokens.exec(document)) {
    const [token] = match;
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    if (isList && depth < 0) isClosed = true;
    if (isList && (isClosed || (token === "," && depth === 0))) {
      const isEmptyList = isClosed && values === 0 && document.slice(from, match.index).trim() === "";
      if (!isEmptyList) yield value(match.index);
      from = match.index + 1;
    } else if (!isList && depth === 0 && token !== "," && !token.startsWith('"')) {
      yield value(match.index + 1);
      from = match.index + 1;
    }
  }
  if (document.slice(from).trim() !== "") yield value(document.length);
  from = document.length;
  if (!isClosed) yield value(document.length);
}

/** The error of a text that is not JSON. @param cause the parser's message @param help what to do */
export function notJson(at: string, cause: Error, help = "write one object per line"): InputError {
  const why = cause.message.replace(/\s+/g, " ").slice(0, 160);
  return new InputError(`${at}: not valid JSON (${why}); ${help}`);
}

/** A JSON text, or undefined where it is not one: for what is checked against a shape next. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** JSON.stringify replacer: objects with sorted keys, so that equal things have equal text. */
export function sorted(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
