/** The run that a notebook shows: the small recorded one in data/recorded, or the one MALT_RUN names; or several runs. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import * as z from "zod";
import { pathLiteral } from "../duckdb.js";
import { environment } from "../environment.js";
import { InputError, RunError } from "../errors.js";
import { dataPath, root } from "../paths.js";
import { type Manifest, promptSetOf, readManifest, runDir } from "../run/manifest.js";
import type { PromptSet } from "../team/prompts.js";
import type { Node, Role, SlotInterval } from "../types.js";
import { type Dataset, openDataset } from "./export.js";
import { fillMissingTables, lackingParts, type RunPart } from "./lacking.js";

/** A run opened for reading: its tables, and what run.json says about it. */
export interface OpenRun extends Dataset {
  name: string;
  dir: string;
  manifest: Manifest;
  roles: readonly Role[];
  /** The prompts it was sampled with. */
  promptSet: PromptSet;
  /** The threshold θ of its labels. */
  theta: number;
  /** What its first evaluation measured, or without one what was sampled: benchmark and model as run.json names them. */
  measured: { benchmark: string; model: string };
  /** What it does not have, each as a sentence that names the command which makes it. Its tables are empty. */
  lacks: ReadonlyMap<RunPart, string>;
}

/** What run.json says of an evaluation, as far as it is needed here. */
const evaluated = z.object({ model: z.string() });

/**
 * Opens a run for a notebook, from whatever folder the kernel runs in.
 * @param choice name of a run in MALT_OUTPUTS, or a folder (relative ones start at the package's folder); by default
 * MALT_RUN, and without it the recorded run
 * @throws RunError if there is no such run, it has not been exported, or its prompts are not those it was sampled with
 */
export async function openRun(choice: string | null = environment().run): Promise<OpenRun> {
  const dir = choice === null ? dataPath("recorded") : runFolder(choice);
  const manifest = await readManifest(dir);
  const { roles } = manifest.config;
  const rules = z.object({ options: z.object({ threshold: z.number() }) }).safeParse(manifest.export).data?.options;
  const about = { name: manifest.run, dir, manifest, roles, promptSet: promptSetOf(manifest) };
  const data = await openDataset(dir);
  const [benchmark = manifest.benchmark.name] = await data.benchmarks();
  const { model } = evaluated.safeParse(manifest.evaluation?.[benchmark]).data ?? manifest.config.policy;
  const lacks = await lackingParts(data, manifest, await fillMissingTables(data));
  return { ...data, ...about, measured: { benchmark, model }, theta: rules?.threshold ?? 0.5, lacks };
}

/**
 * Opens all runs of a folder, in the order of their names: what was sampled several times, with other prompts or at other
 * temperatures, to be compared. A run alone is a list of one.
 * @param choice a folder of runs, or what {@link openRun} takes
 * @throws RunError if the folder holds no run, or one that is damaged or not exported
 */
export async function openRuns(choice: string): Promise<OpenRun[]> {
  const dir = runFolder(choice);
  if (existsSync(join(dir, "run.json"))) return [await openRun(choice)];
  const entries = await readdir(dir).catch((error: Error) => {
    throw new RunError(`there are no runs in ${dir} (${error.message}); give a folder that holds folders of runs`);
  });
  const names = entries.filter((name) => existsSync(join(dir, name, "run.json"))).sort();
  if (names.length === 0)
    throw new RunError(`no folder in ${dir} holds a run.json; give one that holds folders of runs`);
  const runs: OpenRun[] = [];
  try {
    for (const name of names) runs.push(await openRun(join(dir, name)));
  } catch (error) {
    for (const run of runs) run.close();
    throw error;
  }
  return runs;
}

/** The folder of a run that is given by name, in MALT_OUTPUTS, or as a folder, from the package's folder on. */
export function runFolder(choice: string): string {
  const isPath = /[\\/]/.test(choice) || choice.startsWith(".");
  return isPath ? resolve(root, choice) : runDir(choice, resolve(root, environment().outputs));
}

/**
 * What every slot of a server did while several clients sampled the same trees from it, by variant, slot and time.
 * @param run any open dataset; its SQL engine reads the file
 */
export function recordedTimelines(run: Pick<Dataset, "query">): Promise<(SlotInterval & { question: number })[]> {
  const path = dataPath("recorded-sampler", "timelines.parquet");
  return run.query(`SELECT * FROM read_parquet(${pathLiteral(path)})`);
}

/**
 * The question to look at first: the one whose tree disagrees with itself in most roles (siblings with different
 * labels), and of those the one whose leaves are most evenly right and wrong. The first of the run if none disagrees.
 * @throws InputError if there are no nodes
 */
export function mixedQuestion(nodes: readonly Node[]): string {
  const last = nodes.reduce((deepest, node) => Math.max(deepest, node.depth), 0);
  const trees = new Map<string, Node[]>();
  for (const node of nodes) {
    const tree = trees.get(node.question_id);
    if (tree) tree.push(node);
    else trees.set(node.question_id, [node]);
  }
  const ranked = [...trees].map(([id, tree]) => {
    const sides = new Map<string | null, Set<boolean | null>>();
    const roles = new Set<string>();
    for (const { parent_id, role, label } of tree) {
      const side = (sides.get(parent_id) ?? new Set()).add(label);
      sides.set(parent_id, side);
      if (side.has(true) && side.has(false)) roles.add(role);
    }
    const leaves = tree.filter((node) => node.depth === last);
    const right = leaves.filter((node) => node.correct === true).length / Math.max(1, leaves.length);
    return { id, roles: roles.size, balance: -Math.abs(right - 0.5) };
  });
  const [best] = ranked.sort((a, b) => b.roles - a.roles || b.balance - a.balance);
  if (!best) throw new InputError("there are no nodes to choose from; sample a run first");
  return best.id;
}
