/**
 * The results of a training: finished adapters, metrics, and the `training` section of run.json. Everything is read
 * from the stages' own folders in train/, so it can be derived again at any time.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import * as z from "zod";
import { openDataset } from "../dataset/export.js";
import { writeTable } from "../dataset/parquet.js";
import { RunError } from "../errors.js";
import { parseJson } from "../json.js";
import { lockSoon } from "../run/lock.js";
import { hash, readManifest, writeManifest } from "../run/manifest.js";
import { type TrainedAdapter, trainedAdapters } from "./adapters.js";
import { type TrainingMethod, trainingMethods } from "./plan.js";

const doneShape = z.looseObject({
  stage: z.string(),
  examples: z.number().optional(),
  pairs: z.number().optional(),
  identical_after_truncation: z.number().optional(),
  dropped: z.number(),
  steps: z.number(),
  loss: z.number().nullable(),
  tokens: z.number().nullable(),
  seconds: z.number().nullable(),
  device: z.string(),
  sha256: z.string(),
  start_sha256: z.string().nullable(),
  data_sha256: z.array(z.string()),
  config: z.looseObject({
    datasets: z.array(z.looseObject({ data_files: z.string() })),
    start_adapter: z.string().optional(),
  }),
  versions: z.record(z.string(), z.string()),
});

/** A trained adapter, and how it came to be. */
export interface TrainedStage extends TrainedAdapter {
  role: string;
  method: TrainingMethod;
  /** False if its data, or the adapter it started from, has changed since: then it belongs to an earlier training. */
  current: boolean;
  /** The trainer's own record (done.json), with every key of TRL it was given. */
  record: z.infer<typeof doneShape>;
}

/**
 * The adapters of a run that are trained to their end, in the order of methods, then of roles.
 * @param dir a run folder
 * @param roles in speaking order; others come last
 * @throws RunError if a done.json is damaged
 */
export async function trainedStages(dir: string, roles: readonly string[] = []): Promise<TrainedStage[]> {
  const stages: TrainedStage[] = [];
  for (const adapter of (await trainedAdapters(resolve(dir))).values()) {
    const { name, folder } = adapter;
    const method = trainingMethods.find((method) => name.endsWith(`-${method}`));
    if (!method) continue;
    const path = join(folder, "done.json");
    const record = doneShape.safeParse(parseJson(await readFile(path, "utf8")));
    if (!record.success) throw new RunError(`${path} is damaged; remove its folder and run \`malt train\` again`);
    const role = name.slice(0, -method.length - 1);
    const current = await isCurrent(join(resolve(dir), "train"), record.data);
    stages.push({ ...adapter, role, method, current, record: record.data });
  }
  for (const stage of stages) {
    const start = stages.find(({ name }) => name === stage.record.config.start_adapter);
    if (start && !start.current) stage.current = false;
  }
  const place = ({ role }: TrainedStage) => (roles.includes(role) ? roles.indexOf(role) : roles.length);
  return stages.sort(
    (a, b) => trainingMethods.indexOf(a.method) - trainingMethods.indexOf(b.method) || place(a) - place(b),
  );
}

async function isCurrent(folder: string, { data_sha256, start_sha256, config }: z.infer<typeof doneShape>) {
  const sha256 = async (path: string) => readFile(join(folder, path)).then(hash, () => null);
  const data = await Promise.all(config.datasets.map(({ data_files }) => sha256(data_files)));
  if (data.some((now, i) => now !== data_sha256[i])) return false;
  const { start_adapter: start } = config;
  return start === undefined || (await sha256(join(start, "adapter_model.safetensors"))) === start_sha256;
}

/** One row of train/metrics.parquet: a logged step. Columns that a method does not have are null. */
export interface MetricsRow {
  stage: string;
  role: string;
  method: TrainingMethod;
  step: number;
  /** Of the whole stage. */
  steps: number;
  epoch: number | null;
  loss: number;
  learning_rate: number | null;
  /** Means over the batch: β times the difference and each of the two log-ratios to the reference; nats. */
  margin: number | null;
  chosen_reward: number | null;
  rejected_reward: number | null;
  /** Share of pairs whose margin is positive. */
  preference_accuracy: number | null;
  /** Means over the batch of log p of the completion, in nats. */
  chosen_logp: number | null;
  rejected_logp: number | null;
  /** Share of the completions' tokens that are the policy's first choice; of the chosen ones in DPO. */
  token_accuracy: number | null;
  /** Of all steps so far, prompts included. */
  tokens: number | null;
  /** Since the stage's start, without pauses. */
  seconds: number;
}

const columns: Record<keyof MetricsRow, "VARCHAR" | "INTEGER" | "DOUBLE" | "BIGINT"> = {
  stage: "VARCHAR",
  role: "VARCHAR",
  method: "VARCHAR",
  step: "INTEGER",
  steps: "INTEGER",
  epoch: "DOUBLE",
  loss: "DOUBLE",
  learning_rate: "DOUBLE",
  margin: "DOUBLE",
  chosen_reward: "DOUBLE",
  rejected_reward: "DOUBLE",
  preference_accuracy: "DOUBLE",
  chosen_logp: "DOUBLE",
  rejected_logp: "DOUBLE",
  token_accuracy: "DOUBLE",
  tokens: "BIGINT",
  seconds: "DOUBLE",
};

/**
 * Writes train/metrics.parquet and the `training` section of run.json from the files in train/. Adapters that are no
 * longer current are left out of run.json.
 * @returns the trained stages
 * @throws RunError if the folder is no run, is being written, or cannot be written
 */
export async function recordTraining(dir: string): Promise<TrainedStage[]> {
  // Every process that follows a training records its end, such as a notebook and a terminal at the same moment.
  const unlock = await lockSoon(join(dir, "lock"));
  try {
    const manifest = await readManifest(dir);
    const stages = await trainedStages(
      dir,
      manifest.config.roles.map(({ name }) => name),
    );
    await writeMetrics(dir, stages);
    const current = stages.filter((stage) => stage.current);
    const section = await Promise.all(
      current.map(async ({ name, role, method, folder, record }) => {
        const { stage: _, fingerprint: __, ...account } = record;
        const start = await readFile(join(folder, "start.json"), "utf8").then(
          (text) => parseJson(text) ?? null,
          () => null,
        );
        return { name, role, method, ...account, ...(start !== null && { start }) };
      }),
    );
    await writeManifest(dir, { ...manifest, training: { stages: section } });
    return stages;
  } finally {
    await unlock();
  }
}

async function writeMetrics(dir: string, stages: readonly TrainedStage[]): Promise<void> {
  const rows: MetricsRow[] = [];
  for (const stage of stages) rows.push(...(await loggedSteps(stage)));
  await writeTable(join(resolve(dir), "train", "metrics.parquet"), columns, rows);
}

/** The rows of a stage's metrics.jsonl. */
async function loggedSteps({ folder, role, method }: TrainedStage): Promise<MetricsRow[]> {
  const text = await readFile(join(folder, "metrics.jsonl"), "utf8").catch(() => "");
  const rows = text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as MetricsRow]));
  return rows.map((row) => ({ ...row, role, method }));
}

/**
 * Every logged step of a run's finished stages, in the order of stages and steps.
 * @param dir a run folder, or a folder that metrics.parquet was copied to
 * @throws RunError if there is no metrics.parquet
 */
export async function readMetrics(dir: string): Promise<MetricsRow[]> {
  if (!["train", "."].some((folder) => existsSync(join(dir, folder, "metrics.parquet"))))
    throw new RunError(`no train/metrics.parquet in ${dir}; train the run first, or check the folder`);
  const dataset = await openDataset(dir);
  try {
    return await dataset.query<MetricsRow>("SELECT * FROM training");
  } finally {
    dataset.close();
  }
}
