/** The programs that launchers run, such as ssh, sbatch and ray: their failures told in their words, with what to do. */
import { delimiter, dirname } from "node:path";
import { execa } from "execa";
import { withoutKey } from "../../environment.js";
import { RunError } from "../../errors.js";
import { python } from "../../paths.js";

/** What a program's words mean: the first pattern that matches its output says what to do. */
export type Advice = readonly (readonly [pattern: RegExp, advice: string])[];

/** What any of them may say about the machine that it writes to. */
const common: Advice = [
  [/no space left|disk quota exceeded|not enough space/i, "make room there, then run the same command again"],
  [/read-only file system/i, "choose a folder that can be written"],
];

/** A failed program. */
export class ProgramError extends RunError {
  override name = "ProgramError";
  constructor(
    message: string,
    /** What it printed, stdout and stderr. */
    readonly output: string,
    /** null where it was not found or was killed. */
    readonly code: number | null,
  ) {
    super(message);
  }
}

/** The variables of such a program: no key, English, and last on PATH what the project has installed itself, such as ray. */
export function programEnvironment(): NodeJS.ProcessEnv {
  const env = withoutKey({ LC_ALL: "C.UTF-8" });
  return { ...env, PATH: [env.PATH, dirname(python)].filter(Boolean).join(delimiter) };
}

/**
 * Runs a program to its end, without the keys of this process.
 * @param what is done, for the message: "submitting the job to Slurm"
 * @param options missing: what to do where the program is not installed
 * @returns its stdout
 * @throws ProgramError with the last lines it printed, and what to do
 */
export async function runProgram(
  what: string,
  [file, ...args]: readonly [string, ...string[]],
  options: { advice?: Advice; missing?: string; input?: string; cwd?: string; timeout?: number } = {},
): Promise<string> {
  const { advice = [], missing, input = "", cwd, timeout = 0 } = options;
  const result = await execa(file, args, {
    reject: false,
    input,
    env: programEnvironment(),
    extendEnv: false,
    // A log of a long training is larger than execa's own limit.
    maxBuffer: 2 ** 31 - 1,
    timeout,
    ...(cwd !== undefined && { cwd }),
  });
  if (!result.failed) return result.stdout;
  if (result.code === "ENOENT")
    throw new ProgramError(`${what} failed: ${file} is not installed${missing ? `; ${missing}` : ""}`, "", null);
  const output = `${result.stdout}\n${result.stderr}`;
  throw new ProgramError(
    failure(what, file, output, result.shortMessage ?? "nothing", advice),
    output,
    result.exitCode ?? null,
  );
}

/** "what failed: the program's last words; what to do" */
export function failure(what: string, file: string, output: string, otherwise: string, advice: Advice): string {
  const said = output
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const words = said.length > 0 ? said.slice(-3).join(" | ") : otherwise;
  const known = [...advice, ...common].find(([pattern]) => pattern.test(output));
  return `${what} failed: ${file} says "${words.slice(0, 600)}"${known ? `; ${known[1]}` : ""}`;
}
