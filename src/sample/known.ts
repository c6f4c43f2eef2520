/**
 * Completions that other journals hold already, so that runs with states in common ask for them once. A completion is the
 * same where its key is: model, adapter, messages, parameters, seed, question and path. So a run with fewer children per
 * state finds its trees in a wider one, and an evaluation the passes of another. What it leaves out: reading the journals.
 */
import type { Policy } from "../policy/openai.js";
import type { Completion, CompletionRequest, JournalEntry } from "../types.js";
import { nodeKey, stretches } from "./state.js";

/** Completions by what was asked. */
export interface Known {
  /** Adds those that are not there yet. */
  add(entries: Iterable<JournalEntry>): void;
  /** Choice `i` of a request, if it is known. */
  find(request: CompletionRequest, i: number): JournalEntry | undefined;
  /** How many there are. */
  readonly size: number;
}

/** An empty collection, in memory. */
export function knownCompletions(): Known {
  // A seed is a hash of the place in a tree, so few completions share one; the key decides.
  const bySeed = new Map<number, JournalEntry[]>();
  let size = 0;
  return {
    add(entries) {
      for (const entry of entries) {
        const same = bySeed.get(entry.seed) ?? [];
        if (same.some(({ key }) => key === entry.key)) continue;
        bySeed.set(entry.seed, [...same, entry]);
        size++;
      }
    },
    find(request, i) {
      const seed = request.seed + i;
      return bySeed
        .get(seed)
        ?.find(
          ({ key, question_id, node_id }) =>
            key === nodeKey({ ...request, seed, questionId: question_id, nodeId: node_id }),
        );
    },
    get size() {
      return size;
    },
  };
}

const completionOf = ({
  text,
  finish_reason,
  prompt_tokens,
  cached_tokens,
  completion_tokens,
  retries,
}: JournalEntry) =>
  ({
    text,
    finish_reason,
    prompt_tokens,
    cached_tokens: cached_tokens ?? null,
    completion_tokens,
    retries,
  }) as Completion;

/** The choices of a request that are known, each at its place. */
function choicesOf(known: Known, request: CompletionRequest): (Completion | undefined)[] {
  const found = Array.from({ length: request.n }, (_, i) => {
    const entry = known.find(request, i);
    return entry && completionOf(entry);
  });
  const first = found.find((each) => each !== undefined);
  if (!first || found.some((each) => each && each.prompt_tokens !== null)) return found;
  // Of a streamed request one choice alone tells the length of the prompt, and in a wider run it may be a later one.
  for (let i = request.n, entry = known.find(request, i); entry; entry = known.find(request, ++i))
    if (entry.prompt_tokens !== null) {
      first.prompt_tokens = entry.prompt_tokens;
      break;
    }
  return found;
}

/** A policy that asks for what is not known, under the seeds it would have had; the rest costs nothing. */
export const knownFirst = (known: Known, policy: Policy): Policy => ({
  get baseURL() {
    return policy.baseURL;
  },
  get weights() {
    return policy.weights;
  },
  models: () => policy.models(),
  info: () => policy.info(),
  load: () => policy.load(),
  async complete(request, signal, onChoice, onWithdrawn) {
    const choices = choicesOf(known, request);
    const missing = choices.flatMap((choice, i) => (choice ? [] : [i]));
    if (missing.length === request.n) return policy.complete(request, signal, onChoice, onWithdrawn);
    for (const [i, choice] of choices.entries()) if (choice) onChoice?.(i, choice);
    for (const { first, n } of stretches(missing)) {
      const part = { ...request, n, seed: request.seed + first };
      const listen = onChoice && ((i: number, choice: Completion) => onChoice(first + i, choice));
      const withdraw = onWithdrawn && ((i: number) => onWithdrawn(first + i));
      const said = await policy.complete(part, signal, listen, withdraw);
      for (const [i, choice] of said.entries()) choices[first + i] = choice;
    }
    return choices.map((choice) => choice!);
  },
});
