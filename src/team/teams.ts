/**
 * Teams as data: which roles speak, in which order, and who sees whom (paper, Section 4.1 and the levers of A.8). The
 * built-in ones, and the checks of one that a user writes in a JSON or YAML file. Pure; the command line reads the file.
 */
import * as z from "zod";
import { InputError } from "../errors.js";
import type { Role } from "../types.js";
import { firstIssue } from "./prompt-file.js";
import { maltRoles, placeholder } from "./prompts.js";

/** A team under a name. */
export interface Team {
  name: string;
  roles: readonly Role[];
}

const [generator, verifier, refiner] = maltRoles() as [Role, Role, Role];

/**
 * The teams that have a name.
 * - `malt`: the paper's.
 * - `two-rounds`: the refinement is criticised and refined once more, by the same verifier and refiner.
 * - `verdict-only`: the refiner is told which answer the verifier believes is right, and not why.
 * - `two-verifiers`: two critics who do not see each other; the refiner reads both.
 * - `judge`: whoever speaks last sees the first and the refined solution, not the critique, and decides.
 */
const builtIn: Readonly<Record<string, readonly Role[]>> = {
  malt: [generator, verifier, refiner],
  "two-rounds": [
    ...[generator, verifier, refiner],
    { ...verifier, name: "verifier-2", answer: "refiner", adapter: "verifier" },
    { ...refiner, name: "refiner-2", answer: "refiner", critique: "verifier-2", adapter: "refiner" },
  ],
  "verdict-only": [generator, verifier, { ...refiner, critiqueShown: "verdict" }],
  "two-verifiers": [
    ...[generator, verifier, { ...verifier, name: "verifier-2" }],
    { ...refiner, critique: ["verifier", "verifier-2"] },
  ],
  judge: [
    ...[generator, verifier, refiner],
    {
      ...{ name: "judge", template: "refiner", answer: null, critique: null, branching: 3 },
      prompt:
        "Decide which of two solutions is right, and solve the problem if neither is. End with Final Answer: X, in the form " +
        "that the solutions use.\nProblem: {question}\nFirst solution:\n{generator}\nSecond solution:\n{refiner}",
    },
  ],
};

/** Names of the built-in teams. */
export const teamNames: readonly string[] = Object.keys(builtIn);

/**
 * A built-in team: `malt`, `two-rounds`, `verdict-only`, `two-verifiers` or `judge`.
 * @param n children per state, of every role; 3 in the paper
 * @throws InputError that lists the known ones
 */
export function findTeam(name: string, n = 3): Team {
  const roles = Object.hasOwn(builtIn, name) ? builtIn[name]! : undefined;
  if (!roles) throw new InputError(`unknown team "${name}"; known: ${teamNames.join(", ")}`);
  return { name, roles: roles.map((role) => ({ ...role, branching: n })) };
}

/** The roles whose outputs a role is shown, in speaking order of `roles`. */
export function seenBy(role: Role, roles: readonly Role[]): string[] {
  const named = [...(role.prompt ?? "").matchAll(placeholder)].map(([, before, name]) => (before ? "" : name));
  const seen = new Set([role.answer, ...[role.critique].flat(), ...named]);
  return roles.map(({ name }) => name).filter((name) => seen.has(name));
}

/** The name that the adapter, the training files and the stages of a role have: its own, or that of the role it speaks as. */
export const speaksAs = ({ name, adapter }: Pick<Role, "name" | "adapter">): string => adapter ?? name;

const templates = ["generator", "verifier", "refiner"] as const;
const reserved = ["question", "answer", "critique"];

const roleName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'must be 1 to 32 of a-z, 0-9 and "-", a letter first')
  .refine((name) => !reserved.includes(name), "is the name of a placeholder; choose another");

const roleShape = z.strictObject({
  name: roleName,
  template: z.enum(templates).optional(),
  answer: z.string().nullable().default(null),
  critique: z
    .union([z.string(), z.array(z.string()).min(1)])
    .nullable()
    .default(null),
  missingCritique: z.enum(["empty", "told"]).optional(),
  critiqueShown: z.enum(["whole", "verdict"]).optional(),
  prompt: z.string().optional(),
  system: z.string().optional(),
  adapter: z.string().optional(),
  branching: z.number().int().min(1).max(1000).optional(),
});

const shape = z.strictObject({
  name: z.string().trim().min(1).optional(),
  roles: z.array(roleShape).min(1, "a team needs at least one role").max(12, "at most 12 roles"),
});

/**
 * Checks what a file holds: `{ name, roles: [{ name, template, answer, critique, … }] }`, the fields of a {@link Role}. What a
 * role does not say has a default: its template by its name (`verifier-2` is a verifier), nothing seen, n children per state.
 * @param content the parsed file
 * @param at the file, for errors
 * @param name the team's name where the file gives none
 * @param n children per state of the roles that do not say
 * @throws InputError that names the role, what is wrong with it and what to write
 */
export function parseTeam(content: unknown, at: string, name: string, n = 3): Team {
  const parsed = shape.safeParse(content);
  if (!parsed.success) {
    const [path, message] = firstIssue(parsed.error.issues[0]!);
    throw new InputError(
      `team ${at}: ${path === "" ? "" : `field "${path}": `}${message}; a team has a name and roles, and a role the fields ` +
        Object.keys(roleShape.shape).join(", "),
    );
  }
  const roles: Role[] = [];
  for (const given of parsed.data.roles) {
    const wrong = (message: string): never => {
      throw new InputError(`team ${at}: role "${given.name}" ${message}`);
    };
    const template =
      given.template ?? templates.find((each) => given.name === each || given.name.startsWith(`${each}-`));
    if (!template) return wrong(`has no template; choose one of: ${templates.join(", ")}`);
    const role: Role = { ...given, template, branching: given.branching ?? n };
    checkRole(role, roles, wrong);
    roles.push(role);
  }
  return { name: parsed.data.name ?? name, roles };
}

/** Calls `wrong` if a role cannot speak after the roles before it. */
function checkRole(role: Role, before: readonly Role[], wrong: (message: string) => never): void {
  const earlier = before.map(({ name }) => name);
  const list = earlier.join(", ") || "nobody";
  if (earlier.includes(role.name)) wrong("is there twice; names must be unique");
  const seen = [role.answer, ...[role.critique].flat()].filter((name) => name !== null);
  const unknown = seen.find((name) => !earlier.includes(name));
  if (unknown !== undefined) wrong(`sees "${unknown}", which does not speak before it; before it speaks: ${list}`);
  if (new Set([role.critique].flat()).size < [role.critique].flat().length) wrong("sees one critique twice");
  if (role.prompt === undefined) {
    if (role.template === "generator" && seen.length > 0)
      wrong(`sees "${seen[0]}", but the generator's prompt has no place for it; give it a prompt of its own`);
    if (role.template === "verifier" && role.critique !== null)
      wrong("sees a critique, but the verifier's prompt has no place for it; give it a prompt of its own");
    if (role.template !== "generator" && role.answer === null)
      wrong(`is a ${role.template} and sees no answer; write answer: and the name of an earlier role (${list})`);
  } else checkPrompt(role, earlier, wrong);
  if (role.critique === null && role.critiqueShown !== undefined) wrong("sees no critique; leave critiqueShown out");
  if (role.critique !== null && role.missingCritique !== undefined) wrong("sees a critique; leave missingCritique out");
  if (role.adapter === undefined) return;
  const other = before.find(({ name }) => name === role.adapter);
  if (!other) wrong(`has the adapter of "${role.adapter}", which does not speak before it; before it speaks: ${list}`);
  else if (other.adapter !== undefined)
    wrong(`has the adapter of "${other.name}", which has that of "${other.adapter}"; name that`);
  else if (other.template !== role.template)
    wrong(`has the adapter of "${other.name}", a ${other.template}, and is itself a ${role.template}`);
}

function checkPrompt(role: Role, earlier: readonly string[], wrong: (message: string) => never): void {
  const words = [...role.prompt!.matchAll(placeholder)].flatMap(([, before, name]) => (before ? [] : [name!]));
  const known = ["question", ...(role.answer ? ["answer"] : []), ...(role.critique ? ["critique"] : []), ...earlier];
  const unknown = words.find((word) => !known.includes(word));
  const list = known.map((word) => `{${word}}`).join(", ");
  if (unknown !== undefined) wrong(`has {${unknown}} in its prompt, which nothing is put in for; known here: ${list}`);
  // Training checks that every prompt is about a question of the run.
  if (!words.includes("question")) wrong("has a prompt without {question}; every role is shown the question");
  const unused = [role.answer && "answer", role.critique && "critique"].find((word) => word && !words.includes(word));
  if (unused) wrong(`sees ${unused === "answer" ? "an answer" : "a critique"}, but its prompt lacks {${unused}}`);
}
