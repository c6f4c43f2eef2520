/** Grades two answers of which only the texts are known, as `malt grade` does with a line of a file. Pure. */

import { type ExtractionMode, findAnswer } from "./find/extract.js";
import { grade, type Verdict } from "./grade.js";
import { canonical } from "./meaning/canonical.js";
import { labelled } from "./plain/choice.js";
import { type AnswerKind, inferKind } from "./plain/kind.js";

/** One row of a file of cases. */
export interface GradeCase {
  id: string;
  gold: string;
  pred: string;
  input: "raw" | "text";
  /** "number", "choice" or "math"; any other word is a label of the file's own and the kind is inferred. */
  kind?: string | undefined;
}

const kinds: readonly string[] = ["number", "choice", "math"] satisfies AnswerKind[];

/**
 * Grades one case. `input` "raw": both sides are bare answers. "text": both are texts, from which the answer is extracted
 * first; a reference without any marker is used unchanged. A `kind` says how answers are looked for in texts, where the
 * reference is of that kind; numbers are compared as mathematics, since √961 and 31 are the same answer.
 * @param mode which answers of a text count, see `extract`; a bare answer is one in either mode
 */
export function gradeCase({ gold, pred, input, kind }: GradeCase, mode: ExtractionMode = "strict"): Verdict {
  if (input === "raw") return compare(gold, pred);
  const given = kinds.includes(kind ?? "") ? (kind as AnswerKind) : null;
  const reference = findAnswer(gold, given ?? "math")?.text ?? gold;
  const asked = given !== null && canonical(reference, given) !== null ? given : inferKind(reference);
  // A number may be stated as a formula, and an option by its text alone.
  const isOption = labelled(reference) !== null;
  const find = (how: ExtractionMode) =>
    findAnswer(pred, asked, null, how) ?? (asked === "number" || isOption ? findAnswer(pred, "math", null, how) : null);
  const found = find("strict") ?? (mode === "strict" ? null : find(mode));
  if (found)
    return asked === "choice" && !isOption ? grade(reference, found.text, asked) : compare(reference, found.text);
  const reason = "unreadable: no answer is stated in the prediction";
  return { equal: false, verdict: "unparsable", reason, step: "unreadable" };
}

/**
 * Whether two answers to one question are the same, by the grader's own equality; symmetric, for votes.
 * @param kind inferred where it is not known
 */
export function sameAnswer(a: string, b: string, kind: AnswerKind | null = null): boolean {
  if (a === b) return true;
  const isMath = kind === null ? [a, b].some((text) => inferKind(text) === "math") : kind === "math";
  // The canonical texts of numbers and options are equal where they are.
  return isMath && grade(a, b, "math").equal;
}

/** Two answers of unknown kind. An option that is written out, `A. Peter`, equals its letter and its text. */
function compare(a: string, b: string): Verdict {
  const [x, y] = [labelled(a), labelled(b)];
  if (x && y && x.letter === y.letter) return grade(x.text, y.text, "math");
  if (x && !y && grade(x.text, b, "math").equal) return grade(x.text, b, "math");
  if (y && !x && grade(a, y.text, "math").equal) return grade(a, y.text, "math");
  return grade(a, b, isChoice(a, b) || isChoice(b, a) ? "choice" : "math");
}

/**
 * Whether an answer is a choice and the other one could be; checked in both directions, so that the verdict is
 * symmetric.
 */
const isChoice = (a: string, b: string): boolean =>
  a.length < 200 && inferKind(a) === "choice" && canonical(b, "choice") !== null;
