/**
 * Multi-agent debate (Du et al. 2023, arXiv 2305.14325), a baseline of the paper's Table 2 (Appendix A.3): agents answer
 * alone, then each reads the others' answers and answers again. Scope: sampling debates, one per question; evaluate.ts
 * votes on the last round. What it leaves out: summaries of the others' answers, which Du et al. use for many agents.
 *
 * Three agents over three rounds, the first one included, are nine completions, as many as MALT's three passes of three
 * roles: what the paper calls equal inference compute. The first round is the generator's prompt, so it is the same
 * sample as SA+MV's passes and is drawn once.
 */
import { setMaxListeners } from "node:events";
import { InputError, ServerError } from "../errors.js";
import { circuitBreaker } from "../sample/circuit-breaker.js";
import { limitOf, outcomeOf } from "../sample/limit.js";
import { Queue } from "../sample/queue.js";
import { childId, nodeKey, requestSeed } from "../sample/state.js";
import type { SampleTreesOptions } from "../sample/trees.js";
import { messages } from "../team/prompts.js";
import type { JournalEntry, Message, PolicyId, Question, Role } from "../types.js";

type Shared = "promptSet" | "sampling" | "seed" | "complete" | "journal" | "concurrency" | "signal" | "onFailure";

export interface SampleDebatesOptions extends Pick<SampleTreesOptions, Shared> {
  questions: readonly Question[];
  /** The role of the first round; its template asks the question. */
  role: Role;
  policy: PolicyId;
  /** ≥ 2; 3 in the paper. */
  agents: number;
  /** With the first, ≥ 1; 3 in the paper. */
  rounds: number;
  /** Called after each request with how many have ended in this call, and how many of these were not in the journal. */
  onProgress?: (ended: number, asked: number) => void;
}

/** What a call of {@link sampleDebates} has. */
export interface SampledDebates {
  /** Completions by question id, round and agent, of the debates that were completed. */
  debates: Map<string, JournalEntry[][]>;
  /** Requests that failed in this call; the next one asks them again. */
  failed: number;
}

/** The prompt of an agent from the second round on. The problem and the answer format are in its first prompt. */
export function debatePrompt(others: readonly string[]): string {
  const answers = others.map((text, i) => `Answer of agent ${i + 1}:\n${text}`).join("\n\n");
  return (
    `Other agents answered the same question as follows.\n\n${answers}\n\n` +
    "Weigh their reasoning against your own, then give your updated answer. " +
    'Finish with one line "Final Answer: X".'
  );
}

/** What is added to an agent's messages for its next round: what it said itself, and the others' answers. */
export const debateTurn = (own: string, others: readonly string[]): Message[] => [
  { role: "assistant", content: own },
  { role: "user", content: debatePrompt(others) },
];

/**
 * Holds one debate per question, never with more requests in flight than `concurrency` allows. A debate of which a request
 * fails ends there; the others continue.
 * @throws InputError for a debate of one agent or of no round, a ServerError when there is no point in going on,
 *   RunError when the journal cannot be written, or `signal.reason`; all finished completions are in the journal then
 */
export async function sampleDebates(options: SampleDebatesOptions): Promise<SampledDebates> {
  const { questions, role, agents, rounds, promptSet, policy, sampling, seed: runSeed, journal } = options;
  for (const [name, value, least] of [["agents", agents, 2] as const, ["rounds", rounds, 1] as const])
    if (!Number.isInteger(value) || value < least)
      throw new InputError(`${name} of a debate must be an integer ≥ ${least}, not ${value}`);
  const limit = limitOf(options.concurrency);
  // Later rounds first, so that debates end early and their prefix is still cached.
  const queue = new Queue<(isOn: boolean) => void>(rounds, "deep");
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const breaker = circuitBreaker((journal.completions ?? 0) > 0);
  const debates = new Map<string, JournalEntry[][]>();
  let [failed, ended, asked] = [0, 0, 0];

  const pump = () => {
    while (queue.size > 0) {
      const isOn = !stop.signal.aborted;
      if (isOn && (breaker.isHalfOpen || !limit.take())) return;
      queue.next()!(isOn);
    }
  };
  /** Resolves to true when another request may be sent, to false if the debates stopped first. */
  const place = (round: number) =>
    new Promise<boolean>((resolve) => {
      queue.add(resolve, round - 1);
      pump();
    });

  /** Completions of one state, one per node, from the journal or sampled and kept; null if there will be none. */
  const ask = async (
    round: number,
    question: Question,
    before: ReadonlyMap<string, JournalEntry>,
    state: readonly Message[],
    parent: string | null,
    nodes: readonly string[],
  ) => {
    const seed = requestSeed(runSeed, question.id, parent, role.name);
    const request = { policy, messages: state, n: nodes.length, seed, sampling };
    const keys = nodes.map((nodeId, i) => nodeKey({ ...request, seed: seed + i, questionId: question.id, nodeId }));
    const kept = keys.map((key) => before.get(key));
    if (kept.every((entry) => entry !== undefined)) {
      breaker.succeeded();
      options.onProgress?.(++ended, asked);
      return kept;
    }
    if (!(await place(round))) return null;
    let outcome = outcomeOf(null);
    try {
      // What is missing are mostly further agents: what comes before them is not asked for again.
      const first = kept.indexOf(undefined);
      const rest = { ...request, n: request.n - first, seed: seed + first };
      const fresh = await options.complete(first === 0 ? request : rest, stop.signal);
      outcome = outcomeOf(fresh);
      const about = { question_id: question.id, role: role.name, model: policy.model };
      const entries = keys.map(
        (key, i): JournalEntry =>
          kept[i] ?? { key, node_id: nodes[i]!, seed: seed + i, ...about, ...fresh[i - first]! },
      );
      await journal.append(entries.filter((_, i) => !kept[i]));
      breaker.succeeded();
      return entries;
    } catch (error) {
      if (stop.signal.aborted) return null;
      if (!(error instanceof ServerError)) {
        stop.abort(error);
        return null;
      }
      failed++;
      options.onFailure?.(error, question.id, parent);
      const end = breaker.failed(error, question.id, limit.inFlight - 1);
      if (end) stop.abort(end);
      return null;
    } finally {
      limit.give(outcome);
      pump();
      options.onProgress?.(++ended, ++asked);
    }
  };

  const hold = async (question: Question) => {
    const opening = messages(promptSet, role, question, []);
    const nodes = Array.from({ length: agents }, (_, i) => childId(null, role, i));
    const talks = nodes.map((): Message[] => [...opening]);
    const kept = new Map((await journal.kept(question.id)).map((entry) => [entry.key, entry]));
    let said = await ask(1, question, kept, opening, null, nodes);
    if (!said) return;
    const all = [said];
    for (let round = 2; round <= rounds; round++) {
      const before = said;
      const answers = await Promise.all(
        nodes.map((node, i) => {
          const others = before.filter((_, j) => j !== i).map(({ text }) => text);
          talks[i]!.push(...debateTurn(before[i]!.text, others));
          const id = `${node}.debate${round}`;
          return ask(round, question, kept, [...talks[i]!], id, [id]);
        }),
      );
      if (answers.some((answer) => answer === null)) return;
      said = answers.map((answer) => answer![0]!);
      all.push(said);
    }
    debates.set(question.id, all);
  };

  const cancel = () => stop.abort(options.signal?.reason);
  options.signal?.throwIfAborted();
  options.signal?.addEventListener("abort", cancel, { once: true });
  try {
    await Promise.all(questions.map((question) => hold(question).catch((error) => stop.abort(error))));
  } finally {
    options.signal?.removeEventListener("abort", cancel);
  }
  if (stop.signal.aborted) throw stop.signal.reason;
  return { debates, failed };
}
