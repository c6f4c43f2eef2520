/**
 * The columns of a run's tables, the line files they are made from and the views on them. The binary forms are in
 * parquet.ts and arrow.ts.
 */
import { closeSync, openSync, writeFileSync } from "node:fs";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { literal, openDuckDB } from "../duckdb.js";
import type { Question } from "../types.js";

const chat = "STRUCT(role VARCHAR, content VARCHAR)[]";

const question = {
  question_id: "VARCHAR",
  benchmark: "VARCHAR",
  split: "VARCHAR",
  question: "VARCHAR",
  choices: "VARCHAR",
  answer: "VARCHAR",
} as const;

/** Column names in order with their DuckDB types. `choices` is a JSON array of texts, or null. */
export const tables = {
  questions: question,
  nodes: {
    question_id: "VARCHAR",
    node_id: "VARCHAR",
    parent_id: "VARCHAR",
    role: "VARCHAR",
    depth: "INTEGER",
    branch: "INTEGER",
    text: "VARCHAR",
    finish_reason: "VARCHAR",
    prompt_tokens: "INTEGER",
    completion_tokens: "INTEGER",
    seed: "INTEGER",
    model: "VARCHAR",
    answer: "VARCHAR",
    correct: "BOOLEAN",
    value: "DOUBLE",
    label: "BOOLEAN",
  },
  sft: {
    question_id: "VARCHAR",
    role: "VARCHAR",
    node_id: "VARCHAR",
    value: "DOUBLE",
    prompt: chat,
    completion: chat,
  },
  dpo: {
    question_id: "VARCHAR",
    role: "VARCHAR",
    parent_id: "VARCHAR",
    chosen_id: "VARCHAR",
    rejected_id: "VARCHAR",
    chosen_value: "DOUBLE",
    rejected_value: "DOUBLE",
    prompt: chat,
    chosen: chat,
    rejected: chat,
  },
  evaluation: {
    benchmark: "VARCHAR",
    system: "VARCHAR",
    seed: "INTEGER",
    question_id: "VARCHAR",
    pass: "INTEGER",
    turn: "VARCHAR",
    text: "VARCHAR",
    answer: "VARCHAR",
    correct: "BOOLEAN",
    voted_answer: "VARCHAR",
    voted_correct: "BOOLEAN",
    completion_tokens: "INTEGER",
  },
  /** The held-out questions that the rows of `evaluation` are about, with the same `benchmark`. */
  evaluation_questions: question,
} as const satisfies Record<string, Record<string, string>>;

/** The tables that evaluations leave in a run. */
export const evaluationTables = ["evaluation", "evaluation_questions"] as const satisfies (keyof typeof tables)[];
export type TableName = Exclude<keyof typeof tables, (typeof evaluationTables)[number]>;
/** The tables that are derived from the journal of a run's trees. */
export const tableNames = ["questions", "nodes", "sft", "dpo"] as const satisfies TableName[];

/** A question as a row of its table. */
export const questionRow = ({ id, choices, ...rest }: Question) => ({
  question_id: id,
  ...rest,
  choices: choices && JSON.stringify(choices),
});

/** A text file of one JSON value per line, written in large pieces. */
export interface LineFile {
  write(row: unknown): void;
  /** The same for a row that is JSON already, as {@link json} makes it. */
  writeJson(line: string): void;
  /** Writes what is left and closes the file. */
  finish(): void;
  /** Closes an unfinished file without writing the rest. */
  close(): void;
  /** An upper bound on the bytes of the longest line so far. */
  longest(): number;
  /** Characters written. */
  size(): number;
}

/** A value as JSON. Unpaired surrogates, which UTF-8 cannot hold, become U+FFFD. */
export function json(value: unknown): string {
  const text = JSON.stringify(value);
  // JSON.stringify escapes surrogates only where they are unpaired.
  if (!text.includes("\\ud")) return text;
  return JSON.stringify(value, (_, inner) => (typeof inner === "string" ? Buffer.from(inner).toString() : inner));
}

/** Creates (or empties) a line file. */
export function lineFile(path: string): LineFile {
  const file = openSync(path, "w");
  // Lines are encoded at once: as parts of one long string they would all stay in memory until it is written.
  const buffer = Buffer.allocUnsafe(1 << 18);
  let used = 0;
  let longest = 0;
  let size = 0;
  let isOpen = true;
  const flush = () => {
    writeFileSync(file, buffer.subarray(0, used));
    used = 0;
  };
  const writeJson = (line: string) => {
    const most = 3 * line.length;
    longest = Math.max(longest, most);
    size += line.length + 1;
    if (used + most >= buffer.length) flush();
    if (most >= buffer.length) return writeFileSync(file, `${line}\n`);
    used += buffer.write(line, used);
    used += buffer.write("\n", used);
  };
  const close = () => {
    if (isOpen) closeSync(file);
    isOpen = false;
  };
  return {
    write: (row) => writeJson(json(row)),
    writeJson,
    finish() {
      flush();
      close();
    },
    close,
    longest: () => longest,
    size: () => size,
  };
}

/**
 * Writes a DuckDB file with a view `<name>` on each `<name>.parquet` beside it.
 *
 * The views name their files relatively, so that a run folder can be moved or shared; DuckDB looks relative names up in
 * the current folder, then in `file_search_path`. So open run.duckdb from inside its folder, or set `file_search_path`.
 * @param folders where the Parquet files are now: DuckDB checks a view when it is created
 */
export async function writeViews(path: string, names: readonly string[], folders: readonly string[]): Promise<void> {
  // The search path is a list with commas, so a folder with a comma in its own path is reached through a link.
  const links = await mkdtemp(join(tmpdir(), "malt-"));
  const { connection, close } = await openDuckDB(1, path);
  try {
    const linked = folders.map((_, i) => join(links, String(i)));
    await Promise.all(folders.map((folder, i) => symlink(resolve(folder), linked[i]!, "junction")));
    await connection.run(`SET file_search_path = ${literal(linked.join(","))}`);
    for (const name of names)
      await connection.run(`CREATE VIEW ${name} AS SELECT * FROM read_parquet('${name}.parquet')`);
    await connection.run("CHECKPOINT");
  } finally {
    close();
    await rm(links, { recursive: true });
  }
}
