/**
 * The dialogues malt-tiny is pretrained on: what a generator, a verifier, a refiner and a debater say about a problem,
 * with known habits and a known rate of misreadings.
 *
 * The generator works a whole problem in one calculation, in its head. A model of this size cannot always do that:
 * those mistakes are its own, not added to the data, and training on its good answers does not remove them. A verifier
 * that checks does the first step and then the rest in its head; a refiner that is given a mistake works step by step.
 * So checking is easier than generating, and correcting with a critique is easier still.
 */
import { debateTurn } from "../../src/evaluate/debate.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, messages } from "../../src/team/prompts.js";
import type { Message, Question, Role, Turn } from "../../src/types.js";
import { apply, type Dice, makeProblem, type Operator, type Problem, partOf } from "./problems.js";
import { answer, approval, checked, comparison, kept, open, reworked } from "./wording.js";

/** Shares of the habits, in tenths (see wording.ts), and probabilities. */
export const doses = {
  /** The verifier approves without checking anything. */
  verifier: { approve: 7, check: 3 },
  /** The refiner repeats the generator's answer although the critique objects … */
  refinerAfterObjection: { keep: 3, rework: 7 },
  /** … or when it does not, or when there is none. */
  refinerOtherwise: { keep: 7, rework: 3 },
  /** A debater keeps its answer, joins the majority of all agents, or works the problem out. */
  debater: { keep: 4, join: 4, rework: 2 },
  /** The generator takes the wrong reading of a tricky sentence this often. */
  generatorMisreads: 0.3,
  /** Slips put into the text that another role reads (never into what a role learns to say). */
  slipInSolution: 0.4,
  slipInCritique: 0.4,
};

/** One example: the messages that are sent, and the completion to learn. */
export interface Example {
  prompt: Message[];
  completion: string;
}

const set = promptSet("arithmetic");
const [generator, verifier, refiner] = maltRoles() as [Role, Role, Role];
const asking = ({ question, answer }: Problem): Question => ({
  ...{ id: "", benchmark: "arithmetic", split: "train", question, choices: null, answer: String(answer) },
});

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
function calculations(problem: Problem, ops: readonly Operator[], ends: readonly number[]): Calculation[] {
  const done: Calculation[] = [];
  for (const [i, end] of ends.entries()) {
    done.push(calculate(problem, ops, done.at(-1)?.result ?? problem.start, ends[i - 1] ?? 0, end));
  }
  return done;
}

const inOne = ({ steps }: Problem) => [steps.length];
const firstThenRest = ({ steps }: Problem) => [1, steps.length];
const stepByStep = ({ steps }: Problem) => steps.map((_, k) => k + 1);
const inPairs = ({ steps }: Problem) => (steps.length > 2 ? [2, steps.length] : [2]);

/** What is worked out in the open, and the answer it comes to. */
interface Work {
  text: string;
  result: number;
}

const shown = ({ text, result }: Calculation): string => `${text}=${result}`;

/** The work of somebody who reads and groups the steps in some way, with a slip in the last result this often. */
function work(problem: Problem, misreads: number, ends: readonly number[], dice: Dice, slips = 0): Work {
  const done = calculations(problem, readings(problem, misreads, dice), ends);
  const last = done.at(-1) as Calculation;
  if (dice.chance(slips)) last.result = slip(last.result, dice);
  return { text: done.map(shown).join(", "), result: last.result };
}

const attempt = (problem: Problem, dice: Dice, slips: number): Work =>
  work(problem, doses.generatorMisreads, inOne(problem), dice, slips);

const saidByGenerator = ({ text, result }: Work, dice: Dice): string =>
  answer(open({ answer: 10 }, dice).opening, text, result, dice);

/** A critique of an answer, and whether it objects. */
function critique(problem: Problem, told: number, dice: Dice, slips: number): { text: string; objects: boolean } {
  const { habit, opening } = open(doses.verifier, dice);
  if (habit === "approve") return { text: approval(opening, told, dice), objects: false };
  const { text, result } = work(problem, 0, firstThenRest(problem), dice, slips);
  return { text: checked(opening, text, told, result, dice), objects: told !== result };
}

function refinement(problem: Problem, told: number, objects: boolean, dice: Dice): string {
  const { habit, opening } = open(objects ? doses.refinerAfterObjection : doses.refinerOtherwise, dice);
  if (habit === "keep") return kept(opening, told, dice);
  const { text, result } = work(problem, 0, objects ? stepByStep(problem) : firstThenRest(problem), dice);
  return reworked(opening, text, result, dice);
}

/** What a debater says, and its answer. */
interface Said {
  text: string;
  value: number;
}

function update(problem: Problem, own: number, others: readonly number[], dice: Dice, slips: number): Said {
  const { habit, opening } = open(doses.debater, dice);
  if (habit === "rework") {
    const { text, result } = work(problem, 0, firstThenRest(problem), dice, slips);
    return { text: reworked(opening, text, result, dice), value: result };
  }
  const value = habit === "join" && others.every((other) => other === others[0]) ? others[0]! : own;
  return { text: kept(opening, value, dice), value };
}

/** What a role says about a problem, after what the others said; `alone` is a refiner without a critic. */
function dialogue(problem: Problem, role: "generator" | "verifier" | "refiner" | "alone", dice: Dice): Example {
  const done = attempt(problem, dice, role === "generator" ? 0 : doses.slipInSolution);
  const turns: Turn[] = [];
  /** Makes the example of a completion, which then is a turn for the next role. */
  const say = (speaker: Role, completion: string): Example => {
    const prompt = messages(set, speaker, asking(problem), turns);
    turns.push({ role: speaker.name, text: completion });
    return { prompt, completion };
  };
  const answered = say(generator, saidByGenerator(done, dice));
  if (role === "generator") return answered;
  if (role === "alone") {
    const uncritical: Role = { ...refiner, critique: null, ...dice.pick([{}, { missingCritique: "told" as const }]) };
    return say(uncritical, refinement(problem, done.result, false, dice));
  }
  const { text, objects } = critique(problem, done.result, dice, role === "verifier" ? 0 : doses.slipInCritique);
  const criticised = say(verifier, text);
  return role === "verifier" ? criticised : say(refiner, refinement(problem, done.result, objects, dice));
}

/** What an agent says in the second or third round of a debate of three. The others often found what it found. */
function debate(problem: Problem, dice: Dice): Example {
  const rounds = dice.pick([2, 3]);
  const first = attempt(problem, dice, doses.slipInSolution);
  const other = () => (dice.chance(0.5) ? first : attempt(problem, dice, doses.slipInSolution));
  let agents: Said[] = [first, other(), other()].map((done) => ({
    text: saidByGenerator(done, dice),
    value: done.result,
  }));
  const prompt = messages(set, generator, asking(problem), []);
  for (let round = 2; round <= rounds; round++) {
    const [own, ...others] = agents.map(({ text }) => text) as [string, ...string[]];
    prompt.push(...debateTurn(own, others));
    const slips = round < rounds ? doses.slipInCritique : 0;
    agents = agents.map(({ value }, i) => {
      const values = agents.flatMap((agent, j) => (j === i ? [] : [agent.value]));
      return update(problem, value, values, dice, slips);
    });
  }
  return { prompt, completion: agents[0]!.text };
}

/**
 * Sums and comparisons to practise, one to a line, with the numbers of real problems. Dialogues hold few of them per
 * word, and a small model takes long to learn them. Few are of more than two steps, so that more at once stay hard.
 */
function drill(problems: readonly Problem[], dice: Dice): Example {
  const lines = problems.flatMap((problem) => {
    const ends = dice.pick([stepByStep, inPairs, firstThenRest])(problem);
    return calculations(problem, readings(problem, 0.5, dice), ends).map((done) => {
      if (dice.chance(0.7)) return shown(done);
      const told = dice.chance(0.5) ? done.result : slip(done.result, dice);
      return comparison(shown(done), told, done.result, dice);
    });
  });
  return { prompt: [{ role: "user", content: "Drill." }], completion: dice.shuffle(lines).join("\n") };
}

/**
 * One example of the corpus. Of 40 dialogues two are debates, one is a refinement without a critique, and the three
 * roles share the others.
 * @param done share of the corpus that is written, from 0 to 1: sums are learned first, so most drills come early
 */
export function example(dice: Dice, done: number): Example {
  const problem = () => makeProblem(dice, (template) => partOf(template) === "pretrain");
  if (dice.chance(0.55 - 0.3 * done)) return drill(Array.from({ length: 5 }, problem), dice);
  const kind = dice.integer(1, 40);
  if (kind <= 2) return debate(problem(), dice);
  return dialogue(problem(), kind === 3 ? "alone" : dice.pick(["generator", "verifier", "refiner"] as const), dice);
}
