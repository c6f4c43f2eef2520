/**
 * The rows of a question file or of a folder of them, as they are there, each with its place. JSONL and CSV are read line
 * by line, a JSON document as a whole, Parquet by DuckDB. (DuckDB's readers of JSON and CSV count no lines, skip some, and
 * guess a CSV file's columns.) What it leaves out: what a row means (forms.ts).
 */
import { open, readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { openDuckDB, pathPattern } from "../duckdb.js";
import { InputError } from "../errors.js";
import { notJson, readJson, valuesIn } from "../json.js";
import { linesOf } from "../lines.js";
import type { RawRow } from "./forms.js";

/** Where a row stands. */
export interface Place {
  path: string;
  /** Parquet has rows only. Both are counted from 1. */
  unit: "line" | "row";
  number: number;
}

/** "file line 3", for messages. */
export const placeText = ({ path, unit, number }: Place): string => `${path} ${unit} ${number}`;

/** A row and where it stands. */
export interface PlacedRow {
  row: RawRow;
  at: Place;
}

/** One reader per format, by the file's ending. */
const readers: Readonly<Record<string, (path: string) => AsyncGenerator<PlacedRow>>> = {
  jsonl: jsonLines,
  ndjson: jsonLines,
  json: jsonDocument,
  parquet,
  csv,
};

/** The ending that tells a file's format; that of a compressed file stands before `.gz`. */
const endingOf = (path: string): string => /\.([a-z]+)(?:\.gz)?$/i.exec(path)?.[1]?.toLowerCase() ?? "";
const isKnown = (path: string): boolean => Object.hasOwn(readers, endingOf(path));

/**
 * The files of a source: itself, or those below a folder, all of one format. They are in the order of their names, first
 * the number 1 of every folder, so that the first n are not all of one subject.
 * @throws InputError if there is none, or there are several formats
 */
export async function filesOf(source: string): Promise<string[]> {
  if (!(await stat(source)).isDirectory()) {
    if (!isKnown(source))
      throw new InputError(`"${source}" ends in none of .${Object.keys(readers).join(", .")}; rename or convert it`);
    return [source];
  }
  const found = await readdir(source, { recursive: true, withFileTypes: true });
  const paths = found
    // Hugging Face's cache holds links to files.
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => isKnown(path) && !/(?:^|\/)[._]/.test(relative(source, path).split(sep).join("/")));
  const endings = [...new Set(paths.map(endingOf))];
  if (endings.length === 0)
    throw new InputError(`"${source}" is not a file, and no question file is below it; give another path`);
  if (endings.length > 1)
    throw new InputError(
      `"${source}" is not a file, and the files below it are of several formats (${endings.join(", ")}); give one of them`,
    );
  const { compare } = new Intl.Collator("en", { numeric: true });
  const names = new Map(paths.map((path) => [path, path.slice(path.lastIndexOf(sep) + 1)]));
  return paths.sort((a, b) => compare(names.get(a)!, names.get(b)!) || compare(a, b));
}

/** The rows of one file. @throws InputError naming the place of what is no object, or of what cannot be read */
export async function* readRows(path: string): AsyncGenerator<PlacedRow> {
  const pointer = "version https://git-lfs.github.com/";
  const handle = await open(path);
  const { buffer } = await handle
    .read(Buffer.alloc(pointer.length), 0, pointer.length, 0)
    .finally(() => handle.close());
  if (buffer.toString() === pointer)
    throw new InputError(`"${path}" is a pointer of Git LFS, not the file; run git lfs pull, or download the file`);
  yield* readers[endingOf(path)]!(path);
}

/** A JSON text as a row. */
function placed(text: string, at: Place, help?: string): PlacedRow {
  let row: unknown;
  try {
    row = readJson(text);
  } catch (error) {
    throw notJson(placeText(at), error as Error, help);
  }
  if (typeof row !== "object" || row === null || Array.isArray(row))
    throw new InputError(`${placeText(at)}: expected an object, received ${text.slice(0, 60)}`);
  return { row: row as RawRow, at };
}

async function* jsonLines(path: string): AsyncGenerator<PlacedRow> {
  const help = "write one object per line, or let the name of a JSON document over several lines end in .json";
  for await (const { number, text } of linesOf(path))
    if (text.trim() !== "") yield placed(text, { path, unit: "line", number }, help);
}

async function* jsonDocument(path: string): AsyncGenerator<PlacedRow> {
  const help = "mend the object that begins there, or the list around it";
  const lines: string[] = [];
  for await (const { text } of linesOf(path)) lines.push(text);
  for (const { line, text } of valuesIn(lines.join("\n")))
    yield placed(text, { path, unit: "line", number: line }, help);
}

/** CSV with a header. Its columns may also be separated by semicolons or tabs. Empty cells are null. */
async function* csv(path: string): AsyncGenerator<PlacedRow> {
  let head: string[] | null = null;
  for await (const { cells, at } of records(path)) {
    if (head === null) {
      head = cells.map((name) => name.trim());
      const twice = head.find((name, i) => head!.indexOf(name) < i);
      if (twice === undefined) continue;
      throw new InputError(`${placeText(at)}: two columns are called ${JSON.stringify(twice)}; rename one`);
    }
    if (cells.length !== head.length)
      throw new InputError(
        `${placeText(at)}: ${cells.length} cells, but the header has ${head.length}; put a cell that holds a separator ` +
          "in double quotes",
      );
    yield { row: Object.fromEntries(head.map((name, i) => [name, cells[i] || null])), at };
  }
}

/** The records of a CSV file as RFC 4180 has them: quotes around a cell may hold line ends, and quotes doubled. */
async function* records(path: string): AsyncGenerator<{ cells: string[]; at: Place }> {
  let separator: string | null = null;
  let cells: string[] = [];
  /** A cell in quotes that is not closed yet. */
  let open: string | null = null;
  let at: Place = { path, unit: "line", number: 1 };
  const wrong = (what: string) =>
    new InputError(`${placeText(at)}: ${what}; close it, and double quotes within a cell`);
  for await (const { number, text } of linesOf(path, "CSV")) {
    if (open !== null) open += "\n";
    else if (text.trim() === "") continue;
    else at = { ...at, number };
    separator ??= [",", ";", "\t"].sort((a, b) => text.split(b).length - text.split(a).length)[0]!;
    for (let next = 0; next <= text.length; next++) {
      if (open === null && text[next] === '"') {
        open = "";
        next++;
      }
      const cell = open === null ? new RegExp(`[^${separator}]*`, "y") : /[^"]*(?:""[^"]*)*/y;
      cell.lastIndex = next;
      const [content] = cell.exec(text)!;
      next += content.length;
      if (open !== null) {
        open += content.replaceAll('""', '"');
        if (next === text.length) break;
        next++;
        if (next < text.length && text[next] !== separator) throw wrong("text stands behind a cell in double quotes");
      }
      cells.push(open ?? content);
      open = null;
    }
    if (open !== null) continue;
    yield { cells, at };
    cells = [];
  }
  if (open !== null) throw wrong("a double quote is never closed");
}

async function* parquet(path: string): AsyncGenerator<PlacedRow> {
  const { connection, close } = await openDuckDB(2);
  const unreadable = (error: Error) =>
    new InputError(`cannot read "${path}": ${error.message.replace(/\s+/g, " ").slice(0, 300)}`);
  try {
    let number = 0;
    const query = "SELECT to_json(t)::VARCHAR FROM read_parquet($1) t";
    const result = await connection.stream(query, [pathPattern(path)]).catch((error) => {
      throw unreadable(error);
    });
    const pieces = result.yieldRows();
    for (;;) {
      const piece = await pieces.next().catch((error) => {
        throw unreadable(error);
      });
      if (piece.done) return;
      for (const [json] of piece.value) yield placed(json as string, { path, unit: "row", number: ++number });
    }
  } finally {
    close();
  }
}
