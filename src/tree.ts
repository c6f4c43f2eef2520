/**
 * The sampler: grows one tree per question (paper, Section 4.2). A child state is asked for as soon as its parent is
 * finished, deeper states first, with a fixed number of requests in flight. What it leaves out: HTTP and files, which
 * come in as `complete` and `journal`.
 */
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import PQueue from "p-queue";
import { InputError, ServerError } from "./errors.js";
import type { Journal } from "./journal.js";
import { messages, type PromptSet } from "./prompts.js";
import { patience } from "./tree/patience.js";
import type {
  Complete,
  Completion,
  CompletionRequest,
  JournalEntry,
  PolicyId,
  Question,
  Role,
  Sampling,
  Turn,
} from "./types.js";

/** What has become of the requests of a run. Always asked = ok + failed + pending. */
export interface Counts {
  /** Requests the full trees need, one per state. */
  asked: number;
  /** Requests whose n completions are all in the journal. */
  ok: number;
  /** Requests that ended in an error, in this session; the next one asks them again. */
  failed: number;
  /** Requests not ended yet: not reached, cut off, or below a failed one. */
  pending: number;
  /** Completions in the journal. */
  completions: number;
  /** Completions that reached max_tokens (finish_reason "length"). They are results. */
  truncated: number;
  /** Attempts that failed before a request succeeded. */
  retries: number;
  /** Tokens of all completions whose tokens the server counted. */
  completion_tokens: number;
}

export interface SampleTreesOptions {
  questions: readonly Question[];
  /** Depth d of a tree is spoken by role d. */
  roles: readonly Role[];
  promptSet: PromptSet;
  /** One policy for the whole team, or one for each role. */
  policy: PolicyId | ((role: Role) => PolicyId);
  sampling: Sampling;
  /**
   * Which waiting request goes first. `deep`, the default: deeper states, so that trees finish early and their prefix is
   * still cached. `wide`: shallower ones, so that one role at a time speaks; a server that batches only requests of one
   * adapter, as llama.cpp does, is faster with it. The completions are the same.
   */
  order?: "deep" | "wide";
  /** The run's seed; every request's own seed derives from it. */
  seed: number;
  complete: Complete;
  journal: Pick<Journal, "kept" | "append">;
  /** Requests in flight, ≥ 1. */
  concurrency: number;
  /** Called once when the journal has been looked through, then after each request. */
  onProgress?: (counts: Readonly<Counts>) => void;
  /** Called with the completions of each finished state, those that were in the journal already included. */
  onCompletions?: (entries: readonly JournalEntry[], question: Question) => void;
  /** Called for each failed request; the run goes on. */
  onFailure?: (error: ServerError, questionId: string, parentId: string | null) => void;
  signal?: AbortSignal;
}

/**
 * Samples every tree to its end, or as far as the server allows. A state whose completions are all in the journal is
 * not asked again; one of which some are is asked again whole, and those in the journal stand.
 * @returns the counts at the end; `failed` > 0 means that some requests must be asked again by another call
 * @throws InputError for a team that cannot speak, a ServerError when going on is of no use, RunError when the journal
 *   cannot be written, or `signal.reason`; all finished completions are in the journal then
 */
export async function sampleTrees(options: SampleTreesOptions): Promise<Counts> {
  const { questions, roles, promptSet, sampling, seed, journal, order = "deep" } = options;
  checkRoles(roles, promptSet, questions[0]);
  if (!Number.isInteger(options.concurrency) || options.concurrency < 1)
    throw new InputError(`concurrency must be an integer ≥ 1, not ${options.concurrency}`);
  const counts: Counts = { ...noCounts, asked: questions.length * statesPerTree(roles) };
  counts.pending = counts.asked;
  const queue = new PQueue({ concurrency: options.concurrency, autoStart: false });
  const stop = new AbortController();
  // Every request in flight listens to it; Node takes more than ten listeners for a leak.
  setMaxListeners(0, stop.signal);
  const hope = patience();

  const end = (state: State, completions: readonly JournalEntry[]) => {
    hope.succeeded();
    options.onCompletions?.(completions, state.question);
    counts.ok++;
    counts.pending--;
    counts.completions += completions.length;
    counts.truncated += completions.filter((c) => c.finish_reason === "length").length;
    counts.completion_tokens += completions.reduce((sum, c) => sum + (c.completion_tokens ?? 0), 0);
    counts.retries += Math.max(...completions.map((c) => c.retries));
    completions.forEach(({ text }, i) => {
      visit(state.question, state.kept, state.nodes[i]!, [...state.turns, { role: state.role.name, text }]);
    });
  };

  const ask = async (state: State) => {
    if (stop.signal.aborted) return;
    const kept = state.keys.map((key) => state.kept.get(key));
    try {
      const fresh = await options.complete(state.request, stop.signal);
      const entries = state.keys.map((key, i): JournalEntry => kept[i] ?? entry(state, key, i, fresh[i]!));
      await journal.append(entries.filter((_, i) => !kept[i]));
      end(state, entries);
    } catch (error) {
      if (stop.signal.aborted) return;
      if (!(error instanceof ServerError)) return stop.abort(error);
      counts.failed++;
      counts.pending--;
      options.onFailure?.(error, state.question.id, state.parent);
      if (hope.isOver(error)) stop.abort(error);
    }
    options.onProgress?.({ ...counts });
  };

  const visit = (question: Question, before: State["kept"], parent: string | null, turns: readonly Turn[]) => {
    const role = roles[turns.length];
    if (!role) return;
    const policy = typeof options.policy === "function" ? options.policy(role) : options.policy;
    const state = stateOf({ question, kept: before, parent, turns, role, promptSet, policy, sampling, seed });
    const kept = state.keys.map((key) => before.get(key));
    if (kept.every((entry) => entry !== undefined)) end(state, kept);
    else
      queue
        .add(() => ask(state), { priority: order === "deep" ? turns.length : -turns.length })
        .catch((error) => stop.abort(error));
  };

  const cancel = () => stop.abort(options.signal?.reason);
  options.signal?.throwIfAborted();
  options.signal?.addEventListener("abort", cancel, { once: true });
  try {
    for (const question of questions) {
      const kept = new Map((await journal.kept(question.id)).map((entry) => [entry.key, entry] as const));
      visit(question, kept, null, []);
    }
    options.onProgress?.({ ...counts });
    await queue.start().onIdle();
  } finally {
    options.signal?.removeEventListener("abort", cancel);
  }
  if (stop.signal.aborted) throw stop.signal.reason;
  return counts;
}

/** The counts before anything was asked. */
export const noCounts: Readonly<Counts> = {
  asked: 0,
  ok: 0,
  failed: 0,
  pending: 0,
  completions: 0,
  truncated: 0,
  retries: 0,
  completion_tokens: 0,
};

/** Requests of one full tree: 1 + n + n² for three roles. */
export function statesPerTree(roles: readonly Role[]): number {
  let [states, nodes] = [0, 1];
  for (const { branching } of roles) {
    states += nodes;
    nodes *= branching;
  }
  return states;
}

/** A state of one role, and its children to be. */
interface State {
  question: Question;
  /** What the journal has of the question, by key. */
  kept: ReadonlyMap<string, JournalEntry>;
  /** Node id of the last turn, null at the question. */
  parent: string | null;
  turns: readonly Turn[];
  role: Role;
  request: CompletionRequest;
  /** Node ids and journal keys of the children, by branch. */
  nodes: string[];
  keys: string[];
}

interface StateInput extends Omit<State, "request" | "nodes" | "keys"> {
  promptSet: PromptSet;
  policy: PolicyId;
  sampling: Sampling;
  seed: number;
}

function stateOf({ promptSet, policy, sampling, seed: runSeed, ...rest }: StateInput): State {
  const { question, parent, turns, role } = rest;
  const n = role.branching;
  const seed = requestSeed(runSeed, question.id, parent, role.name);
  const request = { policy, messages: messages(promptSet, role, question, turns), n, seed, sampling };
  const nodes = Array.from({ length: n }, (_, i) => childId(parent, role, i));
  const keys = nodes.map((node, i) => nodeKey({ ...request, seed: seed + i, questionId: question.id, nodeId: node }));
  return { ...rest, request, nodes, keys };
}

/** Node id of a child: `g0`, `g0.v2`, `g0.v2.r1`. */
export function childId(parent: string | null, role: Role, branch: number): string {
  const step = `${role.name[0]}${branch}`;
  return parent === null ? step : `${parent}.${step}`;
}

/**
 * Seed of the request for a state: a hash of where it stands, so that it does not depend on the order of sampling and
 * differs between siblings. Choice i of the request is sampled with seed + i, as vLLM and llama.cpp do themselves.
 * @returns an integer in [0, 2³¹ − 2¹⁰), so that the choices' seeds fit 31 bits too
 */
export function requestSeed(runSeed: number, questionId: string, parentId: string | null, role: string): number {
  const digest = createHash("sha256")
    .update(JSON.stringify([runSeed, questionId, parentId, role]))
    .digest();
  return digest.readUInt32BE(0) % (2 ** 31 - 2 ** 10);
}

/** What makes a completion the one it is; see {@link nodeKey}. */
export interface NodeIdentity extends Pick<CompletionRequest, "policy" | "messages" | "sampling"> {
  /** The choice's own seed. */
  seed: number;
  questionId: string;
  nodeId: string;
}

/** The journal's key: SHA-256 over model, adapter, messages, sampling parameters, seed, question and path. */
export function nodeKey({ policy, messages, sampling, seed, questionId, nodeId }: NodeIdentity): string {
  const identity = { policy, messages, sampling, seed, questionId, nodeId };
  return createHash("sha256").update(JSON.stringify(identity, sorted)).digest("hex");
}

/** JSON.stringify replacer: objects with sorted keys, so that equal things have equal text. */
export function sorted(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function entry(state: State, key: string, branch: number, completion: Completion): JournalEntry {
  return {
    key,
    question_id: state.question.id,
    node_id: state.nodes[branch]!,
    role: state.role.name,
    seed: state.request.seed + branch,
    model: state.request.policy.model,
    ...completion,
  };
}

/** A team that cannot speak is found before the first request, not after the first answer. */
function checkRoles(roles: readonly Role[], promptSet: PromptSet, question: Question | undefined): void {
  if (roles.length === 0) throw new InputError("the list of roles is empty; a tree needs at least one role");
  const turns: Turn[] = [];
  for (const role of roles) {
    if (turns.some((turn) => turn.role === role.name))
      throw new InputError(`two roles are named "${role.name}"; names must be unique`);
    if (!Number.isInteger(role.branching) || role.branching < 1 || role.branching > 1000)
      throw new InputError(`branching of role "${role.name}" must be an integer in 1 … 1000, not ${role.branching}`);
    if (question) messages(promptSet, role, question, turns);
    turns.push({ role: role.name, text: "" });
  }
}
