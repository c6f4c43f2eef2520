/** Everything in brackets: groups, tuples, intervals, sets, absolute values; and currency signs in front of a value. */

import { Unreadable } from "../algebra/rational.js";
import { AtomReader } from "./atoms.js";
import { choose, isDouble, type Tree } from "./tree.js";

export abstract class BracketReader extends AtomReader {
  protected bracketed(open: string): Tree {
    if (open === "$" || open === "€" || open === "£") {
      this.next();
      return { type: "quantity", value: this.nested(() => this.signedPower()), unit: open };
    }
    if (open === "|" || open === "\\|") return this.bar(open);
    if (open === "(" || open === "[") return this.nested(() => this.parentheses(open));
    if (open === "{" || open === "\\{") return this.nested(() => this.braces(open));
    throw new Unreadable(`unexpected "${open}"`);
  }

  protected bar(close: string): Tree {
    this.next();
    this.bars++;
    const inner = this.sum();
    this.bars--;
    this.expect(close === "abs" ? "abs" : close);
    return { type: "call", name: "abs", args: [inner] };
  }

  /** A group, a tuple or an interval. */
  protected parentheses(open: "(" | "["): Tree {
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
  protected braces(open: string): Tree {
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
    // In a group, as in `\frac{1 \pm 2}{3}`, ± doubles what the group is part of; in a set its own item.
    const before = this.plusminus;
    const inner = this.within(() => this.list(), !isSet);
    this.expect(close);
    if (inner.type === "list" && inner.open === "") {
      this.plusminus = before;
      const items = inner.items.flatMap((item) =>
        isDouble(item) ? [choose(item, true), choose(item, false)] : [item],
      );
      return { ...inner, open: "{", items };
    }
    if (isSet && inner.type !== "relation") return { type: "list", open: "{", close: "", items: [inner], joint: "," };
    return inner;
  }

  /** `\{x \mid x > 2\}` and `\{x : x > 2\}`: the part before the condition adds nothing, so it is skipped. */
  protected skipBuilder(): void {
    if (this.token.kind !== "letter") return;
    const sign = this.peek().text === "in" ? 3 : 1;
    if (/^(?:mid|:|\||abs)$/.test(this.peek(sign).text)) this.index += sign + 1;
  }
}
