/**
 * What a run's training consists of, checked before anything starts: the files of the export, no test question among them,
 * and the stages with their sizes. It is the same wherever it is trained: here (train.ts), by another trainer (write.ts) or
 * by a service (service.ts).
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, rm } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import * as z from "zod";
import { checkHeldOut } from "../benchmarks/held-out.js";
import { loadQuestions } from "../benchmarks/load.js";
import { InputError, RunError } from "../errors.js";
import { modelOfRun } from "../models/choose.js";
import { type Model, models } from "../models/table.js";
import { type TrainingSettings, trainingSettings } from "../models/training.js";
import { arithmetic, isInPackage } from "../paths.js";
import { learnedQuestions } from "../run/learned.js";
import { type Manifest, readManifest, readQuestions, runDir } from "../run/manifest.js";
import { speaksAs } from "../team/teams.js";
import type { Question } from "../types.js";
import { type TrainedAdapter, trainedAdapters } from "./adapters.js";
import { checkTrainingPrompts } from "./leak.js";
import {
  sampledStart,
  type TrainingMethod,
  type TrainingStage,
  type TrainingStart,
  trainingPlan,
  trainingStarts,
} from "./plan.js";
import { tokensPerRow } from "./tokens.js";

/** What is trained, and with what. */
export interface PlannedOptions {
  /** Name of the run, the folder `<outputs>/runs/<run>`. */
  run: string;
  outputs?: string;
  /** Roles to train; default all of the run. */
  roles?: readonly string[] | undefined;
  /** Default sft, dpo and star. */
  stages?: readonly TrainingMethod[] | undefined;
  /** See {@link trainingPlan}; default false. */
  generatorDpo?: boolean | undefined;
  /** Changes to the model's settings. */
  settings?: { [K in keyof TrainingSettings]?: TrainingSettings[K] | undefined };
  /** Row of the table of models to take defaults and weights from; default: by the model that was sampled. */
  model?: Model | undefined;
  /** Folder or hub name of the weights that were sampled; default the model's own, where it has any. */
  baseModel?: string | undefined;
  /** Where the SFT of a run starts that was sampled with adapters; default `base`, see {@link TrainingStart}. */
  startFrom?: TrainingStart | undefined;
  /** Seed of the data order and of new adapters; default 0. */
  seed?: number | undefined;
  /**
   * Files of questions that must not be trained on; by default the arithmetic benchmark's test questions for that
   * benchmark.
   */
  heldOut?: readonly string[] | undefined;
}

/** A plan and what its numbers come from. */
export interface PlannedTraining {
  plan: TrainingStage[];
  manifest: Manifest;
  /** The run's train/, absolute. */
  folder: string;
  settings: TrainingSettings;
  /** The model whose weights were sampled. */
  sampled: Model;
  /** Mean tokens of a row by file name, see {@link tokensPerRow}. */
  tokens: ReadonlyMap<string, number>;
  /** Adapters that stages start from which the run was sampled with, by the role that speaks with them. */
  sampledAdapters: ReadonlyMap<string, TrainedAdapter>;
  /** Whether the supervised examples have weights (`malt export --weights`). */
  exampleWeights: boolean;
}

/**
 * Plans the training of an exported run.
 * @throws InputError on a wrong option, a test question, nothing to train; RunError if the run is not exported
 */
export async function plannedTraining(options: PlannedOptions): Promise<PlannedTraining> {
  const dir = runDir(options.run, options.outputs);
  const manifest = await readManifest(dir);
  const table = options.model ? [options.model, ...models] : models;
  const own = modelOfRun(manifest.config.policy.model, manifest.server.weights, table);
  const model = options.model ?? own;
  const settings = trainingSettings(model.training, options.settings);
  const folder = join(resolve(dir), "train");
  if (manifest.export && manifest.export.prompt_set_hash !== manifest.prompt_set_hash)
    throw new RunError(
      `the files in ${folder} were not exported with the prompts that run "${options.run}" was sampled with (SHA-256 ` +
        `${manifest.prompt_set_hash}); run \`malt export --run ${options.run}\` again, with the same options`,
    );
  const roles = manifest.config.roles;
  const questions = await readQuestions(dir);
  checkHeldOut(await learnedQuestions(dir), await heldOutQuestions(questions, options.heldOut));
  const speakers = [...new Set(roles.map(speaksAs))];
  const wanted = speakers.flatMap((name) => [`${name}-sft.jsonl`, `${name}-dpo.jsonl`]);
  const missing = wanted.find((name) => !existsSync(join(folder, name)));
  if (missing)
    throw new RunError(`${join(folder, missing)} does not exist; run \`malt export --run ${options.run}\` first`);
  const rows = await checkTrainingPrompts(
    wanted.map((name) => join(folder, name)),
    questions,
  );
  const exported = z
    .object({ options: z.object({ weights: z.string().default("none"), margins: z.boolean().default(false) }) })
    .safeParse(manifest.export).data?.options;
  if (settings.dpoMargin !== "none" && !exported?.margins)
    throw new RunError(
      `--dpo-margin ${settings.dpoMargin} needs the difference of values of each pair, which the pairs of run "${options.run}" do ` +
        `not have; run \`malt export --run ${options.run} --margins\` first, with the same options as before`,
    );
  const { roles: only, stages, generatorDpo } = options;
  const tokens = await tokensPerRow(dir, settings.maxLength, roles);
  const sizes = { rows: (file: string) => rows.get(file)!, tokens: (file: string) => tokens.get(file) };
  const sampledAdapters = await adaptersToGoOnFrom(manifest, options);
  const goOn = [...sampledAdapters.keys()];
  const plan = trainingPlan({ roles, settings, ...sizes, only, stages, generatorDpo, goOn });
  // A row that is named for its settings must not bring its weights along: those that were sampled are trained.
  const sampled = manifest.server.weights || model.name === own.name ? own : model;
  const exampleWeights = exported !== undefined && exported.weights !== "none";
  return { plan, folder, manifest, settings, sampled, tokens, sampledAdapters, exampleWeights };
}

/**
 * The adapters of the earlier round that the roles are trained on from, if they are to be.
 * @throws InputError if the run was sampled from the base model alone; RunError if the earlier round has trained others since
 */
async function adaptersToGoOnFrom(
  { run, config }: Manifest,
  { startFrom = "base", outputs }: PlannedOptions,
): Promise<ReadonlyMap<string, TrainedAdapter>> {
  if (!trainingStarts.includes(startFrom))
    throw new InputError(`startFrom must be one of ${trainingStarts.join(", ")}, not "${startFrom}"`);
  if (startFrom === "base") return new Map();
  const { adapters, roles } = config;
  if (!adapters)
    throw new InputError(
      `run "${run}" was sampled from the base model, so there are no adapters to go on from; leave --start-from out, or sample ` +
        "a run with --adapters",
    );
  const there = await trainedAdapters(runDir(adapters.run, outputs));
  const found = roles.flatMap((role) => {
    const wanted = adapters.roles[role.name];
    if (!wanted || role.adapter !== undefined) return [];
    const adapter = there.get(wanted.name);
    if (adapter?.sha256 === wanted.sha256) return [[role.name, adapter] as const];
    throw new RunError(
      `run "${run}" was sampled with ${wanted.name} of run "${adapters.run}" (SHA-256 ${wanted.sha256.slice(0, 12)}…), and that run ` +
        `now has ${adapter ? `another (${adapter.sha256.slice(0, 12)}…)` : "none of that name"}; train from the base model, or put it back`,
    );
  });
  return new Map(found);
}

/** The questions training must not see, by file. */
async function heldOutQuestions(questions: readonly Question[], files?: readonly string[]) {
  const own = arithmetic.test;
  const applies = questions.some(({ benchmark }) => benchmark === "arithmetic") && existsSync(own);
  const held = new Map<string, Question[]>();
  for (const file of files ?? (applies ? [own] : [])) held.set(file, await loadQuestions(file));
  return held;
}

/** A path as seen from a folder of the same checkout, so that both can be moved together; otherwise unchanged. */
export function portable(folder: string, path: string): string {
  if (!isAbsolute(path) || !isInPackage(folder) || !isInPackage(path)) return path;
  return relative(folder, path).split(sep).join("/");
}

/**
 * Copies the adapters of an earlier round that stages start from, so that they lie where every trainer finds them.
 * @param folder train/ of the run, or another folder with the files of its stages
 * @returns the files, relative to it
 */
export async function bringStarts(
  folder: string,
  { plan, sampledAdapters }: Pick<PlannedTraining, "plan" | "sampledAdapters">,
): Promise<string[]> {
  const copied: string[] = [];
  for (const [role, adapter] of sampledAdapters) {
    const start = sampledStart(role);
    if (!plan.some((stage) => stage.start === start)) continue;
    await rm(join(folder, start), { recursive: true, force: true });
    await mkdir(join(folder, start));
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      await copyFile(join(adapter.folder, name), join(folder, start, name));
      copied.push(join(start, name));
    }
  }
  return copied;
}
