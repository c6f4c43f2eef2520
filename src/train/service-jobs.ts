/**
 * A training plan as the jobs of a fine-tuning service: what each learns from, with which hyperparameters, and what all of
 * it costs. The files are made here too; service.ts sends them.
 */
import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { openaiExample, openaiPair } from "../dataset/openai-form.js";
import { InputError } from "../errors.js";
import { linesOf } from "../lines.js";
import type { FineTuningMethod } from "../policy/fine-tuning.js";
import type { TrainingRow } from "./formats/form.js";
import type { TrainingStage } from "./plan.js";
import type { PlannedTraining } from "./planned.js";

/** A file to upload. */
export interface ServiceFile {
  /** Names the run, the rows and their bytes, so that the same file is found again. */
  name: string;
  content: Buffer;
  sha256: string;
  rows: number;
}

/** A stage as a job. */
export interface ServiceJob {
  stage: TrainingStage;
  file: ServiceFile;
  method: FineTuningMethod;
  /** Tokens that it trains on, over all epochs; null where they were not counted. */
  tokens: number | null;
}

/** The most that the API documents, and the least. */
const bounds = { epochs: 50, batchSize: 256, beta: 2, bytes: 512e6, rows: 10 };

/**
 * The jobs of a plan. The service takes whole epochs alone: STaR, which is planned in steps, gets the nearest number.
 * @param multiplier of the service's own learning rate; 0.1 in the paper (A.9)
 * @throws InputError where the API documents a bound that a job breaks
 */
export async function serviceJobs(
  run: string,
  { plan, folder, settings, tokens }: Pick<PlannedTraining, "plan" | "folder" | "settings" | "tokens">,
  multiplier: number,
): Promise<ServiceJob[]> {
  const { batchSize, beta } = settings;
  const files = new Map<string, ServiceFile>();
  for (const { data } of plan) files.set(data, files.get(data) ?? (await serviceFile(run, join(folder, data))));
  return plan.map((stage) => {
    const file = files.get(stage.data)!;
    const epochs = stage.epochs ?? Math.max(1, Math.round(stage.steps / Math.ceil(stage.rows / batchSize)));
    const refuse = (what: string) => {
      throw new InputError(`stage ${stage.name}: ${what}`);
    };
    if (!Number.isInteger(epochs) || epochs > bounds.epochs)
      refuse(
        `a fine-tuning service takes 1 to ${bounds.epochs} whole epochs, not ${epochs}; give others with --epochs`,
      );
    if (batchSize > bounds.batchSize) refuse(`a batch holds at most ${bounds.batchSize} rows, not ${batchSize}`);
    if (stage.method === "dpo" && beta > bounds.beta) refuse(`β is at most ${bounds.beta}, not ${beta}`);
    if (file.content.length > bounds.bytes)
      refuse(`${basename(file.name)} has ${file.content.length} bytes; a file has at most ${bounds.bytes}`);
    const hyperparameters = { n_epochs: epochs, batch_size: batchSize, learning_rate_multiplier: multiplier };
    const method: FineTuningMethod =
      stage.method === "dpo"
        ? { type: "dpo", dpo: { hyperparameters: { ...hyperparameters, beta } } }
        : { type: "supervised", supervised: { hyperparameters } };
    const each = tokens.get(stage.data);
    return { stage, file, method, tokens: each === undefined ? null : Math.round(each * stage.rows * epochs) };
  });
}

/** A training file in the service's form. */
async function serviceFile(run: string, path: string): Promise<ServiceFile> {
  const lines: string[] = [];
  for await (const { text } of linesOf(path)) {
    if (text.trim() === "") continue;
    const row = JSON.parse(text) as TrainingRow;
    lines.push(`${JSON.stringify("completion" in row ? openaiExample(row) : openaiPair(row))}\n`);
  }
  const content = Buffer.from(lines.join(""));
  const sha256 = createHash("sha256").update(content).digest("hex");
  const name = `${run}-${basename(path, ".jsonl")}-${sha256.slice(0, 12)}.jsonl`;
  return { name, content, sha256, rows: lines.length };
}

/** Hyperparameters of a job, whatever its method is. */
export const hyperparametersOf = (method: FineTuningMethod) =>
  method.type === "dpo" ? method.dpo.hyperparameters : method.supervised.hyperparameters;

/** What is in doubt about the jobs: each a sentence. */
export function serviceDoubts(jobs: readonly ServiceJob[], batchSize: number): string[] {
  const doubts = jobs
    .filter(({ file }) => file.rows < bounds.rows)
    .map(
      ({ stage, file }) => `${stage.name} has ${file.rows} rows; OpenAI takes no file with fewer than ${bounds.rows}`,
    );
  for (const { stage, method } of jobs) {
    const steps = hyperparametersOf(method).n_epochs * Math.ceil(stage.rows / batchSize);
    if (stage.epochs === null && steps !== stage.steps)
      doubts.push(`${stage.name} is planned with ${stage.steps} steps; whole epochs make ${steps}`);
  }
  return doubts;
}
