/**
 * The published forms of the benchmarks, one reader per form: a row of the file in, the fields of a question out. Field
 * names are those of the authors' repositories and of the Hugging Face exports. Pure.
 */
import { z } from "zod";
import { answerKind, formatNumber, grade, lastBox, parseQuantity } from "../answers/index.js";
import { isReadable } from "../answers/meaning/value.js";
import type { Partition, Question, Split } from "../types.js";

/** A row as it is in the file: any JSON object. */
export type RawRow = Readonly<Record<string, unknown>>;

/** What a row says about a question; null where the loader has to decide. */
export interface Draft {
  id: string | null;
  benchmark: string | null;
  split: Split | null;
  partition?: Partition | undefined;
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
export const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
};

/** The non-blank string in a field. */
function text(row: RawRow, field: string): string {
  const value = row[field];
  if (value === undefined) throw new FieldError(field, "is missing; give it a string");
  if (value === null) throw new FieldError(field, "is missing (null, NaN or an empty cell); give it a string");
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
  const blank = found.findIndex((option) => option.trim() === "");
  if (blank >= 0) throw new FieldError(field, `holds an empty option (${letter(blank)}); give it a text`);
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

/** Whether a field has a value. */
const has = (row: RawRow, field: string): boolean => row[field] !== undefined && row[field] !== null;

const identifier = (row: RawRow, field: string): string =>
  Number.isSafeInteger(row[field]) ? String(row[field]) : text(row, field).trim();

/** What a row of any form may say about itself. */
function about(row: RawRow): Pick<Draft, "id" | "benchmark" | "split"> {
  const field = ["id", "question_id"].find((name) => has(row, name));
  const split = has(row, "split") ? splitSchema.safeParse(row.split).data : null;
  if (split === undefined)
    throw new FieldError("split", `must be train, validation or test, received ${shown(row.split)}`);
  return {
    id: field === undefined ? null : identifier(row, field),
    benchmark: has(row, "benchmark") ? text(row, "benchmark") : null,
    split,
  };
}

/** GSM8K, with an id of its own or without. */
function gsm8k(row: RawRow): Draft {
  return { ...about(row), question: text(row, "question"), choices: null, answer: hashNumber(row) };
}

/** Apple's GSM-Symbolic: many instances of each template. */
function gsmSymbolic(row: RawRow): Draft {
  return { ...gsm8k(row), id: `${identifier(row, "id")}-${identifier(row, "instance")}` };
}

/**
 * MATH: the `answer` field where there is one (PRM800K), else the last box of the solution, as its authors grade it. An
 * answer that is itself a worked solution is read by its last box too.
 */
function math(row: RawRow): Draft {
  const question = text(row, "problem" in row ? "problem" : "question");
  if (has(row, "answer") && typeof row.answer !== "string")
    throw new FieldError("answer", `must be a string, received ${shown(row.answer)}; put it in quotes`);
  const given = typeof row.answer === "string" && row.answer.trim() !== "" ? row.answer.trim() : null;
  if (given === null && !has(row, "solution") && !has(row, "answer")) text(row, "answer");
  const worked = given ?? (has(row, "solution") ? text(row, "solution") : "");
  const boxed = lastBox(worked, 0)?.contents.at(-1)?.trim();
  if (given === null && boxed === undefined && !has(row, "answer"))
    throw new FieldError("solution", `holds no \\boxed{answer}, received ${shown(worked.slice(-40))}`);
  const answer = boxed ?? given ?? "";
  if (boxed === undefined && answer.includes("####"))
    throw new FieldError("answer", `holds "####" as in GSM8K, received ${shown(answer.slice(-40))}`);
  if (answer === "") throw new EmptyAnswer("answer", "is empty and the solution boxes none; leave the row out");
  const id = has(row, "unique_id") ? { id: text(row, "unique_id") } : {};
  return { ...about(row), ...id, partition: partitionOf(row), question, choices: null, answer };
}

/** Which split of MATH a row comes from: its authors give a type, PRM800K the place in the original split. */
const partitionOf = (row: RawRow): Partition | undefined =>
  has(row, "unique_id") ? "PRM800K" : has(row, "type") ? "original" : undefined;

/** CommonsenseQA: nested as its authors publish it, or flat as Hugging Face exports it. */
function csqa(row: RawRow): Draft {
  const nested = z.record(z.string(), z.unknown()).safeParse(row.question).data;
  const question = nested ? text(nested, "stem") : text(row, "question");
  const { labels, texts } = options(nested ? nested.choices : row.choices, "choices");
  const answer = keyed(text(row, "answerKey"), "answerKey", labels);
  return { ...about(row), question, choices: texts, answer };
}

/** The project's own form: `{"id","question","answer"[,"choices"][,"split"][,"benchmark"]}`; also questions.parquet. */
function own(row: RawRow): Draft {
  if (!has(row, "id") && !has(row, "question_id")) text(row, "id");
  const given = has(row, "choices") ? options(row.choices, "choices") : null;
  const answer = text(row, "answer").trim();
  const other = Object.keys(row).find((field) => Array.isArray(row[field]) || /^[A-E]$/.test(field));
  if (given === null && /^[A-Z]$/.test(answer) && other !== undefined)
    throw new FieldError(other, 'seems to hold the options; give them as a list in the field "choices"');
  return {
    ...about(row),
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

/** A name as given, or the known benchmark that it spells in another way: `GSM8K`, `gsm-symbolic`. */
export function benchmarkOf(name: string): string {
  const known = name.toLowerCase().replace(/[-\s]/g, "_");
  return isKnown(known) ? known : name;
}

/** Whether a benchmark has a form of its own. */
export const isKnown = (name: string): boolean => name !== "own" && Object.hasOwn(forms, name);

/** Tells the form of a row by its content. */
export function detectForm(row: RawRow): string {
  const { question, answer, solution } = row;
  const worked = typeof answer === "string" ? answer : "";
  if ("answerKey" in row || (typeof question === "object" && question !== null)) return "csqa";
  if ("problem" in row && !has(row, "question")) return "math";
  if (has(row, "choices")) return "own";
  if (worked.includes("####")) return has(row, "instance") && has(row, "id") ? "gsm_symbolic" : "gsm8k";
  // With an id and a plain answer it is the own form, whatever else stands beside them.
  const isOwn = worked.trim() !== "" && (has(row, "id") || has(row, "question_id"));
  const inBox = isOwn || typeof solution !== "string" ? worked : solution;
  return lastBox(inBox, 0) ? "math" : "own";
}

/** A worked solution has more words than the answers of MATH, which have at most three, or the title of a book. */
const maxWords = 12;
const wordsIn = (answer: string): number => answer.replace(/\\[a-zA-Z]+/g, " ").match(/\p{L}{2,}/gu)?.length ?? 0;

/**
 * Checks that a completion can be right.
 * @throws FieldError if no completion could be, or the answer is not of the benchmark's kind
 */
export function checkAnswer(question: Question): void {
  const { benchmark, choices, answer } = question;
  if (benchmark === "csqa" && choices === null) throw new FieldError("choices", "is missing; give it the options");
  if (/^gsm/.test(benchmark) && isKnown(benchmark) && !parseQuantity(answer))
    throw new FieldError("answer", `must be a number or end in "#### <number>", received ${shown(answer.slice(-40))}`);
  const kind = answerKind(question);
  if (kind === "math" && wordsIn(answer) >= maxWords)
    throw new FieldError(
      "answer",
      `looks like a worked solution, which no completion can equal: ${shown(answer)}; give the final answer alone, or ` +
        "end it in #### <number> or \\boxed{answer}",
    );
  const { equal, reason } = grade(answer, answer, kind);
  if (!equal) throw new FieldError("answer", `cannot be graded: ${reason}; write it in another way`);
}

/** What programs write where there is no value. */
const noValue = /^(?:nan|none|null|undefined|n\/a|<na>)$/i;

/** Whether the grader reads an answer. If not, or if it is a sentence, only the same words count as right. */
export const isAnswerRead = (question: Question): boolean => {
  const { answer } = question;
  if (answerKind(question) !== "math") return true;
  return isReadable(answer) && wordsIn(answer) < maxWords / 3 && !noValue.test(answer);
};
