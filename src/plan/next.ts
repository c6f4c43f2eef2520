/**
 * What the next run would take and give, from one that is there: a study with its settings, the rows that so many questions
 * would yield, and how many questions an evaluation needs to see a gain. Pure.
 */
import { exampleSiblings, pairSiblings, siblingsOf } from "../credit/pairs.js";
import { InputError } from "../errors.js";
import { groupBy, outcomes, type VotedRow } from "../evaluate/results.js";
import { models, servedElsewhere } from "../models/table.js";
import type { Manifest } from "../run/manifest.js";
import { clusterMean, type Estimate } from "../stats/means.js";
import { questionsNeeded } from "../stats/power.js";
import type { EvaluationRow, Node } from "../types.js";
import type { Experiment } from "./file.js";

export interface NextOptions {
  /** Training questions of the next run. */
  questions: number;
  /** GPUs that work on it; 1 by default. Throughput is that of the pilot's server. */
  gpus?: number;
  /** By default none, and no dollars are computed. */
  dollarsPerGpuHour?: number;
  /** Tokens a second in training, where the pilot was not trained. */
  trainingTokensPerSecond?: number;
  /** Held-out questions that each of the seeds draws, 100 by default as in the paper (Section 5); and how many there are. */
  size?: number;
  pool?: number;
  /** 4 by default, as in the paper. */
  seeds?: number;
}

/** A study with a run's settings. Its `expect` is a place to fill: a pilot's rates replace it. @throws InputError */
export function nextExperiment({ run, config, benchmark }: Manifest, options: NextOptions): Experiment {
  const { questions, gpus = 1, dollarsPerGpuHour, trainingTokensPerSecond, size = 100, seeds = 4 } = options;
  const { pool = Math.max(1000, size) } = options;
  for (const [name, value] of Object.entries({ questions, gpus, size, seeds, pool }))
    if (!Number.isInteger(value) || value < 1)
      throw new InputError(`${name} is ${value}; give a whole number from 1 on`);
  if (size > pool) throw new InputError(`size is ${size}, more than the pool of ${pool} questions; give a larger pool`);
  const { model } = config.policy;
  const unknown = { prompt: 1, completion: 1, sft: 0, pairs: 0 };
  return {
    study: `${run.slice(0, 59)}-next`,
    model,
    profile: models.find(({ name }) => name === model)?.profile ?? servedElsewhere().profile,
    sample: {
      questions: benchmark.source,
      size: questions,
      branching: config.roles[0]!.branching,
      temperature: config.sampling.temperature,
      max_tokens: config.sampling.max_tokens,
    },
    train: { stages: ["sft", "dpo", "star"], generator_dpo: false },
    evaluate: { questions: "held out", benchmark: benchmark.name, pool, systems: ["main"], size, seeds },
    expect: { generator: unknown, verifier: unknown, refiner: unknown, discordance: 0.3 },
    hardware: {
      name: "the pilot's server",
      gpus,
      ...(trainingTokensPerSecond !== undefined && { training_tokens_per_second: trainingTokensPerSecond }),
      ...(dollarsPerGpuHour !== undefined && { dollars_per_gpu_hour: dollarsPerGpuHour }),
    },
  };
}

/** What one role yields in so many questions, each with the interval that the pilot's questions allow. */
export interface ExpectedYield {
  role: string;
  examples: Estimate;
  pairs: Estimate;
}

/**
 * Examples and pairs to expect, under the labels of the nodes and the paper's pairing: a question's mean, times their number.
 * @param asked ids of the pilot's questions, also of those without an output; @param questions how many are planned
 */
export function expectedYields(nodes: readonly Node[], asked: readonly string[], questions: number): ExpectedYield[] {
  const states = siblingsOf(nodes);
  return [...new Set(nodes.map(({ role }) => role))].map((role) => {
    const count = (of: (state: readonly Node[]) => number): Estimate => {
      const counts = new Map(asked.map((id) => [id, 0]));
      for (const state of states) {
        const { question_id, role: speaker } = state[0]!;
        if (speaker === role) counts.set(question_id, counts.get(question_id)! + of(state));
      }
      const estimate = clusterMean([...counts.values()], [...counts.keys()]);
      const times = (mean: number) => Math.max(0, mean * questions);
      return { ...estimate, mean: times(estimate.mean), low: times(estimate.low), high: times(estimate.high) };
    };
    return { role, examples: count((s) => exampleSiblings(s).length), pairs: count((s) => pairSiblings(s).length) };
  });
}

/** What is needed of an evaluation's row. */
export type FinalVote = VotedRow & Pick<EvaluationRow, "system">;

/** How often two systems disagree about being right, and which they are. */
export interface Discordance {
  share: number;
  between: string;
}

/**
 * How often two systems of a run disagree: of its evaluation the reference and the system that comes nearest to it, or, without
 * one, a first answer and what the team made of it in the same tree.
 * @returns null where there is neither
 */
export function discordanceOf(nodes: readonly Node[], evaluation: readonly FinalVote[]): Discordance | null {
  const bySystem = groupBy(evaluation, ({ system }) => system);
  const names = [...bySystem.keys()];
  const first = names.includes("MALT") ? "MALT" : names[0];
  const second = ["STaR MA+MV", "MA+MV", "SA+MV"].find((name) => bySystem.has(name) && name !== first);
  if (first !== undefined && second !== undefined) {
    const votes = (name: string) =>
      new Map(outcomes(bySystem.get(name)!).map(({ seed, question, correct }) => [`${seed}\n${question}`, correct]));
    const [one, other] = [votes(first), votes(second)];
    const shared = [...one].filter(([key]) => other.has(key));
    const differ = shared.filter(([key, right]) => other.get(key) !== right).length;
    if (shared.length > 0) return { share: differ / shared.length, between: `${first} and ${second}, evaluated` };
  }
  const last = nodes.reduce((deepest, { depth }) => Math.max(deepest, depth), 0);
  const answers = new Map(
    nodes
      .filter(({ depth }) => depth === 0)
      .map((node) => [`${node.question_id}\n${node.node_id}`, node.correct === true]),
  );
  const leaves = nodes.filter(({ depth }) => depth === last && last > 0);
  if (leaves.length === 0) return null;
  const turned = leaves.filter(
    ({ question_id, node_id, correct }) =>
      answers.get(`${question_id}\n${node_id.split(".")[0]}`) !== (correct === true),
  ).length;
  return { share: turned / leaves.length, between: "a first answer and its refinement, in these trees" };
}

/** Different questions that it takes to find each gain with 80 % power at level 0.05; see {@link questionsNeeded}. */
export const questionsForGains = (gains: readonly number[], discordance: number): { gain: number; needed: number }[] =>
  gains.map((gain) => ({
    gain,
    // Two systems disagree at least as often as they differ.
    needed: questionsNeeded({ difference: gain, discordance: Math.max(gain, discordance) }),
  }));
