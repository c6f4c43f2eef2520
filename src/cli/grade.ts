/** `malt grade`: compares predicted answers with reference answers, one JSON verdict per line. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Command } from "commander";
import { z } from "zod";
import { type AnswerKind, canonical, extract, grade, inferKind, type Verdict } from "../answers/index.js";
import { InputError } from "../errors.js";

const caseSchema = z.object({
  id: z.string(),
  gold: z.string(),
  pred: z.string(),
  input: z.enum(["raw", "text"]).default("raw"),
  /** "number", "choice" or "math"; any other word is a label of the file's own and the kind is inferred. */
  kind: z.string().optional(),
});

/** One row of a file of cases. */
export type GradeCase = z.infer<typeof caseSchema>;

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
  const reference = extract(gold, given ?? "math")?.text ?? gold;
  const asked = isGiven(reference) ? given! : inferKind(reference);
  // A number may be stated as a formula.
  const found = extract(pred, asked) ?? (asked === "number" ? extract(pred, "math") : null);
  if (found) return asked === "choice" ? grade(reference, found.text, asked) : compare(reference, found.text);
  const reason = "unreadable: no answer is stated in the prediction";
  return { equal: false, verdict: "unparsable", reason, step: "unreadable" };
}

/** Whether an answer is a choice and the other one could be; looked at from both sides, so that the verdict is symmetric. */
const isChoice = (a: string, b: string): boolean => inferKind(a) === "choice" && canonical(b, "choice") !== null;

/** Parses one line of a file of cases. @throws InputError naming the line and the field */
export function parseCase(text: string, line: number, file: string): GradeCase {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (error) {
    throw new InputError(
      `${file} line ${line}: not valid JSON (${(error as Error).message}); write one object per line`,
    );
  }
  const parsed = caseSchema.safeParse(row);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new InputError(
    `${file} line ${line}: field "${issue.path.join(".")}": ${issue.message}; a case is {"id","gold","pred","input":"raw"|"text"}`,
  );
}

/** Grades a file of cases, in order. @throws InputError if the file cannot be read or a line is not a case */
export async function* gradeFile(path: string): AsyncGenerator<{ id: string } & Verdict> {
  const stream = createReadStream(path, "utf8");
  let number = 0;
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      if (line.trim() === "") continue;
      const row = parseCase(line, number, path);
      yield { id: row.id, ...gradeCase(row) };
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    throw new InputError(`cannot read the cases "${path}" (${code}); give --file the path of a JSONL file`);
  } finally {
    stream.destroy();
  }
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("grade")
    .description(
      'compare answers: reads {"id","gold","pred","input":"raw"|"text"[,"kind"]} lines, prints a verdict per line',
    )
    .requiredOption("--file <path>", "JSONL file of cases")
    .addHelpText(
      "after",
      '\nkind is "number", "choice" or "math". Without it, it is inferred from gold: a single letter A-E is a choice,' +
        "\na bare number or percentage a number, anything else math.",
    )
    .action(async ({ file }: { file: string }) => {
      for await (const { step: _, ...verdict } of gradeFile(file)) process.stdout.write(`${JSON.stringify(verdict)}\n`);
    });
}
