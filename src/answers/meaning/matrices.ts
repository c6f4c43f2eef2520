/**
 * Matrices with the operations that have one: sums, products in order, whole powers, the transpose, the inverse and the
 * determinant. A matrix of one cell is a number. Pure; work is bounded by the budget.
 */
import { type Scalar, scalarOf } from "../algebra/equality.js";
import {
  add,
  asRational,
  type Budget,
  multiply,
  negate,
  type Polynomial,
  unit,
  zeroPolynomial,
} from "../algebra/polynomial.js";
import { raise } from "../algebra/powers.js";
import { isInteger, negate as negateRational, one, Unreadable } from "../algebra/rational.js";
import type { Tree } from "../latex/tree.js";
import { normal } from "./normal.js";

/** Rows of the same length; cells as written keep their decimals. */
export type Matrix = Scalar[][];
type Cells = Polynomial[][];

/** Determinants of larger matrices, and larger powers, are not computed. */
const maxSize = 6;
const maxPower = 64n;

/** The cells of what a tree says, where a matrix occurs in it; null for anything else. @throws Unreadable if it has no value */
export function matrix(tree: Tree, budget: Budget): Matrix | null {
  if (tree.type === "matrix") {
    const places = (cell: Tree) => (cell.type === "number" ? cell.places : null);
    return tree.rows.map((row) => row.map((cell) => ({ value: normal(cell, budget), places: places(cell) })));
  }
  return computed(tree, budget)?.map((row) => row.map(scalarOf)) ?? null;
}

/** The same without decimals, for what is computed. */
function computed(tree: Tree, budget: Budget): Cells | null {
  switch (tree.type) {
    case "matrix":
      return tree.rows.map((row) => row.map((cell) => normal(cell, budget)));
    case "sum":
      return folded(tree.terms, sum, budget);
    case "product":
      return folded(tree.factors, product, budget);
    case "quotient": {
      const [above, below] = [tree.above, tree.below].map((part) => computed(part, budget));
      if (!above && !below) return null;
      const divisor = below ? single(below) : normal(tree.below, budget);
      if (!divisor) throw new Unreadable("a division by a matrix");
      const inverse = raise(divisor, negateRational(one), budget);
      return product(above ?? [[normal(tree.above, budget)]], [[inverse]], budget);
    }
    case "power": {
      const base = computed(tree.base, budget);
      return base && power(base, tree.exponent, budget);
    }
    case "call": {
      if (tree.name !== "det" && tree.name !== "abs") return null;
      const inner = tree.args.length === 1 ? computed(tree.args[0]!, budget) : null;
      return inner && [[determinant(inner, budget)]];
    }
    default:
      return null;
  }
}

/** Joins parts of which at least one is a matrix; numbers among them are matrices of one cell. */
function folded(
  parts: readonly Tree[],
  join: (a: Cells, b: Cells, budget: Budget) => Cells,
  budget: Budget,
): Cells | null {
  const cells = parts.map((part) => computed(part, budget));
  if (cells.every((part) => part === null)) return null;
  return cells.map((part, i): Cells => part ?? [[normal(parts[i]!, budget)]]).reduce((a, b) => join(a, b, budget));
}

const single = (a: Cells): Polynomial | null => (a.length === 1 && a[0]!.length === 1 ? a[0]![0]! : null);
const transpose = (a: Cells): Cells => a[0]!.map((_, j) => a.map((row) => row[j]!));

function sum(a: Cells, b: Cells): Cells {
  if (a.length !== b.length || a[0]!.length !== b[0]!.length)
    throw new Unreadable("a sum of matrices of different size");
  return a.map((row, i) => row.map((cell, j) => add(cell, b[i]![j]!)));
}

function product(a: Cells, b: Cells, budget: Budget): Cells {
  if (a[0]!.length === b.length) {
    const columns = transpose(b);
    return a.map((row) =>
      columns.map((column) =>
        row.reduce((total, cell, k) => add(total, multiply(cell, column[k]!, budget)), zeroPolynomial),
      ),
    );
  }
  const [by, cells] = single(a) ? [single(a)!, b] : [single(b), a];
  if (!by) throw new Unreadable("a product of matrices whose sizes do not fit");
  return cells.map((row) => row.map((cell) => multiply(cell, by, budget)));
}

/** Whole powers, with those below 0 of the inverse, and the transpose. */
function power(base: Cells, exponent: Tree, budget: Budget): Cells {
  if (exponent.type === "symbol" && /^(?:T|t|top|intercal)$/.test(exponent.name)) return transpose(base);
  const n = asRational(normal(exponent, budget));
  const size = n && (n.numerator < 0n ? -n.numerator : n.numerator);
  if (!n || !isInteger(n) || size! > maxPower || base.length !== base[0]!.length)
    throw new Unreadable("a power that a matrix does not have");
  const factor = n.numerator < 0n ? inverse(base, budget) : base;
  let result: Cells = base.map((row, i) => row.map((_, j) => (i === j ? unit : zeroPolynomial)));
  for (let left = size!; left > 0n; left--) result = product(result, factor, budget);
  return result;
}

function minor(a: Cells, row: number, column: number): Cells {
  return a.filter((_, i) => i !== row).map((cells) => cells.filter((_, j) => j !== column));
}

/** By the first row. */
function determinant(a: Cells, budget: Budget): Polynomial {
  if (a.length !== (a[0]?.length ?? 0) || a.length > maxSize)
    throw new Unreadable("a determinant that is not computed");
  if (a.length === 1) return a[0]![0]!;
  return a[0]!.reduce((total, cell, j) => {
    const part = multiply(cell, determinant(minor(a, 0, j), budget), budget);
    return add(total, j % 2 === 0 ? part : negate(part));
  }, zeroPolynomial);
}

function inverse(a: Cells, budget: Budget): Cells {
  if (a.length === 1) return [[raise(a[0]![0]!, negateRational(one), budget)]];
  const by = raise(determinant(a, budget), negateRational(one), budget);
  const cofactors = a.map((row, i) =>
    row.map((_, j) => {
      const part = determinant(minor(a, i, j), budget);
      return multiply((i + j) % 2 === 0 ? part : negate(part), by, budget);
    }),
  );
  return transpose(cofactors);
}
