/** A study in one file: what is sampled, trained and compared, on which hardware, and what is expected of it. Reading and checking. */
import * as z from "zod";
import { InputError } from "../errors.js";
import { findSystems } from "../team/systems.js";
import { trainingMethods } from "../train/plan.js";
import { readYaml } from "../yaml-file.js";

const count = z.number().int().positive();
const rate = z.number().positive();
const share = z.number().min(0);

/** What one role's outputs are like: measured by a pilot, or stated. */
const roleShape = z.strictObject({
  /** Mean tokens of its prompt. */
  prompt: rate,
  /** Mean tokens of one output. */
  completion: rate,
  /** SFT examples and preference pairs that a question gives, on average. */
  sft: share,
  pairs: share,
});

const studyShape = z.strictObject({
  study: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/),
  /** The served model's name. */
  model: z.string().min(1),
  /** Row of the table of models whose settings training takes. */
  profile: z.string().default("vllm"),
  sample: z.strictObject({
    /** As `malt sample --questions` takes it. */
    questions: z.string(),
    /** How many. */
    size: count,
    /** n; n, n² and n³ outputs a question. */
    branching: count.default(3),
    temperature: z.number().min(0).default(0.3),
    max_tokens: count.default(1024),
  }),
  train: z
    .strictObject({
      stages: z.array(z.enum(trainingMethods as unknown as ["sft", "dpo", "star"])).default([...trainingMethods]),
      generator_dpo: z.boolean().default(false),
      /** By default 1 to 10, by the size of the data. */
      epochs: rate.optional(),
    })
    .default({ stages: [...trainingMethods], generator_dpo: false }),
  evaluate: z.strictObject({
    questions: z.string(),
    /** The benchmark's short name, for the paper's numbers. */
    benchmark: z.string(),
    /** Questions in that file, of which each seed draws `size`. */
    pool: count,
    systems: z.array(z.string()).default(["all"]),
    size: count.default(100),
    seeds: count.default(4),
  }),
  /** What holds as long as no pilot says otherwise. */
  expect: z.strictObject({
    generator: roleShape,
    verifier: roleShape,
    refiner: roleShape,
    /** Share of questions that exactly one of MALT and a baseline gets right. */
    discordance: z.number().gt(0).max(1),
  }),
  hardware: z.strictObject({
    name: z.string(),
    gpus: count.default(1),
    /** Of all GPUs together, prompts beside them included. */
    completion_tokens_per_second: rate.optional(),
    /** Of all GPUs together, in SFT; a token of DPO takes 4/3 of the time. */
    training_tokens_per_second: rate.optional(),
    dollars_per_gpu_hour: share.optional(),
    /** Trainable parameters of one adapter, 4 bytes each. */
    adapter_parameters: count.optional(),
  }),
});

/** A study; {@link readExperiment}. */
export type Experiment = z.infer<typeof studyShape>;
export type RoleExpectation = z.infer<typeof roleShape>;

/**
 * Reads a study's YAML file.
 * @throws InputError that names the file and the field
 */
export async function readExperiment(path: string): Promise<Experiment> {
  const read = studyShape.safeParse(await readYaml(path, "study"));
  if (!read.success) {
    const [issue] = read.error.issues;
    throw new InputError(`${path}: ${issue!.path.join(".") || "the file"}: ${issue!.message}`);
  }
  const { evaluate } = read.data;
  findSystems(evaluate.systems);
  if (evaluate.size > evaluate.pool)
    throw new InputError(`${path}: evaluate.size ${evaluate.size} is more than its pool of ${evaluate.pool} questions`);
  return read.data;
}
