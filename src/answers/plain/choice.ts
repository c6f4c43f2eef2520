/**
 * Which option of a multiple-choice question a phrase chooses: by its letter, else by the option's own words. A phrase
 * that names two options chooses none. Pure.
 */
import { undress } from "./undress.js";

/** More options than this have no letter. */
const MAX_CHOICES = 26;
/** The paper's multiple-choice benchmark, CommonsenseQA, has five options; used where the options are not known. */
const DEFAULT_CHOICES = 5;

const letters = (count: number): string => "ABCDEFGHIJKLMNOPQRSTUVWXYZ".slice(0, Math.min(count, MAX_CHOICES));

/** Words before a bare letter that make it a choice and not the article "a". */
const introduces = /(?:^|\W)(?:option|choice|letter|answer|is|be|so|therefore|thus|choose|pick|select)[\s:*"']*$/i;
/** A clause that rejects what it names. */
const rejects = /\b(?:not|never|neither|nor|rather than|instead of|eliminate)\b|n['’]t\b/i;

/**
 * Reads the option a phrase chooses.
 * @param choices option texts, A first; null where they are not known (letters A–E are then accepted)
 * @returns an upper-case letter, or null if the phrase names no option or more than one
 */
export function parseChoice(phrase: string, choices: readonly string[] | null = null): string | null {
  if (phrase.length > 2_000) return null;
  const plain = undress(phrase).replace(/[{}]/g, " ").trim();
  const known = letters(choices?.length ?? DEFAULT_CHOICES);
  const named = new Set<string>();
  // "B. library, not A": a rejecting clause names nothing.
  for (const clause of plain.split(/[,;]|\.(?=\s+\S{2})|\b(?:and|but)\s+(?=not\b)/)) {
    if (!rejects.test(clause))
      for (const letter of lettersIn(clause, known, clause.trim() === plain)) named.add(letter);
  }
  if (named.size > 0) return named.size === 1 ? [...named][0]! : null;
  return choices ? byText(plain, choices) : null;
}

/** Letters used as options in a clause: "(B)", "B)", "B.", "B: text", "option c", "so A", or alone. */
function lettersIn(clause: string, known: string, alone: boolean): string[] {
  const found: string[] = [];
  for (const match of clause.matchAll(/(?<![\p{L}\d’-]|\p{L}')[a-zA-Z](?![\p{L}\d’]|'\p{L})/gu)) {
    const letter = match[0].toUpperCase();
    if (!known.includes(letter)) continue;
    const before = clause.slice(0, match.index);
    const after = clause.slice(match.index + 1);
    const enclosed = /\(\s*$/.test(before) && /^\s*\)/.test(after);
    const bare = clause.replace(/[^\p{L}\d]/gu, "").length === 1;
    const introduced = introduces.test(before) && !/^\s+\p{Ll}{2}/u.test(after);
    // Lower case counts only where it can only mean a choice: "(c)", "option c", or the whole answer.
    if (enclosed || introduced || (bare && (alone || match[0] === letter))) found.push(letter);
    else if (match[0] === letter && standsAsLabel(before, after, letter)) found.push(letter);
  }
  return found;
}

/** An upper-case letter used as a label; "A" before a word in lower case is the article. */
function standsAsLabel(before: string, after: string, letter: string): boolean {
  if (/^[\s*"'’”]*(?:[).:\]]|$)/.test(after)) return true;
  if (/^\s*(?:\/|\bor\b|\band\b|&)/i.test(after) || /(?:\/|\bor|\band|&)\s*$/i.test(before)) return true;
  const leads = /^[\W_]*$/.test(before);
  if (leads && /^\s*(?:[-–—]|because\b|since\b|is (?:the )?(?:correct|right|best|most)\b)/.test(after)) return true;
  return leads && letter !== "A" && letter !== "I" && /^\s/.test(after);
}

const words = (text: string): string =>
  ` ${text
    .toLowerCase()
    .replace(/[^\p{L}\d]+/gu, " ")
    .trim()} `;

/** The one option whose words occur in the phrase; of nested options ("store", "book store") the longest counts. */
function byText(phrase: string, choices: readonly string[]): string | null {
  const said = words(phrase);
  const present = choices.map(words).map((option) => (option.trim() !== "" && said.includes(option) ? option : null));
  const maximal = present.flatMap((option, i) =>
    option !== null && !present.some((other) => other !== null && other !== option && other.includes(option))
      ? [i]
      : [],
  );
  return maximal.length === 1 && !rejects.test(phrase) ? (letters(choices.length)[maximal[0]!] ?? null) : null;
}
