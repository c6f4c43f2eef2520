/**
 * Samples search trees: each question gets the same number of completions, and which ones is decided as it goes
 * (credit/search.ts). Questions are searched side by side, so the server is busy although each has rounds that wait for each
 * other. Every completion is the one that the full tree has in that place: same prompt, same seed, same key. What it
 * leaves out: streams, which would only help within a round.
 */
import { setMaxListeners } from "node:events";
import { gradeText } from "../answers/index.js";
import { treeSize } from "../credit/score.js";
import { checkSearch, type Growth, nextChildren, type Search, type SearchNode } from "../credit/search.js";
import { ServerError } from "../errors.js";
import type { JournalEntry, Question, Turn } from "../types.js";
import { circuitBreaker } from "./circuit-breaker.js";
import { outcomeOf } from "./limit.js";
import { entryOf, type State, stateAt } from "./state.js";
import {
  begin,
  checkedOptions,
  checkPrompts,
  countCompletion,
  countRequest,
  type Progress,
  type SampleTreesOptions,
} from "./trees.js";

/** Options of {@link searchTrees}; `order` has no meaning here. */
export interface SearchTreesOptions extends Omit<SampleTreesOptions, "order"> {
  search: Search;
}

interface Grown extends SearchNode {
  id: string;
  children: Grown[];
  /** What was said on the path, this node's own text included. */
  turns: readonly Turn[];
}

/**
 * Searches every question until its completions are spent, or as far as the server allows. Which completions are asked for
 * depends only on those before, as this project's strict grader reads them; so what is in the journal is not asked for again, and an
 * interrupted search ends with the same trees as one without a break. A question one of whose requests fails waits for the next call.
 *
 * `asked`, `ok`, `failed` and `pending` count completions, because it is not known before how many states they have.
 * @throws as `sampleTrees`
 */
export async function searchTrees(options: SearchTreesOptions): Promise<Progress> {
  const { questions, roles, journal, search, onProgress } = options;
  const { mode, limit, total } = checkedOptions(options);
  checkSearch(search, roles);
  const most = Math.min(search.budget, treeSize(roles));
  const progress = begin(total * most, roles);
  const report = () => onProgress?.({ ...progress, in_flight: limit.inFlight, limit: limit.now });
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const breaker = circuitBreaker((journal.completions ?? 0) > 0);

  let waiting: (() => void)[] = [];
  const wake = () => {
    const all = waiting;
    waiting = [];
    for (const go of all) go();
  };
  const change = () => new Promise<void>((resolve) => waiting.push(resolve));
  stop.signal.addEventListener("abort", wake);
  /** Waits for a place among the requests in flight. @returns false after a stop */
  const place = async (): Promise<boolean> => {
    while (!stop.signal.aborted && (breaker.isHalfOpen || !limit.take())) await change();
    return !stop.signal.aborted;
  };

  /** Asks for neighbouring children of a state. @returns whether they are there */
  const ask = async (state: State, first: number, n: number, entries: JournalEntry[]): Promise<boolean> => {
    if (!(await place())) return false;
    let outcome = outcomeOf(null);
    try {
      const said = await options.complete({ ...state.request, n, seed: state.request.seed + first }, stop.signal);
      outcome = outcomeOf(said);
      breaker.succeeded();
      countRequest(progress, said);
      const written = said.map((completion, i) => entryOf(state, first + i, completion));
      await journal.append(written);
      for (const [i, entry] of written.entries()) {
        entries[first + i] = entry;
        progress.session.completions++;
        progress.session.completion_tokens += entry.completion_tokens ?? 0;
        keep(entry);
      }
      return true;
    } catch (error) {
      if (stop.signal.aborted) return false;
      if (!(error instanceof ServerError)) {
        stop.abort(error);
        return false;
      }
      progress.failed += n;
      progress.pending -= n;
      options.onFailure?.(error, state.question.id, state.parent);
      const end = breaker.failed(error, state.question.id, limit.inFlight - 1);
      if (end) stop.abort(end);
      return false;
    } finally {
      limit.give(outcome);
      wake();
      report();
    }
  };

  const keep = (entry: JournalEntry) => {
    countCompletion(progress, entry, 1);
    progress.ok++;
    progress.pending--;
    progress.retries += entry.retries;
  };

  /** Gives a node its next children, from the journal or the server. @returns whether all are there */
  const grow = async (
    question: Question,
    roots: Grown[],
    growth: Growth,
    kept: Map<string, JournalEntry>,
  ): Promise<boolean> => {
    const node = growth.node as Grown | null;
    const siblings = node?.children ?? roots;
    const turns = node?.turns ?? [];
    const state = stateAt(options, question, node?.id ?? null, turns)!;
    const branches = Array.from({ length: growth.children }, (_, i) => siblings.length + i);
    const entries: JournalEntry[] = [];
    for (const branch of branches) {
      const entry = kept.get(state.nodes[branch]!);
      if (entry?.key === state.keys[branch]) {
        entries[branch] = entry!;
        keep(entry!);
      } else if (entry) await discard(entry, kept);
    }
    const missing = branches.filter((branch) => !entries[branch]);
    const done = await Promise.all(
      runsOf(missing, mode === "single" ? 1 : growth.children).map(([first, n]) => ask(state, first, n, entries)),
    );
    if (missing.length === 0) report();
    if (!done.every(Boolean)) return false;
    for (const branch of branches) siblings.push(grown(question, entries[branch]!, turns));
    options.onCompletions?.(
      branches.map((branch) => entries[branch]!),
      question,
    );
    return true;
  };

  const grown = (question: Question, { node_id, role, text }: JournalEntry, turns: readonly Turn[]): Grown => {
    const depth = turns.length;
    const reward = depth === roles.length - 1 ? Number(gradeText(question, text).correct === true) : 0;
    return { id: node_id, depth, reward, children: [], turns: [...turns, { role, text }] };
  };

  /** Takes a completion out of the journal whose parent now says something else, and all that has grown from it. */
  const discard = async (entry: JournalEntry, kept: Map<string, JournalEntry>) => {
    const stale = [...kept.values()].filter((each) => `${each.node_id}.`.startsWith(`${entry.node_id}.`));
    for (const { node_id } of stale) kept.delete(node_id);
    await journal.discard?.(stale);
  };

  const explore = async (question: Question): Promise<void> => {
    const kept = new Map((await journal.kept(question.id)).map((entry) => [entry.node_id, entry]));
    const roots: Grown[] = [];
    for (;;) {
      const growths = nextChildren(roots, roles, search);
      if (growths.length === 0) break;
      const done = await Promise.all(growths.map((growth) => grow(question, roots, growth, kept)));
      if (!done.every(Boolean)) return;
    }
    // What is left of the budget pays for no child with all that must follow it.
    const unspent = most - sizeOf(roots);
    progress.asked -= unspent;
    progress.pending -= unspent;
    if (unspent > 0) report();
  };

  const cancel = () => stop.abort(options.signal?.reason);
  options.signal?.throwIfAborted();
  options.signal?.addEventListener("abort", cancel, { once: true });
  const open = new Set<Promise<void>>();
  try {
    let opened = 0;
    for await (const question of questions) {
      if (opened++ === 0) checkPrompts(roles, options.promptSet, question);
      while (open.size >= limit.now && !stop.signal.aborted) await Promise.race(open);
      // After a stop the rest are opened too, if only to count what an earlier call has sampled of them.
      if (stop.signal.aborted && !journal.completions) break;
      const task = explore(question)
        .catch((error) => stop.abort(error))
        .finally(() => open.delete(task));
      open.add(task);
    }
    await Promise.all(open);
  } catch (error) {
    stop.abort(error);
    await Promise.all(open);
  } finally {
    options.signal?.removeEventListener("abort", cancel);
  }
  report();
  if (stop.signal.aborted) throw stop.signal.reason;
  return { ...progress, in_flight: 0, limit: limit.now };
}

/** Runs of neighbours in a rising list, as [first, length], none longer than `longest`. */
function runsOf(branches: readonly number[], longest: number): [number, number][] {
  const runs: [number, number][] = [];
  for (const branch of branches) {
    const last = runs.at(-1);
    if (last && branch === last[0] + last[1] && last[1] < longest) last[1]++;
    else runs.push([branch, 1]);
  }
  return runs;
}

const sizeOf = (nodes: readonly SearchNode[]): number =>
  nodes.reduce((sum, { children }) => sum + 1 + sizeOf(children), 0);
