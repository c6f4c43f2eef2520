/**
 * The sampler on a server in virtual time: how well its order of requests alone uses m slots, without a network. A run
 * takes half a second, so chance in the last long completions is averaged out over many seeds.
 */

import { defaultSampling } from "../../src/sample/sample.js";
import { logNormalLengths, virtualServer } from "../../src/sample/simulate.js";
import { sampleTrees } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import { makeQuestions } from "./clients.js";

/** Makespan and total work / m of each seed, ms. */
export async function inVirtualTime(asked: { slots: number; questions: number; seeds: number }) {
  const lengthOf = logNormalLengths({ mean: 100, sigma: 0.8 });
  const team = { roles: maltRoles(3), promptSet: promptSet("arithmetic"), policy: { model: "fake", adapter: null } };
  const setting = { ...team, sampling: defaultSampling, questions: makeQuestions(asked.questions) };
  const all: { makespan: number; bound: number }[] = [];
  for (let seed = 0; seed < asked.seeds; seed++) {
    const server = virtualServer({ slots: asked.slots, lengthOf });
    const journal = { kept: async () => [], append: async () => {} };
    const { complete } = server;
    await server.run(sampleTrees({ ...setting, seed, complete, journal, concurrency: asked.slots }));
    const work = server.served.reduce((sum, { start_ms, end_ms }) => sum + end_ms - start_ms, 0);
    all.push({ makespan: server.now, bound: work / asked.slots });
  }
  return all;
}
