/**
 * Turns completions into rows of evaluation.parquet: each turn is graded, the passes vote. What it leaves out:
 * sampling.
 */
import type { ExtractionMode } from "../answers/index.js";
import type { System } from "../team/systems.js";
import type { EvaluationRow, Question, Role } from "../types.js";
import { type Judge, ownAnswerIn, type Reading } from "./judge.js";
import { majorityReading } from "./majority.js";
import type { Transcripts } from "./passes.js";

/**
 * Rows of one system and seed, by question, turn and pass. The last turn is read by rule, those before by the judge. A
 * debate gives one row per agent: the answer of its last round as the generator's turn, with the tokens of all rounds.
 * @param extraction which answers of the last turn count, see `extract`
 * @returns the rows, and on how many of the turns the judge read it gave no verdict
 * @throws what the judge throws
 */
export async function rowsOf(
  system: System,
  seed: number,
  questions: readonly Question[],
  said: Transcripts,
  judge: Judge,
  extraction: ExtractionMode = "strict",
): Promise<{ rows: EvaluationRow[]; unclear: number }> {
  const rule = ownAnswerIn(extraction);
  let unclear = 0;
  const ofTurn = async (question: Question, role: Role, depth: number): Promise<EvaluationRow[]> => {
    const passes = said.get(question.id)!;
    const isLast = depth === system.roles.length - 1;
    const texts = passes.map((turns) => (isLast ? turns.at(-1)! : turns[depth]!).text);
    const read = await Promise.all(
      passes.map((turns, pass) => (isLast ? rule : judge).read(question, role, texts[pass]!, turns.slice(0, depth))),
    );
    const voters = isLast || judge.about.kind === "own" ? read : winningSide(read);
    const winner = majorityReading(question, voters);
    if (!isLast) unclear += read.filter(({ correct }) => correct === null).length;
    return read.map(({ answer, correct }, pass) => {
      const own = system.debate ? passes[pass]! : [passes[pass]![depth]!];
      return {
        benchmark: question.benchmark,
        system: system.name,
        seed,
        question_id: question.id,
        pass,
        turn: role.name,
        text: texts[pass]!,
        answer,
        correct: correct === true,
        voted_answer: winner?.answer ?? null,
        voted_correct: winner?.correct === true,
        completion_tokens: own.every((c) => c.completion_tokens !== null)
          ? own.reduce((sum, c) => sum + c.completion_tokens!, 0)
          : null,
      };
    });
  };
  const turns = questions.flatMap((question) => system.roles.map((role, depth) => ofTurn(question, role, depth)));
  return { rows: (await Promise.all(turns)).flat(), unclear };
}

/**
 * The side that most verdicts of a model take, right or wrong. Verdicts vote and not answers, because a turn that is rated
 * wrong need not state one. Of equally large sides the one that was first wins, as in a vote of answers. Turns without a
 * verdict do not vote.
 */
function winningSide(read: readonly Reading[]): readonly Reading[] {
  const [right, wrong] = [true, false].map((side) => read.filter(({ correct }) => correct === side));
  if (right!.length !== wrong!.length) return right!.length > wrong!.length ? right! : wrong!;
  return read.find(({ correct }) => correct !== null)?.correct ? right! : wrong!;
}
