/**
 * The steps that do what a study's file plans, as commands of this command line, and whether a run has the result of each: so
 * a study that was stopped goes on with the first step that lacks one, and asks no server in vain. What it leaves out: running
 * the commands (cli/run.ts).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { loadQuestions } from "../benchmarks/load.js";
import { modelOfProfile } from "../models/table.js";
import { findManifest, type Manifest, runDir } from "../run/manifest.js";
import { findSystems, neededAdapters } from "../team/systems.js";
import { plannedTraining } from "../train/planned.js";
import { trainedStages } from "../train/record.js";
import type { Experiment } from "./file.js";

/** What a person adds to a study's file: where each step is done, and by which server. */
export interface StepFlags {
  /** Of `malt sample` and `malt evaluate`; without a server's address or command the embedded one is asked. */
  serving?: readonly string[];
  /** Whether the model is asked for by its name, at a server that is not embedded. */
  isServed: boolean;
  /** Of all three steps that take long: `--on` and what belongs to it. */
  sampling?: readonly string[];
  training?: readonly string[];
}

/** A step: the words of its command, and whether its result is there. */
export interface PlannedStep {
  name: "sample" | "export" | "train" | "evaluate" | "report";
  words: string[];
  /** Never for the report, which takes no time. */
  isDone(outputs?: string): Promise<boolean>;
}

/** The steps of a study, in order; without stages nothing is trained, and the base model alone is evaluated. */
export function stepsOf(study: Experiment, flags: StepFlags): PlannedStep[] {
  const { model, profile, sample, train, evaluate } = study;
  const run = ["--run", study.study];
  const { serving = [], sampling = [], training = [], isServed } = flags;
  const asked = isServed ? ["--model", model] : ["--profile", profile];
  const one = (flag: string, value: string | number | undefined) => (value === undefined ? [] : [flag, `${value}`]);
  const steps: PlannedStep[] = [
    {
      name: "sample",
      words: [
        ...["sample", ...run, "--questions", sample.questions, "--limit", `${sample.size}`, ...asked],
        ...["--branching", `${sample.branching}`, "--temperature", `${sample.temperature}`],
        ...["--max-tokens", `${sample.max_tokens}`, ...serving, ...sampling],
      ],
      isDone: async (outputs) => isSampled(study, await findManifest(runDir(study.study, outputs))),
    },
    { name: "export", words: ["export", ...run], isDone: (outputs) => isExported(runDir(study.study, outputs)) },
    {
      name: "train",
      words: [
        ...["train", ...run, "--profile", profile, "--stages", train.stages.join(",")],
        ...(train.generator_dpo ? ["--generator-dpo"] : []),
        ...one("--epochs", train.epochs),
        ...(isServed ? ["--base-model", model] : []),
        ...training,
      ],
      isDone: (outputs) => isTrained(study, outputs),
    },
    {
      name: "evaluate",
      words: [
        ...["evaluate", ...run, "--questions", evaluate.questions, "--systems", evaluate.systems.join(",")],
        ...["--size", `${evaluate.size}`, "--seeds", `${evaluate.seeds}`],
        ...(isServed ? ["--model", model] : []),
        ...[...serving, ...sampling],
      ],
      isDone: (outputs) => isEvaluated(study, runDir(study.study, outputs)),
    },
    { name: "report", words: ["report", ...run], isDone: async () => false },
  ];
  return train.stages.length > 0 ? steps : steps.filter(({ name }) => name !== "train");
}

/** A run of other settings counts as not sampled: the command then tells the difference. */
function isSampled({ sample }: Experiment, manifest: Manifest | null): boolean {
  if (!manifest) return false;
  const { counts, benchmark, config } = manifest;
  const { temperature, max_tokens } = config.sampling;
  return (
    counts.ok === counts.asked &&
    benchmark.questions <= sample.size &&
    temperature === sample.temperature &&
    max_tokens === sample.max_tokens &&
    config.roles.every(({ branching }) => branching === sample.branching)
  );
}

const exported = z.object({ nodes: z.number(), prompt_set_hash: z.string() });

async function isExported(dir: string): Promise<boolean> {
  const manifest = await findManifest(dir);
  const { success, data } = exported.safeParse(manifest?.export);
  if (!manifest || !success) return false;
  const files = ["nodes.parquet", "sft.parquet", "dpo.parquet"].map((name) => join(dir, name));
  const isWhole = data.nodes === manifest.counts.completions && data.prompt_set_hash === manifest.prompt_set_hash;
  return isWhole && files.every((path) => existsSync(path));
}

/** Whether every stage of the plan is trained on the data that is there, for as many steps. */
async function isTrained({ study, train, profile }: Experiment, outputs?: string): Promise<boolean> {
  const { plan } = await plannedTraining({
    ...{ run: study, model: modelOfProfile(profile), stages: train.stages, generatorDpo: train.generator_dpo },
    ...(outputs !== undefined && { outputs }),
    settings: { sftEpochs: train.epochs, dpoEpochs: train.epochs },
  });
  const trained = await trainedStages(runDir(study, outputs));
  return plan.every(({ name, steps }) =>
    trained.some(
      (stage) => stage.name === name && stage.current && (stage.record.steps === steps || stage.record.dropped > 0),
    ),
  );
}

const evaluated = z.object({
  size: z.number(),
  seeds: z.array(z.number()),
  systems: z.array(z.object({ name: z.string() })),
  adapters: z.record(z.string(), z.string()),
});

/** Whether these systems, with the adapters that are there, are in the tables. */
async function isEvaluated({ evaluate }: Experiment, dir: string): Promise<boolean> {
  const manifest = await findManifest(dir);
  if (!manifest || !existsSync(join(dir, "evaluation.parquet"))) return false;
  const [first] = await loadQuestions(evaluate.questions, { limit: 1 });
  const { success, data } = evaluated.safeParse(manifest.evaluation?.[first!.benchmark]);
  if (!success || data.size !== evaluate.size || data.seeds.length !== evaluate.seeds) return false;
  const systems = findSystems(evaluate.systems, manifest.config.roles);
  const trained = new Map((await trainedStages(dir)).map(({ name, sha256 }) => [name, sha256]));
  return (
    systems.every(({ name }) => data.systems.some((each) => each.name === name)) &&
    neededAdapters(systems).every((name) => data.adapters[name] === trained.get(name))
  );
}
