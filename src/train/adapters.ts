/**
 * The LoRA adapters that a run has trained: train/<stage>/ with its weights and done.json, as python/train.py writes
 * it. Scope: listing and identifying them. What it leaves out: training (train.ts), serving (models/).
 */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { RunError } from "../errors.js";
import { parseJson } from "../json.js";

/** A trained adapter. */
export interface TrainedAdapter {
  /** Name of its stage, such as `verifier-dpo`; requests use this name. */
  name: string;
  /** SHA-256 of adapter_model.safetensors: part of the journal's key. */
  sha256: string;
  /** Folder with PEFT's files, which vLLM loads. */
  folder: string;
  /** The same for llama.cpp; null where it was not written. */
  gguf: string | null;
}

const done = z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/**
 * The finished adapters of a run folder, by name; unfinished stages are left out.
 * @throws RunError if a stage's done.json is damaged
 */
export async function trainedAdapters(runDir: string): Promise<Map<string, TrainedAdapter>> {
  const train = join(runDir, "train");
  const entries = await readdir(train, { withFileTypes: true }).catch(() => []);
  const adapters = new Map<string, TrainedAdapter>();
  for (const { name } of entries.filter((entry) => entry.isDirectory()).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const folder = join(train, name);
    const text = await readFile(join(folder, "done.json"), "utf8").catch(() => null);
    if (text === null) continue;
    const read = done.safeParse(parseJson(text));
    if (!read.success) throw new RunError(`${join(folder, "done.json")} is damaged; remove the folder and train again`);
    const gguf = join(folder, `${name}.gguf`);
    adapters.set(name, { name, folder, sha256: read.data.sha256, gguf: existsSync(gguf) ? gguf : null });
  }
  return adapters;
}
