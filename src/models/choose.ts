/**
 * Which model is meant: by a name of the table, by a GGUF file, by a file of the hub, or by what a run records. A file that
 * is given beside a name is served under that name, with the settings of that row.
 */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { InputError } from "../errors.js";
import { inPackage, recordedPath } from "../paths.js";
import type { WeightsFile } from "../types.js";
import { parseHub, parseHubSource } from "./hub.js";
import { anyModel, type Model, modelOfProfile, models, servedElsewhere, type Weights } from "./table.js";

/** Ways to name a model for the embedded server. */
export interface ModelChoice {
  /** A row of the table. */
  profile?: string | undefined;
  /** Path of a GGUF file. */
  modelFile?: string | undefined;
  /** OWNER/NAME[@REVISION][:FILE] on the Hugging Face hub. */
  hf?: string | undefined;
  /** Completions decoded at the same time. */
  parallel?: number | undefined;
  /** Tokens of prompt and completion together. */
  context?: number | undefined;
}

/** Whether a file is named, and not only a row of the table. */
export const namesFile = ({ modelFile, hf }: ModelChoice): boolean => modelFile !== undefined || hf !== undefined;

/**
 * The model that is chosen; by default the first of the table.
 * @throws InputError for an unknown profile, for two files, for a file of a model that is served elsewhere
 */
export function chosenModel(choice: ModelChoice): Model {
  const { profile } = choice;
  const row = profile === undefined ? (namesFile(choice) ? null : models[0]!) : modelOfProfile(profile);
  const weights = chosenWeights(choice);
  if (weights && row && !row.embedded)
    throw new InputError(`profile "${profile}" has no embedded server for a model file; choose another, or none`);
  return withSizes(weights ? withWeights(row ?? anyModel, weights) : row!, choice);
}

/** A model with the numbers that are chosen for the embedded server; as many requests are then in flight as it has slots. */
export function withSizes(model: Model, { parallel, context }: ModelChoice): Model {
  if (!model.embedded || (parallel === undefined && context === undefined)) return model;
  const embedded = { slots: parallel ?? model.embedded.slots, context: context ?? model.embedded.context };
  return { ...model, embedded, concurrency: parallel ?? model.concurrency };
}

/** A model with the weights of a file that is chosen, if one is; their bytes are those that its row names, if it does. */
export function withChosenFile(model: Model, choice: ModelChoice): Model {
  const weights = chosenWeights(choice);
  return weights ? withWeights(model, weights) : model;
}

/**
 * The model that a run was sampled from.
 * @param name the model's name in the run
 * @param file the file that the run records; none where it was sampled from a server elsewhere
 */
export function modelOfRun(name: string, file: WeightsFile | undefined, table: readonly Model[] = models): Model {
  const row = table.find((model) => model.name === name);
  if (!file) return row ?? servedElsewhere(table);
  if (row?.weights?.from === "package" && file.source.startsWith("package ")) return row;
  if (row?.weights?.from === "files" && recordedPath(row.weights.gguf) === file.source) return row;
  const gguf = [inPackage(file.source)].find(existsSync) ?? file.source;
  const weights: Weights = parseHubSource(file.source) ?? { from: "files", gguf, trainable: null };
  return { ...withWeights(row ?? anyModel, { ...weights, sha256: file.sha256 }), name };
}

/** A model's name where none is given: that of its file, in the letters that a name in a request may have. */
export const nameOfFile = (path: string): string =>
  basename(path)
    .replace(/\.gguf$/i, "")
    .replace(/[^\w.+-]+/g, "-")
    .replace(/^[-.]+|-+$/g, "") || "model";

type FileWeights = Extract<Weights, { from: "files" | "hub" }>;

function chosenWeights({ modelFile, hf }: ModelChoice): FileWeights | null {
  if (modelFile !== undefined && hf !== undefined)
    throw new InputError("--model-file and --hf name two models; leave one of them out");
  if (hf !== undefined) return parseHub(hf);
  return modelFile === undefined ? null : { from: "files", gguf: modelFile, trainable: null };
}

function withWeights(model: Omit<Model, "weights">, weights: FileWeights): Model {
  const { weights: own } = model as Partial<Model>;
  const sha256 = weights.sha256 ?? (own && own.from !== "package" ? own.sha256 : undefined);
  return { ...model, weights: { ...weights, sha256 } };
}
