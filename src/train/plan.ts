/**
 * What is trained, in which order, and from which adapter: the paper's Section 4.3 as data. Pure. stage-file.ts writes
 * a stage for the trainer.
 */
import { InputError } from "../errors.js";
import type { TrainingSettings } from "../models/training.js";
import type { Role } from "../types.js";

/**
 * - `sft`: supervised fine-tuning of the base model on a role's positives.
 * - `dpo`: preference optimisation on a role's pairs, from the SFT policy, which is also the reference.
 * - `star`: SFT continues on the same positives for as much compute as `dpo` takes.
 *
 * The paper compares with STaR (Zelikman et al. 2022) and does not say how long it trains. STaR is SFT on a model's own
 * right outputs, possibly repeated. The plain reading is one round of it: the `sft` adapters, with which MALT's DPO
 * starts (the systems `SFT MA`). The stronger baseline is the team of the `star` adapters (`STaR MA`): it has had as much
 * training as MALT, so what MALT gains over it is due to the pairs and not to more training. A single agent's STaR is
 * `generator-sft`, because MALT trains its generator no further; `generator-star` exists where the generator is trained by
 * DPO too, and is compared with that (`generator STaR`).
 */
export type TrainingMethod = "sft" | "dpo" | "star";
export const trainingMethods: readonly TrainingMethod[] = ["sft", "dpo", "star"];

/**
 * Where the SFT of a run starts that was sampled with adapters of an earlier round. The paper trains one round, so it does not say.
 * - `base`, the default: fresh adapters on the base model, as STaR begins each of its rounds (Zelikman et al. 2022, Section 3.1). What a
 *   round learns then comes from its trees alone: mistakes and over-training do not add up over rounds, the learning rates and
 *   epochs keep their meaning, and rounds differ by their data.
 * - `sampled`: the adapters that the run was sampled with are trained on. Later rounds need fewer steps, and drift further.
 */
export type TrainingStart = "base" | "sampled";
export const trainingStarts: readonly TrainingStart[] = ["base", "sampled"];

/** Folder in train/ with the adapter that a role was sampled with, for stages that start from it. */
export const sampledStart = (role: string): string => `${role}-sampled`;

/** One adapter to train. */
export interface TrainingStage {
  /** `<role>-<method>`; names the stage's YAML file, its folder in train/ and the served adapter. */
  name: string;
  role: string;
  method: TrainingMethod;
  /** File in train/ that it learns from. */
  data: string;
  /** Examples or pairs in that file. */
  rows: number;
  /** The stage whose adapter it starts from, or `<role>-sampled`; null: a fresh adapter on the base model. */
  start: string | null;
  /** Passes over the data; null where `steps` decides. */
  epochs: number | null;
  /** Optimiser steps that the trainer takes, unless it drops rows. */
  steps: number;
  /** Peak learning rate. */
  rate: number;
}

export interface PlanOptions {
  /** The team, in speaking order. A role that speaks with another's adapter is trained with that role. */
  roles: readonly Pick<Role, "name" | "template" | "adapter">[];
  settings: TrainingSettings;
  /** Rows of a file in train/, such as `verifier-dpo.jsonl`. */
  rows: (file: string) => number;
  /**
   * Mean tokens of a row of such a file, a pair's prompt counted twice (tokens.ts); undefined where they were not counted.
   * Then an example is taken to be as long as each half of a pair.
   */
  tokens?: ((file: string) => number | undefined) | undefined;
  /** Names of the roles to train; default all. */
  only?: readonly string[] | undefined;
  /** Default all. A stage that another one starts from is always in the plan; the trainer skips it when it is done. */
  stages?: readonly TrainingMethod[] | undefined;
  /**
   * DPO for the generator too? Default false, as in the paper: it hurts Llama-3.1-8B-Instruct (52.25 → 51.25 % on
   * MATH) and helps Qwen-2.5-1.5B-Base (68.75 % on GSM8K).
   */
  generatorDpo?: boolean | undefined;
  /** Roles whose SFT starts from the adapter that they were sampled with; none by default. */
  goOn?: readonly string[] | undefined;
}

/**
 * What training on one token costs, in forward passes: a forward pass 1, a backward pass 2, and in DPO the forward pass
 * of the reference 1. Approximate: with frozen base weights a backward pass costs somewhat less than 2.
 */
export const passesPerToken: Readonly<Record<TrainingMethod, number>> = { sft: 3, dpo: 4, star: 3 };

/**
 * The stages in training order: SFT of every role, then DPO, then STaR.
 * @throws InputError on an unknown role or method, nothing to do, or a stage without a single row
 */
export function trainingPlan(options: PlanOptions): TrainingStage[] {
  const { settings, rows, stages = trainingMethods, generatorDpo = false } = options;
  const roles = chosenRoles(options);
  for (const method of stages) {
    if (!trainingMethods.includes(method))
      throw new InputError(`unknown stage "${method}"; known: ${trainingMethods.join(", ")}`);
  }
  const preferring = roles.filter(({ template }) => generatorDpo || template !== "generator");
  const stepsOf = (file: string, epochs: number) => Math.ceil(epochs * Math.ceil(rows(file) / settings.batchSize));

  const sft = roles.map(({ name: role }): TrainingStage => {
    const data = `${role}-sft.jsonl`;
    const epochs = settings.sftEpochs ?? epochsBySize(rows(data), settings.sftTexts);
    const size = { rows: rows(data), epochs, steps: stepsOf(data, epochs) };
    const start = options.goOn?.includes(role) ? sampledStart(role) : null;
    return { name: `${role}-sft`, role, method: "sft", data, start, rate: settings.sftLearningRate, ...size };
  });
  const dpo = preferring.map(({ name: role }): TrainingStage => {
    const data = `${role}-dpo.jsonl`;
    const epochs = settings.dpoEpochs ?? epochsBySize(rows(data), settings.dpoPairs);
    const size = { rows: rows(data), epochs, steps: stepsOf(data, epochs) };
    return {
      name: `${role}-dpo`,
      role,
      method: "dpo",
      data,
      start: `${role}-sft`,
      rate: settings.dpoLearningRate,
      ...size,
    };
  });
  /** Forward passes of a step, on average: the last batch of an epoch may be smaller. */
  const costOfStep = (method: "dpo" | "star", data: string, tokens: number) =>
    (passesPerToken[method] * tokens * rows(data)) / Math.ceil(rows(data) / settings.batchSize);
  const star = dpo.map(({ role, data: pairs, steps }): TrainingStage => {
    const data = `${role}-sft.jsonl`;
    const [ofPair, ofExample] = [options.tokens?.(pairs), options.tokens?.(data)];
    const [pair, example] = ofPair && ofExample ? [ofPair, ofExample] : [2, 1];
    const ratio = costOfStep("dpo", pairs, pair) / costOfStep("star", data, example);
    const size = { rows: rows(data), epochs: null, steps: steps && Math.max(1, Math.round(steps * ratio)) };
    return {
      name: `${role}-star`,
      role,
      method: "star",
      data,
      start: `${role}-sft`,
      rate: settings.sftLearningRate,
      ...size,
    };
  });

  const wanted = [...sft, ...dpo, ...star].filter(({ method }) => stages.includes(method));
  if (wanted.length === 0)
    throw new InputError(
      `nothing to train: ${stages.join(", ")} of ${roles.map(({ name }) => name).join(", ")} is no stage; a generator has ` +
        "dpo and star only with generator DPO",
    );
  const needed = new Set(wanted.map(({ start }) => start));
  const plan = [...sft.filter(({ name }) => needed.has(name) && !wanted.some((s) => s.name === name)), ...wanted];
  for (const { name, data, rows, steps } of plan) {
    if (rows === 0 || steps === 0)
      throw new InputError(
        `stage ${name} has nothing to learn from (${data}: ${rows} rows): no output of this role is on the right side of ` +
          "the threshold; sample more questions, or choose other --roles or --stages",
      );
  }
  return plan;
}

/**
 * The compute of STaR as a share of DPO's, by role, from the tokens that the trainer counted. 1 where they are equal; steps
 * are whole, so a short stage may be off by half a step.
 * @param stages finished ones; a role without both, or whose tokens were not counted, is left out
 */
export function starCompute(
  stages: readonly { role: string; method: TrainingMethod; record: { tokens: number | null } }[],
): Map<string, number> {
  const cost = (role: string, method: TrainingMethod) => {
    const tokens = stages.find((stage) => stage.role === role && stage.method === method)?.record.tokens;
    return (tokens ?? Number.NaN) * passesPerToken[method];
  };
  const shares = [...new Set(stages.map(({ role }) => role))].map(
    (role) => [role, cost(role, "star") / cost(role, "dpo")] as const,
  );
  return new Map(shares.filter(([, share]) => Number.isFinite(share)));
}

/** Whole passes over `rows` texts that come nearest to `texts`, within the paper's 1 … 10 (A.9). */
function epochsBySize(rows: number, texts: number): number {
  return Math.min(10, Math.max(1, Math.round(texts / Math.max(1, rows))));
}

function chosenRoles({ roles: team, only }: PlanOptions): PlanOptions["roles"] {
  const shared = team.find(({ name, adapter }) => adapter !== undefined && only?.includes(name));
  if (shared)
    throw new InputError(
      `role "${shared.name}" speaks with the adapter of "${shared.adapter}"; train that role, and both are`,
    );
  const roles = team.filter(({ adapter }) => adapter === undefined);
  const known = roles.map(({ name }) => name);
  const unknown = only?.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new InputError(`unknown role "${unknown}"; this run has: ${known.join(", ")}`);
  return only ? roles.filter(({ name }) => only.includes(name)) : roles;
}
