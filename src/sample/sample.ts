/**
 * Samples a run: puts together the server, the run folder, the journal and the tree sampler. The command `malt sample`
 * and the notebooks call this one function.
 */

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { type QuestionList, questionList } from "../benchmarks/list.js";
import { treeSize } from "../credit/score.js";
import { checkSearch, type Search } from "../credit/search.js";
import { InputError, RunError } from "../errors.js";
import { inPackage, root } from "../paths.js";
import { neutralExtra, type Policy, requireModel } from "../policy/openai.js";
import { requireSame } from "../run/differences.js";
import { openJournal } from "../run/journal.js";
import {
  findManifest,
  type Manifest,
  runDir,
  streamQuestions,
  summed,
  type TeamAdapters,
  writeManifest,
  writeQuestions,
} from "../run/manifest.js";
import { maltRoles, type PromptSet, promptSetHash, type SystemMessage, withSystemMessage } from "../team/prompts.js";
import type { PolicyId, Question, Role, Sampling } from "../types.js";
import { type Concurrency, withLimit } from "./concurrency.js";
import type { Limit } from "./limit.js";
import { searchTrees } from "./search.js";
import { statesPerTree } from "./state.js";
import { type Counts, noCounts, noSession, type Progress, type SampleTreesOptions, sampleTrees } from "./trees.js";

/** The paper's temperature (Section 5); nothing else changes the distribution. */
export const defaultSampling: Readonly<Sampling> = {
  temperature: 0.3,
  top_p: 1,
  max_tokens: 1024,
  presence_penalty: 0,
  frequency_penalty: 0,
  extra: neutralExtra,
};

type Passed = Pick<SampleTreesOptions, "onProgress" | "onFailure" | "request" | "order" | "signal">;

export interface SampleRunOptions extends Passed, Concurrency {
  /** Name of the run. */
  run: string;
  /** Folder that holds `runs/`; MALT_OUTPUTS or `outputs` by default. */
  outputs?: string;
  questions: readonly Question[] | QuestionList;
  /** Where the questions came from, for the manifest; `path` is "memory" by default. */
  source?: { path: string; sha256: string | null };
  /** Where completions come from. */
  policy: Policy;
  /** Name under which the model is served there. */
  model: PolicyId["model"];
  adapter?: PolicyId["adapter"];
  /**
   * One adapter per role, which an earlier run has trained: another round of training. Part of the run's identity; see teamAdapters in
   * train/adapters.ts.
   */
  adapters?: TeamAdapters | undefined;
  /** What differs from {@link defaultSampling}. */
  sampling?: Partial<Sampling>;
  /** Default: generator, verifier, refiner with n = 3 (Section 4.2). */
  roles?: readonly Role[];
  /** Default: by the questions' benchmark or form; see benchmarks/list.ts. */
  promptSet?: PromptSet;
  /** How the system text is sent: `separate`, the default, or `merged` into the user message. Part of the run's identity. */
  systemMessage?: SystemMessage;
  seed?: number;
  /**
   * Allocates a fixed number of completions of each question where labels are least certain, instead of growing the full tree,
   * which the roles' branching then only bounds; see credit/search.ts. Part of the run's identity.
   */
  search?: Search | undefined;
  /** Which part of which run this is, for the manifest; see shardOf in shards.ts. */
  shard?: Manifest["shard"];
}

/** What a call of {@link sampleRun} did. */
export interface SampledRun {
  dir: string;
  manifest: Manifest;
  /** Whether nothing was left to sample. */
  wasComplete: boolean;
  /** What this call alone did, and its seconds: what a rate is computed from. */
  session: Progress["session"] & { seconds: number };
  /** Damaged lines of the journal that were set aside and sampled again. */
  damaged: number;
}

/**
 * Starts a run or continues it. A complete run is returned unchanged, without a request.
 * @throws InputError, ServerError or RunError; everything that finished is in the journal, and the same call continues
 * from there
 */
export async function sampleRun(options: SampleRunOptions): Promise<SampledRun> {
  const { policy, model, seed = 0, concurrency = 16, source = { path: "memory", sha256: null } } = options;
  const dir = runDir(options.run, options.outputs);
  const sampling = { ...defaultSampling, ...options.sampling };
  const roles = [...(options.roles ?? maltRoles())];
  const list = "sha256" in options.questions ? options.questions : await questionList(options.questions);
  const system_message = options.systemMessage ?? "separate";
  const set = withSystemMessage(options.promptSet ?? list.promptSet, system_message);
  const speaker: PolicyId = { model, adapter: options.adapter ?? null };
  const { adapters } = options;
  if (options.search) checkSearch(options.search, roles);
  if (adapters) checkAdapters(adapters, options);
  const wanted: Manifest = {
    schema: 1,
    run: options.run,
    created: new Date().toISOString(),
    config: {
      base_url: policy.baseURL,
      policy: speaker,
      sampling,
      roles,
      prompt_set: set.name,
      system_message,
      prompts: set,
      seed,
      ...(adapters && { adapters }),
      ...(options.search && { search: options.search }),
      concurrency,
    },
    benchmark: {
      name: list.benchmark,
      ...(list.partition && { partition: list.partition }),
      source: source.path,
      sha256: source.sha256,
      questions: list.length,
      questions_sha256: list.sha256,
    },
    prompt_set_hash: promptSetHash(set),
    server: { owner: null, build: null, ...(policy.weights && { weights: policy.weights }) },
    versions: await versions(),
    counts: { ...noCounts, asked: list.length * requestsPerTree(roles, options.search) },
    wall_seconds: 0,
    ...(options.shard && { shard: options.shard }),
  };
  wanted.counts.pending = wanted.counts.asked;

  const before = await findManifest(dir);
  if (before && before.counts.completions > 0) requireSame(before, wanted);
  const complete = before && before.counts.ok === before.counts.asked ? before : null;
  const found = complete && (await survey(dir));
  if (complete && found!.damaged === 0 && found!.completions >= complete.counts.completions)
    return { dir, manifest: complete, wasComplete: true, session: { ...noSession, seconds: 0 }, damaged: 0 };
  const { owner, build } = await policy.info();
  await requireModel(model, policy);

  const journal = await openJournal(dir);
  try {
    // From here on this process is the folder's only writer.
    const old = await findManifest(dir);
    // A start that sampled nothing, because a parameter was refused, may be repeated with another one.
    if (old && journal.completions > 0) requireSame(old, wanted);
    const written = await writeQuestions(dir, list);
    if (written.questions_sha256 !== list.sha256)
      throw new RunError("the questions changed while they were read; run the same command again");
    const manifest = {
      ...wanted,
      created: old?.created ?? wanted.created,
      server: { ...(journal.completions > 0 && old?.server), ...wanted.server, owner, build },
      ...(old?.shards && { shards: old.shards }),
    };
    const earlier = old?.wall_seconds ?? 0;
    const began = performance.now();
    let latest: Counts = wanted.counts;
    let session = noSession;
    const record = async (): Promise<Manifest> => {
      const seconds = (performance.now() - began) / 1000;
      const wall_seconds = Math.round((earlier + seconds) * 1000) / 1000;
      const now = { ...manifest, counts: latest, usage: usageOf(old?.usage, session), wall_seconds };
      await writeManifest(dir, now);
      return now;
    };
    await record();
    const onProgress = (progress: Readonly<Progress>) => {
      const { in_flight: _, limit: __, nodes: ___, session: own, ...counts } = progress;
      latest = counts;
      session = own;
      options.onProgress?.(progress);
    };
    const { request, order, onFailure, signal } = options;
    const questions = streamQuestions(dir);
    const setting = {
      questions,
      total: list.length,
      roles,
      promptSet: set,
      policy: speakers(speaker, adapters),
      sampling,
      seed,
      request,
      order,
      journal,
      onFailure,
      signal,
    };
    const { complete } = policy;
    const bounds = { concurrency, maxConcurrency: options.maxConcurrency };
    try {
      const sampled = (limit: Limit) => {
        const all = { ...setting, complete, concurrency: limit, onProgress };
        return options.search ? searchTrees({ ...all, search: options.search }) : sampleTrees(all);
      };
      onProgress(await withLimit(bounds, policy, sampled));
    } catch (error) {
      // The error to show is the one that stopped the run, not a later failure to write run.json.
      await record().catch(() => {});
      throw error;
    }
    const seconds = (performance.now() - began) / 1000;
    const wasComplete = latest.ok === latest.asked && session.requests === 0;
    const damaged = journal.damaged + (found?.damaged ?? 0);
    return { dir, manifest: await record(), wasComplete, session: { ...session, seconds }, damaged };
  } finally {
    await journal.close();
  }
}

/** One policy for all roles, or one for each where they have adapters of their own. */
function speakers(base: PolicyId, adapters?: TeamAdapters): PolicyId | ((role: Role) => PolicyId) {
  if (!adapters) return base;
  const own = new Map(Object.entries(adapters.roles).map(([name, adapter]) => [name, { ...base, adapter }]));
  return ({ name }) => own.get(name) ?? base;
}

/** @throws InputError for adapters of a role that the team has not, or beside one adapter for all */
function checkAdapters({ run, roles }: TeamAdapters, options: SampleRunOptions): void {
  const team = (options.roles ?? maltRoles()).map(({ name }) => name);
  const stray = Object.keys(roles).find((name) => !team.includes(name));
  if (stray !== undefined)
    throw new InputError(
      `run "${run}" has an adapter for the role "${stray}", which this team has not; it has: ${team.join(", ")}`,
    );
  if (options.adapter)
    throw new InputError("adapter is for all roles, and adapters for each of them; give one of the two");
}

/** Requests of one question, counted as `sampleTrees` and `searchTrees` do. */
const requestsPerTree = (roles: readonly Role[], search?: Search): number =>
  search ? Math.min(search.budget, treeSize(roles)) : statesPerTree(roles);

/** What the journal holds, which may be less than run.json counts: lines may have been damaged since. */
async function survey(dir: string): Promise<{ damaged: number; completions: number }> {
  const journal = await openJournal(dir);
  await journal.close();
  return journal;
}

/** What all calls together have used. */
function usageOf(before: Manifest["usage"], { completions: _, ...used }: Progress["session"]): Manifest["usage"] {
  return before ? summed([used, before]) : used;
}

/** Version of this package, of Node, and the git commit where it runs from a checkout of its own. */
async function versions(): Promise<Manifest["versions"]> {
  const { version } = JSON.parse(await readFile(inPackage("package.json"), "utf8")) as { version: string };
  const git = await promisify(execFile)("git", ["-C", root, "describe", "--always", "--dirty", "--abbrev=12"])
    .then(({ stdout }) => stdout.trim())
    .catch(() => null);
  return { malt: version, node: process.versions.node, git };
}
