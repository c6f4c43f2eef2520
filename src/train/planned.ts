/**
 * What a run's training consists of, checked before anything starts: the files of the export, no test question among them,
 * and the stages with their sizes. It is the same wherever it is trained: here (train.ts), by another trainer (write.ts) or
 * by a service (service.ts).
 */
import { existsSync } from "node:fs";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import * as z from "zod";
import { checkHeldOut } from "../benchmarks/held-out.js";
import { loadQuestions } from "../benchmarks/load.js";
import { RunError } from "../errors.js";
import { modelOfRun } from "../models/choose.js";
import { type Model, models } from "../models/table.js";
import { type TrainingSettings, trainingSettings } from "../models/training.js";
import { arithmetic, isInPackage } from "../paths.js";
import { type Manifest, readManifest, readQuestions, runDir } from "../run/manifest.js";
import { speaksAs } from "../team/teams.js";
import type { Question } from "../types.js";
import { checkTrainingPrompts } from "./leak.js";
import { type TrainingMethod, type TrainingStage, trainingPlan } from "./plan.js";
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
  checkHeldOut(questions, await heldOutQuestions(questions, options.heldOut));
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
  const plan = trainingPlan({ roles, settings, ...sizes, only, stages, generatorDpo });
  // A row that is named for its settings must not bring its weights along: those that were sampled are trained.
  const sampled = manifest.server.weights || model.name === own.name ? own : model;
  const exampleWeights = exported !== undefined && exported.weights !== "none";
  return { plan, folder, manifest, settings, sampled, tokens, exampleWeights };
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
