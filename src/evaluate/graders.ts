/**
 * How graders differ: on cases whose verdict is known, and in the labels, pairs and accuracy they give for a run. A
 * grader is a rule, so another grader re-grades what was sampled and never samples. What it leaves out: drawing
 * conclusions.
 */

import { execa } from "execa";
import * as z from "zod";
import { toNumber } from "../answers/algebra/rational.js";
import { type ExtractionMode, type GradeCase, gradeCase, gradeText, parseQuantity } from "../answers/index.js";
import { pairSiblings, siblingsOf } from "../credit/pairs.js";
import { type Grade, scoreTrees } from "../credit/score.js";
import type { ValueOptions } from "../credit/values.js";
import { InputError } from "../errors.js";
import { parseLine } from "../json.js";
import { linesOf } from "../lines.js";
import { hasModules } from "../models/packages.js";
import { dataPath, python, pythonScript } from "../paths.js";
import type { Node, Question, Role } from "../types.js";

/** Two answers, and whether they are the same. */
export interface GraderCase extends GradeCase {
  kind: string;
  expected: boolean;
  /** The recorded verdict of Math-Verify; null where none was recorded. */
  mathVerify: boolean | null;
}

const caseSchema = z.object({
  id: z.string(),
  kind: z.string(),
  gold: z.string(),
  pred: z.string(),
  input: z.enum(["raw", "text"]),
  expected: z.boolean(),
  math_verify: z.boolean().optional(),
  mv: z.boolean().optional(),
  /** Cases on which their sources disagree; left out. */
  disputed: z.unknown().optional(),
});

/** The project's own cases; see the README beside them. */
export const ownCases = dataPath("graders", "cases.jsonl");

/** Reads a file of cases. @throws InputError naming the line and the field */
export async function loadCases(path: string = ownCases): Promise<GraderCase[]> {
  const cases: GraderCase[] = [];
  for await (const { number, text } of linesOf(path)) {
    if (text.trim() === "") continue;
    const row = parseLine(text, `${path} line ${number}`, caseSchema, "see data/graders/README.md");
    const { mv, math_verify, disputed, ...rest } = row;
    if (!disputed) cases.push({ ...rest, mathVerify: math_verify ?? mv ?? null });
  }
  return cases;
}

/** Says whether two answers are the same. */
export type CaseGrader = (row: GradeCase) => boolean;

const inMode =
  (mode: ExtractionMode): CaseGrader =>
  (row) =>
    gradeCase(row, mode).equal;

/** This project's grader, also in the flexible mode of extraction, and plain comparison of texts. */
export const caseGraders: Readonly<Record<string, CaseGrader>> = {
  malt: inMode("strict"),
  flexible: inMode("flexible"),
  "same text": ({ gold, pred }) => gold.trim() === pred.trim(),
};

/** Math-Verify's verdict on a case, and the milliseconds it took. */
export interface MathVerdict {
  equal: boolean;
  ms: number;
}

/**
 * Runs Math-Verify in a separate process, one case after another.
 * @returns null where it is not installed: `npm run setup -- --extra grader`
 */
export async function mathVerify(cases: readonly GradeCase[]): Promise<MathVerdict[] | null> {
  if (!(await hasModules("math_verify"))) return null;
  const input = cases
    .map(({ id, gold, pred, input: form }) => JSON.stringify({ id, gold, pred, input: form }))
    .join("\n");
  const { stdout } = await execa(python, [pythonScript("math_verify_grade.py")], { input, stderr: "ignore" });
  return stdout.split("\n").map((line) => z.object({ equal: z.boolean(), ms: z.number() }).parse(JSON.parse(line)));
}

/** How a grader's verdicts compare with the expected ones, for one kind of case. Shares lie in [0, 1]. */
export interface Confusion {
  /** "all" in the last row. */
  kind: string;
  cases: number;
  agreement: number;
  /** Different answers called equal, and their share of the different ones (NaN without any). */
  falsePositives: number;
  falsePositiveRate: number;
  /** Equal answers called different, and their share of the equal ones (NaN without any). */
  misses: number;
  missRate: number;
}

/** The confusion table by kind, in order of appearance, and for all. @param equal a grader's verdict per case */
export function confusion(cases: readonly GraderCase[], equal: readonly boolean[]): Confusion[] {
  if (equal.length !== cases.length) {
    throw new InputError(`there are ${equal.length} verdicts for ${cases.length} cases; give one for each`);
  }
  const kinds = [...new Set(cases.map(({ kind }) => kind)), null];
  return kinds.map((kind) => {
    const rows = cases.flatMap((row, i) =>
      kind === null || row.kind === kind ? [{ expected: row.expected, equal: equal[i]! }] : [],
    );
    const count = (expected: boolean, said: boolean) =>
      rows.filter((r) => r.expected === expected && r.equal === said).length;
    const [falsePositives, misses] = [count(false, true), count(true, false)];
    const different = rows.filter((r) => !r.expected).length;
    return {
      kind: kind ?? "all",
      cases: rows.length,
      agreement: (rows.length - falsePositives - misses) / rows.length,
      ...{ falsePositives, falsePositiveRate: falsePositives / different },
      ...{ misses, missRate: misses / (rows.length - different) },
    };
  });
}

/** Takes the last number of a text for its answer where none is stated, as lenient graders do. */
const flexible: Grade = (question, text) => gradeText(question, text, "flexible");

/** Takes the text after the last marker and compares it letter by letter, as strict graders do. */
const sameText: Grade = (question, text) => {
  const marker = "final answer:";
  const at = text.toLowerCase().lastIndexOf(marker);
  const answer =
    at < 0
      ? null
      : text
          .slice(at + marker.length)
          .trim()
          .split("\n")[0]!
          .trim() || null;
  return { answer, correct: answer === null ? null : answer === question.answer };
};

/** Accepts numbers within 5 % of the reference, as graders with a (smaller) relative tolerance do. */
const closeEnough: Grade = (question, text) => {
  const graded = gradeText(question, text);
  const [answer, reference] = [graded.answer, question.answer].map((value) => parseQuantity(value ?? "")?.value);
  if (graded.correct !== false || !answer || !reference) return graded;
  const [x, y] = [toNumber(answer), toNumber(reference)];
  return { answer: graded.answer, correct: Math.abs(x - y) <= 0.05 * Math.abs(y) };
};

/** Graders for a run's completions: this project's, and a lenient, a strict and a generous one to compare it with. */
export const runGraders: Readonly<Record<string, Grade>> = {
  malt: gradeText,
  flexible,
  "same text": sameText,
  "close enough": closeEnough,
};

/**
 * Math-Verify as a grader of a run: it is asked once for each question and text, before anything is graded.
 * @returns null where it is not installed
 */
export async function mathVerifyGrade(questions: readonly Question[], nodes: readonly Node[]): Promise<Grade | null> {
  const references = new Map(questions.map(({ id, answer }) => [id, answer]));
  const cases = new Map<string, GradeCase>();
  for (const { question_id, text } of nodes) {
    const key = `${question_id}\n${text}`;
    const gold = references.get(question_id);
    if (gold === undefined)
      throw new InputError(`question ${question_id} is not among the questions; pass those of the run`);
    cases.set(key, { id: key, gold, pred: text, input: "text" });
  }
  const verdicts = await mathVerify([...cases.values()]);
  if (!verdicts) return null;
  const equal = new Map([...cases.keys()].map((key, i) => [key, verdicts[i]!.equal]));
  return (question, text) => {
    const { answer } = gradeText(question, text);
    const correct = equal.get(`${question.id}\n${text}`) ?? false;
    // It may read an answer where this project's rules find none.
    return answer === null && !correct
      ? { answer: null, correct: null }
      : { answer: answer ?? question.answer, correct };
  };
}

/**
 * Grades a run's completions again, and recomputes the values and labels of its trees.
 * @param nodes rows of nodes.parquet; of them only what was sampled is used
 * @throws RunError if they are no trees of this team
 */
export function regrade(
  questions: readonly Question[],
  roles: readonly Role[],
  nodes: readonly Node[],
  grade: Grade,
  options: ValueOptions = {},
): Node[] {
  const entries = nodes.map(
    ({ question_id, node_id, role, seed, model, text, finish_reason, prompt_tokens, completion_tokens }) => ({
      ...{ key: `${question_id}\n${node_id}`, question_id, node_id, role, seed, model },
      ...{ text, finish_reason, prompt_tokens, completion_tokens, retries: 0 },
    }),
  );
  return scoreTrees(questions, roles, entries, { ...options, grade }).nodes;
}

/** What another grader changes for one role. */
export interface Movement {
  role: string;
  nodes: number;
  /** Shares of the nodes in [0, 1] whose own answer is right. */
  accuracyBefore: number;
  accuracyAfter: number;
  /** Nodes whose answer became right, and wrong. */
  becameRight: number;
  becameWrong: number;
  /** Nodes whose label changed, by their own grade or by those below them. */
  labelsMoved: number;
  /** Preference pairs. */
  pairsBefore: number;
  pairsAfter: number;
}

/** Compares a run under two graders, role by role in order of appearance. @throws InputError if the rows are not of one run */
export function movement(before: readonly Node[], after: readonly Node[]): Movement[] {
  const same =
    before.length === after.length &&
    before.every((node, i) => node.node_id === after[i]!.node_id && node.question_id === after[i]!.question_id);
  if (!same) throw new InputError("the two lists hold different nodes; regrade the rows of one run");
  return [...new Set(before.map(({ role }) => role))].map((role) => {
    const at = before.flatMap((node, i) => (node.role === role ? [i] : []));
    const right = (nodes: readonly Node[]) => at.filter((i) => nodes[i]!.correct === true).length;
    const moved = (from: boolean) =>
      at.filter((i) => (before[i]!.correct === true) === from && (after[i]!.correct === true) !== from).length;
    return {
      role,
      nodes: at.length,
      accuracyBefore: right(before) / at.length,
      accuracyAfter: right(after) / at.length,
      becameRight: moved(false),
      becameWrong: moved(true),
      labelsMoved: at.filter((i) => before[i]!.label !== after[i]!.label).length,
      pairsBefore: pairs(at.map((i) => before[i]!)),
      pairsAfter: pairs(at.map((i) => after[i]!)),
    };
  });
}

/** Preference pairs among nodes of one role. */
const pairs = (nodes: readonly Node[]): number =>
  siblingsOf(nodes).reduce((total, siblings) => total + pairSiblings(siblings).length, 0);
