/**
 * What a run knows about its jobs at a fine-tuning service: train/service.json, written before and after everything that
 * costs money, so that a process that died is followed by one that finds the same files and jobs. It holds no key.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { RunError } from "../errors.js";
import { parseJson } from "../json.js";

const stageShape = z.object({
  /** Identifies the job: service, model it starts from, method, file, seed. */
  key: z.string(),
  /** The model it starts from: the service's base model, or what an earlier job made. */
  model: z.string(),
  file: z.object({
    name: z.string(),
    sha256: z.string(),
    bytes: z.number(),
    rows: z.number(),
    id: z.string().nullable(),
  }),
  method: z.looseObject({ type: z.string() }),
  /** null until the service has confirmed it. */
  job: z.string().nullable(),
  /** The API's word; null until the job exists. */
  status: z.string().nullable(),
  /** The name to ask for; null until it has succeeded. */
  fine_tuned_model: z.string().nullable(),
  trained_tokens: z.number().nullable(),
  error: z.string().nullable(),
  /** Models of intermediate steps. */
  checkpoints: z.array(z.object({ step: z.number(), model: z.string() })),
});
export type ServiceStage = z.infer<typeof stageShape>;

const stateShape = z.object({
  schema: z.literal(1),
  /** Base URL. */
  service: z.string(),
  /** By stage name. */
  stages: z.record(z.string(), stageShape),
  /** Succeeded jobs of earlier data or settings: their models still exist. */
  earlier: z.array(stageShape.extend({ stage: z.string() })),
});
export type ServiceState = z.infer<typeof stateShape>;

export const serviceStatePath = (dir: string): string => join(dir, "train", "service.json");

/** The state of a run; null if none of its stages was given to a service. @throws RunError if the file is damaged */
export async function readServiceState(dir: string): Promise<ServiceState | null> {
  const path = serviceStatePath(dir);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw new RunError(`cannot read ${path} (${error.code}); make it readable`);
  });
  if (text === null) return null;
  const read = stateShape.safeParse(parseJson(text));
  if (read.success) return read.data;
  throw new RunError(
    `${path} is damaged; look up the jobs of this run at the service before you remove it, since it is what they are found by`,
  );
}

/** Replaces the file as a whole. */
export async function writeServiceState(dir: string, state: ServiceState): Promise<void> {
  const path = serviceStatePath(dir);
  await writeFile(`${path}.draft`, `${JSON.stringify(state, null, 1)}\n`);
  await rename(`${path}.draft`, path);
}

/** Whether a job has ended, one way or another. */
export const isOver = (status: string | null): boolean => ["succeeded", "failed", "cancelled"].includes(status ?? "");
