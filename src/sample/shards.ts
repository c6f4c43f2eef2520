/**
 * One run on several machines. A shard is every N-th question, sampled as an ordinary run of its own; merging N shards
 * gives the run that one machine would have made. What it leaves out: starting the machines (scripts/cluster/).
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { benchmarkName, type QuestionList, questionList } from "../benchmarks/list.js";
import { treeSize } from "../credit/score.js";
import { InputError, RunError } from "../errors.js";
import { differences } from "../run/differences.js";
import { failing, journalFiles, journalFolder, syncFolder } from "../run/files.js";
import { readJournal } from "../run/journal.js";
import { lock } from "../run/lock.js";
import {
  findManifest,
  type Manifest,
  runDir,
  streamQuestions,
  summed,
  writeManifest,
  writeQuestions,
} from "../run/manifest.js";
import type { Question } from "../types.js";
import { findParts, type Part, requireComplete, wholeBenchmark } from "./parts.js";
import type { SampleRunOptions } from "./sample.js";

/** The i-th of N shards: 1 ≤ index ≤ of. */
export interface Shard {
  index: number;
  of: number;
}

/** Reads `i/N`. @throws InputError unless 1 ≤ i ≤ N */
export function parseShard(text: string): Shard {
  const [, index, of] = /^([1-9]\d*)\/([1-9]\d*)$/.exec(text)?.map(Number) ?? [];
  if (index && of && index <= of && Number.isSafeInteger(of)) return { index, of };
  throw new InputError(`--shard must be i/N with 1 ≤ i ≤ N, such as 2/8, not "${text}"`);
}

/**
 * The part of a run that one machine samples: what differs in the options of sampleRun. Question q, counted from 0,
 * belongs to shard (q mod N) + 1, so shards differ in size by one question at most, and a drift along the file affects
 * all of them alike.
 * @param run name of the whole run
 * @param questions of the whole run
 * @throws InputError where a shard would have no questions, or no valid name
 */
export async function shardOf(
  run: string,
  questions: QuestionList,
  { index, of }: Shard,
): Promise<Required<Pick<SampleRunOptions, "run" | "promptSet" | "shard">> & { questions: QuestionList }> {
  parseShard(`${index}/${of}`);
  if (questions.length < of)
    throw new InputError(`${questions.length} questions cannot be divided into ${of} shards; ask for fewer shards`);
  const longest = 64 - shardName("", { index: of, of }).length;
  if (run.length > longest)
    throw new InputError(`run name "${run}" is too long for ${of} shards; use at most ${longest} characters`);
  const own: AsyncIterable<Question> = {
    async *[Symbol.asyncIterator]() {
      let q = 0;
      for await (const question of questions) if (q++ % of === index - 1) yield question;
    },
  };
  return {
    run: shardName(run, { index, of }),
    questions: await questionList(own),
    // Chosen from all questions: one shard's questions alone might look like another benchmark.
    promptSet: questions.promptSet,
    shard: { index, of, run, questions: questions.length, questions_sha256: questions.sha256 },
  };
}

/** `shard-i-of-N`: how a shard is called in the names of runs, folders and files, and among events. */
export const shardLabel = ({ index, of }: Shard): string => `shard-${index}-of-${of}`;

/** The run that a shard of a run is. */
export const shardName = (run: string, shard: Shard): string => `${run}.${shardLabel(shard)}`;

export interface MergeOptions {
  /** Name of the whole run. */
  run: string;
  /** Folder that holds `runs/`; MALT_OUTPUTS or `outputs` by default. */
  outputs?: string;
  /** The shards, as names of runs or as paths of folders; by default those of the run in `outputs`. */
  from?: readonly string[];
  /** Whether incomplete shards are merged too; sampling then continues in the merged run. */
  incomplete?: boolean;
}

/**
 * Whether a run of a name can still be made of shards.
 * @returns false if it is there and complete
 * @throws RunError if there is one that was sampled otherwise, and is not complete
 */
export async function requireRoom(run: string, outputs?: string): Promise<boolean> {
  const before = await findManifest(runDir(run, outputs));
  if (before && before.counts.ok < before.counts.asked)
    throw new RunError(
      `run "${run}" is there and not complete: go on with it by \`malt sample\` without --on, or give another name with --run`,
    );
  return before === null;
}

/** What {@link mergeShards} left. */
export interface MergedRun {
  dir: string;
  manifest: Manifest;
  /** Whether these shards had been merged before, so that nothing was written. */
  wasMerged: boolean;
}

/**
 * Makes the whole run from its shards: the questions in their order, the journals unchanged, the counts added up. The
 * run appears complete or not at all; the shards are not changed.
 * @throws InputError for a place without a run; RunError where the shards are not exactly the parts of one run, or a
 *   journal holds less than its manifest says, or another run has the name
 */
export async function mergeShards({ run, outputs, from, incomplete = false }: MergeOptions): Promise<MergedRun> {
  const dir = runDir(run, outputs);
  const runs = dirname(dir);
  const parts = await findParts(run, runs, from);
  if (!incomplete) requireComplete(parts);
  const staging = join(runs, `.${run}.merging`);
  return failing(`merge run "${run}"`, async () => {
    await mkdir(runs, { recursive: true });
    const unlock = await lock(`${staging}.lock`);
    try {
      const before = await findManifest(dir);
      if (before && !before.shards)
        throw new RunError(`run "${run}" is there and was not merged from shards; move ${dir} away to merge it anew`);
      await rm(staging, { recursive: true, force: true });
      const manifest = await stage(staging, run, parts);
      if (before && !sameParts(before, manifest))
        throw new RunError(`run "${run}" was merged from other shards, or when they held less; move ${dir} away first`);
      if (before) return { dir, manifest: before, wasMerged: true };
      for (const folder of [journalFolder(staging), staging]) await syncFolder(folder);
      await rename(staging, dir);
      await syncFolder(runs);
      return { dir, manifest, wasMerged: false };
    } finally {
      await rm(staging, { recursive: true, force: true });
      await unlock();
    }
  });
}

/** Writes the whole run's folder at `staging`. @throws RunError where a shard holds less than its manifest says */
async function stage(staging: string, run: string, parts: readonly Part[]): Promise<Manifest> {
  await mkdir(journalFolder(staging), { recursive: true });
  const first = parts[0]!;
  const benchmark = { ...wholeBenchmark(first), ...(await mergeQuestions(staging, parts)) };
  if (benchmark.questions_sha256 !== first.shard.questions_sha256)
    throw new RunError(`the shards' questions are not those of run "${run}"; sample the shards anew from one file`);
  const shards = [];
  for (const part of parts) {
    await requireAll(part);
    const copy = join(journalFolder(staging), `${shardLabel(part.shard)}.jsonl`);
    shards.push({ ...origin(part), journal_sha256: await copyLines(await journalFiles(part.dir), copy) });
  }
  for (const name of ["discarded.txt", "damaged.txt"]) {
    const notes = parts.map(({ dir }) => join(journalFolder(dir), name)).filter((path) => existsSync(path));
    if (notes.length > 0) await copyLines(notes, join(journalFolder(staging), name));
  }
  const { schema, config, prompt_set_hash, server, versions } = first.manifest;
  const merged: Manifest = {
    schema,
    run,
    created: shards.map(({ created }) => created).sort()[0]!,
    config,
    benchmark,
    prompt_set_hash,
    server,
    versions,
    counts: summed(shards.map(({ counts }) => counts)),
    // Usage is unknown for shards sampled before it was recorded.
    ...(shards.every(({ usage }) => usage) && { usage: summed(shards.map(({ usage }) => usage!)) }),
    wall_seconds: Math.round(shards.reduce((sum, { wall_seconds }) => sum + wall_seconds, 0) * 1000) / 1000,
    shards,
  };
  await writeManifest(staging, merged);
  return merged;
}

/** What the merged run records about a shard: what may differ between shards, and what is added up. */
function origin({ manifest, shard: { index } }: Part) {
  const { run, created, config, server, versions, counts, usage, wall_seconds } = manifest;
  const { base_url, concurrency } = config;
  return { index, run, created, base_url, concurrency, server, versions, counts, usage, wall_seconds };
}

/** Writes the questions of all shards in their order. @returns what the manifest says of them */
async function mergeQuestions(staging: string, parts: readonly Part[]) {
  const benchmarks = new Set<string>();
  const streams = parts.map(({ dir }) => streamQuestions(dir));
  async function* inOrder(): AsyncGenerator<Question> {
    try {
      for (let q = 0; ; q++) {
        const { value: question, done } = await streams[q % streams.length]!.next();
        if (done) return;
        benchmarks.add(question.benchmark);
        yield question;
      }
    } finally {
      for (const stream of streams) await stream.return(undefined);
    }
  }
  const written = await writeQuestions(staging, inOrder());
  return { ...written, name: benchmarkName(benchmarks) };
}

/** A folder that was copied while it was written, or in part, shows here: a complete shard must have all its nodes. */
async function requireAll({ dir, manifest: { counts, config, benchmark } }: Part): Promise<void> {
  if (counts.ok < counts.asked) return;
  const own = new Set<string>();
  for await (const { id } of streamQuestions(dir)) own.add(id);
  // A search says itself how many completions it has come to.
  const all = config.search ? counts.completions : benchmark.questions * treeSize(config.roles);
  let held = 0;
  for await (const { question_id } of readJournal(dir)) if (own.has(question_id)) held++;
  if (held < all)
    throw new RunError(
      `the journal in ${dir} holds ${held} completions of ${all}, though its run.json says complete; copy it again`,
    );
}

/** Whether an earlier merge used the same journals. Anything sampled after it does not matter. */
function sameParts(before: Manifest, next: Manifest): boolean {
  const journals = ({ shards = [] }: Manifest) => shards.map(({ journal_sha256 }) => journal_sha256).join();
  return differences(before, next).length === 0 && journals(before) === journals(next);
}

/** Writes the complete lines of files into one, durably. @returns its SHA-256 */
async function copyLines(from: readonly string[], to: string): Promise<string> {
  const sha256 = createHash("sha256");
  const lines = async function* () {
    for (const path of from) {
      let rest: Buffer = Buffer.alloc(0);
      for await (const chunk of createReadStream(path)) {
        const bytes = Buffer.concat([rest, chunk as Buffer]);
        const end = bytes.lastIndexOf(10) + 1;
        rest = bytes.subarray(end);
        sha256.update(bytes.subarray(0, end));
        yield bytes.subarray(0, end);
      }
    }
  };
  await pipeline(lines, createWriteStream(to, { flush: true }));
  return sha256.digest("hex");
}
