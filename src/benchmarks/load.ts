/**
 * Loads questions: GSM8K, MATH, CommonsenseQA and GSM-Symbolic as they are published, and the project's own JSONL, from a
 * path or URL, all into one `Question` type with the paper's splits (Section 5): GSM8K train and test, MATH 12,000 and 500
 * (the split of PRM800K), CommonsenseQA train and, as test, its development set, whose answers are public.
 *
 * DuckDB reads the files: JSONL and JSON as objects (so that it guesses no types), Parquet and CSV row by row.
 */
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { openDuckDB, pathPattern } from "../duckdb.js";
import { InputError } from "../errors.js";
import { notJson } from "../json.js";
import type { Question, Split } from "../types.js";
import { download } from "./download.js";
import { type Draft, detectForm, EmptyAnswer, FieldError, forms, type RawRow } from "./forms.js";

/** Options of {@link loadQuestions}. */
export interface LoadOptions {
  /** Name given to the benchmark. If it is one of the known forms, files that are not in the own form are read as it. */
  benchmark?: string;
  /**
   * Keeps the questions of this split. It is also the split of rows where neither the row nor the file name gives one.
   */
  split?: Split;
  /** Keeps the first so many questions; an integer ≥ 1. */
  limit?: number;
  /** Folder for downloads. */
  cache?: string;
  /** Called with a message about rows left out because they have no usable answer; by default a process warning. */
  onSkip?: (message: string) => void;
}

/**
 * Reads the questions of a file, in file order.
 *
 * The split is that of the row, else of the file's name, else `options.split`, else train. Ids are the file's where it
 * has any, else `<benchmark>-<split>-<row>`, counted from 0 over all rows.
 * MATH rows whose published answer is empty are skipped and reported; any other row that is not a question is an error.
 * @param source path, or http(s) or file URL; .jsonl, .ndjson, .json, .parquet or .csv
 * @throws InputError naming file, line and field: unreadable file, malformed row, duplicate ids, no question left
 */
export async function loadQuestions(source: string | URL, options: LoadOptions = {}): Promise<Question[]> {
  const questions: Question[] = [];
  for await (const question of questionsIn(source, options)) questions.push(question);
  return questions;
}

/**
 * The same, a few at a time, for files of any size. The file is read again on each iteration. Errors in the file are
 * reported when they are reached, even beyond the limit.
 * @throws InputError as {@link loadQuestions}
 */
export function questionsIn(source: string | URL, options: LoadOptions = {}): AsyncIterable<Question> {
  let isTold = false;
  const onSkip = (message: string) => {
    if (isTold) return;
    isTold = true;
    (options.onSkip ?? ((text) => process.emitWarning(text, "MaltWarning")))(message);
  };
  return { [Symbol.asyncIterator]: () => read(source, { ...options, onSkip }) };
}

async function* read(source: string | URL, options: LoadOptions): AsyncGenerator<Question> {
  const { limit = Number.POSITIVE_INFINITY, split, benchmark } = options;
  if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 1)) {
    throw new InputError(`limit must be an integer of at least 1, received ${limit}; leave it out for all questions`);
  }
  const path = await localPath(source, options.cache);
  const lines = new Map<string, number>();
  const skipped: number[] = [];
  let form: string | null = null;
  let fileSplit: Split | null = null;
  let [index, kept] = [-1, 0];
  for await (const row of readRows(path)) {
    index++;
    if (form === null) {
      form = formOf(row, benchmark);
      fileSplit = splitOf(path, form);
    }
    let draft: Draft;
    try {
      draft = forms[form]!(row);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      if (error instanceof EmptyAnswer) skipped.push(index);
      else throw new InputError(`${await where(path, index)}: ${error.message} (read as ${form})`);
      continue;
    }
    const name = benchmark ?? draft.benchmark ?? form;
    const part = draft.split ?? fileSplit ?? split ?? "train";
    const id = idOf(draft, form, `${name}-${part}-${index}`, path);
    const earlier = lines.get(id);
    if (earlier !== undefined) {
      const [a, b] = [await where(path, earlier), await where(path, index)];
      throw new InputError(`${b}: id ${JSON.stringify(id)} was already used at ${a}; make ids unique`);
    }
    lines.set(id, index);
    if ((split !== undefined && part !== split) || ++kept > limit) continue;
    const { question, choices, answer } = draft;
    yield { id, benchmark: name, split: part, question, choices, answer };
  }
  if (form === null) throw new InputError(`"${path}" holds no rows; expected one question per line`);
  if (skipped.length > 0) {
    const at = await where(path, skipped[0]!);
    options.onSkip?.(
      `skipped ${skipped.length} of ${index + 1} questions without a published answer, the first at ${at}`,
    );
  }
  if (kept === 0) {
    const why =
      form === "gsm_symbolic" ? "GSM-Symbolic is for evaluation only, so all of it is test" : "ask for another split";
    throw new InputError(`"${path}" holds no question of split ${JSON.stringify(split ?? "any")}; ${why}`);
  }
}

/**
 * The form of a file by its first row. A known benchmark that was named takes precedence, except for files in the
 * project's own form.
 */
function formOf(first: RawRow, benchmark: string | undefined): string {
  const detected = detectForm(first);
  return benchmark !== undefined && Object.hasOwn(forms, benchmark) && detected !== "own" ? benchmark : detected;
}

/** GSM-Symbolic numbers the instances of each variant alike, so the variant (main, P1, P2) is part of the id. */
function idOf(draft: Draft, form: string, fallback: string, path: string): string {
  if (draft.id === null || form !== "gsm_symbolic") return draft.id ?? fallback;
  const variant = /(?<![a-z0-9])p[12](?![a-z0-9])/i.exec(`${basename(dirname(path))}/${basename(path)}`)?.[0];
  return `gsm_symbolic-${variant?.toLowerCase() ?? "main"}-${draft.id}`;
}

/** The split a file's name tells: `train.jsonl`, `dev_rand_split.jsonl`, `math500_test.jsonl`, `test-00000-of-00001.parquet`. */
function splitOf(path: string, form: string): Split | null {
  const words = new Set(
    basename(path)
      .toLowerCase()
      .match(/[a-z]+/g),
  );
  const found = (["train", "test"] as Split[]).filter((split) => words.has(split));
  if (["dev", "valid", "validation"].some((word) => words.has(word)))
    found.push(form === "csqa" ? "test" : "validation");
  return found.length === 1 ? found[0]! : null;
}

async function localPath(source: string | URL, cache?: string): Promise<string> {
  const isUrl = source instanceof URL || /^(?:https?|file):\/\//i.test(source);
  const url = isUrl ? new URL(source) : null;
  if (url && /^https?:$/.test(url.protocol)) return download(url, cache);
  if (url && url.protocol !== "file:") throw new InputError(`cannot load "${url.href}"; give a path or an http(s) URL`);
  const path = url ? fileURLToPath(url) : resolve(source as string);
  const found = await stat(path).catch(() => null);
  if (!found) throw new InputError(`question file "${path}" does not exist; check the path`);
  if (!found.isFile()) throw new InputError(`"${path}" is not a file; give the path of a question file`);
  return path;
}

/** One query per file format; the path is a bound parameter. Each row comes out as the JSON text of one object. */
const queries: Readonly<Record<string, string>> = {
  jsonl: "SELECT json::VARCHAR FROM read_ndjson_objects($1)",
  ndjson: "SELECT json::VARCHAR FROM read_ndjson_objects($1)",
  json: "SELECT json::VARCHAR FROM read_json_objects($1)",
  parquet: "SELECT to_json(t)::VARCHAR FROM read_parquet($1) t",
  csv: "SELECT to_json(t)::VARCHAR FROM read_csv($1, header = true, all_varchar = true) t",
};

async function* readRows(path: string): AsyncGenerator<RawRow> {
  const ending = /\.([a-z]+)$/i.exec(path)?.[1]?.toLowerCase() ?? "";
  const query = Object.hasOwn(queries, ending) ? queries[ending] : undefined;
  if (!query)
    throw new InputError(`"${path}" ends in none of .${Object.keys(queries).join(", .")}; rename or convert it`);
  let index = -1;
  for await (const json of texts(path, query)) {
    index++;
    const row = parsed(json);
    if (typeof row !== "object" || row === null || Array.isArray(row))
      throw new InputError(`${await where(path, index)}: expected an object, received ${json.slice(0, 60)}`);
    yield row as RawRow;
  }
}

async function* texts(path: string, query: string): AsyncGenerator<string> {
  const { connection, close } = await openDuckDB(2);
  try {
    const result = await connection.stream(query, [pathPattern(path)]).catch(async (error) => {
      throw await malformed(path, error.message);
    });
    const pieces = result.yieldRows();
    for (;;) {
      const piece = await pieces.next().catch(async (error) => {
        throw await malformed(path, error.message);
      });
      if (piece.done) return;
      for (const [json] of piece.value) yield json as string;
    }
  } finally {
    close();
  }
}

/** The value of a JSON text; undefined for what DuckDB writes but JSON does not allow, such as NaN. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The lines of a JSONL file that hold a row; null for other formats. DuckDB does not count lines, so errors do. */
async function dataLines(path: string): Promise<{ line: number; bytes: Buffer }[] | null> {
  if (!/\.(?:jsonl|ndjson)$/i.test(path)) return null;
  const content = await readFile(path);
  const lines: { line: number; bytes: Buffer }[] = [];
  for (let start = 0, line = 1; start < content.length; line++) {
    const newline = content.indexOf(10, start);
    const end = newline < 0 ? content.length : newline;
    const bytes = content.subarray(start, end);
    if (bytes.some((byte) => byte !== 32 && byte !== 9 && byte !== 13)) lines.push({ line, bytes });
    start = end + 1;
  }
  return lines;
}

/** "file line 3", or "file row 3" where a format has no lines. Rows are counted from 1. */
async function where(path: string, index: number): Promise<string> {
  const line = (await dataLines(path))?.[index]?.line;
  return line === undefined ? `${path} row ${index + 1}` : `${path} line ${line}`;
}

/** Finds the first line that is not JSON. If there is none, DuckDB's message is given as the reason. */
async function malformed(path: string, said: string): Promise<InputError> {
  for (const { line, bytes } of (await dataLines(path)) ?? []) {
    try {
      JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
    } catch (error) {
      return notJson(`${path} line ${line}`, error as Error);
    }
  }
  return new InputError(`cannot read "${path}": ${said.replace(/\s+/g, " ").slice(0, 300)}`);
}
