/**
 * The published forms of the benchmarks, one reader per form: a row of the file in, the fields of a question out. Field
 * names are those of the authors' repositories and of the Hugging Face exports. Pure.
 */
import { z } from "zod";
import { formatNumber, lastBox, parseQuantity } from "../answers/index.js";
import type { Split } from "../types.js";

/** A row as it is in the file: any JSON object. */
export type RawRow = Readonly<Record<string, unknown>>;

/** What a row says about a question; null where the loader has to decide. */
export interface Draft {
  id: string | null;
  benchmark: string | null;
  split: Split | null;
  question: string;
  choices: readonly string[] | null;
  answer: string;
}

/** Thrown by a reader: a field is missing, of the wrong type or has a wrong value. The loader adds the file and line. */
export class FieldError extends Error {
  constructor(
    readonly field: string,
    problem: string,
  ) {
    super(`field "${field}" ${problem}`);
  }
}

/**
 * A row whose published answer is empty: this happens in MATH, where two boxes are empty. The loader skips and reports
 * it.
 */
export class EmptyAnswer extends FieldError {}

/** One line for a value received. */
const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
};

/** The non-blank string in a field. */
function text(row: RawRow, field: string): string {
  const value = row[field];
  if (value === undefined || value === null) throw new FieldError(field, "is missing; give it a string");
  if (typeof value !== "string")
    throw new FieldError(field, `must be a string, received ${shown(value)}; put it in quotes`);
  if (value.trim() === "") throw new FieldError(field, "is empty; give it a value or leave the row out");
  return value;
}

const splitSchema = z.enum(["train", "validation", "test"]);
const texts = z.array(z.string());
const labelled = z.array(z.object({ label: z.string(), text: z.string() }));
const columns = z.object({ label: texts, text: texts });

/** Options in any of their published spellings: texts, {label, text} objects, or a pair of columns; also as JSON text. */
function options(value: unknown, field: string): { labels: readonly string[]; texts: readonly string[] } {
  let spelled = value;
  if (typeof value === "string") {
    try {
      spelled = JSON.parse(value);
    } catch {
      throw new FieldError(field, `must be a list, received ${shown(value)}`);
    }
  }
  const plain = texts.safeParse(spelled).data;
  const objects = labelled.safeParse(spelled).data;
  const pair = columns.safeParse(spelled).data;
  const found = plain ?? objects?.map((option) => option.text) ?? pair?.text;
  const labels = objects?.map((option) => option.label) ?? pair?.label ?? found?.map((_, i) => letter(i));
  if (!found || !labels || labels.length !== found.length) {
    throw new FieldError(field, `must be a list of texts or of {"label","text"}, received ${shown(value)}`);
  }
  if (found.length < 2 || found.length > 26)
    throw new FieldError(field, `must hold 2 to 26 options, received ${found.length}`);
  if (new Set(labels).size < labels.length) throw new FieldError(field, `repeats a label: ${shown(labels)}`);
  return { labels, texts: found };
}

const letter = (index: number): string => String.fromCharCode(65 + index);

/** The letter of the option a key labels. */
function keyed(key: string, field: string, labels: readonly string[]): string {
  const index = labels.indexOf(key.trim());
  if (index < 0) throw new FieldError(field, `is ${shown(key)}, which is none of the options ${labels.join(", ")}`);
  return letter(index);
}

/** The number behind the last `#### ` of a worked solution, in canonical form. */
function hashNumber(row: RawRow): string {
  const solution = text(row, "answer");
  const at = solution.lastIndexOf("####");
  const quantity = at < 0 ? null : parseQuantity(solution.slice(at + 4));
  if (!quantity) throw new FieldError("answer", `must end in "#### <number>", received ${shown(solution.slice(-40))}`);
  return formatNumber(quantity.value);
}

const identifier = (row: RawRow, field: string): string =>
  Number.isSafeInteger(row[field]) ? String(row[field]) : text(row, field).trim();

function gsm8k(row: RawRow): Draft {
  return {
    id: null,
    benchmark: null,
    split: null,
    question: text(row, "question"),
    choices: null,
    answer: hashNumber(row),
  };
}

/** Apple's GSM-Symbolic: many instances of each template. Published for evaluation only, so it is always a test split. */
function gsmSymbolic(row: RawRow): Draft {
  const id = `${identifier(row, "id")}-${identifier(row, "instance")}`;
  return { ...gsm8k(row), id, split: "test" };
}

/** MATH: the `answer` field where there is one (PRM800K's split), else the last box of the solution (Hendrycks et al.). */
function math(row: RawRow): Draft {
  const question = text(row, "problem");
  const solution = text(row, "solution");
  const given =
    row.answer === undefined || row.answer === null ? (lastBox(solution, 0)?.contents.join(", ") ?? "") : row.answer;
  if (typeof given !== "string") throw new FieldError("answer", `must be a string, received ${shown(given)}`);
  if (given.trim() === "") throw new EmptyAnswer("answer", "is empty and the solution boxes none; leave the row out");
  const id = row.unique_id === undefined ? null : text(row, "unique_id");
  return { id, benchmark: null, split: null, question, choices: null, answer: given.trim() };
}

/** CommonsenseQA: nested as its authors publish it, or flat as Hugging Face exports it. */
function csqa(row: RawRow): Draft {
  const nested = z.record(z.string(), z.unknown()).safeParse(row.question).data;
  const question = nested ? text(nested, "stem") : text(row, "question");
  const { labels, texts } = options(nested ? nested.choices : row.choices, "choices");
  const answer = keyed(text(row, "answerKey"), "answerKey", labels);
  return { id: text(row, "id"), benchmark: null, split: null, question, choices: texts, answer };
}

/** The project's own form: `{"id","question","answer"[,"choices"][,"split"][,"benchmark"]}`; also questions.parquet. */
function own(row: RawRow): Draft {
  const id = identifier(row, row.id === undefined && row.question_id !== undefined ? "question_id" : "id");
  const split = row.split === undefined || row.split === null ? null : splitSchema.safeParse(row.split).data;
  if (split === undefined)
    throw new FieldError("split", `must be train, validation or test, received ${shown(row.split)}`);
  const given = row.choices === undefined || row.choices === null ? null : options(row.choices, "choices");
  const answer = text(row, "answer").trim();
  return {
    id,
    benchmark: row.benchmark === undefined || row.benchmark === null ? null : text(row, "benchmark"),
    split,
    question: text(row, "question"),
    choices: given?.texts ?? null,
    answer: given ? keyed(answer, "answer", given.labels) : answer,
  };
}

/** The readers by benchmark name. */
export const forms: Readonly<Record<string, (row: RawRow) => Draft>> = {
  gsm8k,
  gsm_symbolic: gsmSymbolic,
  math,
  csqa,
  own,
};

/** Tells the form of a file by the fields of its first row. */
export function detectForm(row: RawRow): string {
  if ("problem" in row && "solution" in row) return "math";
  if ("answerKey" in row) return "csqa";
  if ("instance" in row && "id" in row) return "gsm_symbolic";
  if (!("id" in row) && !("question_id" in row) && typeof row.answer === "string" && row.answer.includes("####"))
    return "gsm8k";
  return "own";
}
