/** What a run does not have, each with the command that makes it: notebooks say so where they have nothing to show. */
import type { Manifest } from "../run/manifest.js";
import type { Dataset } from "./export.js";
import { tables } from "./tables.js";

/** The parts that a run may lack: not every run is exported in full, trained or evaluated. */
export const runParts = ["examples", "pairs", "training", "evaluation", "texts"] as const;
export type RunPart = (typeof runParts)[number];

/**
 * Gives a dataset an empty table in place of each that its folder does not have, so that a query finds no rows there.
 * @returns the names of those tables
 */
export async function fillMissingTables({ query }: Pick<Dataset, "query">): Promise<Set<string>> {
  const found = await query<{ name: string }>("SELECT view_name AS name FROM duckdb_views() WHERE NOT internal");
  const names = new Set(found.map(({ name }) => name));
  const missing = Object.entries(tables).filter(([name]) => !names.has(name));
  for (const [name, columns] of missing) {
    const list = Object.entries(columns).map(([column, type]) => `NULL::${type} AS ${column}`);
    await query(`CREATE VIEW ${name} AS SELECT ${list.join(", ")} WHERE false`);
  }
  return new Set(missing.map(([name]) => name));
}

/**
 * What a run lacks, as sentences by part, in the order of {@link runParts}. A run without an evaluation is not said to lack its
 * texts as well, nor one without a table of pairs to have none.
 * @param missing tables that its folder does not have
 */
export async function lackingParts(
  { query }: Pick<Dataset, "query">,
  manifest: Manifest,
  missing: ReadonlySet<string>,
): Promise<Map<RunPart, string>> {
  const isEmpty = async (sql: string) => (await query(`${sql} LIMIT 1`)).length === 0;
  const named = `--run ${manifest.run}`;
  const hasTables = !missing.has("sft") && !missing.has("dpo");
  const sentences: Record<RunPart, string | false> = {
    examples: !hasTables && `The folder of this run has no table of examples and pairs: npx malt export ${named}`,
    pairs:
      hasTables &&
      (await isEmpty("SELECT 1 FROM dpo")) &&
      "No state of this run has a good and a bad output, so it has no preference pair. " +
        "Sample more questions, or at a higher temperature: npx malt sample --temperature 0.7 --run NAME",
    training: manifest.training === undefined && `This run is not trained: npx malt train ${named}`,
    evaluation: missing.has("evaluation") && `No system of this run is evaluated: npx malt evaluate ${named}`,
    texts:
      !missing.has("evaluation") &&
      (await isEmpty("SELECT 1 FROM evaluation WHERE text IS NOT NULL")) &&
      `The evaluation of this run was recorded without its texts: npx malt evaluate ${named} makes one that has them`,
  };
  return new Map(runParts.flatMap((part) => (sentences[part] ? [[part, sentences[part]] as const] : [])));
}
