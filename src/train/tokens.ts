/**
 * How long the rows of the training files are, in tokens, as the server counted them while it sampled: what the compute of
 * a stage is planned with (plan.ts). The trainer counts the same, because both use the model's tokenizer and template.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { openDataset } from "../dataset/export.js";
import { literal } from "../duckdb.js";
import { speaksAs } from "../team/teams.js";
import type { Role } from "../types.js";

/**
 * Mean tokens of a row by file name: prompt and completion of an example; of a pair both completions, each with its
 * prompt. Empty for a run without tables, and without the files of which no row was counted.
 * @param dir a run folder
 * @param maxLength where the trainer cuts a sequence, in tokens
 * @param roles of the run; some may share an adapter, and so its files
 */
export async function tokensPerRow(
  dir: string,
  maxLength: number,
  roles: readonly Pick<Role, "name" | "adapter">[] = [],
): Promise<ReadonlyMap<string, number>> {
  const tables = ["nodes", "sft", "dpo"].map((name) => join(dir, `${name}.parquet`));
  if (!tables.every(existsSync)) return new Map();
  const data = await openDataset(dir);
  const sharing = roles.filter(({ adapter }) => adapter !== undefined);
  const cases = sharing.map((role) => ` WHEN ${literal(role.name)} THEN ${literal(speaksAs(role))}`).join("");
  const speaker = sharing.length === 0 ? "role" : `CASE role${cases} ELSE role END`;
  try {
    // The count of a prompt may be with one of its completions only.
    const rows = await data.query<{ file: string; tokens: number | null }>(`
      WITH texts AS (
        SELECT question_id, node_id, least(${maxLength},
          max(prompt_tokens) OVER (PARTITION BY question_id, parent_id, role) + completion_tokens) AS tokens
        FROM nodes)
      SELECT ${speaker} || '-sft.jsonl' AS file, avg(tokens) AS tokens
        FROM sft JOIN texts USING (question_id, node_id) GROUP BY file
      UNION ALL
      SELECT ${speaker} || '-dpo.jsonl' AS file, avg(chosen.tokens + rejected.tokens)
        FROM dpo JOIN texts chosen ON (dpo.question_id, chosen_id) = (chosen.question_id, chosen.node_id)
        JOIN texts rejected ON (dpo.question_id, rejected_id) = (rejected.question_id, rejected.node_id)
        GROUP BY file`);
    return new Map(rows.flatMap(({ file, tokens }) => (tokens === null ? [] : [[file, tokens] as const])));
  } finally {
    data.close();
  }
}
