/** `malt grade`: compares predicted answers with reference answers, one JSON verdict per line. */
import type { Command } from "commander";
import { z } from "zod";
import type { GradeCase } from "../answers/case.js";
import type { ExtractionMode, Verdict } from "../answers/index.js";
import { parseLine } from "../json.js";
import { linesOf } from "../lines.js";
import { printResult } from "../show/terminal.js";
import { guarded } from "./guard.js";
import { extractionOption } from "./options.js";

const caseSchema = z.object({
  id: z.string(),
  gold: z.string(),
  pred: z.string(),
  input: z.enum(["raw", "text"]).default("raw"),
  kind: z.string().optional(),
}) satisfies z.ZodType<GradeCase>;

const help = 'a case is {"id","gold","pred","input":"raw"|"text"}';

/** Milliseconds after which a case is given up; the slowest known cases take tens of milliseconds. */
const limit = 5_000;

const givenUp: Verdict = {
  equal: false,
  verdict: "unparsable",
  reason: `unreadable: given up, since it took more than ${limit} ms or too much memory`,
  step: "unreadable",
};

/**
 * Grades a file of cases, in order.
 * @param mode which answers of a text count, see `extract`
 * @throws InputError if the file cannot be read or a line is not a case; then it names the line and the field
 */
export async function* gradeFile(
  path: string,
  mode: ExtractionMode = "strict",
): AsyncGenerator<{ id: string } & Verdict> {
  const guard = guarded<GradeCase & { extraction: ExtractionMode }, Verdict>(
    new URL("./grade-worker.js", import.meta.url),
    limit,
  );
  try {
    for await (const { number, text } of linesOf(path)) {
      if (text.trim() === "") continue;
      const row = parseLine(text, `${path} line ${number}`, caseSchema, help);
      yield { id: row.id, ...((await guard.run({ ...row, extraction: mode })) ?? givenUp) };
    }
  } finally {
    await guard.close();
  }
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("grade")
    .summary("compare answers, line by line")
    .description(
      'compare answers: reads {"id","gold","pred","input":"raw"|"text"[,"kind"]} lines, prints a verdict per line',
    )
    .requiredOption("--file <path>", "JSONL file of cases")
    .option(...extractionOption)
    .addHelpText(
      "after",
      '\nkind is "number", "choice" or "math". Without it, it is inferred: a single letter A-E is a choice, anything' +
        "\nelse is compared as mathematics.",
    )
    .action(async ({ file, extraction }: { file: string; extraction: ExtractionMode }) => {
      for await (const { step: _, ...verdict } of gradeFile(file, extraction)) printResult(JSON.stringify(verdict));
    });
}
