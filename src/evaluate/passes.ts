/**
 * Samples what one system says about one subset of questions: chains of roles with the tree sampler, debates with their
 * own. What it leaves out: reading and voting (rows.ts).
 */

import { type SampleTreesOptions, sampleTrees } from "../sample/trees.js";
import { passes, type System } from "../team/systems.js";
import type { JournalEntry, PolicyId, Question, Role } from "../types.js";
import { sampleDebates } from "./debate.js";

/** Completions by question id, pass and turn. The turns of a debate's pass are what one agent said, round by round. */
export type Transcripts = Map<string, JournalEntry[][]>;

type Unused =
  | "questions"
  | "total"
  | "roles"
  | "policy"
  | "order"
  | "request"
  | "again"
  | "onProgress"
  | "onCompletions";

export interface SamplePassesOptions extends Omit<SampleTreesOptions, Unused> {
  questions: readonly Question[];
  /**
   * Called with the number of requests that have ended in this call, and how many of them were sent to the server
   * rather than found in the journal.
   */
  onEnded: (ended: number, asked: number) => void;
}

/**
 * Samples the passes of a system, or finds them in the journal. Questions of which a request failed lack passes or turns.
 * @throws as {@link sampleTrees}
 */
export function samplePasses(
  system: System,
  policy: (role: Role) => PolicyId,
  options: SamplePassesOptions,
): Promise<Transcripts> {
  return system.debate ? debates(system, system.debate.rounds, policy, options) : chains(system, policy, options);
}

/**
 * A system that is to spend another's tokens, with the number of passes that comes nearest to it; any other as it is.
 * Counted are completion tokens, or characters where the server does not count tokens.
 * @param said what the systems have said so far, by name, one item per seed
 */
export function withTokensOf(system: System, said: ReadonlyMap<string, readonly Transcripts[]>): System {
  if (system.tokensOf === undefined) return system;
  const questions = (name: string) => said.get(name)!.flatMap((transcripts) => [...transcripts.values()]);
  const [own, other] = [questions(system.name), questions(system.tokensOf)];
  const isCounted = [...own, ...other].flat(2).every(({ completion_tokens }) => completion_tokens !== null);
  const mean = (all: JournalEntry[][][]) =>
    all.flat(2).reduce((sum, entry) => sum + (isCounted ? entry.completion_tokens! : entry.text.length), 0) /
    all.length;
  const votes = Math.round((system.votes * mean(other)) / mean(own));
  return Number.isFinite(votes) ? { ...system, votes: Math.min(mostVotes, Math.max(1, votes)) } : system;
}

/** Choices of one request that servers take; if an answer is so short that more are needed, the report shows the difference. */
const mostVotes = 128;

async function chains(
  system: System,
  policy: (role: Role) => PolicyId,
  { onEnded, ...talk }: SamplePassesOptions,
): Promise<Transcripts> {
  const empty = () => Array.from({ length: system.votes }, (): JournalEntry[] => []);
  const said: Transcripts = new Map(talk.questions.map(({ id }) => [id, empty()]));
  await sampleTrees({
    ...talk,
    roles: passes(system),
    policy,
    // One role at a time: a server that batches only requests of one adapter is much faster that way.
    order: "wide",
    request: "whole",
    again: "missing",
    onCompletions: (entries, { id }) => {
      for (const entry of entries) {
        const [first, ...rest] = entry.node_id.split(".");
        said.get(id)![Number(first!.slice(1))]![rest.length] = entry;
      }
    },
    onProgress: ({ ok, failed, session }) => onEnded(ok + failed, session.requests + failed),
  });
  return said;
}

async function debates(
  system: System,
  rounds: number,
  policy: (role: Role) => PolicyId,
  { onEnded, ...talk }: SamplePassesOptions,
): Promise<Transcripts> {
  const role = system.roles[0]!;
  const debate = { policy: policy(role), role, agents: system.votes, rounds };
  const held = await sampleDebates({ ...talk, ...debate, onProgress: onEnded });
  const byAgent = (all: JournalEntry[][]) => all[0]!.map((_, agent) => all.map((round) => round[agent]!));
  return new Map([...held.debates].map(([id, all]) => [id, byAgent(all)]));
}

/** How far an evaluation is. */
export interface EvaluationProgress {
  /** Requests that have ended, of those that all systems need; what several systems share counts once. */
  done: number;
  total: number;
  /** Of those done, the ones that this call sent; the others were in the journal. */
  asked: number;
}

/**
 * Counts ended requests over all systems.
 * @param systems in the order they are sampled
 * @param questions of each system, over all seeds
 * @returns begins the next `size` questions of a system, and gives what to call as their requests end
 */
export function progressOf(
  systems: readonly System[],
  questions: number,
  onProgress: ((progress: EvaluationProgress) => void) | undefined,
) {
  const known = new Set<string>();
  const shares = new Map(
    systems.map((system) => {
      const states = statesOf(system);
      const shared = states.filter((state) => known.has(state)).length;
      for (const state of states) known.add(state);
      return [system, { shared, own: states.length - shared }];
    }),
  );
  const total = questions * known.size;
  let [before, askedBefore] = [0, 0];
  return (system: System, size: number) => {
    const { shared, own } = shares.get(system)!;
    const [base, askedBase] = [before, askedBefore];
    before += own * size;
    return (ended: number, asked: number) => {
      askedBefore = askedBase + asked;
      // Shared requests are already in the journal, so they are counted first.
      onProgress?.({ done: base + Math.max(0, ended - shared * size), total, asked: askedBefore });
    };
  };
}

/** A name for each request of a question, the same where two systems ask the same. */
function statesOf({ roles, adapters, votes, debate, model }: System): string[] {
  const speakers = roles.map(({ branching: _, ...role }) =>
    JSON.stringify([role, model ?? null, adapters[role.name] ?? null]),
  );
  const passes = Array.from({ length: votes }, (_, i) => i);
  const later = (names: readonly string[]) =>
    names.flatMap((_, depth) => passes.map((pass) => `${pass} ${names.slice(0, depth + 1)}`));
  const rounds = Array.from({ length: (debate?.rounds ?? 1) - 1 }, (_, i) => `debate of ${votes}, ${i}`);
  const [first, ...rest] = speakers;
  return [first!, ...later([...rest, ...rounds]).map((state) => `${first} ${state}`)];
}
