/** The questions of data/arithmetic/: which files there are, and what is in them. Same seed, same rows. */
import { Dice, makeProblem, partOf } from "./problems.js";

/**
 * Numbers of steps, each of which as many problems get. More long ones than the corpus has, so that a single generator, who knows the
 * short ones, is right on about half.
 */
const lengths = [2, 3, 3, 4, 4] as const;

/** In an order such that later files leave out what earlier ones hold. */
const files = [
  { name: "train", benchmark: "arithmetic", split: "train", size: 2000, stream: 1, more: 0 },
  { name: "test", benchmark: "arithmetic", split: "test", size: 1500, stream: 2, more: 0 },
  { name: "hard", benchmark: "arithmetic-hard", split: "test", size: 1000, stream: 4, more: 1 },
] as const;

/** A row of a file of questions. */
export interface Row {
  id: string;
  benchmark: string;
  question: string;
  answer: string;
  split: "train" | "test";
  template: string;
}

/** A seeded source for one purpose; stream 3 is the corpus. */
export const diceOf = (seed: number, stream: number): Dice => new Dice(seed * 4 + stream);

/** The rows of each file by its name, without extension. */
export function benchmarkFiles(seed: number): Map<string, Row[]> {
  const seen = new Set<string>();
  return new Map(
    files.map(({ name, benchmark, split, size, stream, more }) => {
      const dice = diceOf(seed, stream);
      const rows: Row[] = [];
      while (rows.length < size) {
        const steps = dice.pick(lengths) + more;
        const { question, template, answer } = makeProblem(dice, (each) => partOf(each) === split, [steps]);
        if (seen.has(question)) continue;
        seen.add(question);
        const id = `arithmetic-${name}-${rows.length}`;
        rows.push({ id, benchmark, question, answer: String(answer), split, template });
      }
      return [name, rows];
    }),
  );
}

/** Rows as the file's text. */
export const jsonl = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
