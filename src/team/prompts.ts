/**
 * The prompt of each role, one prompt set per benchmark. Zero-shot chain of thought that ends in `Final Answer: X`
 * (paper, Section 5 and Appendix A.4); the wording is this project's own. Pure: text in, messages out.
 *
 * Untrusted text is put in by a single pass over the template, so a question that contains `{answer}` stays text.
 */
import { createHash } from "node:crypto";
import { InputError } from "../errors.js";
import { sorted } from "../json.js";
import type { Message, Question, Role, Turn } from "../types.js";

/** The name of a template: the role that it makes of a model. */
export type Template = Role["template"];

/** The texts of the three roles. Placeholders of the templates: {question}, {answer}, {critique}. */
export interface PromptSet {
  name: string;
  /** The system message of each role (Appendix A.4), or one for all; empty means none. It has no placeholders. */
  system: string | Readonly<Record<Template, string>>;
  generator: string;
  verifier: string;
  refiner: string;
  /**
   * What a role without a critic is told in place of a critique, if it is told so (`missingCritique` of the role). By
   * default it reads an empty one, and this text is not used.
   */
  emptyCritique: string;
  /** How the system text is sent; `separate` by default. */
  systemMessage?: SystemMessage;
}

/** Ways to send the system text: as a message of its own, or before the text of the user message. */
export const systemMessages = ["separate", "merged"] as const;
export type SystemMessage = (typeof systemMessages)[number];

/**
 * A prompt set whose system text is sent in this way. Some chat templates (Gemma's, early Mistral's) take no system
 * message. It is never changed silently, because other messages are another run.
 */
export const withSystemMessage = (set: PromptSet, how: SystemMessage = "separate"): PromptSet =>
  how === "merged" ? { ...set, systemMessage: how } : set;

const number: PromptSet = {
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

/**
 * SHA-256 of every word of a prompt set, whatever the order of its fields; recorded in run.json beside the set, so that a
 * changed prompt counts as a new run.
 */
export function promptSetHash(set: PromptSet): string {
  return createHash("sha256").update(JSON.stringify(set, sorted)).digest("hex");
}

/** The system message that a role is sent; empty for none. */
export function systemText({ system }: PromptSet, role: Pick<Role, "template" | "system">): string {
  return role.system ?? (typeof system === "string" ? system : system[role.template]);
}

/** The question as a role reads it: its text, and its options as "A) …" lines where it has any. */
export function questionText(question: Question): string {
  const options = question.choices?.map((text, i) => `${String.fromCharCode(65 + i)}) ${text}`) ?? [];
  return [question.question, ...options].join("\n");
}

/**
 * Renders what `role` sees (paper, Section 4.1): the question, and the outputs of the earlier roles it names.
 * @param turns the turns on the path so far, oldest first
 * @throws InputError if a role it names has not spoken
 */
export function messages(set: PromptSet, role: Role, question: Question, turns: readonly Turn[]): Message[] {
  const said = (name: string): string => {
    const turn = turns.findLast((t) => t.role === name);
    if (!turn) throw new InputError(`role "${role.name}" sees role "${name}", which has not spoken; reorder the roles`);
    return turn.text;
  };
  const noCritique = role.missingCritique === "told" ? set.emptyCritique : "";
  const shown = (critic: string) => (role.critiqueShown === "verdict" ? lastLine(said(critic)) : said(critic));
  const values: Record<string, string> = {
    question: questionText(question),
    answer: role.answer === null ? "" : said(role.answer),
    critique: role.critique === null ? noCritique : together([role.critique].flat().map(shown)),
  };
  const content =
    role.prompt === undefined
      ? set[role.template].replace(/\{(question|answer|critique)\}/g, (_, key: string) => values[key] ?? "")
      : role.prompt.replace(placeholder, (found, before = "", name: string) =>
          before === "" ? (values[name] ?? said(name)) : found,
        );
  const user: Message = { role: "user", content };
  const system = systemText(set, role);
  if (system === "") return [user];
  if (set.systemMessage === "merged") return [{ role: "user", content: `${system}\n\n${content}` }];
  return [{ role: "system", content: system }, user];
}

/** A word in braces, with the LaTeX before it if there is any: `\\boxed{X}`, `\\frac{a}{b}` and `x^{ab}` are no placeholders. */
export const placeholder = /(\\[A-Za-z]+(?:\{[^{}]*\})*|[\^_])?\{([A-Za-z][\w-]*)\}/g;

/** Several critiques as one text; one alone stays as it is. */
const together = (critiques: readonly string[]): string =>
  critiques.length === 1 ? critiques[0]! : critiques.map((text, i) => `Critique ${i + 1}:\n${text}`).join("\n\n");

/** The last line of a text that is not empty. */
const lastLine = (text: string): string =>
  text
    .split("\n")
    .findLast((line) => line.trim() !== "")
    ?.trim() ?? "";

/** The paper's team: generator, verifier, refiner, each with branching factor n (Section 4.2). */
export function maltRoles(n = 3): Role[] {
  return [
    { name: "generator", template: "generator", answer: null, critique: null, branching: n },
    { name: "verifier", template: "verifier", answer: "generator", critique: null, branching: n },
    { name: "refiner", template: "refiner", answer: "generator", critique: "verifier", branching: n },
  ];
}
