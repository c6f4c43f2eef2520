/**
 * Evaluation: systems × random subsets of held-out questions, one per seed (paper, Section 5.2). Samples every pass
 * once, grades it, and writes evaluation.parquet, which holds one evaluation of each benchmark. What it leaves out: which
 * systems there are (team/systems.ts), how passes are sampled (sampling.ts), who reads the turns before the last (judge.ts) and
 * what the numbers mean (results.ts).
 */
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { openDataset, refreshViews } from "../dataset/export.js";
import { parquetFolder } from "../dataset/parquet.js";
import { evaluationTables, json, questionRow } from "../dataset/tables.js";
import { RunError, ServerError } from "../errors.js";
import { lock } from "../run/lock.js";
import { readManifest, serverShape, writeManifest } from "../run/manifest.js";
import type { Shard } from "../sample/shards.js";
import { promptSetHash } from "../team/prompts.js";
import { neededAdapters } from "../team/systems.js";
import type { EvaluationRow } from "../types.js";
import { debatePrompt } from "./debate.js";
import { type Judge, ownAnswerIn } from "./judge.js";
import { rowsOf } from "./rows.js";
import { aboutServer, type EvaluateOptions, sampledPasses } from "./sampling.js";
import { recordShard, shardFolder } from "./shards.js";

/** What a call of {@link evaluateRun} did. */
export interface Evaluated {
  dir: string;
  /** That of the questions; of several, their names with "+" between them. */
  benchmark: string;
  /** In the order of evaluation.parquet: systems as asked, seeds, questions, turns, passes. */
  rows: EvaluationRow[];
  /** Completions sampled by this call; the others were in the journal. */
  sampled: number;
  /** Damaged lines of the journal that were set aside, and asked for again. */
  damaged: number;
  /** Rows before a system's last turn on which the judge gave no verdict; they count as not correct. */
  unclear: number;
  /**
   * The earlier evaluation of this benchmark, in words, if it had rows of other systems, seeds or questions, which are no
   * longer in the tables; else null. Its completions stay in the journal.
   */
  replaced: string | null;
  seconds: number;
}

/**
 * Evaluates the systems, or continues an evaluation that was stopped. Of this benchmark evaluation.parquet then holds
 * exactly these systems, seeds and questions; the rows of other benchmarks stay. The same journal gives the same bytes, in
 * whatever order benchmarks were evaluated. Added systems sample only what is missing: if more votes are asked for than
 * before, the earlier ones are kept.
 * @throws InputError if an adapter is missing, a held-out question is one of the run's, or an option is out of range;
 *   ServerError if requests failed: then nothing is written but the journal, and the same call continues; RunError if
 *   another process writes the run or its evaluation, or a file cannot be written
 */
export async function evaluateRun(options: EvaluateOptions): Promise<Evaluated> {
  const { seeds, policy, extraction = "strict", judge = ownAnswerIn(extraction) } = options;
  const sampling = await sampledPasses(options, null);
  const { dir, manifest, systems, subsets, said, failed, sampled, taken, records, began } = sampling;
  const { source, list, set, adapters, model, size } = sampling;
  const { benchmark } = list;

  const rows: EvaluationRow[] = [];
  let unclear = 0;
  for (const system of systems) {
    for (const [s, seed] of seeds.entries()) {
      const reader = patient(judge, failed.of("the judge"));
      const read = await rowsOf(system, seed, subsets[s]!, said.get(system.name)![s]!, reader, extraction);
      for (const row of read.rows) rows.push({ ...row, benchmark });
      unclear += read.unclear;
    }
  }
  failed.throw(judge.about.kind === "llm" ? judge.about.base_url : policy.baseURL);
  const seconds = (performance.now() - began) / 1000;
  const before = earlier.parse(new Map(Object.entries(manifest.evaluation ?? {})).get(benchmark) ?? {});
  const { owner, build, weights } = sampled > 0 ? await aboutServer(policy) : (records[0]?.server ?? before.server);
  const elsewhere = taken > 0 ? records.reduce((sum, record) => sum + record.seconds, 0) : 0;
  const section = {
    source: source.path,
    sha256: source.sha256,
    benchmark,
    ...(list.partition && { partition: list.partition }),
    questions: list.length,
    questions_sha256: list.sha256,
    size,
    seeds,
    systems: systems.map(({ name, roles, adapters, votes, tokensOf, debate, model: own }) => ({
      name,
      roles: roles.map(({ branching: _, ...role }) => role),
      adapters,
      votes,
      tokens_of: tokensOf ?? null,
      ...(own !== undefined && { model: own }),
      debate: debate ? { ...debate, prompt: debatePrompt(["{answer}"]) } : null,
    })),
    adapters: Object.fromEntries(neededAdapters(systems).map((name) => [name, adapters.get(name)])),
    model,
    sampling: sampling.sampling,
    prompt_set: set.name,
    prompts: set,
    prompt_set_hash: promptSetHash(set),
    judge: { ...judge.about, unclear },
    extraction,
    server: { owner, build, ...(weights && { weights }) },
    /** Over all calls, those of shards added up. */
    wall_seconds: Math.round((before.wall_seconds + seconds + elsewhere) * 1000) / 1000,
  };
  const drawn = new Set(subsets.flat().map(({ id }) => id));
  const asked = options.questions.filter(({ id }) => drawn.has(id)).map((each) => questionRow({ ...each, benchmark }));
  await publish(dir, benchmark, { evaluation: rows, evaluation_questions: asked }, section);
  return {
    dir,
    benchmark,
    rows,
    sampled,
    damaged: sampling.damaged,
    unclear,
    replaced: lost(before, section),
    seconds,
  };
}

/** What a shard of an evaluation did. */
export type EvaluatedShard = Pick<Evaluated, "dir" | "sampled" | "damaged" | "seconds">;

/**
 * Samples the passes on a part of the held-out questions, every `of`-th from the `index`-th on, into a journal of its own;
 * {@link evaluateRun} takes them over. Systems that spend another's tokens get the passes they start with: how many more
 * they need is known once all questions are there.
 * @throws as {@link evaluateRun}
 */
export async function evaluateShard(options: EvaluateOptions, shard: Shard): Promise<EvaluatedShard> {
  const { dir, sampled, damaged, began } = await sampledPasses(options, shard);
  const seconds = (performance.now() - began) / 1000;
  if (sampled > 0) await recordShard(dir, shard, { server: await aboutServer(options.policy), seconds });
  return { dir: shardFolder(dir, shard), sampled, damaged, seconds };
}

/** What an earlier evaluation of the same benchmark left in run.json. */
const earlier = z.object({
  source: z.string().default(""),
  questions_sha256: z.string().default(""),
  size: z.number().default(0),
  seeds: z.array(z.number()).default([]),
  systems: z.array(z.object({ name: z.string() })).default([]),
  server: serverShape.default({ owner: null, build: null }),
  wall_seconds: z.number().default(0),
});

/** An evaluation in words, if it had rows that a newer one has not; else null. */
function lost(
  { source, questions_sha256, size, seeds, systems }: z.infer<typeof earlier>,
  now: { questions_sha256: string; size: number; seeds: readonly number[]; systems: readonly { name: string }[] },
): string | null {
  const sameQuestions = systems.length === 0 || (questions_sha256 === now.questions_sha256 && size <= now.size);
  const names = new Set(now.systems.map(({ name }) => name));
  if (sameQuestions && seeds.every((s) => now.seeds.includes(s)) && systems.every(({ name }) => names.has(name)))
    return null;
  return `${systems.map(({ name }) => name).join(", ")} on ${size} questions of ${source}, seeds ${seeds.join(", ")}`;
}

/** A judge whose failures are collected, so that the other turns are judged and kept. */
function patient(judge: Judge, onFailure: (error: ServerError, questionId: string) => void): Judge {
  const read: Judge["read"] = (question, ...turn) =>
    judge.read(question, ...turn).catch((error) => {
      if (!(error instanceof ServerError)) throw error;
      onFailure(error, question.id);
      return { answer: null, correct: null };
    });
  return { ...judge, read };
}

type Tables = Record<(typeof evaluationTables)[number], readonly (object & { benchmark: string })[]>;

/**
 * The tables of the evaluation, the views on them and the section of run.json: each as a whole or not at all. What other
 * benchmarks have there stays. Benchmarks come in the order of their names.
 */
async function publish(dir: string, benchmark: string, own: Tables, section: Record<string, unknown>): Promise<void> {
  const unlock = await lock(join(dir, "lock"));
  const staging = join(dir, ".evaluation");
  try {
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging, { recursive: true });
    const others = await othersThan(benchmark, dir);
    const parquet = await parquetFolder(staging);
    try {
      for (const name of evaluationTables) {
        const table = parquet.table(name);
        const rows = [...others[name], ...own[name]].sort((a, b) => order(a.benchmark, b.benchmark));
        for (const row of rows) {
          table.writeJson(json(row));
          await table.room();
        }
        await table.finish();
      }
    } finally {
      await parquet.close();
    }
    for (const name of evaluationTables) await rename(join(staging, `${name}.parquet`), join(dir, `${name}.parquet`));
    await refreshViews(dir);
    const manifest = await readManifest(dir);
    const sections = Object.entries({ ...manifest.evaluation, [benchmark]: section });
    const evaluation = Object.fromEntries(sections.sort(([a], [b]) => order(a, b)));
    await writeManifest(dir, { ...manifest, evaluation });
  } catch (error) {
    // What the file system and DuckDB report is a plain Error; any other error already says what to do.
    if (!(error instanceof Error) || Object.getPrototypeOf(error) !== Error.prototype) throw error;
    const advice = "nothing sampled is lost; free space or fix the folder, then run the same command again";
    throw new RunError(`cannot write the evaluation in ${dir}: ${error.message}; ${advice}`, { cause: error });
  } finally {
    await rm(staging, { recursive: true, force: true });
    await unlock();
  }
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The rows of all other benchmarks in a run's tables. */
async function othersThan(benchmark: string, dir: string): Promise<Tables> {
  const has = (name: string) => existsSync(join(dir, `${name}.parquet`));
  if (!has("evaluation")) return { evaluation: [], evaluation_questions: [] };
  const data = await openDataset(dir);
  try {
    const rows = (name: keyof Tables) =>
      data.query<{ benchmark: string }>(`SELECT * FROM ${name} WHERE benchmark <> $1`, [benchmark]);
    const questions = has("evaluation_questions") ? await rows("evaluation_questions") : [];
    return { evaluation: await rows("evaluation"), evaluation_questions: questions };
  } finally {
    data.close();
  }
}
