/** `malt grade`: compares predicted answers with reference answers, one JSON verdict per line. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Command } from "commander";
import { z } from "zod";
import type { GradeCase } from "../answers/case.js";
import type { Verdict } from "../answers/index.js";
import { InputError } from "../errors.js";
import { parseLine } from "../json.js";
import { printResult } from "../show/terminal.js";
import { guarded } from "./guard.js";

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
 * @throws InputError if the file cannot be read or a line is not a case; then it names the line and the field
 */
export async function* gradeFile(path: string): AsyncGenerator<{ id: string } & Verdict> {
  const stream = createReadStream(path, "utf8");
  const guard = guarded<GradeCase, Verdict>(new URL("./grade-worker.js", import.meta.url), limit);
  let number = 0;
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      if (line.trim() === "") continue;
      const row = parseLine(line, `${path} line ${number}`, caseSchema, help);
      yield { id: row.id, ...((await guard.run(row)) ?? givenUp) };
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new InputError(`cannot read the cases "${path}" (${code}); give --file the path of a JSONL file`);
  } finally {
    stream.destroy();
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
    .addHelpText(
      "after",
      '\nkind is "number", "choice" or "math". Without it, it is inferred: a single letter A-E is a choice, anything' +
        "\nelse is compared as mathematics.",
    )
    .action(async ({ file }: { file: string }) => {
      for await (const { step: _, ...verdict } of gradeFile(file)) printResult(JSON.stringify(verdict));
    });
}
