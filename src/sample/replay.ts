/** A recorded run in place of a server: the sampler then runs without one. Pure. */
import { InputError } from "../errors.js";
import type { Complete, Node } from "../types.js";

/**
 * Answers requests from recorded nodes, by seed: the sampler then grows the recorded tree again, for whichever of the
 * team's roles it is given.
 * @param nodes rows of one question, so that no two have one seed
 * @returns rejects with InputError where a request asks for something that was not recorded
 */
export function replay(nodes: readonly Node[]): Complete {
  const bySeed = new Map(nodes.map((node) => [node.seed, node]));
  if (bySeed.size < nodes.length)
    throw new InputError("two of these nodes have one seed; replay one question at a time");
  return async ({ n, seed }) =>
    Array.from({ length: n }, (_, i) => {
      const node = bySeed.get(seed + i);
      if (!node) {
        throw new InputError(
          `nothing was recorded under seed ${seed + i}; sample with the question, roles and seed of the recorded run`,
        );
      }
      const { text, finish_reason, prompt_tokens, completion_tokens } = node;
      return { text, finish_reason, prompt_tokens, completion_tokens, retries: 0 };
    });
}
