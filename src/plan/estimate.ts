/**
 * What a study takes before it is begun: completions, tokens, steps, hours, disk, dollars, and the chance that its evaluation
 * finds what the paper reports. Arithmetic on the study's own numbers or on a pilot's (pilot.ts). Pure.
 */
import type { PublishedRow } from "../evaluate/published.js";
import { modelOfProfile } from "../models/table.js";
import { trainingSettings } from "../models/training.js";
import { powerOf, questionsNeeded } from "../stats/power.js";
import { maltRoles } from "../team/prompts.js";
import { findSystems, type System } from "../team/systems.js";
import { passesPerToken, type TrainingStage, trainingPlan } from "../train/plan.js";
import type { Experiment, RoleExpectation } from "./file.js";

/** What the arithmetic starts from. */
export interface Rates {
  /** Where the numbers are from, for the reader. */
  source: string;
  /** By role. */
  roles: Readonly<Record<string, RoleExpectation>>;
  /** Mean tokens of a training row by file, where they were measured; else they follow from `roles`. */
  rowTokens: ReadonlyMap<string, number>;
  /** null where unknown. Tokens per second of all GPUs together. */
  completionRate: number | null;
  trainingRate: number | null;
  /** Of the journal, a completion. */
  bytesPerCompletion: number | null;
  adapterBytes: number | null;
  discordance: number;
}

/** Model work of one step of a study. */
export interface Amount {
  requests: number;
  completions: number;
  promptTokens: number;
  completionTokens: number;
  /** null where no throughput is known. */
  hours: number | null;
}

/** A comparison that the evaluation will make. */
export interface PlannedComparison {
  system: string;
  /** Share by which the paper's MALT is better. */
  difference: number;
  /** Chance that it is found at level 0.05; and after Bonferroni's correction for all comparisons of the table. */
  power: number;
  corrected: number;
  /** Different questions that 80 % need at level 0.05. */
  needed: number;
}

export interface ExperimentEstimate {
  sampling: Amount & {
    byRole: { role: string; completions: number; promptTokens: number; completionTokens: number }[];
  };
  stages: (TrainingStage & { tokens: number; hours: number | null })[];
  evaluation: Amount;
  /** Different questions that the seeds together draw, on average. */
  evaluated: number;
  disk: { journals: number; adapters: number | null };
  hours: number | null;
  gpuHours: number | null;
  dollars: number | null;
  power: PlannedComparison[];
}

/** Bytes of a completion in the journal where none was measured: its text, about 4.5 bytes a token, and 500 of keys and counts. */
const journalBytes = (tokens: number) => 4.5 * tokens + 500;

/** @param published the rows of the paper for this benchmark; empty where it has none */
export function estimateExperiment(
  study: Experiment,
  rates: Rates,
  published: readonly PublishedRow[],
): ExperimentEstimate {
  const { sample, evaluate, hardware } = study;
  const roles = maltRoles(sample.branching);
  const hoursOf = (completionTokens: number) =>
    rates.completionRate === null ? null : completionTokens / rates.completionRate / 3600;

  // One request a state: the choices of a state share its prompt.
  const byRole = roles.map(({ name: role }, depth) => {
    const requests = sample.size * sample.branching ** depth;
    const { prompt, completion } = rates.roles[role]!;
    const completions = requests * sample.branching;
    return { role, requests, completions, promptTokens: requests * prompt, completionTokens: completions * completion };
  });
  const total = totals(byRole);
  const sampling = { ...total, byRole, hours: hoursOf(total.completionTokens) };

  const asked = totals(evaluationWork(findSystems(evaluate.systems), rates));
  const times = evaluate.size * evaluate.seeds;
  const evaluation = {
    requests: asked.requests * times,
    completions: asked.completions * times,
    promptTokens: asked.promptTokens * times,
    completionTokens: asked.completionTokens * times,
    hours: hoursOf(asked.completionTokens * times),
  };

  const stages = plannedStages(study, rates);
  const perCompletion = (work: Amount) =>
    rates.bytesPerCompletion ?? journalBytes(work.completionTokens / Math.max(1, work.completions));
  const journals = [sampling, evaluation].reduce((sum, work) => sum + work.completions * perCompletion(work), 0);
  const adapters = rates.adapterBytes === null ? null : rates.adapterBytes * stages.length;

  const parts = [sampling.hours, evaluation.hours, ...stages.map(({ hours }) => hours)];
  const hours = parts.includes(null) ? null : (parts as number[]).reduce((sum, each) => sum + each, 0);
  const gpuHours = hours === null ? null : hours * hardware.gpus;
  const { dollars_per_gpu_hour: price } = hardware;
  const dollars = gpuHours === null || price === undefined ? null : gpuHours * price;

  const { pool, size, seeds } = evaluate;
  const evaluated = pool * (1 - (1 - size / pool) ** seeds);
  const power = comparisons(published, rates.discordance, evaluated);
  return { sampling, stages, evaluation, evaluated, disk: { journals, adapters }, hours, gpuHours, dollars, power };
}

function totals(parts: readonly Omit<Amount, "hours">[]): Omit<Amount, "hours"> {
  const sum = (name: keyof Omit<Amount, "hours">) => parts.reduce((all, part) => all + part[name], 0);
  return {
    requests: sum("requests"),
    completions: sum("completions"),
    promptTokens: sum("promptTokens"),
    completionTokens: sum("completionTokens"),
  };
}

/** The stages as they will be planned from the rows that are expected. */
function plannedStages(study: Experiment, rates: Rates): ExperimentEstimate["stages"] {
  const { stages: methods, generator_dpo: generatorDpo, epochs } = study.train;
  const changes = { sftEpochs: epochs, dpoEpochs: epochs };
  const settings = trainingSettings(modelOfProfile(study.profile).training, changes);
  const of = (file: string) => {
    const [, role, kind] = /^(.+)-(sft|dpo)\.jsonl$/.exec(file)!;
    return { role: rates.roles[role!]!, isPairs: kind === "dpo" };
  };
  const rows = (file: string) => {
    const { role, isPairs } = of(file);
    return Math.round(study.sample.size * (isPairs ? role.pairs : role.sft));
  };
  const tokens = (file: string) => {
    const { role, isPairs } = of(file);
    return rates.rowTokens.get(file) ?? (isPairs ? 2 : 1) * (role.prompt + role.completion);
  };
  return trainingPlan({ roles: maltRoles(), settings, rows, tokens, stages: methods, generatorDpo }).map((stage) => {
    const passes = stage.epochs ?? stage.steps / Math.ceil(stage.rows / settings.batchSize);
    const trained = passes * stage.rows * tokens(stage.data);
    const relative = passesPerToken[stage.method] / passesPerToken.sft;
    const hours = rates.trainingRate === null ? null : (trained * relative) / rates.trainingRate / 3600;
    return { ...stage, tokens: trained, hours };
  });
}

/** The completions of one question that systems need, each once: in an evaluation systems share what they say alike. */
function evaluationWork(systems: readonly System[], rates: Rates): Omit<Amount, "hours">[] {
  const known = new Map<string, Omit<Amount, "hours">>();
  const of = (role: string) => rates.roles[role]!;
  for (const { roles, adapters, votes, debate } of systems) {
    const speakers = roles.map(({ branching: _, ...role }) => JSON.stringify([role, adapters[role.name] ?? null]));
    const first = of(roles[0]!.name);
    // The first turns of all passes are the choices of one request; every later turn has a prompt of its own.
    known.set(speakers[0]!, { requests: 1, completions: 0, promptTokens: first.prompt, completionTokens: 0 });
    const turn = (key: string, role: RoleExpectation, promptTokens: number) =>
      known.set(key, {
        requests: Number(promptTokens > 0),
        completions: 1,
        promptTokens,
        completionTokens: role.completion,
      });
    for (let pass = 0; pass < votes; pass++) {
      for (const [depth, { name }] of roles.entries())
        turn(`${pass} ${speakers.slice(0, depth + 1)}`, of(name), depth === 0 ? 0 : of(name).prompt);
      // In a later round of a debate an agent reads what all of them said before.
      for (let round = 1; round < (debate?.rounds ?? 1); round++)
        turn(`${pass} ${speakers[0]} debate of ${votes}, ${round}`, first, first.prompt + votes * first.completion);
    }
  }
  return [...known.values()];
}

/** MALT against every other system that the paper has, as far as MALT is better there. */
function comparisons(published: readonly PublishedRow[], discordance: number, questions: number): PlannedComparison[] {
  const malt = published.find(({ system }) => system === "MALT")?.accuracy;
  const others = published.filter(({ system, accuracy }) => system !== "MALT" && accuracy !== null);
  if (malt === undefined || malt === null) return [];
  return others.flatMap(({ system, accuracy }) => {
    const difference = malt - accuracy!;
    if (difference <= 0) return [];
    // Two systems disagree at least as often as they differ.
    const design = { difference, discordance: Math.max(discordance, difference) };
    const asked = Math.floor(questions);
    return {
      system,
      difference,
      power: powerOf(asked, design),
      corrected: powerOf(asked, { ...design, alpha: 0.05 / others.length }),
      needed: questionsNeeded(design),
    };
  });
}
