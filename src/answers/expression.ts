/**
 * Sums, products, powers and what they consist of: the part of the parser below relations and lists. Implicit products
 * (`2x`, `\frac12 x`), function arguments without brackets (`\sin 2x`), mixed numbers, units behind a value.
 */
import { Overrun, type Rational, rational, Unreadable } from "./rational.js";
import type { Token } from "./tokens.js";
import { negated, numberTree, type Tree } from "./tree.js";
import { isUnitWord, normalizeUnit } from "./units.js";

/** Deeper nesting is refused; a real answer needs fewer than ten levels. */
const maxDepth = 60;
/** Each sign behind a value, as in 5!, and each division in a row nests the tree by one. */
const maxSigns = 12;
/** Words are read as a phrase at the top and inside one pair of brackets, not in fractions and exponents. */
const maxPhraseDepth = 3;
/** More digits, or a larger exponent behind e, are compared as written. */
const maxDigits = 1_000;

const functions = new Set("sin cos tan sec csc cot arcsin arccos arctan sinh cosh tanh ln log exp".split(" "));
const big = new Set("sum prod int lim max min gcd lcm".split(" "));
const matrices = new Set("pmatrix bmatrix matrix Bmatrix smallmatrix array cases aligned".split(" "));
const closers = new Set([")", "]", "\\}", "}", "&", "\\\\"]);
const bases: Readonly<Record<string, number>> = {
  two: 2,
  three: 3,
  four: 4,
  five: 5,
  six: 6,
  seven: 7,
  eight: 8,
  nine: 9,
  ten: 10,
  eleven: 11,
  twelve: 12,
  sixteen: 16,
};

const scales: Readonly<Record<string, number>> = { thousand: 1e3, million: 1e6, billion: 1e9, trillion: 1e12 };

/** The value a numeral of the tokenizer stands for. */
export function numeral(text: string): Tree {
  const [digits = "", exponent = "0"] = text.split("e");
  const [whole = "", decimals = ""] = digits.split(".");
  if (whole.length + decimals.length > maxDigits || Math.abs(Number(exponent)) > maxDigits) {
    const plain = digits.includes(".") ? digits.replace(/0+$/, "").replace(/\.$/, "") : digits;
    return { type: "digits", text: `${plain.replace(/^0+(?=\d)/, "")}${exponent === "0" ? "" : `e${exponent}`}` };
  }
  const mantissa = rational(BigInt(whole + decimals), 10n ** BigInt(decimals.length));
  const scale = BigInt(exponent);
  const value: Rational =
    scale === 0n
      ? mantissa
      : rational(
          mantissa.numerator * 10n ** (scale > 0n ? scale : 0n),
          mantissa.denominator * 10n ** (scale < 0n ? -scale : 0n),
        );
  const places = digits.includes(".") ? Math.max(0, decimals.length - Number(exponent)) : null;
  return { type: "number", value, places };
}

export abstract class ExpressionParser {
  index = 0;
  /** How many ± and ∓ were read so far. */
  protected plusminus = 0;
  protected inTuple = false;
  private depth = 0;
  private bars = 0;

  constructor(protected readonly tokens: Token[]) {}

  abstract list(): Tree;
  abstract relation(): Tree;

  get token(): Token {
    return this.tokens[this.index]!;
  }
  protected peek(ahead = 1): Token {
    return this.tokens[Math.min(this.index + ahead, this.tokens.length - 1)]!;
  }
  protected next(): Token {
    const token = this.token;
    if (token.kind !== "end") this.index++;
    return token;
  }
  protected isSymbol(text: string): boolean {
    return this.token.kind === "symbol" && this.token.text === text;
  }
  protected isCommand(name: string): boolean {
    return this.token.kind === "command" && this.token.text === name;
  }
  /** Signs that end a list whatever it is part of. */
  protected atCloser(): boolean {
    const { kind, text } = this.token;
    if (kind === "end") return true;
    if (kind === "symbol") return closers.has(text) || (text === "|" && this.bars > 0);
    return (
      kind === "command" &&
      (text.startsWith("end ") ||
        text === "rangle" ||
        text === "rfloor" ||
        text === "rceil" ||
        (text === "abs" && this.bars > 0))
    );
  }
  private expect(text: string): void {
    if (this.token.text !== text || this.token.kind === "end") throw new Unreadable(`"${text}" is missing`);
    this.next();
  }
  private nested<T>(read: () => T): T {
    if (++this.depth > maxDepth) throw new Overrun(`nesting of more than ${maxDepth} levels`);
    const tree = read();
    this.depth--;
    return tree;
  }

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
  private product(): Tree {
    const factors: Tree[] = [];
    let unit: string | null = null;
    // Whether the last factor stands directly behind the one before it, as the fraction of a mixed number does.
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

  private startsFactor(last: Tree): boolean {
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
  private signedPower(): Tree {
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

  private power(): Tree {
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

  /** `^\circ` or `^{\circ}`; the sign ^ is read already. */
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

  /** Towers associate to the right; a sign may stand without braces. */
  private exponent(): Tree {
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

  private primary(): Tree {
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

  private number(): Tree {
    const tree = numeral(this.next().text);
    if (this.isSymbol("overline") && tree.type === "number") {
      this.next();
      return this.repeating(tree);
    }
    if (this.isSymbol("_")) return this.based(this.tokens[this.index - 1]!.text);
    return tree;
  }

  /** `0.1\overline{6}` = 1/6. */
  private repeating(tree: Tree & { type: "number" }): Tree {
    const digits =
      this.isSymbol("{") && this.peek().kind === "number" && this.peek(2).text === "}" ? this.peek().text : null;
    if (digits === null || !/^\d{1,50}$/.test(digits)) throw new Unreadable("a line over something that is no digit");
    this.index += 3;
    const places = tree.places ?? 0;
    const period = 10n ** BigInt(digits.length) - 1n;
    const tail = rational(BigInt(digits), period * 10n ** BigInt(places));
    const { numerator: n, denominator: d } = tree.value;
    return {
      type: "number",
      value: rational(n * tail.denominator + tail.numerator * d, d * tail.denominator),
      places: null,
    };
  }

  /** `52_8`, `52_{8}`, `52_{\text{eight}}`. */
  private based(digits: string): Tree {
    this.next();
    const braced = this.isSymbol("{");
    if (braced) this.next();
    const { kind, text } = this.next();
    const base = kind === "number" ? Number(text) : (bases[text.toLowerCase()] ?? Number.NaN);
    if (braced) this.expect("}");
    if (!Number.isInteger(base) || base < 2 || base > 36)
      throw new Unreadable("a number with an index that is no base");
    return { type: "based", digits: digits.replace(/^0+(?=.)/, ""), base };
  }

  /** A variable or function name with its index and primes. */
  private symbol(letter: string): Tree {
    let name = letter;
    let inverse = false;
    for (;;) {
      if (this.isSymbol("_")) name += `_${this.subscript()}`;
      else if (this.isSymbol("'")) name += this.next().text;
      else if (
        /^[fgh]/.test(name) &&
        this.isSymbol("^") &&
        this.peek().text === "{" &&
        this.peek(2).text === "-" &&
        this.peek(3).text === "1" &&
        this.peek(5).text === "("
      ) {
        this.index += 5;
        inverse = true;
      } else break;
    }
    if (this.isSymbol("(") && (inverse || this.isCall(name))) {
      const before = this.inTuple;
      this.next();
      const inner = this.list();
      this.expect(")");
      this.inTuple = before;
      const args = inner.type === "list" && inner.open === "" ? inner.items : [inner];
      return { type: "call", name: inverse ? `${name}^-1` : name, args };
    }
    return { type: "symbol", name };
  }

  /** f(x), P(A), W(n), but not a(b + c) or x(x − 1). */
  private isCall(name: string): boolean {
    if (/^[fghFGH]/.test(name)) return true;
    const argument = this.peek();
    return (
      /^[A-Zpq]/.test(name) && this.peek(2).text === ")" && (argument.kind === "letter" || argument.kind === "number")
    );
  }

  /** The signs of an index as they stand: F_{n-1} and F_{n - 1} are one name. */
  private subscript(): string {
    this.next();
    if (!this.isSymbol("{")) return this.next().text;
    let depth = 0;
    let name = "";
    do {
      const { kind, text } = this.next();
      if (kind === "end") throw new Unreadable("an index without an end");
      if (kind === "symbol" && text === "{") depth++;
      if (kind === "symbol" && text === "}") depth--;
      name += text;
    } while (depth > 0);
    return name.slice(1, -1);
  }

  /** Letters without a space between them are a product; a longer word is prose, and prose is no product. */
  private splitWord(): Tree {
    const { text, spaced } = this.next();
    const attached = !spaced && this.index > 1;
    if (text.length > 3 && !attached && text !== text.toUpperCase()) throw new Unreadable(`the word "${text}"`);
    // As letters of their own, so that an exponent belongs to the last one: bx^2.
    const letters = [...text].map((letter): Token => ({ kind: "letter", text: letter, spaced: false }));
    this.tokens.splice(this.index, 0, ...letters.slice(1));
    return this.symbol(letters[0]!.text);
  }

  private bracketed(open: string): Tree {
    if (open === "$") {
      this.next();
      return { type: "quantity", value: this.nested(() => this.signedPower()), unit: "$" };
    }
    if (open === "€" || open === "£") {
      this.next();
      return { type: "quantity", value: this.nested(() => this.signedPower()), unit: open };
    }
    if (open === "|" || open === "\\|") return this.bar(open);
    if (open === "(" || open === "[") return this.nested(() => this.parentheses(open));
    if (open === "{" || open === "\\{") return this.nested(() => this.braces(open));
    throw new Unreadable(`unexpected "${open}"`);
  }

  private bar(close: string): Tree {
    this.next();
    this.bars++;
    const inner = this.sum();
    this.bars--;
    this.expect(close === "abs" ? "abs" : close);
    return { type: "call", name: "abs", args: [inner] };
  }

  private within(read: () => Tree, tuple: boolean): Tree {
    const before = this.inTuple;
    const bars = this.bars;
    this.inTuple = tuple;
    this.bars = 0;
    const inner = read();
    this.inTuple = before;
    this.bars = bars;
    return inner;
  }

  /** A group, a tuple or an interval. */
  private parentheses(open: "(" | "["): Tree {
    this.next();
    const inner = this.within(() => this.list(), true);
    const close = this.token.text;
    if (close !== ")" && close !== "]") throw new Unreadable("a bracket is never closed");
    this.next();
    if (inner.type === "list" && inner.open === "") {
      return { type: "list", open, close, items: inner.items, joint: inner.joint };
    }
    if ((open === "(") !== (close === ")")) throw new Unreadable("brackets that do not match around one value");
    if (this.isSymbol("_") && inner.type === "number") return this.based(inner.value.numerator.toString());
    return inner;
  }

  /** A group, or a set where the braces are written or hold more than one item. */
  private braces(open: string): Tree {
    this.next();
    const isSet = open === "\\{";
    const close = isSet ? "\\}" : "}";
    if (isSet && this.isSymbol(close)) {
      this.next();
      return { type: "list", open: "{", close: "", items: [], joint: "," };
    }
    // `\left\{\begin{array}…\end{array}\right.`: a brace that gathers equations and never closes.
    if (isSet && this.token.kind === "command" && this.token.text.startsWith("begin ")) {
      const system = this.power();
      if (this.isSymbol(close)) this.next();
      return system;
    }
    if (isSet) this.skipBuilder();
    const inner = this.within(() => this.list(), false);
    this.expect(close);
    if (inner.type === "list" && inner.open === "") return { ...inner, open: "{" };
    if (isSet && inner.type !== "relation") return { type: "list", open: "{", close: "", items: [inner], joint: "," };
    return inner;
  }

  /** `\{x \mid x > 2\}` and `\{x : x > 2\}`: what the condition is about goes without saying. */
  private skipBuilder(): void {
    if (this.token.kind !== "letter") return;
    const sign = this.peek().text === "in" ? 3 : 1;
    if (/^(?:mid|:|\||abs)$/.test(this.peek(sign).text)) this.index += sign + 1;
  }

  private command(name: string): Tree {
    if (functions.has(name)) return this.nested(() => this.apply(name));
    if (big.has(name)) return this.nested(() => this.bigOperator(name));
    switch (name) {
      case "frac":
        return this.fraction();
      case "sqrt":
        return this.root();
      case "infty":
        return { type: "infinity" };
      case "empty":
        return { type: "list", open: "{", close: "", items: [], joint: "," };
      case "reals":
        return { type: "reals" };
      case "binom":
      case "dbinom":
      case "tbinom":
        return { type: "call", name: "binom", args: [this.argument(), this.argument()] };
      case "lfloor":
      case "lceil": {
        const inner = this.list();
        this.expect(name === "lfloor" ? "rfloor" : "rceil");
        return { type: "call", name: name === "lfloor" ? "floor" : "ceil", args: [inner] };
      }
      case "abs":
        this.index--;
        return this.bar("abs");
      case "langle": {
        const inner = this.within(() => this.list(), true);
        this.expect("rangle");
        return {
          type: "list",
          open: "<",
          close: "",
          items: inner.type === "list" && inner.open === "" ? inner.items : [inner],
          joint: ",",
        };
      }
      case "angle":
      case "triangle":
        return this.geometric(name);
      case "pmod":
      case "bmod":
      case "mod":
        throw new Unreadable("a congruence");
    }
    if (name.startsWith("begin ")) return this.nested(() => this.environment(name.slice(6)));
    return this.symbol(name);
  }

  /** `\frac{a}{b}`, `\frac12`, `\frac a b`. */
  private fraction(): Tree {
    const above = this.argument();
    const below = this.argument();
    const mixed = above.type === "number" && below.type === "number";
    return { type: "quotient", above, below, mixed };
  }

  /** A group, one digit, or one command with its own arguments. */
  private argument(): Tree {
    return this.nested(() => {
      if (this.token.kind !== "number" || this.token.text.length === 1) return this.primary();
      const token = this.token;
      // The rest of the digits is the next argument or factor; a full stop behind them is none.
      const rest = token.text.slice(1);
      if (rest === ".") this.next();
      else this.tokens[this.index] = { ...token, text: rest };
      return numeral(token.text[0]!);
    });
  }

  private root(): Tree {
    let index = 2;
    if (this.isSymbol("[")) {
      this.next();
      index = Number(this.next().text);
      this.expect("]");
      if (!Number.isInteger(index) || index < 2 || index > 100)
        throw new Unreadable("a root that is not the 2nd to 100th");
    }
    return { type: "root", radicand: this.nested(() => this.primary()), index };
  }

  /** `\sin x`, `\sin^2 x`, `\log_2 8`: without brackets the argument reaches up to the next sign or function. */
  private apply(name: string): Tree {
    let exponent: Tree | null = null;
    let base: Tree | null = null;
    for (;;) {
      if (this.isSymbol("^") && exponent === null) {
        this.next();
        exponent = this.exponent();
      } else if (this.isSymbol("_") && base === null) {
        this.next();
        base = this.argument();
      } else break;
    }
    let argument: Tree;
    if (this.isSymbol("(") || this.isSymbol("{")) argument = this.power();
    else {
      const factors = [this.signedPower()];
      while (
        this.startsFactor(factors.at(-1)!) &&
        !(this.token.kind === "command" && functions.has(this.token.text)) &&
        !this.isSymbol("(")
      ) {
        factors.push(this.power());
      }
      argument = factors.length === 1 ? factors[0]! : { type: "product", factors };
      if (this.isSymbol("/") && this.peek().kind === "number") {
        this.next();
        argument = { type: "quotient", above: argument, below: this.number(), mixed: false };
      }
    }
    const inverse =
      exponent?.type === "number" && exponent.value.numerator === -1n && exponent.value.denominator === 1n;
    const args = base ? [argument, base] : [argument];
    const call: Tree = { type: "call", name: inverse ? `arc${name}` : name, args };
    return exponent && !inverse ? { type: "power", base: call, exponent } : call;
  }

  /** `\sum_{k=0}^{n}` and its kin with what follows up to the next + or −. */
  private bigOperator(name: string): Tree {
    const args: Tree[] = [];
    while (this.isSymbol("_") || this.isSymbol("^")) {
      const sign = this.next().text;
      const bound = this.nested(() => (this.isSymbol("{") ? this.boundGroup() : this.primary()));
      args.push({ type: "call", name: sign === "_" ? "from" : "to", args: [bound] });
    }
    args.push(this.nested(() => this.product()));
    return { type: "call", name, args };
  }

  private boundGroup(): Tree {
    this.next();
    const inner = this.within(() => this.list(), true);
    this.expect("}");
    return inner;
  }

  /** `\angle ABC` is a name. */
  private geometric(kind: string): Tree {
    let name = "";
    while (this.token.kind === "letter" || this.token.kind === "word") name += this.next().text;
    if (name === "") throw new Unreadable(`\\${kind} without letters`);
    return { type: "symbol", name: `${kind === "angle" ? "∠" : "△"}${name}` };
  }

  private environment(name: string): Tree {
    if (!matrices.has(name)) throw new Unreadable(`the environment ${name}`);
    const rows: Tree[][] = [[]];
    for (;;) {
      if (this.isSymbol("\\\\")) {
        this.next();
        rows.push([]);
      } else if (this.isCommand(`end ${name}`)) {
        this.next();
        break;
      } else {
        rows.at(-1)!.push(this.within(() => this.relation(), true));
        if (this.isSymbol("&")) this.next();
      }
    }
    while (rows.at(-1)?.length === 0) rows.pop();
    const width = rows[0]?.length ?? 0;
    if (width === 0 || rows.some((row) => row.length !== width))
      throw new Unreadable("a matrix with rows of different length");
    const lines = rows.map((row) => (row.length === 1 ? row[0]! : null));
    // A column of equations is a list of them.
    if (lines.every((line) => line?.type === "relation"))
      return { type: "list", open: "", close: "", items: lines, joint: "," };
    return { type: "matrix", rows };
  }

  /** A unit begins: text or a word that names one, behind a value. */
  private startsUnit(): boolean {
    if (this.token.kind === "text") return true;
    return this.token.kind === "word" && isUnitWord(this.token.text) && this.wordsEnd();
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

/** Whether a fraction is one that a whole number may stand in front of: both parts whole, below 1. */
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
