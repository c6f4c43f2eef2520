/**
 * Cuts LaTeX, or mathematics typed in plain letters, into tokens: numbers, letters, words, commands, text and symbols.
 * Synonyms become one token (`\dfrac`, `\tfrac`; `\leq`, `≤`, `<=`), layout (`\left`, `\,`, fonts, math delimiters)
 * disappears. Linear: one pass with sticky patterns that never backtrack over what they matched. Pure.
 */
import { Overrun, Unreadable } from "../algebra/rational.js";
import { vulgar } from "../plain/undress.js";

export interface Token {
  kind: "number" | "letter" | "word" | "command" | "relation" | "connective" | "text" | "symbol" | "end";
  /** Numbers without separators; commands without backslash; text without its command. */
  text: string;
  /** Whether there is white space in front. */
  spaced: boolean;
}

/** Longer answers are compared as text only. */
export const maxAnswer = 10_000;

const table = (lines: string): Map<string, string> =>
  new Map(
    lines
      .trim()
      .split(/\s*\n\s*/)
      .flatMap((line) => {
        const [to, ...from] = line.split(/\s+/);
        return from.map((name): [string, string] => [name, to!]);
      }),
  );

/** Canonical relation sign, then its spellings. */
const relations = table(`
  = = == equiv
  < < lt
  > > gt
  <= <= le leq leqslant ≤ ⩽
  >= >= ge geq geqslant ≥ ⩾
  != != ne neq ≠
  ~ approx simeq ≈
  in in ∈
`);
/** Canonical name, then its spellings: commands, words and characters alike. */
const names = table(`
  frac frac dfrac tfrac cfrac
  sqrt sqrt √
  pm pm ± plusmn
  mp mp ∓
  * cdot times ast × · ∗ ⋅
  / div ÷ ⁄
  pi pi π
  infty infty infinity inf ∞ oo
  cup cup union ∪
  cap cap ∩
  setminus setminus backslash
  empty emptyset varnothing ∅
  degree degree circ °
  reals ℝ Reals
  theta theta vartheta θ
  phi phi varphi φ ϕ
  epsilon epsilon varepsilon ε
  alpha alpha α
  beta beta β
  gamma gamma γ
  delta delta δ
  lambda lambda λ
  mu mu μ
  rho rho varrho ρ
  sigma sigma σ
  tau tau τ
  omega omega ω
  Delta Delta Δ
  dots dots ldots cdots dotsc … dotsb
  sin sin
  cos cos
  tan tan tg
  sec sec
  csc csc cosec
  cot cot ctg
  arcsin arcsin asin
  arccos arccos acos
  arctan arctan atan
  sinh sinh
  cosh cosh
  tanh tanh
  ln ln
  log log lg
  exp exp
  mid mid vert
  abs lvert rvert
  langle langle ⟨
  rangle rangle ⟩
`);
/** The commands that plain words may mean without a backslash; the others are Greek letters or layout in LaTeX only. */
const wordCommands = new Set(
  "sqrt pi infty infinity inf oo union theta alpha beta sin cos tan sec csc cot arcsin arccos arctan asin acos atan ln log exp".split(
    " ",
  ),
);
const layout = new Set(
  (
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle limits nolimits " +
    "quad qquad thinspace medspace thickspace negthinspace enspace enskip nobreakspace space hfill boxed fbox mathbf mathit boldsymbol bm hline overline overrightarrow overleftrightarrow vec bar hat rm bf it"
  ).split(" "),
);
const textCommands = new Set(
  "text textrm textit textbf textsf textnormal mbox hbox mathrm mathsf emph operatorname".split(" "),
);
const characters: Readonly<Record<string, string>> = {
  "−": "-",
  "–": "-",
  "﹣": "-",
  "－": "-",
  "⁻": "-",
  "’": "'",
  "′": "'",
  "（": "(",
  "）": ")",
  "，": ",",
  "：": ":",
  "；": ";",
  "＝": "=",
  "％": "%",
};
const superscripts: Readonly<Record<string, string>> = { "²": "2", "³": "3" };

/** White space, a command, an escaped character, a number, letters, or any other character or pair. */
const piece =
  /\s+|\\([a-zA-Z]+)|\\([\s\S])|(\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE]([+-]?\d{1,6})(?![\w.^{]))?|([a-zA-Z]+)|([<>!=]=|\*\*|[\s\S])/y;
/** Groups of three digits behind a number: how TeX, plain text and Switzerland write them. */
const grouped = /(?: ?\{ ?, ?\} ?\d{3}(?!\d))+|(?:, ?\\! ?\d{3}(?!\d))+|(?:\\,\d{3}(?!\d))+|(?:['’]\d{3}(?!\d))+/y;
const commaGrouped = /(?:,\d{3}(?!\d))+/y;

const sticky = (pattern: RegExp, text: string, at: number): RegExpExecArray | null => {
  pattern.lastIndex = at;
  return pattern.exec(text);
};

/**
 * @returns the tokens with an "end" behind them
 * @throws Overrun beyond {@link maxAnswer}; Unreadable where braces of a text never close
 */
export function tokenize(text: string, nesting = 0): Token[] {
  if (text.length > maxAnswer) throw new Overrun(`an answer of more than ${maxAnswer} characters`);
  if (nesting > 8) throw new Unreadable("text nested too deeply");
  const tokens: Token[] = [];
  let spaced = false;
  let brackets = 0;
  let commaSpace: boolean | null = null;
  const push = (kind: Token["kind"], value: string) => {
    tokens.push({ kind, text: value, spaced });
    spaced = false;
  };
  const pushName = (name: string) => {
    const sign = relations.get(name);
    const known = names.get(name);
    if (sign) push("relation", sign);
    else if (known === "*" || known === "/") push("symbol", known);
    else push("command", known ?? name);
  };

  for (let at = 0; at < text.length; ) {
    const found = sticky(piece, text, at)!;
    const [all, command, escaped, digits, exponent, letters, other] = found;
    at += all.length;
    if (command !== undefined) {
      if (command === "mathbb") {
        const set = /\s*\{?\s*([A-Z])\s*\}?/y;
        const letter = sticky(set, text, at);
        if (letter) {
          at += letter[0].length;
          push("command", letter[1] === "R" ? "reals" : `mathbb${letter[1]}`);
        }
      } else if (textCommands.has(command)) {
        const content = group(text, at);
        if (content) {
          at = content.end;
          pushText(content.text);
        }
        spaced = true;
      } else if (/^(?:phantom|[hm]space)$/.test(command)) {
        at = group(text, at)?.end ?? at;
      } else if (command === "begin" || command === "end") {
        const name = /\{([a-z]+)\*?\}(?:\{[lcr| ]*\})?/y;
        const environment = sticky(name, text, at);
        if (!environment) throw new Unreadable(`\\${command} without a name`);
        at += environment[0].length;
        push("command", `${command} ${environment[1]}`);
      } else if (/^(?:hskip|mskip|kern|mkern)$/.test(command)) {
        at += sticky(/\s*-?[\d.]*\s*(?:em|ex|pt|mu|cm|mm|in)?/y, text, at)![0].length;
        spaced = true;
      } else if (layout.has(command)) {
        spaced = true;
        if (command.endsWith("quad") && separates(tokens.at(-1), text, at)) push("symbol", ",");
        // `\right.` closes without a sign.
        if ((command === "right" || command === "left") && text[at] === ".") at++;
        if (command === "overline") overline(tokens);
      } else if (!names.has(command) && !relations.has(command)) {
        // `\quadx`: a layout command that ran into the next letter.
        const glued = /^(q?quad)(.+)$/.exec(command);
        if (glued) {
          spaced = true;
          for (const letter of glued[2]!) push("letter", letter);
        } else push("command", command);
      } else pushName(command);
    } else if (escaped !== undefined) {
      const next =
        /\\(?:frac|dfrac|tfrac|left|right|sqrt|text|boxed|cup|infty|pi|le|leq|ge|geq|in|cdot|times|pm|mathrm|mathbb|quad|circ|sin|cos)(?![a-zA-Z])/y;
      if (escaped === "\\") {
        // `\\frac`: a backslash that was escaped once too often. Otherwise it ends a row.
        if (!sticky(next, text, at - 1)) push("symbol", "\\\\");
        else at--;
      } else if ("{}%$|".includes(escaped)) {
        if (escaped === "{") brackets++;
        if (escaped === "}") brackets--;
        push("symbol", escaped === "$" ? "$" : escaped === "%" ? "%" : `\\${escaped}`);
      } else spaced = true; // \, \; \! \( \[ and the like
    } else if (digits !== undefined) {
      let number = digits;
      if (!digits.includes(".") && exponent === undefined) {
        const plain = () => {
          if (digits.length > 3 || digits.startsWith("0")) return null;
          // "6,19,100" is a list throughout.
          if (/\d,$/.test(text.slice(Math.max(0, at - digits.length - 2), at - digits.length))) return null;
          if (brackets > 0) {
            commaSpace ??= /,\s/.test(text);
            if (!commaSpace) return null;
          }
          return sticky(commaGrouped, text, at);
        };
        const groups = (digits.length <= 3 ? sticky(grouped, text, at) : null) ?? plain();
        if (groups) {
          at += groups[0].length;
          const rest = sticky(/\.\d+/y, text, at);
          at += rest?.[0].length ?? 0;
          number = digits + groups[0].replace(/\D/g, "") + (rest?.[0] ?? "");
        }
      }
      push("number", exponent === undefined ? number : `${number}e${exponent}`);
    } else if (letters !== undefined) {
      pushLetters(letters);
    } else if (other !== undefined) pushSymbol(other);
    else spaced = true;
  }
  push("end", "");
  return tokens;

  function pushLetters(letters: string) {
    const connective = /^(and|or)(?=[A-Z]|$)/.exec(letters);
    if (connective) {
      push("connective", connective[1]!);
      if (letters.length > connective[0].length) pushLetters(letters.slice(connective[0].length));
    } else if (letters.length === 1) push("letter", letters);
    else if (wordCommands.has(letters)) pushName(letters);
    else push("word", letters);
  }

  function pushText(content: string) {
    const words = content.replace(/\s+/g, " ").trim();
    const runs = words.match(/[a-zA-Z]{2,}/g) ?? [];
    const last = tokens.at(-1)?.kind;
    if (words === "") spaced = true;
    // 7\text{ h}
    else if (last === "number" && /^[mgshl]$/.test(words)) push("text", words);
    else if (/\b[ap]\. ?m\b/i.test(words)) push("text", words);
    // "12 and 13", "(B)", "e": mathematics that only looks like text.
    else if (runs.every((run) => run === "and" || run === "or")) {
      spaced = true;
      for (const token of tokenize(content, nesting + 1)) if (token.kind !== "end") tokens.push(token);
    } else push("text", words);
  }

  function pushSymbol(symbol: string) {
    const sign = relations.get(symbol);
    const mapped = characters[symbol] ?? symbol;
    if (sign) push("relation", sign);
    else if (symbol === "**") push("symbol", "^");
    else if (Object.hasOwn(superscripts, symbol)) {
      push("symbol", "^");
      push("number", superscripts[symbol]!);
    } else if (Object.hasOwn(vulgar, symbol)) {
      push("command", "frac");
      for (const digit of vulgar[symbol]!.split("/")) push("number", digit);
    } else if (names.has(symbol)) {
      pushName(symbol);
    } else if (mapped === "$" || mapped === "~" || mapped === "`") spaced = true;
    else {
      if (mapped === "(" || mapped === "[") brackets++;
      if (mapped === ")" || mapped === "]") brackets--;
      push("symbol", mapped);
    }
  }
}

/** Whether `\quad` stands between two answers: `1 \quad 2`, `x = 1 \quad y = 2`. */
function separates(before: Token | undefined, text: string, at: number): boolean {
  if (!before || !(/^(?:number|letter)$/.test(before.kind) || /^(?:[)\]}]|\\\})$/.test(before.text))) return false;
  const value = /\s*(?:[-+]?\s*(?:\d|\.\d|\\[dt]?frac|\\sqrt)|[a-zA-Z](?:_\{?\w{1,3}\}?)?\s*=)/y;
  return sticky(value, text, at) !== null;
}

/** Offset of the brace that closes the group whose content starts at `from`; −1 if none does. `\{` is a letter. */
export function closingBrace(text: string, from: number): number {
  for (let i = from, depth = 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "{") depth++;
    else if (text[i] === "}" && --depth === 0) return i;
  }
  return -1;
}

/** The contents of a braced group that begins at an offset, behind white space; null if none does. */
function group(text: string, at: number): { text: string; end: number } | null {
  let start = at;
  while (text[start] === " ") start++;
  if (text[start] !== "{") return null;
  const end = closingBrace(text, start + 1);
  if (end < 0) throw new Unreadable("a brace is never closed");
  return { text: text.slice(start + 1, end), end: end + 1 };
}

/** `0.1\overline{6}` repeats its digits; over letters a line is layout. */
function overline(tokens: Token[]): void {
  const last = tokens.at(-1);
  if (last?.kind === "number" && last.text.includes("."))
    tokens.push({ kind: "symbol", text: "overline", spaced: false });
}
