/**
 * Samples what one system says about one subset of questions: chains of roles with the tree sampler, debates with their
 * own. What it leaves out: reading and voting (rows.ts).
 */

import { passes, type System } from "../pipeline.js";
import { type SampleTreesOptions, sampleTrees } from "../tree.js";
import type { JournalEntry, PolicyId, Question, Role } from "../types.js";
import { requestsPerDebate, sampleDebates } from "./debate.js";

/** Completions by question id, pass and turn. The turns of a debate's pass are what one agent said, round by round. */
export type Said = Map<string, JournalEntry[][]>;

type Unused =
  | "questions"
  | "total"
  | "concurrency"
  | "roles"
  | "policy"
  | "order"
  | "request"
  | "onProgress"
  | "onCompletions";

export interface SamplePassesOptions extends Omit<SampleTreesOptions, Unused> {
  questions: readonly Question[];
  /** Requests in flight, ≥ 1. */
  concurrency: number;
  /** Told how many more requests have ended. */
  onEnded: (more: number) => void;
}

/**
 * Samples the passes of a system, or finds them in the journal. Questions of which a request failed lack passes or turns.
 * @throws as {@link sampleTrees}
 */
export function samplePasses(
  system: System,
  policy: (role: Role) => PolicyId,
  options: SamplePassesOptions,
): Promise<Said> {
  return system.debate ? debates(system, system.debate.rounds, policy, options) : chains(system, policy, options);
}

async function chains(
  system: System,
  policy: (role: Role) => PolicyId,
  { onEnded, ...talk }: SamplePassesOptions,
): Promise<Said> {
  const empty = () => Array.from({ length: system.votes }, (): JournalEntry[] => []);
  const said: Said = new Map(talk.questions.map(({ id }) => [id, empty()]));
  let before = 0;
  await sampleTrees({
    ...talk,
    roles: passes(system),
    policy,
    // One role at a time: a server that batches only requests of one adapter is much faster that way.
    order: "wide",
    request: "whole",
    onCompletions: (entries, { id }) => {
      for (const entry of entries) {
        const [first, ...rest] = entry.node_id.split(".");
        said.get(id)![Number(first!.slice(1))]![rest.length] = entry;
      }
    },
    onProgress: ({ ok, failed }) => {
      onEnded(ok + failed - before);
      before = ok + failed;
    },
  });
  return said;
}

async function debates(
  system: System,
  rounds: number,
  policy: (role: Role) => PolicyId,
  { onEnded, ...talk }: SamplePassesOptions,
): Promise<Said> {
  const role = system.roles[0]!;
  const onProgress = () => onEnded(1);
  const held = await sampleDebates({ ...talk, policy: policy(role), role, agents: system.votes, rounds, onProgress });
  const byAgent = (all: JournalEntry[][]) => all[0]!.map((_, agent) => all.map((round) => round[agent]!));
  return new Map([...held.debates].map(([id, all]) => [id, byAgent(all)]));
}

/** Counts ended requests over all systems, each asked `questions` questions. */
export function progressOf(
  systems: readonly System[],
  questions: number,
  onProgress: ((done: number, total: number, system: string) => void) | undefined,
) {
  const perQuestion = ({ debate, votes, roles }: System) =>
    debate ? requestsPerDebate(votes, debate.rounds) : 1 + (roles.length - 1) * votes;
  const total = systems.reduce((sum, system) => sum + questions * perQuestion(system), 0);
  let done = 0;
  return (system: System) => (more: number) => {
    done += more;
    onProgress?.(done, total, system.name);
  };
}
