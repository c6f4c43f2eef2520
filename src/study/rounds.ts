/**
 * Rounds of training in a study: the trees of round r are sampled with the team that round r − 1 has trained. Which runs a cell
 * has then, and with which settings. Pure.
 */
import { createHash } from "node:crypto";
import { InputError } from "../errors.js";
import { sorted } from "../json.js";
import { findSystems, type System } from "../team/systems.js";
import type { Role } from "../types.js";
import { type Axis, type Settings, teamOf } from "./axes.js";

/** A run that a cell needs: one per round, of which the last one is the cell's own. */
export interface PlannedRun {
  run: string;
  /** What was decided for this round. */
  settings: Settings;
  /** Who is sampled. */
  roles: readonly Role[];
}

/** Settings that only a study with rounds can have. */
const ofRounds = ["thresholdRise", "startFrom"];

/** The last round of a cell: 1, unless the study has rounds; 0 for a team that is not trained. */
export const roundOf = ({ round = 1 }: Settings): number => Number(round);

/**
 * The threshold of a round: the first one's, raised by the same step each round (the adaptive θ of Appendix A.6.1: as the policy
 * improves, more is asked of an output that counts as good), and never above 1.
 */
export const thresholdOf = ({ threshold = 0.5, thresholdRise = 0 }: Settings, round: number): number =>
  Math.min(1, Math.round((Number(threshold) + Number(thresholdRise) * (round - 1)) * 1e9) / 1e9);

/** What a system of round 0 is: the same roles and votes, untrained. */
export const untrained = ({ roles, votes }: System, team: readonly Role[]): System =>
  findSystems([`${roles.length === 1 && team.length > 1 ? "SA" : "MA"}@${votes}`], team)[0]!;

/** @throws InputError for settings of rounds where there are none, and for a system that cannot sample its next round */
export function checkRounds(settings: Settings, system: System): void {
  if (!Object.hasOwn(settings, "round")) {
    const stray = ofRounds.find((name) => Object.hasOwn(settings, name));
    if (stray !== undefined) throw new InputError(`${stray} has no effect without rounds; vary round, or fix it`);
    return;
  }
  const { length } = teamOf(settings.team ?? "malt").roles;
  const isPart = system.roles.length > 1 && system.roles.length < length;
  if (!isPart && !system.debate && system.tokensOf === undefined) return;
  throw new InputError(
    `system "${system.name}" cannot be trained in rounds, because its next round would be sampled by ${isPart ? "a part of a team" : "another system"}; ` +
      "choose one of the whole team, or of its first role alone",
  );
}

/**
 * The runs of a cell, first round first. Where there are rounds, a system of the first role alone is sampled alone, so that its
 * outputs are judged by their own answers, as in STaR, and not by what a team makes of them.
 * @param settings everything that was decided
 * @param about what all runs of the study have in common
 */
export function runsOfCell(
  study: string,
  about: readonly unknown[],
  settings: Settings,
  system: System,
  axes: ReadonlyMap<string, Axis>,
): PlannedRun[] {
  const { round: _, thresholdRise, startFrom, ...rest } = settings;
  const team = teamOf(settings.team ?? "malt", Number(settings.branching ?? 3)).roles;
  const isAlone = Object.hasOwn(settings, "round") && system.roles.length === 1 && team.length > 1;
  const roles = isAlone ? team.slice(0, 1) : team;
  const runs: PlannedRun[] = [];
  for (let round = 1; round <= Math.max(1, roundOf(settings)); round++) {
    const own: Settings = {
      ...rest,
      ...(thresholdRise !== undefined && { threshold: thresholdOf(settings, round) }),
      ...(round > 1 && startFrom !== undefined && { startFrom }),
    };
    const before = runs.at(-1);
    const identity = [
      ...[...about, decided(own, axes)],
      ...(isAlone ? [{ roles: roles.map(({ name }) => name) }] : []),
      ...(before ? [{ before: before.run, adapters: system.adapters }] : []),
    ];
    const digest = createHash("sha256").update(JSON.stringify(identity, sorted)).digest("hex");
    runs.push({ run: `${study}.${digest.slice(0, 10)}`, settings: own, roles });
  }
  return runs;
}

/** What is decided before the evaluation and differs from its default. */
const decided = (settings: Settings, axes: ReadonlyMap<string, Axis>): Settings =>
  Object.fromEntries(
    Object.entries(settings).filter(([name, one]) => {
      const { phase, default: byDefault } = axes.get(name)!;
      return phase !== "evaluation" && one !== byDefault;
    }),
  );
