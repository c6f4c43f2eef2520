/**
 * A prompt set as a user writes it in a JSON or YAML file: what it may hold, and what would be sent wrongly. Pure; the
 * command line reads the file.
 */
import * as z from "zod";
import { InputError } from "../errors.js";
import type { PromptSet, Template } from "./prompts.js";

/** The placeholders that each template must have; it may have no others. */
const needed: Readonly<Record<Template, readonly string[]>> = {
  generator: ["question"],
  verifier: ["question", "answer"],
  refiner: ["question", "answer", "critique"],
};

// `\boxed{X}`, `\frac{a}{b}` and `x^{ab}` are LaTeX. A placeholder's name in a command would be replaced all the same.
const word = /(\\[A-Za-z]+(?:\{[^{}]*\})*|[\^_])?\{([A-Za-z]\w*)\}/g;

/** The words in braces of a text, each with the LaTeX before it. */
const inBraces = (text: string) =>
  [...text.matchAll(word)].map(([found, before = "", name]) => ({ found, before, name: name! }));

const template = (role: Template) =>
  z.string().superRefine((text, context) => {
    const wrong = (message: string) => context.addIssue({ code: "custom", message });
    const own = needed[role];
    const list = own.map((name) => `{${name}}`).join(", ");
    const words = inBraces(text);
    for (const { found, before, name } of words) {
      const isKnown = needed.refiner.includes(name);
      if (isKnown && before.startsWith("\\"))
        wrong(`in ${found} the ${name} would be put in; write another word, such as X`);
      else if (isKnown || before === "") {
        if (!own.includes(name)) wrong(`unknown placeholder {${name}}; a ${role} has ${list}`);
      }
    }
    const missing = own.find((name) => !words.some((each) => each.name === name));
    if (missing) wrong(`lacks {${missing}}; a ${role} needs ${list}`);
  });

/** A text that is sent as it is. */
const plain = z.string().superRefine((text, context) => {
  const placeholder = inBraces(text).find(({ name }) => needed.refiner.includes(name));
  if (placeholder)
    context.addIssue({ code: "custom", message: `{${placeholder.name}} is not replaced here; leave it out` });
});

const shape = z.strictObject({
  name: z.string().trim().min(1).optional(),
  system: z
    .union([
      plain,
      z.strictObject({
        generator: plain.default(""),
        verifier: plain.default(""),
        refiner: plain.default(""),
      }),
    ])
    .default(""),
  generator: template("generator"),
  verifier: template("verifier"),
  refiner: template("refiner"),
  emptyCritique: plain.default(""),
});

/**
 * Checks what a file holds.
 * @param content the parsed file
 * @param at the file, for errors
 * @param name the set's name where the file gives none
 * @throws InputError that names the field: a template is missing, lacks a placeholder or has an unknown one
 */
export function parsePromptSet(content: unknown, at: string, name: string): PromptSet {
  const parsed = shape.safeParse(content);
  if (parsed.success) return { ...parsed.data, name: parsed.data.name ?? name };
  const [path, message] = firstIssue(parsed.error.issues[0]!);
  const field = path === "" ? "" : `field "${path}": `;
  const fields = "name, system, generator, verifier, refiner, emptyCritique";
  throw new InputError(`prompt set ${at}: ${field}${message}; a prompt set has the fields ${fields}`);
}

/** Path and words of an issue; of a union those of the branch that fits the value's type. */
export function firstIssue(issue: z.core.$ZodIssue, above: readonly PropertyKey[] = []): [string, string] {
  const path = [...above, ...issue.path];
  if (issue.code !== "invalid_union") return [path.map(String).join("."), issue.message];
  const branches = issue.errors.flatMap(([first]) => first ?? []);
  const fits = branches.find(({ code }) => code !== "invalid_type") ?? branches.find(({ path }) => path.length > 0);
  return fits ? firstIssue(fits, path) : [path.map(String).join("."), "must be a text, or one text for each role"];
}
