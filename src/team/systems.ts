/**
 * Inference with a team, as data: which roles speak in which order, with which adapters, how often, and how the answers
 * are voted (paper, Section 4.1; three passes and a vote, Section 5.1). Pure; evaluate.ts samples and grades. What it
 * leaves out: debate, whose agents read each other (debate.ts).
 */
import { InputError } from "../errors.js";
import type { Role } from "../types.js";
import { maltRoles } from "./prompts.js";

/** A way to answer a question that can be compared with others. */
export interface System {
  /** As in evaluation.parquet: `SA`, `MA+MV`, `STaR MA`, `MALT`, … */
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
  /** Du et al. 2023: the `votes` agents answer, then read each other's answers and answer again, `rounds` times in all. */
  debate?: { rounds: number };
}

/** Stage names of trained adapters by role: the adapters a team speaks with. */
export type Team = Readonly<Record<string, string>>;

/**
 * The teams: untrained; supervised on the positives, once (SFT) and for as much compute as MALT (STaR; train/plan.ts says
 * why there are both); and MALT.
 */
export const teams = {
  base: {},
  sft: { generator: "generator-sft", verifier: "verifier-sft", refiner: "refiner-sft" },
  star: { generator: "generator-sft", verifier: "verifier-star", refiner: "refiner-star" },
  malt: { generator: "generator-sft", verifier: "verifier-dpo", refiner: "refiner-dpo" },
} as const satisfies Record<string, Team>;

const [generator, verifier, refiner] = maltRoles() as [Role, Role, Role];
const single = [generator];
const multi = [generator, verifier, refiner];

/** Votes of the systems marked MV; 3 in the paper (Section 5.1). */
export const majority = 3;

const four = (prefix: string, adapters: Team): System[] => [
  { name: `${prefix}SA`, roles: single, adapters, votes: 1 },
  { name: `${prefix}SA+MV`, roles: single, adapters, votes: majority },
  { name: `${prefix}MA`, roles: multi, adapters, votes: 1 },
  { name: `${prefix}MA+MV`, roles: multi, adapters, votes: majority },
];

/** Table 1: single and multi agent, with and without a vote, untrained and STaR, and MALT. */
export const mainSystems: readonly System[] = [
  ...four("", teams.base),
  ...four("STaR ", teams.star),
  { name: "MALT w/o MV", roles: multi, adapters: teams.malt, votes: 1 },
  { name: "MALT", roles: multi, adapters: teams.malt, votes: majority },
];

/** Table 2: three agents, three rounds, and a vote at the end (Du et al. 2023), all untrained. */
export const debateSystem: System = { name: "debate", roles: single, adapters: {}, votes: 3, debate: { rounds: 3 } };

/** Table 4: MALT with one of its roles untrained, and beyond it with two; `mix G` has the generator alone trained. */
export const mixSystems: readonly System[] = ["GV", "GR", "VR", "G", "V", "R"].map((trained) => ({
  name: `mix ${trained}`,
  roles: multi,
  adapters: Object.fromEntries(Object.entries(teams.malt).filter(([role]) => trained.includes(role[0]!.toUpperCase()))),
  votes: majority,
}));

const alone: Role = { ...refiner, critique: null };

/**
 * Table 5: the trained team without some of its roles. G+R refines under an empty critique, as the paper specifies (A.9);
 * in `told none` the refiner is told in words that there is no critique. `ablation G` is STaR SA+MV and G+V+R is MALT,
 * since MALT's generator is trained by SFT alone.
 */
export const ablationSystems: readonly System[] = [
  { name: "ablation G", roles: single, adapters: teams.malt, votes: majority },
  { name: "ablation G+V", roles: [generator, verifier], adapters: teams.malt, votes: majority },
  { name: "ablation G+R", roles: [generator, alone], adapters: teams.malt, votes: majority },
  {
    name: "ablation G+R (told none)",
    roles: [generator, { ...alone, missingCritique: "told" }],
    adapters: teams.malt,
    votes: majority,
  },
];

/**
 * Extra systems: the plain team of SFT, the simplest reading of the paper's STaR and what DPO starts from; a generator
 * trained by SFT and DPO alone (Appendix A.9), by as much further SFT, and in MALT; and single agents that spend on votes
 * what MALT spends: as many completions (`@9`), or as many tokens.
 */
export const extraSystems: readonly System[] = [
  { name: "SFT MA", roles: multi, adapters: teams.sft, votes: 1 },
  { name: "SFT MA+MV", roles: multi, adapters: teams.sft, votes: majority },
  { name: "generator SFT+DPO", roles: single, adapters: { generator: "generator-dpo" }, votes: 1 },
  { name: "generator STaR", roles: single, adapters: { generator: "generator-star" }, votes: 1 },
  { name: "MALT + G-DPO", roles: multi, adapters: { ...teams.malt, generator: "generator-dpo" }, votes: majority },
  { name: "SA+MV@9", roles: single, adapters: {}, votes: 9 },
  { name: "STaR SA+MV@9", roles: single, adapters: teams.star, votes: 9 },
  { name: "SA+MV equal tokens", roles: single, adapters: {}, votes: 9, tokensOf: "MALT" },
  { name: "STaR SA+MV equal tokens", roles: single, adapters: teams.star, votes: 9, tokensOf: "MALT" },
];

const groups: Record<string, readonly System[]> = {
  main: mainSystems,
  debate: [debateSystem],
  mixes: mixSystems,
  ablations: ablationSystems,
  extra: extraSystems,
};

/** All systems that have a name, in the order of the tables. */
export const allSystems: readonly System[] = Object.values(groups).flat();

/**
 * Systems by name or by group (main, debate, mixes, ablations, extra, all), without repetition.
 * @throws InputError that lists the known ones
 */
export function findSystems(names: readonly string[]): System[] {
  const found = names.flatMap((name) => {
    if (name === "all") return allSystems;
    if (Object.hasOwn(groups, name)) return groups[name]!;
    const system = allSystems.find((s) => s.name === name);
    if (system) return [system];
    const known = [...Object.keys(groups), "all", ...allSystems.map((s) => `"${s.name}"`)].join(", ");
    throw new InputError(`unknown system "${name}"; known: ${known}`);
  });
  return [...new Set(found)];
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
