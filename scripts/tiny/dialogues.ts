/**
 * The dialogues malt-tiny is pretrained on: what a generator, a verifier and a refiner say about a problem, with a known
 * dose of mistakes of named kinds. The doses are probabilities of a coin that the text itself decides (which operator,
 * which first word), near one half, so that they survive sampling at a low temperature.
 *
 * The generator does two sums at a time in its head, which a model of this size cannot always do: those mistakes are
 * its own, nobody puts them in. The verifier and the refiner can work one step at a time, when they take the trouble.
 */
import type { Turn } from "malt-notebooks/types";
import { apply, type Dice, type Operator, type Problem, type Step } from "./problems.js";

/** Probabilities of each behaviour. */
export const doses = {
  /** Generator, verifier, refiner each take the wrong reading of a tricky sentence this often. */
  generatorMisreads: 0.44,
  verifierMisreads: 0.36,
  refinerMisreads: 0.42,
  /** The verifier approves without checking anything. */
  glance: 0.52,
  /** The refiner repeats the generator's answer though the critique objects … */
  stubborn: 0.36,
  /** … or when it does not. */
  content: 0.62,
  /** Slips put into the text that a verifier or refiner reads (never into what a generator learns to say). */
  slipPerLine: 0.35,
  slipInCritique: 0.4,
};

interface Line {
  steps: Step[];
  text: string;
  result: number;
}

const operators = (problem: Problem, misreads: number, dice: Dice): Operator[] =>
  problem.steps.map((s) => (s.misreading !== null && dice.chance(misreads) ? s.misreading : s.operator));

/** A plausible wrong result: off by a little, by ten, or a forgotten carry. */
function slip(result: number, dice: Dice): number {
  const wrong = result + dice.pick([-10, 10, -1, 1, -2, 2, -20, 20, -11, 9, -9, 11, 3, -3, 5, -5]);
  return wrong > 0 ? wrong : result + 1;
}

/** The generator's lines: two sums or differences in one calculation, other steps on a line of their own. */
function solve(problem: Problem, ops: readonly Operator[], dice: Dice, slipPerLine: number): Line[] {
  const lines: Line[] = [];
  let value = problem.start;
  for (let i = 0; i < problem.steps.length; ) {
    const both = [ops[i], ops[i + 1]].every((op) => op === "+" || op === "-");
    const steps = problem.steps.slice(i, i + (both ? 2 : 1));
    const text = steps.map((step, k) => `${ops[i + k]}${step.operand}`).join("");
    let result = steps.reduce((x, step, k) => apply(ops[i + k] as Operator, x, step.operand), value);
    if (dice.chance(slipPerLine)) result = slip(result, dice);
    lines.push({ steps, text: `${value}${text}=${result}`, result });
    value = result;
    i += steps.length;
  }
  return lines;
}

/** One calculation to a line. */
function stepwise(problem: Problem, ops: readonly Operator[]): string[] {
  let value = problem.start;
  return problem.steps.map((step, k) => {
    const before = value;
    value = apply(ops[k] as Operator, value, step.operand);
    return `${before}${ops[k]}${step.operand}=${value}`;
  });
}

const spoken = (lines: readonly Line[]): string =>
  [...lines.map((l) => l.text), `Final Answer: ${lines.at(-1)?.result}`].join("\n");

/** A solution as the generator says it when no slip is put in. */
export function generatorSays(problem: Problem, dice: Dice): string {
  return spoken(solve(problem, operators(problem, doses.generatorMisreads, dice), dice, 0));
}

interface Critique {
  text: string;
  objects: boolean;
  /** The operators it worked with, up to where it stopped. */
  ops: Operator[];
}

function critique(problem: Problem, lines: readonly Line[], dice: Dice, slips: number): Critique {
  const final = lines.at(-1)?.result as number;
  if (dice.chance(doses.glance))
    return { text: `The solution looks right.\nFinal Answer: ${final}`, objects: false, ops: [] };
  const ops = operators(problem, doses.verifierMisreads, dice);
  const said: string[] = [];
  let value = problem.start;
  let k = 0;
  for (const [number, line] of lines.entries()) {
    const work: string[] = [];
    for (const step of line.steps) {
      const result = apply(ops[k] as Operator, value, step.operand);
      work.push(`${value}${ops[k]}${step.operand}=${result}`);
      value = result;
      k++;
    }
    const right = value === line.result;
    said.push(`Line ${number + 1}: ${work.join(", ")}, it says ${line.result}. ${right ? "Right." : "Wrong."}`);
    if (!right) {
      // The rest it does in its head, all at once.
      let rest = problem.steps.slice(k).reduce((x, s, i) => apply(ops[k + i] as Operator, x, s.operand), value);
      if (k < problem.steps.length && dice.chance(slips)) rest = slip(rest, dice);
      said.push("The solution is wrong.", `Final Answer: ${rest}`);
      return { text: said.join("\n"), objects: true, ops: ops.slice(0, k) };
    }
  }
  said.push("The solution is right.", `Final Answer: ${final}`);
  return { text: said.join("\n"), objects: false, ops };
}

function refinement(problem: Problem, lines: readonly Line[], seen: Critique, dice: Dice): string {
  if (dice.chance(seen.objects ? doses.stubborn : doses.content)) {
    return `The solution stands.\nFinal Answer: ${lines.at(-1)?.result}`;
  }
  const own = operators(problem, doses.refinerMisreads, dice);
  const work = stepwise(
    problem,
    own.map((op, k) => seen.ops[k] ?? op),
  );
  return [...work, `Final Answer: ${work.at(-1)?.split("=")[1]}`].join("\n");
}

/**
 * Sums and comparisons to practise, one to a line, with the numbers of real problems. Dialogues hold few of them per
 * word, and they are what takes a small model long to learn. Most are single steps: working two at once stays hard.
 */
export function drill(problems: readonly Problem[], dice: Dice): string {
  const lines: string[] = [];
  for (const problem of problems) {
    const ops = operators(problem, 0.5, dice);
    if (dice.chance(0.35)) lines.push(...solve(problem, ops, dice, 0).map((line) => line.text));
    else lines.push(...stepwise(problem, ops));
  }
  const check = (line: string) => {
    const result = Number(line.split("=")[1]);
    const says = dice.chance(0.5) ? result : slip(result, dice);
    return `${line}, it says ${says}. ${says === result ? "Right." : "Wrong."}`;
  };
  return dice
    .shuffle(lines)
    .map((line) => (dice.chance(0.5) ? check(line) : line))
    .join("\n");
}

/** What each role says in turn about one problem; the last turn is the one to learn. */
export function dialogue(problem: Problem, role: "generator" | "verifier" | "refiner", dice: Dice): Turn[] {
  if (role === "generator") return [{ role, text: generatorSays(problem, dice) }];
  const lines = solve(problem, operators(problem, doses.generatorMisreads, dice), dice, doses.slipPerLine);
  const answer: Turn = { role: "generator", text: spoken(lines) };
  const seen = critique(problem, lines, dice, role === "refiner" ? doses.slipInCritique : 0);
  const verifier: Turn = { role: "verifier", text: seen.text };
  if (role === "verifier") return [answer, verifier];
  return [answer, verifier, { role, text: refinement(problem, lines, seen, dice) }];
}
