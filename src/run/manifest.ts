/**
 * The run folder `outputs/runs/<run>/`: its name, its manifest `run.json` and its `questions.jsonl`. Everything else in
 * it derives from these and the journal. What it leaves out: the journal itself (journal.ts).
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as z from "zod";
import { questionsJsonl } from "../benchmarks/list.js";
import { environment } from "../environment.js";
import { InputError, MaltError, RunError } from "../errors.js";
import { parseJson } from "../json.js";
import type { Question } from "../types.js";
import { readLines } from "./line.js";

const count = z.number().int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

// Loose, so that later steps can keep a section of their own, such as `export`.
const manifestShape = z.looseObject({
  /** Version of this file's form. */
  schema: z.literal(1),
  run: z.string(),
  /** First start, ISO 8601. */
  created: z.string(),
  config: z.object({
    base_url: z.string(),
    policy: z.object({
      model: z.string(),
      adapter: z.object({ name: z.string(), sha256: z.string() }).nullable(),
    }),
    sampling: z.object({
      temperature: z.number(),
      top_p: z.number(),
      max_tokens: count,
      presence_penalty: z.number(),
      frequency_penalty: z.number(),
      extra: z.record(z.string(), z.unknown()),
    }),
    roles: z.array(
      z.object({
        name: z.string(),
        template: z.enum(["generator", "verifier", "refiner"]),
        answer: z.string().nullable(),
        critique: z.string().nullable(),
        branching: count,
      }),
    ),
    prompt_set: z.string(),
    seed: z.number().int(),
    /** Requests in flight; "auto" if the server's load decided. */
    concurrency: z.union([count, z.literal("auto")]),
  }),
  benchmark: z.object({
    name: z.string(),
    /** Path or URL as given. */
    source: z.string(),
    /** Of the source file; null where the source is not a file, such as rows made in a notebook. */
    sha256: sha256.nullable(),
    questions: count,
    /** Of questions.jsonl, so of the questions after selection and normalisation. */
    questions_sha256: sha256,
  }),
  prompt_set_hash: sha256,
  server: z.object({ owner: z.string().nullable(), build: z.string().nullable() }),
  versions: z.object({ malt: z.string(), node: z.string(), git: z.string().nullable() }),
  counts: z.object({
    asked: count,
    ok: count,
    failed: count,
    pending: count,
    completions: count,
    truncated: count,
    content_filter: count.optional(),
    tool_calls: count.optional(),
    retries: count,
    completion_tokens: count,
  }),
  /**
   * What sampling has cost, over all starts: requests that succeeded and their tokens, as far as the server counted them.
   * Unlike `counts` it holds the prompts, and answers that were requested twice because the first was cut off.
   */
  usage: z.object({ requests: count, prompt_tokens: count, cached_tokens: count, completion_tokens: count }).optional(),
  /** Time spent sampling, over all starts and, in a merged run, over all shards. */
  wall_seconds: z.number().nonnegative(),
  /** Of a shard: its place, counted from 1, in the run that it is a part of (sample/shards.ts). */
  shard: z
    .object({
      index: z.number().int().positive(),
      of: z.number().int().positive(),
      run: z.string(),
      /** Of the whole run, as in `benchmark`. */
      questions: count,
      questions_sha256: sha256,
    })
    .optional(),
  /** Of a merged run: what was merged, in order (sample/shards.ts). */
  shards: z.array(z.looseObject({ index: z.number().int().positive(), journal_sha256: sha256 })).optional(),
  /** Options and counts of the last export (dataset/export.ts), if there was one. */
  export: z.record(z.string(), z.unknown()).optional(),
});

/** The content of run.json. */
export type Manifest = z.infer<typeof manifestShape>;

/** Folder of a run. @throws InputError unless the name matches `^[a-z0-9][a-z0-9._-]{0,63}$` */
export function runDir(name: string, outputs: string = environment().outputs): string {
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name))
    throw new InputError(
      `run name "${name}" is not allowed; use 1 to 64 of a-z, 0-9, ".", "_" and "-", a letter or digit first`,
    );
  return join(outputs, "runs", name);
}

/** Reads run.json. @throws RunError if there is none or it is not one */
export async function readManifest(dir: string): Promise<Manifest> {
  const manifest = await findManifest(dir);
  if (!manifest) throw new RunError(`no run.json in ${dir}; sample the run first, or check its name`);
  return manifest;
}

/** Reads run.json if there is one. @throws RunError if it is damaged */
export async function findManifest(dir: string): Promise<Manifest | null> {
  const path = join(dir, "run.json");
  const text = await readFile(path, "utf8").catch((error) => {
    if (error.code === "ENOENT") return null;
    throw new RunError(`cannot read ${path}: ${error.message}`, { cause: error });
  });
  if (text === null) return null;
  const manifest = manifestShape.safeParse(parseJson(text));
  if (manifest.success) return manifest.data;
  const issue = manifest.error.issues[0];
  throw new RunError(`${path} is not a manifest (${issue?.path.join(".")}: ${issue?.message}); restore it`);
}

/** Writes run.json whole or not at all. @throws RunError if it cannot be written */
export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  await writeWhole(join(dir, "run.json"), `${JSON.stringify(manifestShape.parse(manifest), null, 2)}\n`);
}

/** Counts or usage of several sessions or shards, added up name by name. */
export function summed<T extends Record<string, number | undefined>>(all: readonly T[]): T {
  const names = new Set(all.flatMap((numbers) => Object.keys(numbers)));
  const sums = [...names].map((name) => [name, all.reduce((sum, numbers) => sum + (numbers[name] ?? 0), 0)]);
  return Object.fromEntries(sums) as T;
}

/**
 * What would make `next` a different run from `old`: model, adapter, sampling, roles, prompts, seed, questions and
 * shard, as lines "sampling.temperature: 0.3 → 0.7". Where and how fast it is sampled may change.
 */
export function differences(old: Manifest, next: Manifest): string[] {
  const [before, after] = [flat(identity(old)), flat(identity(next))];
  const paths = [...new Set([...before.keys(), ...after.keys()])];
  const show = (value: string | undefined) => value ?? "none";
  return paths
    .filter((path) => before.get(path) !== after.get(path))
    .map((path) => `${path}: ${show(before.get(path))} → ${show(after.get(path))}`);
}

/** @throws RunError that lists the differences, if there are any */
export function requireSame(old: Manifest, next: Manifest): void {
  const lines = differences(old, next);
  if (lines.length > 0)
    throw new RunError(
      `run "${old.run}" was started with other parameters (${lines.join("; ")}); use them, or another --run name`,
    );
}

function identity({ config, benchmark, prompt_set_hash, shard }: Manifest): unknown {
  const { policy, sampling, roles, prompt_set, seed } = config;
  const { name, questions, questions_sha256 } = benchmark;
  return {
    policy,
    sampling,
    roles,
    prompt_set,
    seed,
    benchmark: { name, questions, questions_sha256 },
    prompt_set_hash,
    shard,
  };
}

/** Leaves of a JSON value by dotted path, as JSON text. */
function flat(value: unknown, path: string[] = [], leaves = new Map<string, string>()): Map<string, string> {
  if (value !== null && typeof value === "object")
    for (const [key, inner] of Object.entries(value)) flat(inner, [...path, key], leaves);
  else leaves.set(path.join("."), JSON.stringify(value));
  return leaves;
}

/**
 * Writes questions.jsonl, the questions of the run in order, with only a few in memory at a time.
 * @returns their number and the file's SHA-256, as in the manifest
 * @throws RunError if it cannot be written
 */
export async function writeQuestions(
  dir: string,
  questions: Iterable<Question> | AsyncIterable<Question>,
): Promise<Pick<Manifest["benchmark"], "questions" | "questions_sha256">> {
  const digest = createHash("sha256");
  let count = 0;
  async function* pieces() {
    let piece: Question[] = [];
    const text = () => {
      const lines = questionsJsonl(piece);
      digest.update(lines);
      piece = [];
      return lines;
    };
    for await (const question of questions) {
      count++;
      if (piece.push(question) === 256) yield text();
    }
    yield text();
  }
  await writeWhole(join(dir, "questions.jsonl"), pieces());
  return { questions: count, questions_sha256: digest.digest("hex") };
}

/** Reads questions.jsonl, in order. @throws RunError as {@link streamQuestions} */
export async function readQuestions(dir: string): Promise<Question[]> {
  const questions: Question[] = [];
  for await (const question of streamQuestions(dir)) questions.push(question);
  return questions;
}

/**
 * Reads questions.jsonl one question at a time, in order.
 * @throws RunError before the first if the file is missing or does not match the manifest
 */
export async function* streamQuestions(dir: string): AsyncGenerator<Question> {
  const path = join(dir, "questions.jsonl");
  const digest = createHash("sha256");
  try {
    for await (const bytes of createReadStream(path)) digest.update(bytes as Buffer);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RunError(`cannot read ${path}: ${reason}; sample the run first`, { cause: error });
  }
  const { benchmark } = await readManifest(dir);
  if (digest.digest("hex") !== benchmark.questions_sha256)
    throw new RunError(`${path} is not the file this run was sampled from (its SHA-256 is not run.json's); restore it`);
  for await (const lines of readLines(path))
    for (const { bytes } of lines) yield JSON.parse(bytes.toString()) as Question;
}

/** SHA-256 of a text or of bytes, in hex. */
export function hash(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Writes a temporary file, syncs it and renames it: a reader sees the old file or the new one, even after a crash. */
async function writeWhole(path: string, text: string | AsyncIterable<string>): Promise<void> {
  const draft = `${path}.${process.pid}.draft`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(draft, "w");
    try {
      await writeFile(handle, text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {});
    // For a source that is read while the file is written.
    if (error instanceof MaltError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new RunError(`cannot write ${path}: ${reason}`, { cause: error });
  }
}
