/**
 * The parser's access to the tokens: peeking, advancing, and limiting the nesting depth. The parts of the grammar build
 * on each other as classes: atoms.ts, brackets.ts, commands.ts, expression.ts, parse.ts.
 */
import { Overrun, Unreadable } from "../algebra/rational.js";
import type { Token } from "./tokens.js";
import type { Tree } from "./tree.js";

/** Deeper nesting is refused; a real answer needs fewer than ten levels. */
const maxDepth = 60;

const closers = new Set([")", "]", "\\}", "}", "&", "\\\\"]);

export abstract class TokenReader {
  index = 0;
  /** How many ± and ∓ were read so far. */
  protected plusminus = 0;
  /** Whether what is read is an item of a tuple, which ± doubles as a whole. */
  protected inTuple = false;
  protected depth = 0;
  /** How many |…| are open. */
  protected bars = 0;

  constructor(protected readonly tokens: Token[]) {}

  /** Items up to a closing sign or the end. */
  abstract list(): Tree;
  abstract relation(): Tree;
  /** Terms joined by +, −, ± and ∓. */
  abstract sum(): Tree;
  protected abstract product(): Tree;
  /** A factor with a sign of its own. */
  protected abstract signedPower(): Tree;
  /** A factor with its postfix signs: exponents, !, %, °. */
  protected abstract power(): Tree;
  /** A factor without postfix signs. */
  protected abstract primary(): Tree;
  protected abstract exponent(): Tree;
  /** Whether the next token begins another factor of an implicit product. */
  protected abstract startsFactor(last: Tree): boolean;

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
  /** Signs that end a list in any context. */
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
  protected expect(text: string): void {
    if (this.token.text !== text || this.token.kind === "end") throw new Unreadable(`"${text}" is missing`);
    this.next();
  }
  protected nested<T>(read: () => T): T {
    if (++this.depth > maxDepth) throw new Overrun(`nesting of more than ${maxDepth} levels`);
    const tree = read();
    this.depth--;
    return tree;
  }

  /** Reads the inside of brackets. */
  protected within(read: () => Tree, tuple: boolean): Tree {
    const before = this.inTuple;
    const bars = this.bars;
    this.inTuple = tuple;
    this.bars = 0;
    const inner = read();
    this.inTuple = before;
    this.bars = bars;
    return inner;
  }
}
