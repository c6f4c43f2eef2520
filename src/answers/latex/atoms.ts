/** Numbers and names: decimals, repeating decimals, numerals of other bases, variables with indices, function values. */

import { type Rational, rational, Unreadable } from "../algebra/rational.js";
import { TokenReader } from "./reader.js";
import type { Token } from "./tokens.js";
import type { Tree } from "./tree.js";

/** More digits, or a larger exponent behind e, are compared as written. */
const maxDigits = 1_000;

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

/** The value of a numeral from the tokenizer. */
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

export abstract class AtomReader extends TokenReader {
  protected number(): Tree {
    const tree = numeral(this.next().text);
    if (this.isSymbol("overline") && tree.type === "number") {
      this.next();
      return this.repeating(tree);
    }
    if (this.isSymbol("_")) return this.based(this.tokens[this.index - 1]!.text);
    return tree;
  }

  /** `0.1\overline{6}` = 1/6. */
  protected repeating(tree: Tree & { type: "number" }): Tree {
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
  protected based(digits: string): Tree {
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
  protected symbol(letter: string): Tree {
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
  protected isCall(name: string): boolean {
    if (/^[fghFGH]/.test(name)) return true;
    const argument = this.peek();
    return (
      /^[A-Zpq]/.test(name) && this.peek(2).text === ")" && (argument.kind === "letter" || argument.kind === "number")
    );
  }

  /** The signs of an index as written, without spaces: F_{n-1} and F_{n - 1} are one name. */
  protected subscript(): string {
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
  protected splitWord(): Tree {
    const { text, spaced } = this.next();
    const before = this.tokens[this.index - 2];
    const attached = !spaced && before !== undefined && (before.kind !== "symbol" || /^[)\]}!']$/.test(before.text));
    if (text.length > 3 && !attached && text !== text.toUpperCase()) throw new Unreadable(`the word "${text}"`);
    // As letters of their own, so that an exponent belongs to the last one: bx^2.
    const letters = [...text].map((letter): Token => ({ kind: "letter", text: letter, spaced: false }));
    this.tokens.splice(this.index, 0, ...letters.slice(1));
    return this.symbol(letters[0]!.text);
  }
}
