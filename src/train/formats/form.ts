/**
 * What a trainer's own files are made of: its form of the rows, a file a stage, and what a reader must know. One trainer a
 * file beside this one; write.ts writes them. Pure.
 */
import type { TrainingSettings } from "../../models/training.js";
import type { Message } from "../../types.js";
import type { TrainingStage } from "../plan.js";

/** A row of train/<role>-sft.jsonl or of train/<role>-dpo.jsonl. */
export type TrainingRow =
  | { prompt: readonly Message[]; completion: readonly Message[] }
  | { prompt: readonly Message[]; chosen: readonly Message[]; rejected: readonly Message[] };

export interface FormOptions {
  /** Folder or hub name of the weights that were sampled. */
  baseModel: string;
  settings: TrainingSettings;
  seed: number;
}

/** A trainer that a plan can be written for. */
export interface TrainerForm {
  /** The trainer and the version whose own loader the files were checked with. */
  title: string;
  /** A row in its form. */
  row(row: TrainingRow): object;
  /** The content of `<stage>.yaml`. */
  stage(stage: TrainingStage, options: FormOptions): string;
  /** Further files by name. */
  others(plan: readonly TrainingStage[]): Record<string, string>;
  /** Programs of python/ that go with the files. */
  scripts: readonly string[];
  /** Shell commands that train a stage, in the written folder; `next`: whether DPO starts from it. */
  commands(stage: TrainingStage, next: boolean): string[];
  /** How it chooses DPO's reference, and what was done about it. */
  reference: string;
  /** What else is different from this project's own trainer. */
  notes: readonly string[];
}

/** How often a stage passes over its data, under the trainer's names for it. */
export function lengthOf<A extends string, B extends string>(
  { epochs, steps }: TrainingStage,
  names: { epochs: A; steps: B },
): Record<string, number> {
  return epochs === null ? { [names.steps]: steps } : { [names.epochs]: epochs };
}

/** Sequences of a step at a time, and how often. */
export const batchesOf = ({ batchSize, microBatchSize }: TrainingSettings) => ({
  micro: microBatchSize,
  accumulation: batchSize / microBatchSize,
});
