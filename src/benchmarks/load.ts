/**
 * Loads questions: GSM8K, MATH, CommonsenseQA and GSM-Symbolic as they are published, and the project's own form, from a
 * path, folder or URL, all into one `Question` type. Splits are the paper's (Section 5) for GSM8K (train and test) and
 * CommonsenseQA (train and, as test, its development set, whose answers are public). MATH comes in its authors' split of
 * 7,500 and 5,000, which is the paper's, and in PRM800K's of 12,000 and 500; a question says which (`partition`).
 */
import { stat } from "node:fs/promises";
import { basename, dirname, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "../errors.js";
import type { Question, Split } from "../types.js";
import { doubtsAbout } from "./doubts.js";
import { download } from "./download.js";
import {
  benchmarkOf,
  checkAnswer,
  type Draft,
  detectForm,
  EmptyAnswer,
  FieldError,
  forms,
  isKnown,
  type RawRow,
  shown,
} from "./forms.js";
import { filesOf, type Place, type PlacedRow, placeText, readRows } from "./rows.js";

/** Options of {@link loadQuestions}. */
export interface LoadOptions {
  /**
   * Name given to the benchmark. If it is a known one, rows are read as it, and those in the own form must have answers
   * of its kind.
   */
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
  /**
   * Called with a message about questions that were loaded and may be wrong: answers that the grader cannot read, repeated
   * questions or options, test questions among those for training; by default a process warning.
   */
  onDoubt?: (message: string) => void;
}

/**
 * Reads the questions of a file, in file order, or of all files of a folder.
 *
 * The form is told by the content of every row, and all rows must have the same. The split is that of the row, else of
 * the name of the file, else of its folder, else `options.split`, else train. Ids are the file's where it has any; where a
 * folder holds one JSON file per question, their path from `train` or `test` on; else `<benchmark>-<split>-<row>`, counted
 * from 0 over all rows.
 * MATH rows whose published answer is empty are skipped and reported; any other row that is not a question is an error.
 * @param source path of a file or folder, or http(s) or file URL; .jsonl, .ndjson, .json, .csv (also .gz) or .parquet
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
  const told = new Set<string>();
  const once = (tell?: (message: string) => void) => (message: string) => {
    if (!told.has(message)) (tell ?? ((text) => process.emitWarning(text, "MaltWarning")))(message);
    told.add(message);
  };
  const { onSkip, onDoubt } = options;
  return {
    [Symbol.asyncIterator]: () => read(source, { ...options, onSkip: once(onSkip), onDoubt: once(onDoubt) }),
  };
}

async function* read(source: string | URL, options: LoadOptions): AsyncGenerator<Question> {
  const { limit = Number.POSITIVE_INFINITY, split } = options;
  if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 1)) {
    throw new InputError(`limit must be an integer of at least 1, received ${limit}; leave it out for all questions`);
  }
  const named = options.benchmark === undefined ? null : benchmarkOf(options.benchmark);
  const path = await localPath(source, options.cache);
  const places = new Map<string, Place>();
  const doubts = doubtsAbout();
  const skipped: Place[] = [];
  let first: { form: string; seen: string; at: Place } | null = null;
  let [index, kept] = [-1, 0];
  for await (const { row, at, nth } of rowsIn(path)) {
    index++;
    const seen = detectForm(row);
    first ??= { form: named !== null && isKnown(named) && seen !== "own" ? named : seen, seen, at };
    const { form } = first;
    let question: Question;
    try {
      question = questionOf(row, { form, named, path, at, nth, index, split });
      checkAnswer(question);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      if (error instanceof EmptyAnswer) skipped.push(at);
      else throw new InputError(`${placeText(at)}: ${error.message} (read as ${form})`);
      continue;
    }
    if (seen !== first.seen)
      throw new InputError(
        `${placeText(at)}: the row has the form of ${seen}, but ${placeText(first.at)} that of ${first.seen}; write all ` +
          "rows in one form",
      );
    const earlier = places.get(question.id);
    if (earlier)
      throw new InputError(
        `${placeText(at)}: id ${shown(question.id)} was already used at ${placeText(earlier)}; make ids unique`,
      );
    places.set(question.id, at);
    if ((split !== undefined && question.split !== split) || ++kept > limit) continue;
    doubts.add(question, at);
    yield question;
  }
  if (first === null) throw new InputError(`"${path}" holds no rows; expected one question per line`);
  if (skipped.length > 0)
    options.onSkip?.(
      `skipped ${skipped.length} of ${index + 1} questions without a published answer, the first at ${placeText(skipped[0]!)}`,
    );
  for (const doubt of doubts.messages()) options.onDoubt?.(doubt);
  if (kept === 0) {
    if (skipped.length > index) throw new InputError(`"${path}" holds no question with an answer; give it answers`);
    const why =
      first.form === "gsm_symbolic"
        ? "GSM-Symbolic is for evaluation only, so all of it is test"
        : "ask for another split";
    throw new InputError(`"${path}" holds no question of split ${JSON.stringify(split ?? "any")}; ${why}`);
  }
}

/** The rows of a file, or of the files of a folder. */
async function* rowsIn(path: string): AsyncGenerator<PlacedRow & { nth: number }> {
  for (const file of await filesOf(path)) {
    let nth = 0;
    for await (const row of readRows(file)) yield { ...row, nth: nth++ };
  }
}

/** What is known about a row apart from its fields. */
interface Around extends Pick<LoadOptions, "split"> {
  form: string;
  /** The benchmark that was named. */
  named: string | null;
  /** The file or folder that was given. */
  path: string;
  at: Place;
  /** Among the rows of its file, and among all, from 0. */
  nth: number;
  index: number;
}

/** A row as a question. @throws FieldError if it is none */
function questionOf(row: RawRow, { form, named, path, at, nth, index, split }: Around): Question {
  const draft = forms[form]!(row);
  const benchmark = named ?? benchmarkOf(draft.benchmark ?? form);
  const folder = at.path === path ? null : path;
  const part = partOf(draft, benchmark, splitOf(at.path, form, folder) ?? split ?? "train");
  const isOnePerFile = folder !== null && /\.json(?:\.gz)?$/i.test(at.path);
  const fallback = isOnePerFile
    ? placeIn(folder, at.path) + (nth > 0 ? `-${nth}` : "")
    : `${benchmark}-${part}-${index}`;
  const id = form === "gsm_symbolic" && draft.id !== null ? variantId(draft.id, at.path) : draft.id;
  const { partition, question, choices, answer } = draft;
  return {
    ...{ id: id ?? fallback, benchmark, split: part },
    ...(partition && { partition }),
    ...{ question, choices, answer },
  };
}

/** The split of a row. @throws FieldError where a row of GSM-Symbolic, published for evaluation only, is for training */
function partOf({ split }: Draft, benchmark: string, otherwise: Split): Split {
  if (benchmark !== "gsm_symbolic") return split ?? otherwise;
  if (split !== null && split !== "test")
    throw new FieldError("split", `must be "test", received "${split}": GSM-Symbolic is for evaluation only`);
  return "test";
}

/** GSM-Symbolic numbers the instances of each variant alike, so the variant (main, P1, P2) is part of the id. */
function variantId(id: string, path: string): string {
  const variant = /(?<![a-z0-9])p[12](?![a-z0-9])/i.exec(`${basename(dirname(path))}/${basename(path)}`)?.[0];
  return `gsm_symbolic-${variant?.toLowerCase() ?? "main"}-${id}`;
}

/** Where a file lies: from the folder of its split on, as PRM800K names the questions of MATH, else from a given folder. */
const placeIn = (folder: string, path: string): string => {
  const full = path.split(sep).join("/");
  return /^.*\/((?:train|test)\/.*)$/.exec(full)?.[1] ?? relative(folder, path).split(sep).join("/");
};

/**
 * The split a name tells: `train.jsonl`, `dev_rand_split.jsonl`, `math500_test.jsonl`, `test-00000-of-00001.parquet`. In
 * a folder also the names of the folders, from the file's own up to the given one and a `train` or `test` that holds it.
 */
function splitOf(path: string, form: string, folder: string | null): Split | null {
  const names = folder === null ? [basename(path)] : relative(dirname(folder), path).split(sep).reverse();
  const outer = folder === null ? "" : basename(dirname(folder));
  if (/^(?:train|test)$/i.test(outer)) names.push(outer);
  for (const name of names) {
    const words = new Set(name.toLowerCase().match(/[a-z]+/g));
    const found = (["train", "test"] as Split[]).filter((split) => words.has(split));
    if (["dev", "valid", "validation"].some((word) => words.has(word)))
      found.push(form === "csqa" ? "test" : "validation");
    if (found.length === 1) return found[0]!;
  }
  return null;
}

async function localPath(source: string | URL, cache?: string): Promise<string> {
  const isUrl = source instanceof URL || /^(?:https?|file):\/\//i.test(source);
  const url = isUrl ? new URL(source) : null;
  if (url && /^https?:$/.test(url.protocol)) return download(url, cache);
  if (url && url.protocol !== "file:") throw new InputError(`cannot load "${url.href}"; give a path or an http(s) URL`);
  const path = url ? fileURLToPath(url) : resolve(source as string);
  const found = await stat(path).catch(() => null);
  if (!found) throw new InputError(`question file "${path}" does not exist; check the path`);
  if (!found.isFile() && !found.isDirectory())
    throw new InputError(`"${path}" is not a file; give the path of a question file or folder`);
  return path;
}
