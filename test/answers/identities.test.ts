import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { grade } from "../../src/answers/index.js";
import { tryRead } from "../../src/answers/meaning/value.js";

/** An expression as LaTeX, in brackets where a product or power of it needs them. */
interface Expression {
  latex: string;
  /** How strongly it binds: 0 a sum, 1 a product, 2 anything else. */
  binding: 0 | 1 | 2;
}

const atom = (latex: string): Expression => ({ latex, binding: 2 });
const bracketed = ({ latex, binding }: Expression, least: 1 | 2): string =>
  binding < least ? `\\left(${latex}\\right)` : latex;
const sum = (a: Expression, b: Expression): Expression => ({ latex: `${a.latex}+${bracketed(b, 1)}`, binding: 0 });
const difference = (a: Expression, b: Expression): Expression => ({
  latex: `${a.latex}-${bracketed(b, 1)}`,
  binding: 0,
});
const product = (a: Expression, b: Expression): Expression => ({
  latex: `${bracketed(a, 1)}\\cdot ${bracketed(b, 1)}`,
  binding: 1,
});
const quotient = (a: Expression, b: Expression): Expression => atom(`\\frac{${a.latex}}{${b.latex}}`);
const power = (a: Expression, n: number): Expression => atom(`{${bracketed(a, 2)}}^{${n}}`);
const negative = (a: Expression): Expression => ({ latex: `-${bracketed(a, 1)}`, binding: 0 });

const leaf = fc.oneof(
  fc.integer({ min: 1, max: 12 }).map((n) => atom(String(n))),
  fc.constantFrom("x", "y", "n", "\\pi", "\\sqrt{2}", "\\sqrt3", "\\frac{2}{3}", "0.5", "e").map(atom),
);
const { expression } = fc.letrec<{ expression: Expression }>((tie) => ({
  expression: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => sum(a, b)),
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => product(a, b)),
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => difference(a, b)),
    fc.tuple(tie("expression"), leaf).map(([a, b]) => quotient(a, b)),
    fc.tuple(tie("expression"), fc.integer({ min: 2, max: 3 })).map(([a, n]) => power(a, n)),
    tie("expression").map((a) => atom(`\\sin\\left(${a.latex}\\right)`)),
    tie("expression").map((a) => atom(`\\sqrt{${power(a, 2).latex}+1}`)),
  ),
}));

/** Identities that hold for all values: each says the same of two expressions in two ways. */
const identities: ((a: Expression, b: Expression, c: Expression) => [Expression, Expression])[] = [
  (a, b) => [sum(a, b), sum(b, a)],
  (a, b) => [product(a, b), product(b, a)],
  (a, b, c) => [product(a, sum(b, c)), sum(product(a, b), product(a, c))],
  (a, b, c) => [sum(sum(a, b), c), sum(a, sum(b, c))],
  (a, b) => [difference(a, b), negative(difference(b, a))],
  (a) => [a, product(a, atom("1"))],
  (a, b) => [a, difference(sum(a, b), b)],
  (a) => [power(a, 2), product(a, a)],
  (a, b) => [power(sum(a, b), 2), sum(sum(power(a, 2), product(product(atom("2"), a), b)), power(b, 2))],
  (a, b) => [difference(power(a, 2), power(b, 2)), product(sum(a, b), difference(a, b))],
  (a) => [a, quotient(product(a, atom("6")), atom("6"))],
  (a) => [a, sum(a, difference(atom("\\sin^2 x+\\cos^2 x"), atom("1")))],
  (a) => [atom(`\\sin\\left(${a.latex}\\right)`), negative(atom(`\\sin\\left(${negative(a).latex}\\right)`))],
  (a, b) => [quotient(a, atom("7")), quotient(product(a, power(b, 2)), product(atom("7"), power(b, 2)))],
];

const rewritten = fc
  .tuple(fc.constantFrom(...identities), expression, expression, expression)
  .map(([identity, a, b, c]) => identity(a, b, c));

describe("grade", () => {
  it("calls an expression equal to what an identity makes of it", () => {
    fc.assert(
      fc.property(rewritten, ([one, other]) => {
        // A denominator that happens to be 0 has no value on either side.
        fc.pre(tryRead(one.latex) !== null && tryRead(other.latex) !== null);
        const verdict = grade(one.latex, other.latex, "math");
        // Where numbers are too large or too small to tell, "undecided" is an honest answer.
        if (verdict.step !== "undecided") expect(verdict).toMatchObject({ verdict: "equal" });
      }),
      { numRuns: 1_000 },
    );
  });

  it("decides nearly all of them", () => {
    const sampled = fc.sample(rewritten, { numRuns: 500, seed: 1 });
    const read = sampled.filter(([one, other]) => tryRead(one.latex) && tryRead(other.latex));
    const equal = read.filter(([one, other]) => grade(one.latex, other.latex, "math").equal);
    expect(read.length).toBeGreaterThan(400);
    expect(equal.length / read.length).toBeGreaterThan(0.98);
  });

  it("calls an expression different from itself plus a constant, however small", () => {
    const constant = fc.constantFrom("1", "-2", "\\frac{1}{7}", "0.001", "10^{-9}", "\\sqrt{5}");
    fc.assert(
      fc.property(rewritten, constant, ([one, other], c) => {
        fc.pre(tryRead(one.latex) !== null && tryRead(other.latex) !== null);
        expect(grade(one.latex, `${other.latex}+${c}`, "math").equal).toBe(false);
        expect(grade(`${c}+${one.latex}`, other.latex, "math").equal).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it("tells a variable from another", () => {
    fc.assert(
      fc.property(expression, (a) => {
        const renamed = a.latex.replaceAll(/(?<![\\a-z])x(?![a-z])/g, "w");
        fc.pre(renamed !== a.latex && tryRead(a.latex) !== null);
        // A power that no expression of this depth has, so that nothing cancels it.
        const polynomial = sum(a, power(atom("x"), 101)).latex;
        expect(grade(polynomial, sum(atom(renamed), power(atom("w"), 101)).latex, "math").equal).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});
