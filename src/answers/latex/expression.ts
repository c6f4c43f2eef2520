/**
 * Sums, products and powers: the part of the parser below relations and lists. Implicit products (`2x`, `\frac12 x`),
 * mixed numbers, phrases in plain words, units behind a value.
 */

import { Overrun, Unreadable } from "../algebra/rational.js";
import { isUnitWord, normalizeUnit } from "../plain/units.js";
import { scales } from "../plain/words.js";
import { CommandReader } from "./commands.js";
import type { Token } from "./tokens.js";
import { negated, numberTree, type Tree } from "./tree.js";

/** Each sign behind a value, as in 5!, and each division in a row nests the tree by one. */
const maxSigns = 12;
/** Words are read as a phrase at the top and inside one pair of brackets, not in fractions and exponents. */
const maxPhraseDepth = 3;

export abstract class ExpressionParser extends CommandReader {
  /** Terms joined by +, −, ± and ∓. */
  sum(): Tree {
    return this.nested(() => {
      const words = this.words();
      if (words) return words;
      const terms: Tree[] = [];
      for (let first = true; ; first = false) {
        const { kind, text } = this.token;
        const isSign =
          (kind === "symbol" && (text === "+" || text === "-")) ||
          (kind === "command" && (text === "pm" || text === "mp"));
        if (!isSign && !first) break;
        if (isSign) this.next();
        const term = this.product();
        if (!isSign || text === "+") terms.push(term);
        else if (text === "-") terms.push(negated(term));
        else {
          this.plusminus++;
          terms.push({ type: "plusminus", value: term, flipped: text === "mp" });
        }
      }
      return terms.length === 1 ? terms[0]! : shared(terms);
    });
  }

  /** A phrase in plain words up to the next sign: an answer in words. Single words of two letters are products. */
  private words(): Tree | null {
    if (this.depth > maxPhraseDepth) return null;
    if (this.token.kind !== "word" && !(this.token.kind === "letter" && this.peek().kind === "word")) return null;
    let end = this.index;
    while (this.tokens[end]!.kind === "word" || this.tokens[end]!.kind === "letter") end++;
    const run = this.tokens.slice(this.index, end);
    const after = this.tokens[end]!;
    const ends =
      after.kind === "end" ||
      after.kind === "connective" ||
      (after.kind === "symbol" && /^[,;)\]}.]$/.test(after.text));
    if (!ends || !run.some(({ text }) => text.length > 2) || run.some((t, i) => i > 0 && !t.spaced)) return null;
    this.index = end;
    return { type: "text", words: run.map(({ text }) => text).join(" ") };
  }

  /** Factors side by side or joined by signs; a unit behind them belongs to all of them. */
  protected product(): Tree {
    const factors: Tree[] = [];
    let unit: string | null = null;
    // Whether the last factor directly follows the one before it, as the fraction of a mixed number does.
    let adjacent = false;
    const push = (factor: Tree) => {
      const last = factors.at(-1);
      if (adjacent && factor.type === "quotient" && factor.mixed && last?.type === "number" && isMixed(last, factor)) {
        const part = last.value.numerator < 0n ? negated(factor) : factor;
        factors[factors.length - 1] = { type: "sum", terms: [last, part] };
      } else factors.push(factor);
    };
    const take = (factor: Tree, isAdjacent: boolean) => {
      adjacent = isAdjacent;
      if (factor.type !== "quantity") return push(factor);
      unit = unit === null || unit === factor.unit ? factor.unit : `${unit} ${factor.unit}`;
      push(factor.value);
    };
    let divisions = 0;
    take(this.signedPower(), false);
    for (;;) {
      const { kind, text } = this.token;
      if (kind === "symbol" && (text === "*" || text === "/")) {
        if (text === "/" && this.peek().kind === "text") {
          unit = normalizeUnit(`${unit ?? ""}${this.unit()}`);
          continue;
        }
        this.next();
        const factor = this.signedPower();
        if (text === "*") take(factor, false);
        else if (factor.type === "quantity") throw new Unreadable("a unit in a denominator");
        else {
          if (++divisions > maxSigns) throw new Overrun("too many divisions in a row");
          const above = factors.pop()!;
          push({ type: "quotient", above, below: factor, mixed: above.type === "number" && factor.type === "number" });
          adjacent = false;
        }
      } else if (this.isTimesTen()) {
        this.next();
        take(this.power(), false);
      } else if (kind === "word" && Object.hasOwn(scales, text)) {
        this.next();
        push(numberTree(scales[text]!));
      } else if (this.startsUnit()) {
        const name = normalizeUnit(this.unit());
        unit = unit === null || unit === "" ? name : `${unit} ${name}`.trim();
      } else if (this.startsFactor(factors.at(-1)!)) take(this.power(), true);
      else break;
    }
    const value: Tree = factors.length === 1 ? factors[0]! : { type: "product", factors };
    return unit === null ? value : { type: "quantity", value, unit };
  }

  /** `3 x 10^5` with the letter x. */
  private isTimesTen(): boolean {
    const { kind, text } = this.token;
    return (
      kind === "letter" &&
      text === "x" &&
      this.peek().text === "10" &&
      this.peek(2).text === "^" &&
      this.tokens[this.index - 1]?.kind === "number"
    );
  }

  protected startsFactor(last: Tree): boolean {
    const { kind, text, spaced } = this.token;
    if (kind === "letter") return !(text === "U" && last.type === "list");
    if (kind === "word") return true;
    if (kind === "number") {
      // "1 1/2" is a mixed number, "2^3 5" and "x 2" are products; "1 2" is no number.
      if (last.type === "number") return spaced && this.peek().text === "/" && this.peek(2).kind === "number";
      return true;
    }
    if (kind === "symbol")
      return (
        text === "(" ||
        text === "[" ||
        text === "{" ||
        text === "\\{" ||
        text === "$" ||
        (text === "|" && this.bars === 0)
      );
    if (kind !== "command") return false;
    return (
      !/^(?:pm|mp|cup|cap|setminus|mid|in|end .*|rangle|rfloor|rceil|degree|%)$/.test(text) &&
      !(text === "abs" && this.bars > 0)
    );
  }

  /** A factor with a sign of its own, as in 2·(−3) or 2^{-1}. */
  protected signedPower(): Tree {
    if (this.isSymbol("-")) {
      this.next();
      return negated(this.nested(() => this.signedPower()));
    }
    if (this.isSymbol("+")) {
      this.next();
      return this.nested(() => this.signedPower());
    }
    return this.power();
  }

  protected power(): Tree {
    let base = this.primary();
    for (let signs = 0; ; signs++) {
      if (signs > maxSigns) throw new Overrun("too many signs behind one value");
      if (this.isSymbol("!")) {
        this.next();
        base = { type: "call", name: "factorial", args: [base] };
      } else if (this.isSymbol("%")) {
        this.next();
        base = { type: "quantity", value: base, unit: "%" };
      } else if (this.isSymbol("$") && this.endsValue()) {
        this.next();
        base = { type: "quantity", value: base, unit: "$" };
      } else if (this.isCommand("degree")) {
        this.next();
        base = { type: "quantity", value: base, unit: "°" };
      } else if (this.isSymbol("^")) {
        this.next();
        if (this.isDegree()) base = { type: "quantity", value: base, unit: "°" };
        else base = { type: "power", base, exponent: this.exponent() };
      } else return base;
    }
  }

  /** `18 \$` at the end, unlike `3 \$ 4`. */
  private endsValue(): boolean {
    return this.peek().kind === "end" || this.peek().kind === "relation" || this.peek().text === ",";
  }

  /** `^\circ` or `^{\circ}`; the sign ^ has been read already. */
  private isDegree(): boolean {
    if (this.isCommand("degree")) {
      this.next();
      return true;
    }
    if (this.isSymbol("{") && this.peek().text === "degree" && this.peek(2).text === "}") {
      this.index += 3;
      return true;
    }
    return false;
  }

  /** Towers associate to the right; an exponent may be a sign without braces. */
  protected exponent(): Tree {
    return this.nested(() => {
      if (this.isSymbol("-")) {
        this.next();
        return negated(this.exponent());
      }
      const base = this.primary();
      if (!this.isSymbol("^")) return base;
      this.next();
      return { type: "power", base, exponent: this.exponent() };
    });
  }

  protected primary(): Tree {
    const { kind, text } = this.token;
    if (kind === "number") return this.number();
    if (kind === "letter") return this.symbol(this.next().text);
    if (kind === "word") return this.splitWord();
    if (kind === "text") {
      this.next();
      return { type: "text", words: text };
    }
    if (kind === "symbol") return this.bracketed(text);
    if (kind === "command") return this.command(this.next().text);
    throw new Unreadable(kind === "end" ? "the expression ends early" : `unexpected "${text}"`);
  }

  /** A unit begins: text or a word that names one, behind a value. */
  private startsUnit(): boolean {
    if (this.token.kind === "text") return true;
    // "5 apples", but not "we find".
    const before = this.tokens[this.index - 1]?.kind;
    return this.token.kind === "word" && before !== "letter" && isUnitWord(this.token.text) && this.wordsEnd();
  }

  /** Words that are a unit reach up to the end of the value. */
  private wordsEnd(): boolean {
    let end = this.index;
    while (this.tokens[end]!.kind === "word" || (this.tokens[end]!.kind === "letter" && end > this.index)) end++;
    const { kind, text } = this.tokens[end]!;
    return (
      kind === "end" ||
      kind === "connective" ||
      kind === "relation" ||
      kind === "text" ||
      (kind === "symbol" && /^(?:[,;)\]}./^]|\\\}|\\\\|&)$/.test(text))
    );
  }

  /** `cm`, `cm^2`, `\text{ m}/\text{s}`, `square feet`. */
  private unit(): string {
    let name = "";
    for (;;) {
      const { kind, text } = this.token;
      if (isWordy(this.token) && (kind !== "letter" || name !== "")) name += ` ${text}`;
      else if (kind === "symbol" && text === "/" && isWordy(this.peek())) name += "/";
      else if (kind === "symbol" && text === "^" && this.peek().kind === "number") {
        this.next();
        name += `^${this.token.text}`;
      } else if (kind === "symbol" && text === "^" && this.peek().text === "{" && this.peek(3).text === "}") {
        this.index += 2;
        name += `^${this.token.text}`;
        this.next();
      } else return name;
      this.next();
    }
  }
}

const isWordy = ({ kind }: Token): boolean => kind === "word" || kind === "text" || kind === "letter";

/** Whether a fraction may follow a whole number in a mixed number: both parts whole, below 1. */
function isMixed(whole: Tree & { type: "number" }, { above, below }: Tree & { type: "quotient" }): boolean {
  if (above.type !== "number" || below.type !== "number" || whole.places !== null || whole.value.denominator !== 1n)
    return false;
  const [a, b] = [above.value, below.value];
  return (
    a.denominator === 1n &&
    b.denominator === 1n &&
    above.places === null &&
    below.places === null &&
    a.numerator > 0n &&
    a.numerator < b.numerator
  );
}

/** A sum; a unit that the last term or all terms have is that of the whole. */
function shared(terms: Tree[]): Tree {
  const units = new Set(terms.flatMap((term) => (term.type === "quantity" ? [term.unit] : [])));
  if (units.size !== 1) return { type: "sum", terms };
  const values = terms.map((term) => (term.type === "quantity" ? term.value : term));
  return { type: "quantity", value: { type: "sum", terms: values }, unit: [...units][0]! };
}
