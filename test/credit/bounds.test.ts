import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hoeffdingRadius, hoeffdingTail } from "../../src/credit/bounds.js";

const paper = { children: 3, leaves: 3, width: 0 };

/** Distribution of the sum of independent terms, each given as its own distribution over 0, 1, 2, … */
const sumOf = (terms: readonly (readonly number[])[]): number[] =>
  terms.reduce<number[]>(
    (all, term) => {
      const next = Array(all.length + term.length - 1).fill(0);
      for (const [i, p] of all.entries()) for (const [j, q] of term.entries()) next[i + j] += p * q;
      return next;
    },
    [1],
  );

/** Successes of `leaves` trials below a child whose true value is one of `values`, all equally likely. */
function belowChild(values: readonly number[], leaves: number): number[] {
  const given = values.map((p) => sumOf(Array.from({ length: leaves }, () => [1 - p, p])));
  return Array.from({ length: leaves + 1 }, (_, k) => given.reduce((sum, d) => sum + d[k]! / values.length, 0));
}

describe("hoeffdingTail", () => {
  it("is the paper's 2 exp(−2 n² ε²) where it does not matter which critique it is, and 2 exp(−2 n ε²) in general", () => {
    expect(hoeffdingTail(0.5, paper)).toBeCloseTo(2 * Math.exp(-2 * 9 * 0.25), 12);
    expect(hoeffdingTail(0.9, { children: 3, leaves: 3 })).toBeCloseTo(2 * Math.exp(-2 * 3 * 0.81), 12);
    expect(hoeffdingTail(0.9, { children: 3 })).toBe(hoeffdingTail(0.9, { children: 3, leaves: 50 }));
    expect(hoeffdingTail(0, paper)).toBe(1);
  });

  it("is never below the exact probability, whatever the true values of the critiques are", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (values, children, leaves, epsilon) => {
          const truth = values.reduce((sum, v) => sum + v, 0) / values.length;
          const exact = sumOf(Array.from({ length: children }, () => belowChild(values, leaves))).reduce(
            (sum, p, k) => sum + (Math.abs(k / (children * leaves) - truth) >= epsilon ? p : 0),
            0,
          );
          const width = Math.max(...values) - Math.min(...values);
          expect(hoeffdingTail(epsilon, { children, leaves, width })).toBeGreaterThanOrEqual(exact - 1e-12);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("shows that the paper's form does not hold where refinements follow their critique", () => {
    // Critiques are right or wrong for good with probability ½; three of them agree in one case of four.
    const exact = sumOf(Array.from({ length: 3 }, () => belowChild([0, 1], 3)));
    expect(exact[0]! + exact[9]!).toBeCloseTo(0.25, 12);
    expect(hoeffdingTail(0.5, paper)).toBeLessThan(0.03);
    expect(hoeffdingTail(0.5, { children: 3, leaves: 3 })).toBeGreaterThan(0.25);
  });

  it("refuses numbers that are none", () => {
    expect(() => hoeffdingTail(-1, paper)).toThrow("epsilon is -1; give a number ≥ 0");
    expect(() => hoeffdingTail(0.1, { children: 0 })).toThrow("children is 0; give an integer of at least 1");
    expect(() => hoeffdingTail(0.1, { children: 3, width: 2 })).toThrow("width is 2; give a number from 0 to 1");
  });
});

describe("hoeffdingRadius", () => {
  it("is 0.87 for all answers to GSM8K's 7,473 questions with n = 3 and δ = 0.05, as A.6.1 computes it", () => {
    expect(hoeffdingRadius(7473 * 3, 0.05, paper)).toBeCloseTo(Math.sqrt(Math.log((2 * 7473 * 3) / 0.05) / 18), 12);
    expect(hoeffdingRadius(7473 * 3, 0.05, paper)).toBeCloseTo(0.87, 2);
  });

  it("makes the tails of all nodes together δ", () => {
    const radius = hoeffdingRadius(1000, 0.05, { children: 40, leaves: 2, width: 0.3 });
    expect(1000 * hoeffdingTail(radius, { children: 40, leaves: 2, width: 0.3 })).toBeCloseTo(0.05, 9);
    expect(() => hoeffdingRadius(0, 0.05, paper)).toThrow("nodes is 0");
    expect(() => hoeffdingRadius(1, 1, paper)).toThrow("delta is 1; give a probability between 0 and 1");
  });
});
