/** How the values of flags are read, for all commands alike. */
import { extractionModes } from "../answers/index.js";
import { InputError } from "../errors.js";

/** The values of --split. */
export const splits = ["train", "validation", "test"] as const;

/** Reads one of some words. @throws InputError that lists them */
export function oneOf<T extends string>(flag: string, allowed: readonly T[]) {
  return (text: string): T => {
    const found = allowed.find((name) => name === text);
    if (!found) throw new InputError(`${flag} must be one of ${allowed.join(", ")}, not "${text}"`);
    return found;
  };
}

/** `--extraction`, named like lm-evaluation-harness's filters strict-match and flexible-extract. */
export const extractionOption = [
  "--extraction <mode>",
  "which answers of a text count: strict, those it states, or flexible, else its last number, formula or letter",
  oneOf("--extraction", extractionModes),
  "strict",
] as const;

/** Reads a number within bounds. @throws InputError that names flag, rule and what was given */
export function number(flag: string, rule: { min?: number; max?: number; integer?: boolean } = {}) {
  const { min = Number.NEGATIVE_INFINITY, max = Number.MAX_SAFE_INTEGER, integer = false } = rule;
  return (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= min && value <= max && (!integer || Number.isInteger(value))) return value;
    const bounds = rule.max !== undefined ? ` in ${min} … ${max}` : rule.min !== undefined ? ` ≥ ${min}` : "";
    throw new InputError(`${flag} must be ${integer ? "an integer" : "a number"}${bounds}, not "${text}"`);
  };
}
