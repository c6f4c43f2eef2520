/** Grades one case of a file: what `malt grade` does with a line. Scope: which rules apply to it. Pure. */
import { type AnswerKind, canonical, find, grade, inferKind, type Verdict } from "../answers/index.js";

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
 * first; a reference without any marker is taken as it stands. A `kind` that the reference is not of is ignored: the kind
 * is then inferred, and numbers are compared as mathematics, since √961 and 31 are the same answer.
 */
export function gradeCase({ gold, pred, input, kind }: GradeCase): Verdict {
  const given = kinds.includes(kind ?? "") ? (kind as AnswerKind) : null;
  const isGiven = (answer: string): boolean => given !== null && canonical(answer, given) !== null;
  const compare = (a: string, b: string): Verdict => {
    if (isGiven(a)) return grade(a, b, given!);
    return grade(a, b, isChoice(a, b) || isChoice(b, a) ? "choice" : "math");
  };
  if (input === "raw") return compare(gold, pred);
  const reference = find(gold, given ?? "math")?.text ?? gold;
  const asked = isGiven(reference) ? given! : inferKind(reference);
  // A number may be stated as a formula.
  const found = find(pred, asked) ?? (asked === "number" ? find(pred, "math") : null);
  if (found) return asked === "choice" ? grade(reference, found.text, asked) : compare(reference, found.text);
  const reason = "unreadable: no answer is stated in the prediction";
  return { equal: false, verdict: "unparsable", reason, step: "unreadable" };
}

/** Whether an answer is a choice and the other one could be; looked at from both sides, so that the verdict is symmetric. */
const isChoice = (a: string, b: string): boolean => a.length < 200 && inferKind(a) === "choice" && canonical(b, "choice") !== null;
