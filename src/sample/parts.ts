/** Finds the shards of a run and makes sure that they are exactly its parts. What it leaves out: reading their journals. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { InputError, RunError } from "../errors.js";
import { differences } from "../run/differences.js";
import { type Manifest, readManifest } from "../run/manifest.js";

/** A shard that was found. */
export interface Part {
  dir: string;
  manifest: Manifest;
  shard: NonNullable<Manifest["shard"]>;
}

/**
 * All shards of a run, by index.
 * @param runs the folder of the runs
 * @param from names or folders of the shards; by default those that lie in `runs`
 * @throws InputError for a place without a run; RunError unless each part of the run is there once
 */
export async function findParts(run: string, runs: string, from?: readonly string[]): Promise<Part[]> {
  const dirs = from ? from.map((place) => folderOf(place, runs)) : await namedAfter(run, runs);
  const parts = (await Promise.all(dirs.map(readPart))).sort((a, b) => a.shard.index - b.shard.index);
  const [first, ...others] = parts;
  if (!first)
    throw new RunError(`no shards of run "${run}" in ${runs}; sample them with --shard i/N, or name them with --from`);
  for (const { dir, shard } of parts)
    if (shard.run !== run) throw new RunError(`${dir} is a shard of run "${shard.run}", not of "${run}"; leave it out`);
  for (const other of others) requireRelated(first, other);
  for (const [i, { dir, shard }] of others.entries())
    if (shard.index === parts[i]!.shard.index)
      throw new RunError(`${parts[i]!.dir} and ${dir} are the same shard; leave one of them out of --from`);
  const here = new Set(parts.map(({ shard }) => shard.index));
  const missing = Array.from({ length: first.shard.of }, (_, i) => i + 1).filter((index) => !here.has(index));
  if (missing.length > 0)
    throw new RunError(
      `${are(missing)} missing of the ${first.shard.of} of run "${run}"; sample with --shard, or name all with --from`,
    );
  return parts;
}

/** @throws RunError that says which parts are incomplete, and by how much */
export function requireComplete(parts: readonly Part[]): void {
  const open = parts.filter(({ manifest: { counts } }) => counts.ok < counts.asked);
  if (open.length === 0) return;
  const left = open.reduce((sum, { manifest: { counts } }) => sum + counts.asked - counts.ok, 0);
  throw new RunError(
    `${are(open.map(({ shard }) => shard.index))} not complete, ${left} requests are left; sample on, or merge what is ` +
      "there with --incomplete",
  );
}

/** A shard's benchmark as that of the whole run, except for its name, which depends on all questions. */
export function wholeBenchmark({ manifest, shard }: Part): Manifest["benchmark"] {
  const { questions, questions_sha256 } = shard;
  return { ...manifest.benchmark, name: "", questions, questions_sha256 };
}

function folderOf(place: string, runs: string): string {
  const dir = [join(runs, place), place].find((folder) => existsSync(join(folder, "run.json")));
  if (dir) return dir;
  throw new InputError(`"${place}" is neither a run in ${runs} nor a folder with a run.json; check --from`);
}

async function namedAfter(run: string, runs: string): Promise<string[]> {
  const names = await readdir(runs).catch(() => []);
  const prefix = `${run}.shard-`;
  const ours = names.filter((name) => name.startsWith(prefix) && /^\d+-of-\d+$/.test(name.slice(prefix.length)));
  return ours.map((name) => join(runs, name));
}

async function readPart(dir: string): Promise<Part> {
  const manifest = await readManifest(dir);
  if (manifest.shard) return { dir, manifest, shard: manifest.shard };
  throw new RunError(`${dir} is not a shard: its run.json has no section "shard"; merge what --shard i/N has sampled`);
}

/** @throws RunError unless two shards are of one run */
function requireRelated(one: Part, other: Part): void {
  if (one.shard.of !== other.shard.of)
    throw new RunError(
      `${one.dir} is one of ${one.shard.of} shards, ${other.dir} one of ${other.shard.of}; name those that belong together ` +
        "with --from",
    );
  const whole = (part: Part) => ({ ...part.manifest, benchmark: wholeBenchmark(part), shard: undefined });
  const lines = differences(whole(one), whole(other));
  if (lines.length > 0)
    throw new RunError(
      `${one.dir} and ${other.dir} are not shards of the same run (${lines.join("; ")}); sample one of them anew`,
    );
}

/** "shard 2 is", "shards 2, 5 are" */
const are = (indices: readonly number[]) =>
  indices.length === 1 ? `shard ${indices[0]} is` : `shards ${indices.join(", ")} are`;
