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
    row = JSON.parse(line);
  } catch (error) {
    throw notJson(at, error as Error);
  }
  const parsed = shape.safeParse(row);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  const field = path.length > 0 ? `field "${path.join(".")}": ` : "";
  throw new InputError(`${at}: ${field}${message}; ${help}`);
}

/** The error of a line that is not JSON. @param cause the parser's message */
export function notJson(at: string, cause: Error): InputError {
  const why = cause.message.replace(/\s+/g, " ").slice(0, 160);
  return new InputError(`${at}: not valid JSON (${why}); write one object per line`);
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
