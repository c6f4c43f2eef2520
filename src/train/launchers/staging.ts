/**
 * What work elsewhere needs, gathered in one folder that holds nothing else: so it can be looked at, and what leaves this
 * machine can be listed before it does. What it leaves out: bringing it there, which each launcher does its own way.
 */
import { copyFile, link, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { byteSize } from "../../format.js";
import { pythonScript } from "../../paths.js";
import { jobFiles, quoted, type Work } from "./launcher.js";

/** In the working folder: what is copied to another machine. */
export const stagingFolder = (folder: string): string => join(folder, "job");

/** A file or folder that leaves this machine. */
export interface StagedPath {
  path: string;
  files: number;
  bytes: number;
}

/**
 * Gathers the work's files and job.sh, which starts it. Files are linked, not copied, where the file system allows.
 * @returns what the folder holds: single files, and folders of the second level
 */
export async function stageFiles(work: Work): Promise<StagedPath[]> {
  const staged = stagingFolder(work.folder);
  await rm(staged, { recursive: true, force: true });
  const files = new Map([...(await work.files()), ["python/job.py", pythonScript("job.py")]]);
  const listed = new Map<string, StagedPath>();
  const add = async (path: string) => {
    const parts = path.split("/");
    // "train/verifier-sft" is one entry of the list, as are "python" and "model".
    const key = parts.slice(0, parts[0] === basename(work.folder) ? 2 : 1).join("/");
    const entry = listed.get(key) ?? { path: key, files: 0, bytes: 0 };
    listed.set(key, { path: key, files: entry.files + 1, bytes: entry.bytes + (await stat(join(staged, path))).size });
  };
  for (const [path, from] of files) {
    await place(from, join(staged, path));
    await add(path);
  }
  await mkdir(join(staged, basename(work.folder)), { recursive: true });
  await writeFile(join(staged, "job.sh"), jobScript(work));
  await add("job.sh");
  return [...listed.values()];
}

/** "11 files, 6.1 MB: train/verifier-sft.yaml 1 kB, … python/ 6 files 45 kB" */
export function stagedList(paths: readonly StagedPath[]): string {
  const total = (key: "files" | "bytes") => paths.reduce((sum, path) => sum + path[key], 0);
  const each = paths.map(({ path, files, bytes }) =>
    files === 1 ? `${path} ${byteSize(bytes)}` : `${path}/ ${files} files ${byteSize(bytes)}`,
  );
  return `${total("files")} files, ${byteSize(total("bytes"))}: ${each.join(", ")}`;
}

/** Starts the program in the copied folder; its events go to stdout, everything else to stderr. */
function jobScript(work: Work): string {
  const { place, parts } = work;
  // What a person says is a command for the shell; the rest are words.
  const [program, ...rest] = work.program(place, true);
  const names = parts.map(({ name }) => name);
  return [
    `# Does the work in ${basename(work.folder)}/. Its events are JSON lines on stdout.`,
    'here=$(cd "$(dirname "$0")" && pwd) || exit 1',
    ...(place.setup === undefined ? [] : ["cd || exit 1", `{ ${place.setup}`, "} >&2"]),
    `cd "$here/${basename(work.folder)}" || exit 1`,
    ...exports(work, true),
    ...(work.before === "" ? [] : [work.before]),
    `exec ${program} ${[...rest, ...work.args(place, names, "")].map(quoted).join(" ")}`,
    "",
  ].join("\n");
}

/** The shell's line that sets the work's variables, if there are any. */
export function exports(work: Work, isCopied: boolean): string[] {
  const set = Object.entries(work.variables(isCopied)).map(([name, value]) => `${name}=${quoted(value)}`);
  return set.length > 0 ? [`export ${set.join(" ")}`] : [];
}

/** All files below a folder, but not a job's own events and log, whose end says nothing about the next start. */
export async function filesIn(folder: string): Promise<string[]> {
  const { events, log } = jobFiles("train");
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile() && entry.name !== events && entry.name !== log)
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await link(from, to).catch(() => copyFile(from, to));
}
