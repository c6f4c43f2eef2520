/** Whether a text can be read as an answer at all. Pure. */
import { Budget } from "./polynomial.js";
import { Overrun, Unreadable } from "./rational.js";
import { readValue, type Value } from "./value.js";

/** Runs an action that reads or compares; null where that is not possible for this text. */
export function attempt<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (error instanceof Unreadable || error instanceof Overrun) return null;
    throw error;
  }
}

/** What a text states, or null. */
export const tryRead = (text: string): Value | null => attempt(() => readValue(text, new Budget()));

/** Whether a text states something that is known, be it words of which each could be a name. */
export const isReadable = (text: string): boolean => tryRead(text) !== null;
