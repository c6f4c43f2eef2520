/**
 * Inference with a team, as data: which roles speak in which order, with which adapters, how often, and how the answers
 * are voted (paper, Section 4.1; three passes and a vote, Section 5.1). Every team has the same systems: those of the
 * paper's Tables 1, 4 and 5, and any of them with another number of votes. Pure; evaluate.ts samples and grades. What it
 * leaves out: debate, whose agents read each other (debate.ts).
 */
import { InputError } from "../errors.js";
import type { Role } from "../types.js";
import { maltRoles, placeholder } from "./prompts.js";
import { seenBy, speaksAs } from "./teams.js";

/** A way to answer a question that can be compared with others. */
export interface System {
  /** As in evaluation.parquet: `SA`, `MA+MV`, `STaR MA`, `MALT`, `MALT@9`, … */
  name: string;
  /** The chain of roles of one pass; the last one's answer is the pass's. `branching` is not used. */
  roles: readonly Role[];
  /** Role name → name of its adapter; a role that is not named speaks with the base model. */
  adapters: Readonly<Record<string, string>>;
  /** Independent passes k that are voted on; 1 is no vote. */
  votes: number;
  /**
   * Name of another system of the same evaluation. `votes` is then replaced by the number of passes whose mean tokens come
   * nearest to that system's, as measured (evaluate/passes.ts).
   */
  tokensOf?: string;
  /** Served name of another model that speaks for all roles, without adapters; the run's by default. See {@link comparator}. */
  model?: string;
  /** Du et al. 2023: the `votes` agents answer, then read each other's answers and answer again, `rounds` times in all. */
  debate?: { rounds: number };
}

/** Stage names of trained adapters by role: the adapters a team speaks with. */
type Adapters = Readonly<Record<string, string>>;

/**
 * How a team may have been trained: not at all; supervised on the positives, once (SFT) and for as much compute as MALT
 * (STaR; train/plan.ts says why there are both); and by MALT, whose generators are trained by SFT alone (Section 4.3).
 */
type Training = "base" | "sft" | "star" | "malt";

function adaptersOf(roles: readonly Role[], training: Training): Adapters {
  if (training === "base") return {};
  const last = { sft: "sft", star: "star", malt: "dpo" }[training];
  return Object.fromEntries(
    roles.map((role) => [role.name, `${speaksAs(role)}-${role.template === "generator" ? "sft" : last}`]),
  );
}

/** Votes of the systems marked MV; 3 in the paper (Section 5.1). */
export const majority = 3;

/**
 * Another model that answers alone, once: the row of Llama-3.1-70B-Instruct in the paper's Tables 3 and 6, which says what a
 * larger model does without training.
 */
export const comparator = (model: string, roles: readonly Role[] = maltRoles()): System => ({
  ...{ name: `SA of ${model}`, roles: roles.slice(0, 1), adapters: {}, votes: 1, model },
});

/** Groups of systems by name. */
type Groups = Readonly<Record<"main" | "debate" | "mixes" | "ablations" | "extra", readonly System[]>>;

/**
 * The systems of a team. MA is the team, SA its first role alone; for the paper's team these are the rows of its tables.
 * @param roles in speaking order; by default the paper's three
 */
export function teamSystems(roles: readonly Role[] = maltRoles()): Groups {
  const single = roles.slice(0, 1);
  const [{ name: first, ...leader }] = single as [Role];
  const of = (training: Training) => adaptersOf(roles, training);
  const four = (prefix: string, adapters: Adapters): System[] => [
    { name: `${prefix}SA`, roles: single, adapters, votes: 1 },
    { name: `${prefix}SA+MV`, roles: single, adapters, votes: majority },
    { name: `${prefix}MA`, roles, adapters, votes: 1 },
    { name: `${prefix}MA+MV`, roles, adapters, votes: majority },
  ];
  const speaker = speaksAs({ name: first, ...leader });
  return {
    // Table 1: single and multi agent, with and without a vote, untrained and STaR, and MALT.
    main: [
      ...four("", of("base")),
      ...four("STaR ", of("star")),
      { name: "MALT w/o MV", roles, adapters: of("malt"), votes: 1 },
      { name: "MALT", roles, adapters: of("malt"), votes: majority },
    ],
    // Table 2: three agents, three rounds, and a vote at the end (Du et al. 2023), all untrained.
    debate: [{ name: "debate", roles: single, adapters: {}, votes: 3, debate: { rounds: 3 } }],
    mixes: mixesOf(roles),
    ablations: ablationsOf(roles),
    // The plain team of SFT, the simplest reading of the paper's STaR and what DPO starts from; a generator trained by SFT
    // and DPO alone (Appendix A.9), by as much further SFT, and in MALT; and single agents that spend on votes what MALT
    // spends: as many completions (`@9`), or as many tokens.
    extra: [
      { name: "SFT MA", roles, adapters: of("sft"), votes: 1 },
      { name: "SFT MA+MV", roles, adapters: of("sft"), votes: majority },
      { name: `${first} SFT+DPO`, roles: single, adapters: { [first]: `${speaker}-dpo` }, votes: 1 },
      { name: `${first} STaR`, roles: single, adapters: { [first]: `${speaker}-star` }, votes: 1 },
      { name: "MALT + G-DPO", roles, adapters: { ...of("malt"), [first]: `${speaker}-dpo` }, votes: majority },
      { name: "SA+MV@9", roles: single, adapters: {}, votes: 9 },
      { name: "STaR SA+MV@9", roles: single, adapters: of("star"), votes: 9 },
      { name: "SA+MV equal tokens", roles: single, adapters: {}, votes: 9, tokensOf: "MALT" },
      { name: "STaR SA+MV equal tokens", roles: single, adapters: of("star"), votes: 9, tokensOf: "MALT" },
    ],
  };
}

/**
 * Roles by a letter, and the number at the end of their names: `G`, `V`, `R`, `V2`. Where two roles would have the same, by
 * their names.
 * @returns joins those of some roles to one word
 */
function lettersOf(roles: readonly Role[]): (some: readonly Role[]) => string {
  const letter = ({ name }: Role) => name[0]!.toUpperCase() + (/-(\d+)$/.exec(name)?.[1] ?? "");
  const isUnique = new Set(roles.map(letter)).size === roles.length;
  return (some) => (isUnique ? some.map(letter).join("") : some.map(({ name }) => name).join(","));
}

/** A mix: MALT's adapters for some of the roles, the others untrained. */
function mix(roles: readonly Role[], trained: readonly Role[]): System {
  const all = adaptersOf(roles, "malt");
  const adapters = Object.fromEntries(trained.map(({ name }) => [name, all[name]!]));
  return { name: `mix ${lettersOf(roles)(trained)}`, roles, adapters, votes: majority };
}

/** Table 4: MALT with one of its roles untrained, and beyond it with all but one; `mix G` has the generator alone trained. */
function mixesOf(roles: readonly Role[]): System[] {
  const without = roles.map((role) => roles.filter((other) => other !== role)).reverse();
  const alone = roles.map((role) => [role]);
  const mixes = [...without, ...alone]
    .filter(({ length }) => length > 0 && length < roles.length)
    .map((trained) => mix(roles, trained));
  return mixes.filter(({ name }, i) => mixes.findIndex((other) => other.name === name) === i);
}

/**
 * Table 5: the trained team without some of its roles: its beginnings, and without a critic in its middle. G+R refines under
 * an empty critique, as the paper specifies (A.9); in `told none` the refiner is told in words that there is no critique.
 * `ablation G` is STaR SA+MV and G+V+R is MALT, since MALT's generator is trained by SFT alone.
 */
function ablationsOf(roles: readonly Role[]): System[] {
  const letters = lettersOf(roles);
  const named = (some: readonly Role[], more = "") =>
    `ablation ${some.map((role) => letters([role])).join("+")}${more}`;
  const system = (name: string, some: readonly Role[]): System => ({
    ...{ name, roles: some, adapters: adaptersOf(roles, "malt"), votes: majority },
  });
  const beginnings = roles.slice(1).map((_, i) => roles.slice(0, i + 1));
  const skipped = roles.slice(1, -1).flatMap((critic) => {
    const rest = withoutCritic(roles, critic.name);
    if (!rest) return [];
    const hasNone = (role: Role) => role.critique === null && !roles.includes(role);
    const told = rest.map((role) => (hasNone(role) ? { ...role, missingCritique: "told" as const } : role));
    return [system(named(rest), rest), ...(rest.some(hasNone) ? [system(named(rest, " (told none)"), told)] : [])];
  });
  return [...beginnings.map((some) => system(named(some), some)), ...skipped];
}

/** A team without one critic; null if somebody needs it for more than its critique. */
function withoutCritic(roles: readonly Role[], critic: string): Role[] | null {
  const others = roles.filter(({ name }) => name !== critic);
  const isNeeded = others.some(
    ({ answer, prompt = "" }) =>
      answer === critic || [...prompt.matchAll(placeholder)].some(([, before, name]) => !before && name === critic),
  );
  if (isNeeded || !others.some((role) => seenBy(role, roles).includes(critic))) return null;
  return others.map((role) => {
    const critiques = [role.critique].flat().filter((name) => name !== null);
    if (!critiques.includes(critic)) return role;
    const left = critiques.filter((name) => name !== critic);
    const { critiqueShown, ...rest } = role;
    if (left.length === 0) return { ...rest, critique: null };
    return { ...role, critique: left.length === 1 ? left[0]! : left };
  });
}

const paper = teamSystems();
export const mainSystems: readonly System[] = paper.main;
export const debateSystem: System = paper.debate[0]!;
export const mixSystems: readonly System[] = paper.mixes;
export const ablationSystems: readonly System[] = paper.ablations;

/** All systems of the paper's team that have a name, in the order of the tables. */
export const allSystems: readonly System[] = Object.values(paper).flat();

/** A name without its number of votes and its budget: `MALT` of `MALT@9`, `MA` of `MA equal tokens to MALT@9`. */
export const plainName = (name: string): string => name.replace(/@\d+$| equal tokens(?: to .+)?$/, "");

/**
 * Systems by name or by group (main, debate, mixes, ablations, extra, all), without repetition. Any system may have another
 * number of votes, `MALT@9`, or as many as come nearest to the tokens of MALT, `STaR MA equal tokens`, or of another one,
 * `SA equal tokens to MALT@9`. `mix GV` may have any of the team's letters.
 * @param roles of the team; by default the paper's three
 * @throws InputError that lists the known ones
 */
export function findSystems(names: readonly string[], roles?: readonly Role[]): System[] {
  const groups = roles ? teamSystems(roles) : paper;
  const all = Object.values(groups).flat();
  const team = roles ?? maltRoles();
  const known = () => [...Object.keys(groups), "all", ...all.map((s) => `"${s.name}"`)].join(", ");
  const named = (name: string): System | undefined => all.find((s) => s.name === name) ?? anyMix(name, team);
  const found = names.flatMap((name) => {
    if (name === "all") return all;
    if (Object.hasOwn(groups, name)) return groups[name as keyof Groups];
    const system = named(name) ?? withVotes(name, named);
    if (system) return [system];
    throw new InputError(`unknown system "${name}"; known: ${known()}; any with other votes, such as "MALT@9"`);
  });
  return found.filter((system, i) => found.findIndex(({ name }) => name === system.name) === i);
}

/** `mix GR`, whichever letters of the team there are, in speaking order. */
function anyMix(name: string, roles: readonly Role[]): System | undefined {
  const letters = lettersOf(roles);
  // Each subset of the roles as the bits of a number; not all of them, and at least one.
  for (let bits = 1; bits < 2 ** roles.length - 1; bits++) {
    const some = roles.filter((_, i) => (bits >> i) & 1);
    if (name === `mix ${letters(some)}`) return mix(roles, some);
  }
  return undefined;
}

/** `MALT@9`, `SA equal tokens`, `SA equal tokens to MALT@9`. */
function withVotes(name: string, named: (name: string) => System | undefined): System | undefined {
  const system = named(plainName(name));
  if (!system || system.tokensOf !== undefined) return undefined;
  const votes = Number(/@([1-9]\d{0,3})$/.exec(name)?.[1]);
  const equal = / equal tokens(?: to (.+))?$/.exec(name);
  if (equal) return { ...system, name, votes: majority, tokensOf: equal[1] ?? "MALT" };
  return votes > 0 ? { ...system, name, votes } : undefined;
}

/** The roles of k independent passes as a tree: k answers, then one critique and one refinement of each. */
export function passes(system: System): Role[] {
  if (!Number.isInteger(system.votes) || system.votes < 1)
    throw new InputError(`votes of system "${system.name}" must be an integer ≥ 1, not ${system.votes}`);
  return system.roles.map((role, depth) => ({ ...role, branching: depth === 0 ? system.votes : 1 }));
}

/** The adapters that systems need, each once. */
export function neededAdapters(systems: readonly System[]): string[] {
  const names = systems.flatMap(({ roles, adapters }) => roles.flatMap(({ name }) => adapters[name] ?? []));
  return [...new Set(names)].sort();
}
