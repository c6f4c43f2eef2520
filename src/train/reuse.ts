/**
 * Stages that another run has trained already, on the same data with the same settings: their folders are copied, and the
 * trainer, which compares fingerprints of its own, then finds them done. So cells of a study share what they have in common.
 */
import { cp, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import * as z from "zod";
import { parseJson } from "../json.js";
import { hash } from "../run/manifest.js";
import type { TrainingStage } from "./plan.js";

const doneShape = z.object({
  sha256: z.string(),
  start_sha256: z.string().nullable(),
  data_sha256: z.array(z.string()),
});

const textOf = (...path: string[]): Promise<string | null> => readFile(join(...path), "utf8").catch(() => null);

async function doneIn(folder: string, stage: string) {
  return doneShape.safeParse(parseJson((await textOf(folder, stage, "done.json")) ?? "")).data;
}

/**
 * Copies finished stages from other runs.
 * @param folder train/ of a run, with the YAML files and the data of the plan
 * @param plan in training order
 * @param others run folders, asked in this order
 * @returns the names of the stages that were copied
 */
export async function reuseStages(
  folder: string,
  plan: readonly TrainingStage[],
  others: readonly string[],
): Promise<string[]> {
  const copied: string[] = [];
  for (const { name, data, start } of plan) {
    if (await doneIn(folder, name)) continue;
    const [settings, sha256] = [await textOf(folder, `${name}.yaml`), hash(await readFile(join(folder, data)))];
    const began = start === null ? null : ((await doneIn(folder, start))?.sha256 ?? "not trained yet");
    for (const other of others.map((dir) => join(resolve(dir), "train"))) {
      const done = other === folder ? undefined : await doneIn(other, name);
      if (!done || done.data_sha256.join() !== sha256 || done.start_sha256 !== began) continue;
      if ((await textOf(other, `${name}.yaml`)) !== settings) continue;
      const draft = join(folder, `.${name}`);
      await rm(draft, { recursive: true, force: true });
      await cp(join(other, name), draft, { recursive: true });
      await rm(join(folder, name), { recursive: true, force: true });
      await rename(draft, join(folder, name));
      copied.push(name);
      break;
    }
  }
  return copied;
}
