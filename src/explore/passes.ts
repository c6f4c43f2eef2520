/**
 * The evaluations of a run as the explorer's page holds them: one row of columns per vote (system, seed, question), and
 * one packet per question with every pass. Pure.
 */
import type { EvaluationRow, Question } from "../types.js";
import { numbering } from "./trees.js";

/** The type of each column. Entry i belongs to vote i, of one system, seed and question. */
export const voteColumnTypes = {
  /** Index among the evaluation's questions. */
  question: Int32Array,
  /** Index among its systems. */
  system: Uint16Array,
  seed: Int32Array,
  passes: Uint16Array,
  /** Passes that are right after the last turn. */
  right: Uint16Array,
  /** Passes that the turns after the first made right, and wrong. */
  corrected: Uint16Array,
  broken: Uint16Array,
  /** Different answers after the last turn; a pass without one counts as one more. */
  answers: Uint16Array,
  /** 1 if the vote after the last turn is right. */
  voted: Uint8Array,
} as const;
export type VoteColumns = { [K in keyof typeof voteColumnTypes]: InstanceType<(typeof voteColumnTypes)[K]> };

/** A system that was evaluated, and its turns in speaking order. */
export interface EvaluatedSystem {
  name: string;
  turns: string[];
}

/** The passes over one question: entry i of every list belongs to one turn of one pass. Numbers index `texts`, `answers`. */
export interface PassPacket {
  /** Null where the run did not keep it. */
  question: Question | null;
  texts: string[];
  answers: string[];
  system: number[];
  seed: number[];
  pass: number[];
  turn: number[];
  /** −1 where it was not kept. */
  text: number[];
  /** −1 where there is none. */
  answer: number[];
  right: number[];
  votedAnswer: number[];
  votedRight: number[];
  tokens: number[];
}

/** Collects the evaluation on one benchmark, question by question. */
export function collectPasses(systems: readonly EvaluatedSystem[]) {
  const rows = Object.fromEntries(Object.keys(voteColumnTypes).map((name) => [name, [] as number[]])) as {
    [K in keyof typeof voteColumnTypes]: number[];
  };
  const numbers = new Map(systems.map(({ name }, i) => [name, i]));
  let questions = 0;

  return {
    /** @param turns all rows about this question */
    add(question: Question | null, turns: readonly EvaluationRow[]): PassPacket {
      const texts = numbering<string>();
      const answers = numbering<string>();
      const packet: PassPacket = {
        ...{ question, texts: texts.items, answers: answers.items, system: [], seed: [], pass: [], turn: [] },
        ...{ text: [], answer: [], right: [], votedAnswer: [], votedRight: [], tokens: [] },
      };
      const votes = new Map<string, EvaluationRow[]>();
      for (const row of turns) {
        const system = numbers.get(row.system)!;
        packet.system.push(system);
        packet.seed.push(row.seed);
        packet.pass.push(row.pass);
        packet.turn.push(systems[system]!.turns.indexOf(row.turn));
        packet.text.push(row.text === null ? -1 : texts.of(row.text));
        packet.answer.push(row.answer === null ? -1 : answers.of(row.answer));
        packet.right.push(Number(row.correct));
        packet.votedAnswer.push(row.voted_answer === null ? -1 : answers.of(row.voted_answer));
        packet.votedRight.push(Number(row.voted_correct));
        packet.tokens.push(row.completion_tokens ?? -1);
        const key = `${system} ${row.seed}`;
        const vote = votes.get(key);
        if (vote) vote.push(row);
        else votes.set(key, [row]);
      }
      for (const own of votes.values()) addVote(questions, numbers.get(own[0]!.system)!, own);
      questions++;
      return packet;
    },
    columns: (): VoteColumns =>
      Object.fromEntries(
        Object.entries(voteColumnTypes).map(([name, type]) => [name, type.from(rows[name as keyof typeof rows])]),
      ) as unknown as VoteColumns,
  };

  function addVote(question: number, system: number, own: readonly EvaluationRow[]): void {
    const { turns } = systems[system]!;
    const at = (turn: string) => new Map(own.filter((row) => row.turn === turn).map((row) => [row.pass, row]));
    const [first, last] = [at(turns[0]!), at(turns.at(-1)!)];
    const ends = [...last.values()];
    const turned = (isRight: boolean) =>
      ends.filter(({ pass, correct }) => correct === isRight && first.get(pass)?.correct === !isRight).length;
    rows.question.push(question);
    rows.system.push(system);
    rows.seed.push(own[0]!.seed);
    rows.passes.push(ends.length);
    rows.right.push(ends.filter(({ correct }) => correct).length);
    rows.corrected.push(turned(true));
    rows.broken.push(turned(false));
    rows.answers.push(new Set(ends.map(({ answer }) => answer)).size);
    rows.voted.push(Number(ends[0]?.voted_correct === true));
  }
}
