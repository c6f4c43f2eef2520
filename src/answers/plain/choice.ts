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

/** A capital that stands alone, other than the article. */
const loneCapital = /(?<!^)(?<![\p{L}\d])[A-Z](?![\p{L}\d])/u;

/** A letter that is written like a variable, or names a thing: what stands in front of it, and behind it. */
const variableBefore = new RegExp(
  [
    // `2 + B`, `x = B`, `P(B`, `|B`, `5 C`; but "answer = B".
    String.raw`(?<!\b(?:answer|option|choice|letter|result)\s*)(?<=[\p{L}\d)\]}]\s*)[=<≤≥≠≈+*·×^∪∩]\s*$`,
    String.raw`(?:^|[^\p{L}\\])\p{L}\d?\(\s*$|(?:\d|°)\s*$|\|$`,
    // `\overline B`: a command that takes mathematics.
    String.raw`\\(?:angle|triangle|(?:over|under)line|over(?:right|leftright)arrow|vec|(?:wide)?hat|bar|tilde|mathbb|mathcal|det|sin|cos|tan|log|ln|leq?|geq?|neq?|lt|gt|in|cup|cap|subset|cdot|times|pm|mp|sqrt|frac|circ|degree|approx|equiv|sim|cong|perp|parallel|binom|lfloor|lceil)\s*$`,
    String.raw`\b(?:vitamin|hepatitis|point|side|angle|vert(?:ex|ices)|triangle|sets?|events?|matrix|line|segment|circle|city|town|village|radius|variables?|constants?|let|where|suppose|denote|type|grade|group|team|plan|class|box|bag|car|train|machine|person|row|column|tank|pipe)\s*$`,
  ].join("|"),
  "iu",
);
const variableBehind = new RegExp(
  [
    String.raw`^\s*(?:[=≤≥≠≈+^|·×∪∩²³]|<(?!\/?[a-z]+>)|\/\s*\d|\*\s*[\w\\(]|_\s*[\w{]|[-−–]\s*\d|\\(?:leq?|geq?|neq?|lt|gt|in|cup|cap|subset|cdot|times|pm|mp|approx|equiv|sim|cong|perp|parallel|setminus|to)(?![a-z]))`,
    // B(2), B-1; "C is the number of cats", unlike "C is the best".
    String.raw`^(?:\(|[-−]\S)`,
    String.raw`^\s+(?:(?:be|equals?|are|was|denotes?|represents?|stands|has|have|lies|divides|intersects)\b|is (?!(?:the |a |my |most |more |clearly |probably |definitely |likely )*(?:correct|right|best|most|answer|true|choice|option|only|one)\b))`,
  ].join("|"),
  "iu",
);

const isVariable = (before: string, after: string): boolean =>
  variableBefore.test(before) || variableBehind.test(after) || (/^['′]/.test(after) && !/['"‘“]\s*$/.test(before));

/** An option written out: its letter, and the text behind it. "A" in front of a word in lower case is the article. */
export function labelled(answer: string): { letter: string; text: string } | null {
  if (answer.length > 2_000) return null;
  const plain = undress(answer).trim();
  const found =
    /^\{?\s*\(\s*([A-Z])\s*\)[\s}]*[\s:.-]*(\S.*)$/su.exec(plain) ??
    /^([A-Z])(?:\)|[.:](?=\s))\s*(\S.*)$/su.exec(plain) ??
    /^([A-Z])\s+(\p{Lu}.*)$/su.exec(plain);
  if (!found || (found[1] === "A" && /^A\s/.test(plain) && !isName(found[2]!))) return null;
  return { letter: found[1]!, text: found[2]! };
}

/** The same for a text in lower case, where the letter cannot be an article. */
const besides = (plain: string): { letter: string; text: string } | null => {
  const found = /^([B-Z])\s+(\S.*)$/s.exec(plain);
  return found && { letter: found[1]!, text: found[2]! };
};

/** Words in capitals, with nothing behind them that they could describe: "Peter", "New York is"; not "French bakery". */
const isName = (text: string): boolean =>
  /^(?:\p{Lu}[\p{L}\d'’.-]*\s*)+(?:$|[^\p{L}\s]|(?:is|was|has|because|since|as|who|and|or|in|at|on|of|for|to|will|would|can)\b)/u.test(
    text,
  );

/**
 * Reads the option a phrase chooses.
 * @param choices option texts, A first; null where they are not known (letters A–E are then accepted)
 * @returns an upper-case letter, or null if the phrase names no option or more than one
 */
export function parseChoice(phrase: string, choices: readonly string[] | null = null): string | null {
  if (phrase.length > 2_000) return null;
  const plain = undress(phrase).replace(/[{}]/g, " ").trim();
  const known = letters(choices?.length ?? DEFAULT_CHOICES);
  const label = choices && (labelled(plain) ?? besides(plain));
  if (label && known.includes(label.letter)) {
    // The letter with its own option's text; with the text of another one it chooses neither.
    const said = words(label.text);
    const at = choices.findIndex((choice) => words(choice) === said);
    if (at >= 0)
      return choices.map(words).indexOf(said, at + 1) < 0 && known[at] !== label.letter ? null : label.letter;
  }
  // "vitamin C" as the text of an option is no letter.
  const text = choices && byText(plain, choices);
  if (text && !label && loneCapital.test(choices[known.indexOf(text)]!)) return text;
  const named = new Set<string>();
  // "B. library, not A": a rejecting clause names nothing.
  for (const clause of plain.split(/[,;]|\.(?=\s+\S{2})|\b(?:and|but)\s+(?=not\b)/)) {
    if (!rejects.test(clause))
      for (const letter of lettersIn(clause, known, clause.trim() === plain)) named.add(letter);
  }
  if (named.size > 0) return named.size === 1 ? [...named][0]! : null;
  return text;
}

/** Letters used as options in a clause: "(B)", "B)", "B.", "B: text", "option c", "so A", or alone. */
function lettersIn(clause: string, known: string, alone: boolean): string[] {
  const found: string[] = [];
  for (const match of clause.matchAll(/(?<![\p{L}\d’-]|\p{L}')[a-zA-Z](?![\p{L}\d’]|'\p{L})/gu)) {
    const letter = match[0].toUpperCase();
    if (!known.includes(letter)) continue;
    const before = clause.slice(0, match.index);
    const after = clause.slice(match.index + 1);
    if (isVariable(before.slice(-40), after.slice(0, 60))) continue;
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
  if (leads && letter === "A" && /^\s/.test(after) && isName(after.trim())) return true;
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
