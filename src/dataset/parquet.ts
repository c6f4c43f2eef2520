/**
 * From rows to Parquet, written by DuckDB. Texts reach it as data only, through line-delimited JSON with declared column
 * types: never as SQL, and never with guessed types. One thread and insertion order, so that the same rows give the same
 * bytes on every machine.
 */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { literal, openDuckDB, pathLiteral } from "../duckdb.js";
import { RunError } from "../errors.js";
import { type LineFile, lineFile, tables } from "./tables.js";

/** Rows DuckDB handles at a time; a row group has a multiple of them. */
const vector = 2048;
const mostRows = 60 * vector;

/** A table that becomes `<name>.parquet`. */
export interface ParquetFile {
  /** @param row its JSON, as {@link json} makes it */
  writeJson(row: string): void;
  /** Resolves when there is room for more rows. Those written become Parquet meanwhile, a part at a time. */
  room(): Promise<void>;
  /** Resolves when the file is whole. */
  finish(): Promise<void>;
}

/** The tables of one folder. */
export interface ParquetFolder {
  /** Creates a table; its parts stay in the folder until it is finished. */
  table(name: keyof typeof tables): ParquetFile;
  /** Waits for pending writes, and closes tables that are not finished. */
  close(): Promise<void>;
}

/**
 * Opens a folder for Parquet files. Rows are collected in parts, so that neither memory nor the lines on disk grow with
 * their number.
 * @param partSize characters of JSON in one part, and about those of a row group: DuckDB holds a row group in memory, and
 * 122,880 rows, its default, take 2 GB where a row has 6 kB of texts
 */
export async function parquetFolder(folder: string, partSize = 1 << 26): Promise<ParquetFolder> {
  const { connection, close } = await openDuckDB();
  const unfinished = new Set<LineFile>();
  // One statement at a time, and none after one that failed.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (action: () => Promise<unknown>): Promise<unknown> => {
    last = last.then(action);
    last.catch(() => {});
    return last;
  };
  const copy = (source: string, target: string, rowGroup: number) =>
    connection.run(
      `COPY (SELECT * FROM ${source}) TO ${literal(target)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowGroup})`,
    );

  const table = (name: keyof typeof tables): ParquetFile => {
    const columns = Object.entries(tables[name]).map(([column, type]) => `${column}: ${literal(type)}`);
    const target = join(folder, `${name}.parquet`);
    const parts: string[] = [];
    const total = { rows: 0, size: 0 };
    const begin = () => {
      const path = join(folder, `${name}.${parts.length}`);
      const lines = lineFile(`${path}.ndjson`);
      unfinished.add(lines);
      return { path, lines };
    };
    let part = begin();
    let before: Promise<unknown> = Promise.resolve();

    const convert = () => {
      const { path, lines } = part;
      lines.finish();
      unfinished.delete(lines);
      parts.push(`${path}.parquet`);
      total.size += lines.size();
      before = inTurn(async () => {
        const source = `read_json(${pathLiteral(`${path}.ndjson`)}, format = 'newline_delimited',
          maximum_object_size = ${Math.max(1 << 24, lines.longest())}, columns = {${columns.join(", ")}})`;
        await copy(source, `${path}.parquet`, mostRows);
        await rm(`${path}.ndjson`);
      });
    };

    return {
      writeJson(row) {
        part.lines.writeJson(row);
        total.rows++;
      },
      async room() {
        if (part.lines.size() < partSize) return;
        await before;
        convert();
        part = begin();
      },
      async finish() {
        convert();
        await before;
        if (parts.length === 1) return rename(parts[0]!, target);
        const vectors = Math.floor((partSize * total.rows) / total.size / vector);
        const sources = `read_parquet([${parts.map(pathLiteral).join(", ")}])`;
        await inTurn(() => copy(sources, target, Math.min(Math.max(vectors, 1) * vector, mostRows)));
        for (const path of parts) await rm(path);
      },
    };
  };

  return {
    table,
    async close() {
      await last.catch(() => {});
      for (const lines of unfinished) lines.close();
      close();
    },
  };
}

/**
 * Writes one small table of its own, whole or not at all.
 * @param columns names in order, with their DuckDB types
 * @param rows by column name; what a row lacks is null
 * @throws RunError if it cannot be written
 */
export async function writeTable(
  path: string,
  columns: Readonly<Record<string, string>>,
  rows: Iterable<object>,
): Promise<void> {
  const source = `${path}.${process.pid}.ndjson`;
  const lines = lineFile(source);
  for (const row of rows) lines.write(row);
  lines.finish();
  const { connection, close } = await openDuckDB();
  try {
    const types = Object.entries(columns).map(([column, type]) => `${name(column)}: ${literal(type)}`);
    const read = `read_json(${pathLiteral(source)}, format = 'newline_delimited', columns = {${types.join(", ")}})`;
    const draft = `${path}.draft`;
    await connection.run(`COPY (SELECT * FROM ${read}) TO ${literal(draft)} (FORMAT parquet, COMPRESSION zstd)`);
    await rename(draft, path);
  } catch (error) {
    throw new RunError(`cannot write ${path}: ${(error as Error).message}; free space or fix the folder`, {
      cause: error,
    });
  } finally {
    close();
    await rm(source, { force: true });
  }
}

/** A column's name in SQL. */
const name = (column: string): string => `"${column.replaceAll('"', '""')}"`;
