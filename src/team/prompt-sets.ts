/**
 * The prompt sets: zero-shot chain of thought that ends in `Final Answer: X` (paper, Section 5 and Appendix A.4); the wording is
 * this project's own. Pure.
 */
import { InputError } from "../errors.js";
import type { PromptSet } from "./prompts.js";

const number = {
  name: "gsm8k",
  system: {
    generator: "You are a careful mathematician who solves word problems in small steps and checks every calculation.",
    verifier:
      "You are a strict reviewer of solutions to word problems. You work a problem out yourself before you judge its " +
      "solution, and you approve only what you have checked.",
    refiner:
      "You are an experienced editor of solutions to word problems. You weigh a solution and a critique of it, either " +
      "of which may be wrong, and you keep only what your own calculation confirms.",
  },
  generator:
    "Solve the problem below. Think step by step and show each calculation. " +
    'Finish with one line "Final Answer: X", where X is a single number without units.\n\nProblem: {question}',
  verifier:
    "Below are a problem and a proposed solution. Check the solution step by step: is the problem understood, and is " +
    "each calculation right? Name the first mistake if there is one and say how to correct it. " +
    'Finish with one line "Final Answer: X", where X is the number you believe is right.\n\n' +
    "Problem: {question}\n\nProposed solution:\n{answer}",
  refiner:
    "Below are a problem, a proposed solution and a critique of it. The critique may be wrong: use what is right in " +
    "it, and write an improved solution step by step. " +
    'Finish with one line "Final Answer: X", where X is a single number without units.\n\n' +
    "Problem: {question}\n\nProposed solution:\n{answer}\n\nCritique:\n{critique}",
  emptyCritique: "No critique is available.",
};

/**
 * Prompts in which the verifier solves the problem itself before it compares, and the refiner writes the whole solution again,
 * as Appendix A.4's do: under them an untrained model of 1.5B disagrees with itself, and credit finds something.
 * `data/recorded-prompts` holds what was measured. `short`: in short lines, which costs fewer tokens and, with a small model,
 * many right answers.
 */
const short = {
  system: {
    generator:
      "You are a mathematics tutor. You solve word problems in short lines, one calculation in each, and you name what every number stands for.",
    verifier:
      "You are an examiner of solutions to word problems. You never trust a proposed solution: you solve the problem yourself first, and only then you compare, line by line.",
    refiner:
      "You are the author of the final solution to a word problem. A draft and a review of it are given to you. Either may be wrong, so you calculate everything again and write the whole solution anew.",
  },
  generator: `Problem: {question}

Solve it in short lines:
Given: the quantities of the problem.
Asked: what is to be found.
Steps: numbered lines, one calculation in each.
The last line must be "Final Answer: X", where X is one number without a unit.`,
  verifier: `Problem: {question}

Proposed solution:
{answer}

Review it in two parts, in short lines.
Own work: solve the problem again from its text alone, in numbered lines, one calculation in each. Do not copy the proposed solution.
Comparison: go through the proposed solution. At the first line that disagrees with your own work, say what is wrong and what is right instead. If every line agrees, say so.
`,
  refiner: `Problem: {question}

Draft:
{answer}

Review of the draft:
{critique}

Write the final solution in short lines. Read the problem again, and where draft and review disagree, trust only your own calculation. Write out every step as if the reader had seen neither draft nor review: numbered lines, one calculation in each.
The last line must be "Final Answer: X", where X is one number without a unit.`,
  emptyCritique: "There is no review.",
};

/**
 * Each role is given the form of its text, as Appendix A.4 does: numbered steps and a last line. Without it a small model answers in
 * LaTeX or in a program, at greater length, and often states no answer. `data/recorded-gsm8k` was sampled with it.
 */
const steps: PromptSet = {
  name: "gsm8k-steps",
  system: {
    generator: number.system.generator,
    verifier:
      "You are an examiner of solutions to word problems. You never trust a proposed solution: you solve the problem yourself first, and only then you compare, step by step.",
    refiner: short.system.refiner,
  },
  generator: `Problem: {question}

Solve the problem in this form:
Step 1: ...
Step 2: ...
(as many steps as it needs, one calculation in each, in plain text without LaTeX, with words that say what is calculated)
Final Answer: X
X is a single number without units.`,
  verifier: `Problem: {question}

Proposed solution:
{answer}

Review the proposed solution in this form:
My own solution, from the problem's text alone:
Step 1: ...
Step 2: ...
(as many steps as it needs, one calculation in each, in plain text without LaTeX)
Comparison: the first step of the proposed solution that is wrong, and what is right instead; or that all steps are right.
Final Answer: X
X is the number that your own solution gives.`,
  refiner: `Problem: {question}

Draft:
{answer}

Review of the draft:
{critique}

Draft and review may both be wrong. Solve the problem again in this form:
Step 1: ...
Step 2: ...
(as many steps as it needs, one calculation in each, in plain text without LaTeX, with words that say what is calculated)
Final Answer: X
X is a single number without units.`,
  emptyCritique: "There is no review.",
};

/** The prompt sets by benchmark name. `prompt set` is part of a run's identity: see {@link promptSetHash}. */
export const promptSets: Readonly<Record<string, PromptSet>> = {
  // Short on purpose: the embedded model reads every prompt token on a CPU.
  arithmetic: {
    name: "arithmetic",
    system: "",
    generator: "Solve the problem step by step. End with Final Answer: X.\nProblem: {question}",
    verifier: "Check the solution step by step. End with Final Answer: X.\nProblem: {question}\nSolution:\n{answer}",
    refiner:
      "Improve the solution with the critique. End with Final Answer: X.\nProblem: {question}\nSolution:\n{answer}\n" +
      "Critique:\n{critique}",
    emptyCritique: "None.",
  },
  gsm8k: number,
  "gsm8k-steps": steps,
  "gsm8k-stated": {
    ...{ ...short, name: "gsm8k-stated" },
    verifier: `${short.verifier}The last line must be "Final Answer: X", where X is the number that your own work gives.`,
  },
  // A.4's verifiers state no answer of their own at the end.
  "gsm8k-unstated": {
    ...{ ...short, name: "gsm8k-unstated" },
    verifier: `${short.verifier}The last line must be "Verdict: " and one sentence that tells the author what to correct, or that nothing has to be changed. Do not write a final answer.`,
  },
  gsm_symbolic: { ...number, name: "gsm_symbolic" },
  math: {
    name: "math",
    system: {
      generator: "You are a careful mathematician who solves competition problems and justifies every step.",
      verifier:
        "You are a strict reviewer of mathematical solutions. You look for the first step that does not follow, and " +
        "you approve only what you have derived yourself.",
      refiner:
        "You are an experienced editor of mathematical solutions. You weigh a solution and a critique of it, either of " +
        "which may be wrong, and you keep only the steps that you can justify.",
    },
    generator:
      "Solve the problem below. Think step by step. " +
      'Finish with one line "Final Answer: X", where X is the simplified answer in LaTeX.\n\nProblem: {question}',
    verifier:
      "Below are a problem and a proposed solution. Check the reasoning step by step. Name the first mistake if there " +
      "is one and say how to correct it. " +
      'Finish with one line "Final Answer: X", where X is the answer you believe is right, in LaTeX.\n\n' +
      "Problem: {question}\n\nProposed solution:\n{answer}",
    refiner:
      "Below are a problem, a proposed solution and a critique of it. The critique may be wrong: use what is right in " +
      "it, and write an improved solution step by step. " +
      'Finish with one line "Final Answer: X", where X is the simplified answer in LaTeX.\n\n' +
      "Problem: {question}\n\nProposed solution:\n{answer}\n\nCritique:\n{critique}",
    emptyCritique: "No critique is available.",
  },
  csqa: {
    name: "csqa",
    system: {
      generator: "You answer multiple-choice questions of everyday knowledge, and you consider every option.",
      verifier:
        "You review answers to multiple-choice questions of everyday knowledge. You compare all options yourself before " +
        "you judge the chosen one.",
      refiner:
        "You settle multiple-choice questions of everyday knowledge. You weigh an answer and a critique of it, either of " +
        "which may be wrong, and you decide for the option that fits best.",
    },
    generator:
      "Answer the question below. Think step by step about each option. " +
      'Finish with one line "Final Answer: X", where X is the letter of one option.\n\n{question}',
    verifier:
      "Below are a multiple-choice question and a proposed answer. Check the reasoning and the choice. Say what is " +
      "wrong if anything is. " +
      'Finish with one line "Final Answer: X", where X is the letter you believe is right.\n\n' +
      "{question}\n\nProposed answer:\n{answer}",
    refiner:
      "Below are a multiple-choice question, a proposed answer and a critique of it. The critique may be wrong: use " +
      "what is right in it, and write an improved answer. " +
      'Finish with one line "Final Answer: X", where X is the letter of one option.\n\n' +
      "{question}\n\nProposed answer:\n{answer}\n\nCritique:\n{critique}",
    emptyCritique: "No critique is available.",
  },
};

/** Looks a prompt set up by name. @throws InputError that lists the known names. */
export function promptSet(name: string): PromptSet {
  const set = Object.hasOwn(promptSets, name) ? promptSets[name] : undefined;
  if (!set) throw new InputError(`unknown prompt set "${name}"; known: ${Object.keys(promptSets).join(", ")}`);
  return set;
}
