/** For servers that give one choice per request, whatever `n` says. */
import type { Completion } from "../types.js";
import type { Policy } from "./openai.js";

/**
 * The same policy, asked for one choice at a time: choice i of a request is a request of its own with its seed + i, as a
 * server that gives n choices counts them. One after another, so that no more requests are in flight than were asked for.
 */
export const onePerRequest = (policy: Policy): Policy => ({
  ...policy,
  complete: async (request, signal) => {
    const choices: Completion[] = [];
    for (let i = 0; i < request.n; i++)
      choices.push(...(await policy.complete({ ...request, n: 1, seed: request.seed + i }, signal)));
    return choices;
  },
});
