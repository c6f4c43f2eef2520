/**
 * What every slot did at what time, as `timelines.parquet` for a figure: variant, slot, start_ms, end_ms, role,
 * question; one row per completion, ordered by variant, slot and time, ms since the variant's first request arrived at
 * the server.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { maltRoles } from "../../src/team/prompts.js";
import type { SlotInterval } from "../slots.js";

export interface Timeline {
  variant: string;
  intervals: readonly SlotInterval[];
}

export async function writeTimelines(folder: string, timelines: readonly Timeline[]): Promise<void> {
  const roles = maltRoles().map(({ name }) => name);
  const rows = timelines.flatMap(({ variant, intervals }) =>
    [...intervals]
      .sort((a, b) => a.slot - b.slot || a.start_ms - b.start_ms)
      .map(({ slot, start_ms, end_ms, depth, question }) => ({
        ...{ variant, slot, start_ms, end_ms, role: roles[depth], question },
      })),
  );
  await mkdir(folder, { recursive: true });
  const [from, to] = ["ndjson", "parquet"].map((ending) => join(folder, `timelines.${ending}`)) as [string, string];
  await writeFile(from, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  try {
    const quoted = (path: string) => `'${path.replaceAll("'", "''")}'`;
    const columns =
      "{variant: 'VARCHAR', slot: 'INTEGER', start_ms: 'DOUBLE', end_ms: 'DOUBLE', role: 'VARCHAR', question: 'INTEGER'}";
    await connection.run(
      `COPY (SELECT * FROM read_json(${quoted(from)}, format = 'newline_delimited', columns = ${columns}))
       TO ${quoted(to)} (FORMAT parquet, COMPRESSION zstd)`,
    );
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
  await rm(from);
}
