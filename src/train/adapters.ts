/**
 * The LoRA adapters that a run has trained: train/<stage>/ with its weights and done.json, as python/train.py writes
 * it, and the team that they make up. Scope: listing and identifying them. What it leaves out: training (train.ts), serving
 * (models/).
 */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { InputError, RunError } from "../errors.js";
import { parseJson } from "../json.js";
import { readManifest, runDir, type TeamAdapters } from "../run/manifest.js";
import { findSystems, neededAdapters, type System } from "../team/systems.js";

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

/**
 * The adapters that systems need.
 * @param run name of the run, for the error
 * @throws InputError that says which are missing and how to train them
 */
export function adaptersFor(
  systems: readonly System[],
  trained: ReadonlyMap<string, TrainedAdapter>,
  run: string,
): TrainedAdapter[] {
  const names = neededAdapters(systems);
  const missing = names.filter((name) => !trained.has(name));
  const more = missing.some((name) => /^generator\b.*-(dpo|star)$/.test(name)) ? " --generator-dpo" : "";
  if (missing.length > 0)
    throw new InputError(
      `run "${run}" has no trained ${missing.join(", ")}; train with \`malt train --run ${run}${more}\`, or choose ` +
        "--systems that need none",
    );
  return names.map((name) => trained.get(name)!);
}

/** The file that llama.cpp loads. @throws InputError if it was not written */
export function ggufOf({ name, gguf, folder }: TrainedAdapter): string {
  if (gguf) return gguf;
  throw new InputError(
    `adapter ${name} has no GGUF file in ${folder} (train/trainer.log of the run says why); train it again, or serve it with vLLM (--base-url)`,
  );
}

/**
 * The team that an earlier run has trained, to sample another round with it.
 * @param system whose adapters, by name or as it is; MALT by default
 * @returns what sampleRun takes as `adapters`, and the adapters themselves, for a server
 * @throws InputError for an unknown system, one without adapters, or one that is not trained; RunError if there is no such run
 */
export async function teamAdapters(
  run: string,
  { system: given = "MALT", outputs }: { system?: string | System | undefined; outputs?: string | undefined } = {},
): Promise<{ adapters: TeamAdapters; trained: TrainedAdapter[] }> {
  const dir = runDir(run, outputs);
  const { config, benchmark } = await readManifest(dir);
  const [system] = typeof given === "string" ? findSystems([given], config.roles) : [given];
  const { name, roles, adapters } = system!;
  const trained = adaptersFor([system!], await trainedAdapters(dir), run);
  if (trained.length === 0)
    throw new InputError(`system "${name}" speaks with the base model; name a trained one, such as MALT`);
  const speakers = roles.flatMap((role) => {
    const own = trained.find((adapter) => adapter.name === adapters[role.name]);
    return own ? [[role.name, { name: own.name, sha256: own.sha256 }] as const] : [];
  });
  const own = { run, questions_sha256: benchmark.questions_sha256 };
  const learned = [own, ...(config.adapters?.learned ?? [])];
  return { adapters: { run, system: name, roles: Object.fromEntries(speakers), learned }, trained };
}
