/**
 * The questions of a run, which may not fit in memory: what must be known about all of them before the first is asked.
 * What it leaves out: their file in the run folder (run/manifest.ts), and where they come from (load.ts).
 */
import { createHash } from "node:crypto";
import { InputError } from "../errors.js";
import { sorted } from "../json.js";
import { promptSet, promptSets } from "../team/prompt-sets.js";
import type { PromptSet } from "../team/prompts.js";
import type { Question } from "../types.js";

/** Questions that were looked through once, and can be read again and again. */
export interface QuestionList extends AsyncIterable<Question> {
  readonly length: number;
  /** SHA-256 of {@link questionsJsonl}, in hex. */
  readonly sha256: string;
  /** Their benchmarks, with "+" between them. */
  readonly benchmark: string;
  /** Which published split they come from, where there are several: that of MATH. */
  readonly partition?: string;
  /** The prompts they are asked with by default. */
  readonly promptSet: PromptSet;
}

/**
 * Looks through questions once.
 * @param questions something that can be read more than once, such as an array or what questionsIn returns
 * @throws InputError if there are none, and whatever reading them throws
 */
export async function questionList(questions: Iterable<Question> | AsyncIterable<Question>): Promise<QuestionList> {
  const digest = createHash("sha256");
  const benchmarks = new Set<string>();
  const partitions = new Set<string>();
  let [length, withChoices] = [0, 0];
  for await (const question of questions) {
    digest.update(questionsJsonl([question]));
    benchmarks.add(question.benchmark);
    if (question.partition) partitions.add(question.partition);
    length++;
    if (question.choices) withChoices++;
  }
  const benchmark = benchmarkName(benchmarks);
  return {
    ...{ length, benchmark, sha256: digest.digest("hex"), promptSet: setOf(benchmark, withChoices === length) },
    ...(partitions.size > 0 && { partition: [...partitions].join("+") }),
    async *[Symbol.asyncIterator]() {
      yield* questions;
    },
  };
}

/** One question per line, keys sorted: the same questions always give the same bytes, wherever they come from. */
export function questionsJsonl(questions: readonly Question[]): string {
  return questions.map(({ partition: _, ...question }) => `${JSON.stringify(question, sorted)}\n`).join("");
}

/** The prompts of questions: their benchmark's, else by their form: options → csqa, none → gsm8k's number prompts. */
function setOf(benchmark: string, isChoice: boolean): PromptSet {
  return promptSet(Object.hasOwn(promptSets, benchmark) ? benchmark : isChoice ? "csqa" : "gsm8k");
}

/** The benchmarks of a run's questions as one name. @throws InputError where there are no questions */
export function benchmarkName(benchmarks: Iterable<string>): string {
  const names = new Set(benchmarks);
  if (names.size === 0) throw new InputError("there are no questions to sample; check the file and --limit");
  return [...names].join("+");
}
