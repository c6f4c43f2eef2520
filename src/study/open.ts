/** Reads the tables of a finished study back, for a notebook. What it leaves out: making them (tables.ts). */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import * as z from "zod";
import { openDuckDB, pathLiteral } from "../duckdb.js";
import { RunError } from "../errors.js";
import { root } from "../paths.js";
import { planStudy, type StudyDefinition, type StudyPlan } from "./definition.js";
import { type CellAnswer, type CellResult, type Cost, compareCells, type Made } from "./results.js";
import type { StudyWork } from "./tables.js";

/** A study as its tables have it. */
export interface OpenStudy {
  dir: string;
  plan: StudyPlan;
  results: CellResult[];
  outcomes: CellAnswer[];
  work: StudyWork;
}

const about = z.object({
  schema: z.literal(1),
  definition: z.unknown(),
  cells: z.array(z.object({ varied: z.unknown() })),
  work: z.unknown(),
});
const costs = ["sampled_completions", "sampled_tokens", "sft_examples", "pairs", "training_steps", "training_tokens"];

/**
 * Opens a study's folder. Accuracies, tests and intervals are computed anew from the answers; costs and reasons are read.
 * @param folder holds study.json, results.parquet and outcomes.parquet; relative ones start at the package's folder
 * @throws RunError if they are not there, or not of one study
 */
export async function openStudy(folder: string): Promise<OpenStudy> {
  const dir = resolve(root, folder);
  const file = join(dir, "study.json");
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new RunError(`there is no study in ${dir} (${error.message}); give a folder that \`malt study\` wrote`);
  });
  const { connection, close } = await openDuckDB();
  try {
    const { definition, cells, work } = about.parse(JSON.parse(text));
    const plan = planStudy(definition as StudyDefinition, file);
    if (plan.cells.length !== cells.length) throw new Error(`${cells.length} cells, not ${plan.cells.length}`);
    const rows = async <T>(columns: string, table: string) => {
      const query = `SELECT ${columns} FROM read_parquet(${pathLiteral(join(dir, table))})`;
      return (await connection.runAndReadAll(query)).getRowObjectsJS() as T[];
    };
    const outcomes = await rows<CellAnswer>("cell, repeat, seed, question_id, correct, tokens", "outcomes.parquet");
    const made = await rows<Cost & Pick<Made, "cell" | "reason">>(
      `cell, reason, ${costs.join(", ")}`,
      "results.parquet",
    );
    const makings = made.map(({ cell, reason, ...cost }): Made => ({ cell, repeat: 0, cost, reason }));
    return { dir, plan, results: compareCells(plan.cells, outcomes, makings), outcomes, work: work as StudyWork };
  } catch (error) {
    throw new RunError(`the study in ${dir} cannot be read: ${(error as Error).message}; run \`malt study\` again`, {
      cause: error,
    });
  } finally {
    close();
  }
}
