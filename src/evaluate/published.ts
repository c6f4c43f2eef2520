/**
 * The numbers the paper prints (arXiv 2412.01928v3), from data/published, to be set beside measured ones. The README in
 * that folder says where they come from and which cells are empty. Nothing measured here is included.
 */

import { join } from "node:path";
import * as z from "zod";
import { openDuckDB, pathPattern } from "../duckdb.js";
import { InputError } from "../errors.js";
import { dataPath } from "../paths.js";

/** One published accuracy. Shares lie in [0, 1]; null is a number the paper does not give. */
export interface PublishedRow {
  model: string;
  /** GSM8K, CSQA, MATH or GSM-Symbolic-P1. */
  benchmark: string;
  /** The name of the system in `evaluation.parquet`, so that published and measured rows can be matched. */
  system: string;
  /** The paper's own words for it. */
  printed: string;
  accuracy: number | null;
  /** Standard deviation over four seeds, as printed: the paper does not say what it divides by (see the README). */
  std: number | null;
}

/** Figure 2: what became of the baseline's answers, as shares of the questions. */
export interface PublishedFlips {
  model: string;
  benchmark: string;
  /** Wrong in the baseline, right with MALT. */
  corrected: number | null;
  kept_right: number | null;
  kept_wrong: number | null;
  /** Right in the baseline, wrong with MALT. */
  broken: number | null;
}

/** Figure 3: MALT's accuracy after one turn, majority vote of three. */
export interface PublishedTurn {
  model: string;
  benchmark: string;
  turn: "generator" | "verifier" | "refiner";
  accuracy: number | null;
}

/** A cell in percent, as printed, or empty. */
const share = z
  .string()
  .regex(/^\d{1,3}(\.\d+)?$/, "expected a percentage such as 57.25, or nothing")
  .transform((cell) => Number(cell) / 100)
  .refine((value) => value <= 1, "expected at most 100")
  .nullable();

const about = { model: z.string(), benchmark: z.string() };
const rowShape = z.strictObject({ ...about, system: z.string(), printed: z.string(), accuracy: share, std: share });
const flipsShape = z.strictObject({
  ...about,
  corrected: share,
  kept_right: share,
  kept_wrong: share,
  broken: share,
});
const turnShape = z.strictObject({
  ...about,
  turn: z.enum(["generator", "verifier", "refiner"]),
  accuracy: share,
});

/** What a run measured, by this project's names: whose published numbers are to be set beside it. */
export interface Measured {
  benchmark: string;
  model: string;
}

/** The paper's names of the benchmarks that the loader knows. */
const printedNames: Readonly<Record<string, string>> = {
  gsm8k: "GSM8K",
  csqa: "CSQA",
  math: "MATH",
  gsm_symbolic: "GSM-Symbolic-P1",
};

/**
 * The published rows to set beside a measurement: of the same benchmark, and of the same model where the paper has it,
 * else of the model it gives first. None where the paper has no number for this benchmark.
 */
export function publishedFor<Row extends { model: string; benchmark: string }>(
  rows: readonly Row[],
  measured: Measured,
): Row[] {
  const benchmark = Object.hasOwn(printedNames, measured.benchmark) ? printedNames[measured.benchmark] : undefined;
  const same = rows.filter((row) => row.benchmark === benchmark);
  // A server names a model by its path or place on a hub, and spells it a little differently.
  const plain = (model: string) =>
    model
      .replace(/^.*[\\/]/, "")
      .toLowerCase()
      .replace(/[^a-z0-9]|base$/g, "");
  const own = same.find(({ model }) => plain(model) === plain(measured.model)) ?? same[0];
  return same.filter(({ model }) => model === own?.model);
}

/** data/published, seen from src/ and from dist/ alike. */
const folder = dataPath("published");

/**
 * A table of the paper in its order of rows: 1 main results, 2 and 7 debate, 3 and 6 GSM-Symbolic, 4 untrained roles,
 * 5 ablated roles.
 * @param table 1 to 7
 * @throws InputError on another number, or if the file is missing or damaged
 */
export async function publishedTable(table: number): Promise<PublishedRow[]> {
  if (!Number.isInteger(table) || table < 1 || table > 7) {
    throw new InputError(`the paper has Tables 1 to 7, not ${table}`);
  }
  return readPublished(`table${table}.csv`, rowShape);
}

/** What DPO does to the generator (Section 5.2 and Appendix A.9): accuracies given in the text. */
export const publishedGeneratorDpo = (): Promise<PublishedRow[]> => readPublished("generator-dpo.csv", rowShape);

/** Self-correction (Figure 2). */
export const publishedFlips = (): Promise<PublishedFlips[]> => readPublished("figure2.csv", flipsShape);

/** Accuracy over turns (Figure 3), where the text gives it in numbers. */
export const publishedTurns = (): Promise<PublishedTurn[]> => readPublished("figure3.csv", turnShape);

/**
 * Reads one file of published numbers.
 * @param file its name
 * @param shape what each row must be; empty cells are null
 * @param from the folder, by default data/published
 * @throws InputError naming the file, the line and what is wrong with it
 */
export async function readPublished<Row>(file: string, shape: z.ZodType<Row>, from = folder): Promise<Row[]> {
  const { connection, close } = await openDuckDB();
  let rows: unknown[];
  try {
    const query = "SELECT * FROM read_csv($1, header = true, all_varchar = true, delim = ',', quote = '\"')";
    // A folder's name may hold characters that DuckDB expands.
    rows = (await connection.runAndReadAll(query, [pathPattern(join(from, file))])).getRowObjects();
  } catch (error) {
    const cause = error as Error;
    throw new InputError(`cannot read data/published/${file}: ${cause.message}; restore it from the repository`, {
      cause,
    });
  } finally {
    close();
  }
  return rows.map((row, index) => {
    const parsed = shape.safeParse(row);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new InputError(`data/published/${file}, line ${index + 2}: ${issue?.path.join(".")}: ${issue?.message}`);
  });
}
