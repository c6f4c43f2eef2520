/**
 * The task of malt-tiny: arithmetic word problems of 2 to 4 steps about a running quantity. Everything is generated, so
 * every step has a known right reading, and the tricky sentences have a known wrong one.
 *
 * The tricky sentences are comparisons in inconsistent language ("that is 7 more than Tom has" asks for a subtraction),
 * a kind of sentence that people misread too (Lewis and Mayer 1987).
 */
import { createHash } from "node:crypto";
import type { RandomGenerator } from "pure-rand";
import prand from "pure-rand";

export type Operator = "+" | "-" | "*" | "/";

/** What a step's sentence says. The last three are the tricky ones. */
export type StepKind = "gain" | "lose" | "multiply" | "share" | "more-than" | "fewer-than" | "times-as-many";

export interface Step {
  kind: StepKind;
  operator: Operator;
  /** The operator of the wrong reading; null where the sentence has one reading only. */
  misreading: Operator | null;
  operand: number;
}

export interface Problem {
  question: string;
  start: number;
  steps: Step[];
  answer: number;
  /** The sequence of step kinds. Splits are by template, so a test question has an order of steps never trained on. */
  template: string;
}

/** A seeded source of random choices. */
export class Dice {
  private generator: RandomGenerator;
  constructor(seed: number) {
    this.generator = prand.xoroshiro128plus(seed);
  }
  /** An integer in [low, high]. */
  integer(low: number, high: number): number {
    return prand.unsafeUniformIntDistribution(low, high, this.generator);
  }
  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)] as T;
  }
  chance(probability: number): boolean {
    return this.integer(0, 2 ** 30 - 1) < probability * 2 ** 30;
  }
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(0, i);
      [items[i], items[j]] = [items[j] as T, items[i] as T];
    }
    return items;
  }
}

const people = ["Mia", "Tom", "Ana", "Ben", "Lea", "Sam", "Eva", "Max", "Ida", "Leo", "Zoe", "Kai"] as const;
const things = ["pens", "coins", "shells", "cards", "books", "apples", "stamps", "beads", "stones", "plums"] as const;
const plain: readonly StepKind[] = ["gain", "gain", "lose", "lose", "multiply", "share"];
const tricky: readonly StepKind[] = ["more-than", "more-than", "fewer-than", "fewer-than", "times-as-many"];

/** Largest number that may appear under any reading. */
const largest = 250;

export function apply(operator: Operator, a: number, b: number): number {
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return Math.round(a / b);
  }
}

function makeStep(kind: StepKind, dice: Dice): Step {
  switch (kind) {
    case "gain":
      return { kind, operator: "+", misreading: null, operand: dice.integer(3, 59) };
    case "lose":
      return { kind, operator: "-", misreading: null, operand: dice.integer(3, 59) };
    case "multiply":
      return { kind, operator: "*", misreading: null, operand: dice.integer(2, 4) };
    case "share":
      return { kind, operator: "/", misreading: null, operand: dice.integer(2, 4) };
    case "more-than":
      return { kind, operator: "-", misreading: "+", operand: dice.integer(3, 49) };
    case "fewer-than":
      return { kind, operator: "+", misreading: "-", operand: dice.integer(3, 49) };
    case "times-as-many":
      return { kind, operator: "/", misreading: "*", operand: dice.integer(2, 4) };
  }
}

function sentence(step: Step, who: string, other: string, dice: Dice): string {
  const a = step.operand;
  switch (step.kind) {
    case "gain":
      return dice.pick([`${who} buys ${a} more.`, `${who} finds ${a} more.`, `${who} gets ${a} from ${other}.`]);
    case "lose":
      return dice.pick([`${who} loses ${a}.`, `${who} gives ${a} to ${other}.`, `${who} sells ${a}.`]);
    case "multiply":
      return dice.pick([`Then ${who} has ${a} times that number.`, `The number grows ${a} times.`]);
    case "share":
      return dice.pick([
        `${who} shares them equally among ${a} friends, and one of them is ${other}.`,
        `${who} puts them in ${a} equal boxes and gives one box to ${other}.`,
      ]);
    case "more-than":
      return dice.pick([`That is ${a} more than ${other} has.`, `This is ${a} more than the number ${other} has.`]);
    case "fewer-than":
      return dice.pick([`That is ${a} fewer than ${other} has.`, `This is ${a} fewer than the number ${other} has.`]);
    case "times-as-many":
      return `That is ${a} times as many as ${other} has.`;
  }
}

/** Whether every combination of readings stays a whole number from 1 to `largest`. */
function sound(start: number, steps: readonly Step[]): boolean {
  let values = [start];
  for (const { operator, misreading, operand } of steps) {
    const operators = misreading === null ? [operator] : [operator, misreading];
    if (operators.includes("/") && values.some((v) => v % operand !== 0)) return false;
    values = values.flatMap((v) => operators.map((o) => apply(o, v, operand)));
    if (values.some((v) => v < 1 || v > largest)) return false;
  }
  return true;
}

/** Whether the sentence hands the quantity over to the other person. */
const handsOver = (kind: StepKind) => kind === "share" || tricky.includes(kind);

/** Numbers of steps, one of which each problem of the corpus gets: mostly short ones. */
const corpusLengths: readonly number[] = [2, 2, 2, 3, 3, 3, 4, 4];

/** One problem whose template `accepts` allows, with as many steps as one of `lengths` says. */
export function makeProblem(dice: Dice, accepts: (template: string) => boolean, lengths = corpusLengths): Problem {
  for (;;) {
    const count = dice.pick(lengths);
    const trickyCount = dice.pick([0, 0, 0, 1, 1, 1, 1, 1, 1, 2]);
    const kinds: StepKind[] = [];
    for (let i = 0; i < count; i++) kinds.push(i < trickyCount ? dice.pick(tricky) : dice.pick(plain));
    dice.shuffle(kinds);
    const template = kinds.join(" ");
    if (!accepts(template)) continue;
    const start = dice.integer(10, 99);
    const steps = kinds.map((kind) => makeStep(kind, dice));
    if (!sound(start, steps)) continue;

    const thing = dice.pick(things);
    let [who, other] = dice.shuffle([...people]) as [string, string];
    const sentences = [`${who} has ${start} ${thing}.`];
    for (const step of steps) {
      sentences.push(sentence(step, who, other, dice));
      if (handsOver(step.kind)) [who, other] = [other, who];
    }
    sentences.push(`How many ${thing} does ${who} have now?`);
    const answer = steps.reduce((x, s) => apply(s.operator, x, s.operand), start);
    return { question: sentences.join(" "), start, steps, answer, template };
  }
}

/** Which part of the world a template belongs to: 60 % pretraining, 20 % MALT training questions, 20 % test questions. */
export function partOf(template: string): "pretrain" | "train" | "test" {
  const bucket = (createHash("sha256").update(template).digest()[0] as number) / 256;
  return bucket < 0.6 ? "pretrain" : bucket < 0.8 ? "train" : "test";
}
