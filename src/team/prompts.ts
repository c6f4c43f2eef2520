/**
 * What a prompt set is, and what each role is sent. Pure: text in, messages out. The sets themselves are in prompt-sets.ts.
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
