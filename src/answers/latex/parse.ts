/**
 * Reads tokens into a tree: lists, relations, unions and ratios here, sums and what they consist of in expression.ts. A
 * recursive descent with one token of look-ahead (two in a few places), so it is linear in the tokens; nesting is
 * capped.
 */

import { Overrun, Unreadable } from "../algebra/rational.js";
import { ExpressionParser } from "./expression.js";
import { maxAnswer, type Token, tokenize } from "./tokens.js";
import { choose, type Joint, type Tree } from "./tree.js";

/**
 * Reads an answer, in LaTeX or in plain letters.
 * @throws Unreadable where it has no reading; Overrun beyond the caps on length and depth
 */
export function parse(text: string): Tree {
  const tokens = tokenize(text);
  // Punctuation that ends a sentence is not part of the answer.
  while (tokens.length > 1 && isStop(tokens.at(-2)!)) tokens.splice(-2, 1);
  if (tokens.length > maxAnswer) throw new Overrun("an answer of too many signs");
  const parser = new AnswerParser(tokens);
  const tree = parser.list();
  if (parser.token.kind !== "end") throw new Unreadable(`unexpected "${parser.token.text}"`);
  return tree;
}

const isStop = ({ kind, text }: Token): boolean =>
  kind === "symbol" && [".", ",", ";", ":", "*", "\\\\"].includes(text);

class AnswerParser extends ExpressionParser {
  /** Items up to a closing sign or the end; a single item is itself. */
  list(): Tree {
    const groups: Tree[][] = [[]];
    let joint: Joint = ",";
    for (;;) {
      groups.at(-1)!.push(...this.item());
      let separated = false;
      let semicolon = false;
      while (this.isSeparator()) {
        if (this.token.text === "or") joint = "or";
        if (this.token.text === ";") semicolon = true;
        separated = true;
        this.next();
      }
      if (!separated || this.atCloser()) break;
      if (semicolon) groups.push([]);
    }
    // Semicolons separate comma lists; without commas they count as commas.
    if (groups.length > 1 && groups.some((g) => g.length > 1)) {
      return bare(
        groups.map((g) => (g.length === 1 ? g[0]! : bare(g, ","))),
        joint,
      );
    }
    const items = groups.flat();
    return items.length === 1 ? items[0]! : bare(items, joint);
  }

  private isSeparator(): boolean {
    const { kind, text } = this.token;
    return kind === "connective" || (kind === "symbol" && (text === "," || text === ";"));
  }

  /** One item; two where it holds ±, unless it is a part of a tuple, which then is doubled as a whole. */
  private item(): Tree[] {
    const before = this.plusminus;
    const tree = this.relation();
    if (this.plusminus === before || this.inTuple) return [tree];
    this.plusminus = before;
    return [choose(tree, true), choose(tree, false)];
  }

  relation(): Tree {
    // "≈ 8.24": the sign only says that the value is rounded, so it is skipped.
    if (this.token.kind === "relation" && (this.token.text === "~" || this.token.text === "=")) this.next();
    const sides = [this.union()];
    const signs: string[] = [];
    while (this.token.kind === "relation") {
      signs.push(this.token.text);
      this.next();
      sides.push(this.union());
    }
    return signs.length === 0 ? sides[0]! : { type: "relation", sides, signs };
  }

  private union(): Tree {
    const parts = [this.without()];
    while (this.isCommand("cup") || this.isUnionLetter(parts.at(-1)!)) {
      this.next();
      parts.push(this.without());
    }
    return parts.length === 1 ? parts[0]! : { type: "union", parts };
  }

  /** The letter U between intervals. */
  private isUnionLetter(left: Tree): boolean {
    return left.type === "list" && this.token.text === "U" && (this.peek().text === "(" || this.peek().text === "[");
  }

  private without(): Tree {
    const from = this.ratio();
    if (!this.isCommand("setminus")) return from;
    this.next();
    return { type: "difference", from, without: this.ratio() };
  }

  /** `3:2`. Two digits behind a colon may be minutes; a time is compared as written. */
  private ratio(): Tree {
    const start = this.index;
    const parts = [this.sum()];
    while (this.isSymbol(":")) {
      this.next();
      parts.push(this.sum());
    }
    if (parts.length === 1) return parts[0]!;
    const written = this.tokens.slice(start, this.index).map(({ text }) => text.replace(/\.$/, ""));
    const time = /^\d{1,2}:\d\d(?::\d\d)?(?=$|[^\d.])/.exec(written.join(""))?.[0];
    const last = parts.at(-1)!;
    if (time && last.type === "quantity") return { type: "text", words: onTheDay(time, last.unit) };
    return time && time.length === written.join("").length ? { type: "text", words: time } : { type: "ratio", parts };
  }
}

/** 8:34 pm as 20:34; with other words behind it, a time as written. */
export function onTheDay(time: string, unit: string): string {
  if (unit !== "am" && unit !== "pm") return `${time} ${unit}`;
  const [hours = "", ...rest] = time.split(":");
  return [String((Number(hours) % 12) + (unit === "pm" ? 12 : 0)), ...rest].join(":");
}

const bare = (items: Tree[], joint: Joint): Tree => ({ type: "list", open: "", close: "", items, joint });
