/** Commands of LaTeX with their arguments: fractions, roots, functions, sums and integrals, matrices. */

import { Unreadable } from "../algebra/rational.js";
import { numeral } from "./atoms.js";
import { BracketReader } from "./brackets.js";
import type { Tree } from "./tree.js";

const functions = new Set("sin cos tan sec csc cot arcsin arccos arctan sinh cosh tanh ln log exp det".split(" "));
const big = new Set("sum prod int lim max min gcd lcm".split(" "));
const matrices = new Set("pmatrix bmatrix vmatrix matrix Bmatrix smallmatrix array cases aligned".split(" "));

export abstract class CommandReader extends BracketReader {
  protected command(name: string): Tree {
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
  protected fraction(): Tree {
    const above = this.argument();
    const below = this.argument();
    const mixed = above.type === "number" && below.type === "number";
    return { type: "quotient", above, below, mixed };
  }

  /** A group, one digit, or one command with its own arguments. */
  protected argument(): Tree {
    return this.nested(() => {
      if (this.token.kind !== "number" || this.token.text.length === 1) return this.primary();
      const token = this.token;
      // The rest of the digits is the next argument or factor; a full stop behind them is not part of the number.
      const rest = token.text.slice(1);
      if (rest === ".") this.next();
      else this.tokens[this.index] = { ...token, text: rest };
      return numeral(token.text[0]!);
    });
  }

  protected root(): Tree {
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
  protected apply(name: string): Tree {
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

  /** `\sum_{k=0}^{n}` and similar commands, with what follows up to the next + or −. */
  protected bigOperator(name: string): Tree {
    const args: Tree[] = [];
    while (this.isSymbol("_") || this.isSymbol("^")) {
      const sign = this.next().text;
      const bound = this.nested(() => (this.isSymbol("{") ? this.boundGroup() : this.primary()));
      args.push({ type: "call", name: sign === "_" ? "from" : "to", args: [bound] });
    }
    args.push(this.nested(() => this.product()));
    return { type: "call", name, args };
  }

  protected boundGroup(): Tree {
    this.next();
    const inner = this.within(() => this.list(), true);
    this.expect("}");
    return inner;
  }

  /** `\angle ABC` is a name. */
  protected geometric(kind: string): Tree {
    let name = "";
    while (this.token.kind === "letter" || this.token.kind === "word") name += this.next().text;
    if (name === "") throw new Unreadable(`\\${kind} without letters`);
    return { type: "symbol", name: `${kind === "angle" ? "∠" : "△"}${name}` };
  }

  protected environment(name: string): Tree {
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
    const cells: Tree = { type: "matrix", rows };
    return name === "vmatrix" ? { type: "call", name: "det", args: [cells] } : cells;
  }
}
