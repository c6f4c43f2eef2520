/**
 * What a trainer elsewhere needs, gathered in one folder that holds nothing else: so it can be looked at, and what leaves
 * this machine can be listed before it does. What it leaves out: bringing it there, which each launcher does its own way.
 */
import { existsSync } from "node:fs";
import { copyFile, link, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { byteSize } from "../../format.js";
import { pythonScript } from "../../paths.js";
import { eventFile, logFile, quoted, trainerArguments, type Work } from "./launcher.js";

/** Files of python/ that train.py consists of. */
export const trainerPrograms = [
  "train.py",
  "stage.py",
  "preference.py",
  "processes.py",
  "value_losses.py",
  "visible.py",
];

/** With those that llama.cpp's adapters and Ray's jobs need. */
const programs = [...trainerPrograms, "adapter.py", "job.py"];

/** The folder of a run, beside its stages, that is copied to another machine. */
export const stagingFolder = (dir: string): string => join(dir, "train", "job");

/** A file or folder that leaves this machine. */
export interface StagedPath {
  path: string;
  files: number;
  bytes: number;
}

/**
 * Gathers train/ (the stages' YAML files and data, adapters they start from, checkpoints they go on from), python/ (the
 * trainer), model/ (the base model, if it is a folder here) and job.sh, which starts it. Files are linked, not copied, where
 * the file system allows.
 * @returns what the folder holds
 */
export async function stageFiles(work: Work): Promise<StagedPath[]> {
  const { dir, stages, baseModel } = work;
  const folder = stagingFolder(dir);
  await rm(folder, { recursive: true, force: true });
  const names = new Set(stages.flatMap(({ name, start }) => (start === null ? [name] : [start, name])));
  const files = [...stages.map(({ name }) => `${name}.yaml`), ...new Set(stages.map(({ data }) => data))];
  for (const file of files) await place(join(dir, "train", file), join(folder, "train", file));
  for (const name of names) {
    const from = join(dir, "train", name);
    if (!existsSync(from)) continue;
    for (const file of await filesIn(from)) await place(join(from, file), join(folder, "train", name, file));
  }
  for (const name of programs) await place(pythonScript(name), join(folder, "python", name));
  if (existsSync(baseModel)) {
    // A GGUF file is for serving. Only files: a clone of a hub's repository has folders with the same weights once more.
    const own = await readdir(baseModel, { withFileTypes: true });
    for (const { name } of own.filter((entry) => !entry.isDirectory() && !/\.(gguf|md)$/.test(entry.name)))
      await place(join(baseModel, name), join(folder, "model", name));
  }
  await writeFile(join(folder, "job.sh"), jobScript(work));
  const paths = [...files, ...names].map((name) => `train/${name}`).filter((path) => existsSync(join(folder, path)));
  return Promise.all([...paths, "python", ...(existsSync(baseModel) ? ["model"] : []), "job.sh"].map(sized));

  async function sized(path: string): Promise<StagedPath> {
    const full = join(folder, path);
    const inside = (await stat(full)).isDirectory() ? (await filesIn(full)).map((file) => join(full, file)) : [full];
    const sizes = await Promise.all(inside.map(async (file) => (await stat(file)).size));
    return { path, files: inside.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
  }
}

/** "11 files, 6.1 MB: train/verifier-sft.yaml 1 kB, … python/ 6 files 45 kB" */
export function stagedList(paths: readonly StagedPath[]): string {
  const total = (key: "files" | "bytes") => paths.reduce((sum, path) => sum + path[key], 0);
  const each = paths.map(({ path, files, bytes }) =>
    files === 1 ? `${path} ${byteSize(bytes)}` : `${path}/ ${files} files ${byteSize(bytes)}`,
  );
  return `${total("files")} files, ${byteSize(total("bytes"))}: ${each.join(", ")}`;
}

/** Starts the trainer in the copied folder; its events go to stdout, everything else to stderr. */
function jobScript(work: Work): string {
  const { baseModel, place } = work;
  const python = place.python ?? "python3";
  return [
    "# Trains the stages in train/. Its events are JSON lines on stdout.",
    'here=$(cd "$(dirname "$0")" && pwd) || exit 1',
    ...(place.setup === undefined ? [] : ["cd || exit 1", `{ ${place.setup}`, "} >&2"]),
    'cd "$here/train" || exit 1',
    ...(existsSync(baseModel) ? ["export MALT_BASE_MODEL=../model HF_HUB_OFFLINE=1"] : []),
    `exec ${python} ../python/train.py ${trainerArguments(work).map(quoted).join(" ")}`,
    "",
  ].join("\n");
}

/** All files below a folder, but not the trainer's own log, whose end says nothing about the next start. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name !== eventFile && entry.name !== logFile)
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await link(from, to).catch(() => copyFile(from, to));
}
