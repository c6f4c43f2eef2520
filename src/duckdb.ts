/**
 * DuckDB, which reads and writes the tables. Scope: opening and closing, and texts as SQL literals. It is loaded on first
 * use, because most programs that import this package read no table at first.
 */
import type { DuckDBConnection } from "@duckdb/node-api";

/** An open database. */
export interface DuckDB {
  connection: DuckDBConnection;
  close(): void;
}

/**
 * Opens a database of its own; nothing is ever installed from the network.
 * @param threads one gives the same bytes on every machine
 * @param path of a database file; by default it is in memory
 */
export async function openDuckDB(threads = 1, path = ":memory:"): Promise<DuckDB> {
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const instance = await DuckDBInstance.create(path, {
    threads: `${threads}`,
    autoinstall_known_extensions: "false",
  });
  const connection = await instance.connect();
  return {
    connection,
    close() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

/** A text as an SQL literal. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** A path as a pattern that matches itself alone: DuckDB expands `*`, `?` and `[`. */
export const pathPattern = (path: string): string => path.replace(/[*?[]/g, "[$&]");

/** The same as an SQL literal. */
export const pathLiteral = (path: string): string => literal(pathPattern(path));
