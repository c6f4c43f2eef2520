/**
 * The sampler: grows one tree per question (paper, Section 4.2) and keeps the server busy. There are no stages: the
 * children of a completion are asked for the moment it is in the journal, also while its siblings are still being
 * written. Only unfinished trees are in memory, so there may be any number of questions. What it leaves out: HTTP and
 * files, which come in as `complete` and `journal`; which state goes first is decided in queue.ts, how many
 * requests are in flight in limit.ts.
 */
import { setMaxListeners } from "node:events";
import { InputError, ServerError } from "../errors.js";
import type { Journal } from "../run/journal.js";
import { messages, type PromptSet } from "../team/prompts.js";
import type { Complete, Completion, JournalEntry, Question, RequestMode, Role, Turn } from "../types.js";
import { circuitBreaker } from "./circuit-breaker.js";
import { type Limit, limitOf, outcomeOf } from "./limit.js";
import { Queue } from "./queue.js";
import { entryOf, type Setting, type State, type Stretch, stateAt, statesPerTree, stretches } from "./state.js";

/** The counts of a run's requests by outcome. Always asked = ok + failed + pending. */
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
  /** Completions that reached max_tokens (finish_reason "length"). They count as results. */
  truncated: number;
  /** Completions that a filter of the server ended (finish_reason "content_filter"), where there are any; results too. */
  content_filter?: number | undefined;
  /** Completions that called a tool (finish_reason "tool_calls" or "function_call"), where there are any; results too. */
  tool_calls?: number | undefined;
  /** Attempts that failed before a request succeeded. */
  retries: number;
  /** Tokens of all completions whose tokens the server counted. */
  completion_tokens: number;
}

/** The state of the sampling, and what this call alone has done. */
export interface Progress extends Counts {
  /** Requests in flight and their bound. */
  in_flight: number;
  limit: number;
  /** Completions in the journal, by role. */
  nodes: Record<string, number>;
  /** What this call sampled; `requests` counts those that succeeded. Tokens are those the server counted. */
  session: {
    requests: number;
    completions: number;
    prompt_tokens: number;
    /** Of the prompt tokens, those from the server's prefix cache. */
    cached_tokens: number;
    completion_tokens: number;
  };
}

/** All request modes, the default first. */
export const requestModes: readonly RequestMode[] = ["streamed", "whole", "single"];

export interface SampleTreesOptions extends Setting {
  questions: Iterable<Question> | AsyncIterable<Question>;
  /** How many questions there are, where they are not an array. */
  total?: number;
  /**
   * Which waiting request goes first. `deep`, the default: deeper states, so that trees finish early and their prefix is
   * still cached. `wide`: shallower ones, so that one role at a time speaks; a server that batches only requests of one
   * adapter, as llama.cpp does, is faster with it. The completions are the same.
   */
  order?: "deep" | "wide";
  request?: RequestMode;
  /**
   * What is asked for where the journal holds some children of a state and not all. `whole`, the default: the request as it
   * was, because a stream that was cut off may have lost the length of the prompt. `missing`: the missing ones alone, under
   * the same seeds; for votes, of which more may be wanted later.
   */
  again?: "whole" | "missing";
  complete: Complete;
  /** `discard` is needed where files can be damaged; a journal in memory does not need it. */
  journal: Pick<Journal, "kept" | "append"> & Partial<Pick<Journal, "discard" | "completions">>;
  /** Requests in flight, ≥ 1, or what decides on their number. */
  concurrency: number | Limit;
  /** Called after each request that has ended, and for each state that was in the journal already. */
  onProgress?: (progress: Readonly<Progress>) => void;
  /**
   * Called with the completions of each finished state, those that were in the journal already included. Where requests
   * are streamed, some may be withdrawn later.
   */
  onCompletions?: (entries: readonly JournalEntry[], question: Question) => void;
  /** Called for each failed request; the run continues. */
  onFailure?: (error: ServerError, questionId: string, parentId: string | null) => void;
  signal?: AbortSignal;
}

/** A state whose children are being asked for. */
interface Open extends State {
  tree: OpenTree;
  /** What is in the journal, by branch. */
  entries: (JournalEntry | undefined)[];
  /** The states that follow, by branch. */
  children: (Open | null)[];
  hasFailed: boolean;
  /** Whether a turn before it was withdrawn; what is still said in it counts for nothing. */
  isVoid: boolean;
}

/** A question being sampled, and the part of its tree that was in the journal before. */
interface OpenTree {
  question: Question;
  kept: Map<string, JournalEntry>;
}

/** One request: for `n` children of a state from the branch `first` on. */
interface Job extends Stretch {
  state: Open;
}

/**
 * Samples every tree to its end, or as far as the server allows. A state whose completions are all in the journal is
 * not requested again. If only some are, the whole request is sent again, and the completions in the journal are kept.
 * @returns the counts at the end; `failed` > 0 means that another call must send some requests again
 * @throws InputError for a team that cannot speak, a ServerError when there is no point in going on, RunError when the
 *   journal cannot be written, or `signal.reason`; all finished completions are in the journal then
 */
export async function sampleTrees(options: SampleTreesOptions): Promise<Progress> {
  const { questions, roles, journal, order = "deep", again = "whole" } = options;
  const { mode, limit, total } = checkedOptions(options);
  const progress = begin(total * statesPerTree(roles), roles);
  const queue = new Queue<Job>(roles.length, order);
  const stop = new AbortController();
  // Every request in flight listens to it; Node reports more than ten listeners as a leak.
  setMaxListeners(0, stop.signal);
  const breaker = circuitBreaker((journal.completions ?? 0) > 0);
  let writing = 0;
  let wake = () => {};

  const report = () => options.onProgress?.({ ...progress, in_flight: limit.inFlight, limit: limit.now });

  /** Opens a state: completions in the journal are kept, the rest goes on the queue. */
  const visit = (tree: OpenTree, parent: string | null, turns: readonly Turn[]): Open | null => {
    const at = stateAt(options, tree.question, parent, turns);
    if (!at) return null;
    discardStale(at, tree);
    const state: Open = { ...at, tree, entries: [], children: [], hasFailed: false, isVoid: false };
    const entries = at.keys.map((key) => tree.kept.get(key));
    for (const [branch, entry] of entries.entries()) if (entry) grow(state, branch, entry);
    const missing = entries.flatMap((entry, branch) => (entry ? [] : [branch]));
    if (missing.length === 0) report();
    else if (!stop.signal.aborted)
      for (const stretch of toAsk(missing, state.nodes.length)) queue.add({ state, ...stretch }, turns.length);
    return state;
  };

  /** The requests for the missing children of a state, of which it has `n`. */
  const toAsk = (missing: readonly number[], n: number): Stretch[] => {
    if (mode === "single") return missing.map((first) => ({ first, n: 1 }));
    return again === "missing" ? stretches(missing) : [{ first: 0, n }];
  };

  /**
   * A parent's line may have been damaged and sampled again. If its new text differs, its children are no longer valid.
   */
  const discardStale = (at: State, { kept }: OpenTree) => {
    const isStale = ({ node_id, key }: JournalEntry) => {
      const branch = at.nodes.indexOf(node_id);
      return branch >= 0 && at.keys[branch] !== key;
    };
    discard([...kept.values()].filter(isStale), kept);
  };

  /** Takes entries out of the journal. */
  const discard = (entries: readonly JournalEntry[], kept: OpenTree["kept"]) => {
    for (const { key } of entries) kept.delete(key);
    if (entries.length > 0 && journal.discard) track(journal.discard(entries).catch((error) => stop.abort(error)));
  };

  const count = (entry: JournalEntry, times: 1 | -1) => countCompletion(progress, entry, times);

  /** Adds a state whose completions are all there to the counts, or takes it out again. */
  const countState = (entries: readonly JournalEntry[], times: 1 | -1) => {
    progress.ok += times;
    progress.pending -= times;
    progress.retries += times * Math.max(...entries.map(({ retries }) => retries));
  };

  /** Records a completion that is in the journal, and opens the state that follows it. */
  const grow = (state: Open, branch: number, entry: JournalEntry) => {
    state.entries[branch] = entry;
    count(entry, 1);
    state.children[branch] = visit(state.tree, entry.node_id, [...state.turns, { role: entry.role, text: entry.text }]);
    const entries = state.entries.filter((each) => each !== undefined);
    if (entries.length < state.nodes.length) return;
    breaker.succeeded();
    countState(entries, 1);
    // A stream may break after its last choice is there; then nothing has failed.
    if (state.hasFailed) {
      state.hasFailed = false;
      progress.failed--;
      progress.pending++;
    }
    options.onCompletions?.(entries, state.question);
  };

  /**
   * Takes back a completion whose stream contradicted itself after it, and everything that has grown from it.
   * @returns what is no longer valid in the journal
   */
  const withdraw = (state: Open, branch: number): JournalEntry[] => {
    const entry = state.entries[branch];
    if (!entry) return [];
    const entries = state.entries.filter((each) => each !== undefined);
    if (entries.length === state.nodes.length) countState(entries, -1);
    count(entry, -1);
    state.entries[branch] = undefined;
    const child = state.children[branch];
    if (!child) return [entry];
    child.isVoid = true;
    if (child.hasFailed) {
      progress.failed--;
      progress.pending++;
    }
    return [entry, ...child.nodes.flatMap((_, i) => withdraw(child, i))];
  };

  /** Writes a completion to the journal, unless there is an earlier one. */
  const keep = async (state: Open, branch: number, completion: Completion) => {
    const entry = entryOf(state, branch, completion);
    if (state.entries[branch] || state.isVoid) return;
    writing++;
    try {
      await journal.append([entry]);
      progress.session.completions++;
      progress.session.completion_tokens += completion.completion_tokens ?? 0;
      if (state.isVoid) discard([entry], state.tree.kept);
      else grow(state, branch, entry);
    } catch (error) {
      stop.abort(error);
    }
    writing--;
  };

  const ask = async ({ state, first, n }: Job) => {
    const { request } = state;
    // A stream says the length of the prompt with the choice that ends last. If one choice is already in the journal,
    // it may be that one, and the length would be lost. So a request that was cut off is sent again for a whole answer.
    const isNew = state.entries.every((entry) => entry === undefined);
    const streams = mode === "streamed" && isNew && request.n > 1 && state.turns.length + 1 < roles.length;
    const written: (Promise<void> | undefined)[] = [];
    const isThere: boolean[] = [];
    // What happens to one choice happens in its order.
    const next = (choice: number, act: () => Promise<void> | void) => {
      written[choice] = written[choice] ? written[choice].then(act) : Promise.resolve(act());
    };
    const arrived = (choice: number, completion: Completion) => {
      if (isThere[choice]) return;
      isThere[choice] = true;
      next(choice, () => keep(state, first + choice, completion).then(pump));
    };
    const withdrawn = (choice: number) => {
      if (!isThere[choice]) return;
      isThere[choice] = false;
      next(choice, () => discard(withdraw(state, first + choice), state.tree.kept));
    };
    let outcome = outcomeOf(null);
    try {
      const asked = n === request.n ? request : { ...request, n, seed: request.seed + first };
      const said = await options.complete(asked, stop.signal, ...(streams ? [arrived, withdrawn] : []));
      outcome = outcomeOf(said);
      breaker.succeeded();
      countRequest(progress, said);
      for (const [choice, completion] of said.entries()) arrived(choice, completion);
    } catch (error) {
      if (!stop.signal.aborted) fail(state, error);
    } finally {
      // The place is free as soon as the server has answered; the disk is not waited for.
      limit.give(outcome);
      // Runs after everything else that has arrived, so that this answer's children can compete for the free place.
      setImmediate(pump);
    }
    await Promise.all(written);
    report();
  };

  const fail = (state: Open, error: unknown) => {
    if (!(error instanceof ServerError)) return stop.abort(error);
    if (state.isVoid) return;
    const isWhole = state.nodes.every((_, branch) => state.entries[branch]);
    if (!state.hasFailed && !isWhole) {
      progress.failed++;
      progress.pending--;
      state.hasFailed = true;
    }
    options.onFailure?.(error, state.question.id, state.parent);
    const end = breaker.failed(error, state.question.id, limit.inFlight - 1);
    if (end) stop.abort(end);
  };

  let running = 0;
  const track = (work: Promise<void>) => {
    running++;
    work.finally(() => {
      running--;
      wake();
    });
  };
  const change = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });

  /** Sends as many requests as the limit allows. A slow disk holds requests back, so memory stays bounded. */
  const pump = () => {
    const may = () => !stop.signal.aborted && !breaker.isHalfOpen && queue.size > 0 && writing <= 4 * limit.now;
    while (may() && limit.take()) {
      const job = queue.next()!;
      if (job.state.isVoid) limit.give({ tokens: 0, retries: 0 });
      else track(ask(job));
    }
    wake();
  };

  /**
   * Opens questions so that about as many states are waiting as may be in flight; all at once where one role speaks at
   * a time. After a stop, the rest are opened too, if only to count what an earlier call has sampled of them.
   */
  const openAll = async () => {
    const ahead = () => (order === "wide" ? Number.POSITIVE_INFINITY : limit.now);
    let opened = 0;
    for await (const question of questions) {
      if (opened++ === 0) checkPrompts(roles, options.promptSet, question);
      while (queue.size >= ahead() && !stop.signal.aborted) await change();
      if (stop.signal.aborted && !journal.completions) return;
      const kept = await journal.kept(question.id);
      visit({ question, kept: new Map(kept.map((entry) => [entry.key, entry])) }, null, []);
      if (order === "deep") pump();
    }
    queue.last();
  };

  const cancel = () => {
    stop.abort(options.signal?.reason);
    wake();
  };
  options.signal?.throwIfAborted();
  options.signal?.addEventListener("abort", cancel, { once: true });
  try {
    await openAll().catch((error) => stop.abort(error));
    pump();
    while (running > 0 || (queue.size > 0 && !stop.signal.aborted)) await change();
  } finally {
    options.signal?.removeEventListener("abort", cancel);
  }
  report();
  if (stop.signal.aborted) throw stop.signal.reason;
  return { ...progress, in_flight: 0, limit: limit.now };
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

/** What a call has sampled before its first answer. */
export const noSession: Readonly<Progress["session"]> = {
  requests: 0,
  completions: 0,
  prompt_tokens: 0,
  cached_tokens: 0,
  completion_tokens: 0,
};

/** Adds a completion in the journal to the counts, or takes it out again. */
export function countCompletion(progress: Progress, entry: JournalEntry, times: 1 | -1): void {
  const { role, completion_tokens, finish_reason } = entry;
  progress.completions += times;
  progress.nodes[role]! += times;
  progress.completion_tokens += times * (completion_tokens ?? 0);
  if (finish_reason === "length") progress.truncated += times;
  const other = finish_reason === "function_call" ? "tool_calls" : finish_reason;
  if (other === "content_filter" || other === "tool_calls") progress[other] = (progress[other] ?? 0) + times;
}

/** Adds what a request that succeeded has used. */
export function countRequest({ session }: Progress, said: readonly Completion[]): void {
  session.requests++;
  session.prompt_tokens += Math.max(...said.map((each) => each.prompt_tokens ?? 0));
  session.cached_tokens += Math.max(...said.map((each) => each.cached_tokens ?? 0));
}

/** Progress at the beginning of a call. */
export function begin(asked: number, roles: readonly Role[]): Progress {
  const nodes = Object.fromEntries(roles.map(({ name }) => [name, 0]));
  return { ...noCounts, asked, pending: asked, in_flight: 0, limit: 0, nodes, session: { ...noSession } };
}

/**
 * What a full tree and a search take from their options in the same way.
 * @throws InputError for a team that cannot speak, an unknown request mode, or an unknown number of questions
 */
export function checkedOptions(options: Omit<SampleTreesOptions, "order">) {
  const { roles, questions } = options;
  // At temperature 0 several choices would all be the same, and vLLM refuses to draw them.
  const mode: RequestMode = options.sampling.temperature === 0 ? "single" : (options.request ?? "streamed");
  checkRoles(roles);
  if (!requestModes.includes(mode))
    throw new InputError(`request mode "${mode}" is unknown; choose one of: ${requestModes.join(", ")}`);
  const limit = limitOf(options.concurrency);
  const total = options.total ?? (questions as { length?: number }).length;
  if (total === undefined)
    throw new InputError("the number of questions is unknown; give `total` with what is no array");
  return { mode, limit, total };
}

/** An invalid team is reported before the first request, not after the first answer. */
function checkRoles(roles: readonly Role[]): void {
  if (roles.length === 0) throw new InputError("the list of roles is empty; a tree needs at least one role");
  const names = roles.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new InputError(`two roles are named "${twice}"; names must be unique`);
  for (const { name, branching } of roles) {
    if (!Number.isInteger(branching) || branching < 1 || branching > 1000)
      throw new InputError(`branching of role "${name}" must be an integer in 1 … 1000, not ${branching}`);
  }
}

/** @throws InputError if a role sees one that has not spoken before it */
export function checkPrompts(roles: readonly Role[], promptSet: PromptSet, question: Question): void {
  const turns: Turn[] = [];
  for (const role of roles) {
    messages(promptSet, role, question, turns);
    turns.push({ role: role.name, text: "" });
  }
}
