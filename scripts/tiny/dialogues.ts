/**
 * The dialogues malt-tiny is pretrained on: what a generator, a verifier and a refiner say about a problem, with a known
 * rate of mistakes of named kinds. Each rate is the probability of one choice in the text (which operator, which first
 * word). The rates are near one half, so that they survive sampling at a low temperature.
 *
 * The generator works a whole problem in one calculation, in its head. A model of this size cannot always do that:
 * those mistakes are its own, not added to the data, and training on its good answers does not remove them. A verifier
 * that checks does the first step and then the rest in its head; a refiner that is given a mistake works step by step.
 * So checking is easier than generating, and correcting with a critique is easier still.
 */
import type { Turn } from "../../src/types.js";
import { apply, type Dice, type Operator, type Problem } from "./problems.js";

/** Probabilities of each behaviour. */
export const doses = {
  /** The generator takes the wrong reading of a tricky sentence this often. */
  generatorMisreads: 0.3,
  /** The verifier approves without checking anything. */
  glance: 0.6,
  /** The refiner repeats the generator's answer although the critique objects … */
  stubborn: 0.36,
  /** … or when it does not. */
  content: 0.58,
  /** Slips put into the text that a verifier or refiner reads (never into what a role learns to say). */
  slipInSolution: 0.4,
  slipInCritique: 0.4,
};

const readings = (problem: Problem, misreads: number, dice: Dice): Operator[] =>
  problem.steps.map((s) => (s.misreading !== null && dice.chance(misreads) ? s.misreading : s.operator));

/** A plausible wrong result: off by a little, by ten, or a forgotten carry. */
function slip(result: number, dice: Dice): number {
  const wrong = result + dice.pick([-10, 10, -1, 1, -2, 2, -20, 20, -11, 9, -9, 11, 3, -3, 5, -5]);
  return wrong > 0 ? wrong : result + 1;
}

/** A calculation, as `text` without its result: `(18+3)*2-5`. */
interface Calculation {
  text: string;
  result: number;
}

/** Steps `from` up to `to` in one calculation that starts at `value`. */
function calculate(problem: Problem, ops: readonly Operator[], value: number, from: number, to: number): Calculation {
  let [text, result, ends] = [String(value), value, "*"];
  for (let k = from; k < to; k++) {
    const [op, { operand }] = [ops[k] as Operator, problem.steps[k] as Problem["steps"][number]];
    const binds = op === "*" || op === "/";
    text = `${binds && (ends === "+" || ends === "-") ? `(${text})` : text}${op}${operand}`;
    result = apply(op, result, operand);
    ends = op;
  }
  return { text, result };
}

/** The whole problem in calculations that end after the given numbers of steps: `[1, 2, 3]` is step by step. */
function work(problem: Problem, ops: readonly Operator[], ends: readonly number[]): Calculation[] {
  const done: Calculation[] = [];
  for (const [i, end] of ends.entries()) {
    done.push(calculate(problem, ops, done.at(-1)?.result ?? problem.start, ends[i - 1] ?? 0, end));
  }
  return done;
}

const inOne = ({ steps }: Problem) => [steps.length];
const firstThenRest = ({ steps }: Problem) => [1, steps.length];
const stepByStep = ({ steps }: Problem) => steps.map((_, k) => k + 1);

const spoken = (done: readonly Calculation[]): string =>
  [...done.map((c) => `${c.text}=${c.result}`), `Final Answer: ${done.at(-1)?.result}`].join("\n");

/** The work of a role that reads and groups the steps in its way, with a slip in the last result this often. */
function worked(problem: Problem, misreads: number, ends: readonly number[], dice: Dice, slips: number): Calculation[] {
  const done = work(problem, readings(problem, misreads, dice), ends);
  const last = done.at(-1) as Calculation;
  if (dice.chance(slips)) last.result = slip(last.result, dice);
  return done;
}

const solution = (problem: Problem, dice: Dice, slips: number): Calculation[] =>
  worked(problem, doses.generatorMisreads, inOne(problem), dice, slips);

interface Critique {
  text: string;
  objects: boolean;
}

function critique(problem: Problem, says: number, dice: Dice, slips: number): Critique {
  if (dice.chance(doses.glance)) return { text: `The solution looks right.\nFinal Answer: ${says}`, objects: false };
  const done = worked(problem, 0, firstThenRest(problem), dice, slips);
  const own = done.at(-1)?.result;
  const objects = own !== says;
  const shown = done.map((c) => `${c.text}=${c.result}`).join(", ");
  const verdict = `${shown}, it says ${says}. ${objects ? "Wrong." : "Right."}`;
  return { text: `${verdict}\nFinal Answer: ${own}`, objects };
}

function refinement(problem: Problem, says: number, seen: Critique, dice: Dice): string {
  if (dice.chance(seen.objects ? doses.stubborn : doses.content)) {
    return `The solution stands.\nFinal Answer: ${says}`;
  }
  return spoken(worked(problem, 0, seen.objects ? stepByStep(problem) : firstThenRest(problem), dice, 0));
}

/**
 * Sums and comparisons to practise, one to a line, with the numbers of real problems. Dialogues hold few of them per
 * word, and a small model takes long to learn them. Most are single steps: several at once stay hard.
 */
export function drill(problems: readonly Problem[], dice: Dice): string {
  const lines: string[] = [];
  for (const problem of problems) {
    const ends = dice.chance(0.4) ? inOne(problem) : stepByStep(problem);
    lines.push(...work(problem, readings(problem, 0.5, dice), ends).map((c) => `${c.text}=${c.result}`));
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
  const done = solution(problem, dice, role === "generator" ? 0 : doses.slipInSolution);
  const answer: Turn = { role: "generator", text: spoken(done) };
  if (role === "generator") return [answer];
  const says = done.at(-1)?.result as number;
  const seen = critique(problem, says, dice, role === "refiner" ? doses.slipInCritique : 0);
  const verifier: Turn = { role: "verifier", text: seen.text };
  if (role === "verifier") return [answer, verifier];
  return [answer, verifier, { role, text: refinement(problem, says, seen, dice) }];
}
