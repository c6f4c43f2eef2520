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
import { promptSets } from "../team/prompt-sets.js";
import { type PromptSet, promptSetHash, systemMessages, withSystemMessage } from "../team/prompts.js";
import type { Question } from "../types.js";
import { readLines } from "./line.js";

const count = z.number().int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

// Loose, because the hash covers every field.
const promptSetShape: z.ZodType<PromptSet> = z.looseObject({
  name: z.string(),
  system: z.union([z.string(), z.looseObject({ generator: z.string(), verifier: z.string(), refiner: z.string() })]),
  generator: z.string(),
  verifier: z.string(),
  refiner: z.string(),
  emptyCritique: z.string(),
  systemMessage: z.enum(systemMessages).optional(),
});

/** A run once kept a single evaluation; it is read as that of its benchmark. */
const byBenchmark = (section: unknown): unknown => {
  const old = z.object({ systems: z.array(z.unknown()), benchmark: z.string().default("unknown") }).safeParse(section);
  return old.success ? { [old.data.benchmark]: section } : section;
};

/** Where completions came from. */
export const serverShape = z.object({
  /** What its list of models and its own pages say. */
  owner: z.string().nullable(),
  build: z.string().nullable(),
  /** The model's file, where this project served it itself. */
  weights: z.object({ source: z.string(), sha256 }).optional(),
});

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
        critique: z.union([z.string(), z.array(z.string()).readonly()]).nullable(),
        missingCritique: z.enum(["empty", "told"]).optional(),
        critiqueShown: z.enum(["whole", "verdict"]).optional(),
        prompt: z.string().optional(),
        system: z.string().optional(),
        adapter: z.string().optional(),
        branching: count,
      }),
    ),
    /** Its name. */
    prompt_set: z.string(),
    /** How its system text is sent; `separate` in runs that do not say. */
    system_message: z.enum(systemMessages).optional(),
    /** Every word of it. Earlier versions recorded the name and the hash alone; see {@link promptSetOf}. */
    prompts: promptSetShape.optional(),
    seed: z.number().int(),
    /** The adapters that the roles spoke with, where an earlier run had trained them: a round of training after its. */
    adapters: z
      .object({
        /** The run that trained them, and which of its systems they make up. */
        run: z.string(),
        system: z.string(),
        /** By role; one that is not named spoke with the base model. */
        roles: z.record(z.string(), z.object({ name: z.string(), sha256 })),
        /** That run, and those whose adapters it was sampled with in turn, newest first: no question of theirs is unseen. */
        learned: z.array(z.object({ run: z.string(), questions_sha256: sha256 })).min(1),
      })
      .optional(),
    /** How completions were allocated (credit/search.ts), where it is not the full tree. */
    search: z.object({ kind: z.literal("adaptive"), budget: count, threshold: z.number() }).optional(),
    /** Requests in flight; "auto" if the server's load decided. */
    concurrency: z.union([count, z.literal("auto")]),
  }),
  benchmark: z.object({
    name: z.string(),
    /** Which published split of it; only of MATH, which has two: `original` (the paper's) or `PRM800K`. */
    partition: z.string().optional(),
    /** Path or URL as given. */
    source: z.string(),
    /** Of the source file; null where the source is not a file, such as rows made in a notebook. */
    sha256: sha256.nullable(),
    questions: count,
    /** Of questions.jsonl, so of the questions after selection and normalisation. */
    questions_sha256: sha256,
  }),
  /** Of the prompt set (team/prompt-sets.ts). */
  prompt_set_hash: sha256,
  server: serverShape,
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
  /** The last evaluation on each benchmark, by the benchmark's name (evaluate/evaluate.ts), if there was one. */
  evaluation: z.preprocess(byBenchmark, z.record(z.string(), z.looseObject({}))).optional(),
});

/** The content of run.json. */
export type Manifest = z.infer<typeof manifestShape>;

/** What run.json says of adapters that an earlier run has trained. */
export type TeamAdapters = NonNullable<Manifest["config"]["adapters"]>;

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
  if (manifest.success) return withRolesAsSent(manifest.data);
  const issue = manifest.error.issues[0];
  throw new RunError(`${path} is not a manifest (${issue?.path.join(".")}: ${issue?.message}); restore it`);
}

/** Before prompt sets were recorded, a refiner without a critic was always told that there is no critique. */
function withRolesAsSent(manifest: Manifest): Manifest {
  const { config } = manifest;
  if (config.prompts) return manifest;
  const roles = config.roles.map((role) =>
    role.template === "refiner" && role.critique === null ? { ...role, missingCritique: "told" as const } : role,
  );
  return { ...manifest, config: { ...config, roles } };
}

/**
 * The prompts that a run was sampled with: those in run.json. If an earlier version wrote it without them, the built-in set
 * of that name, or the one given.
 * @throws RunError unless they have the hash that run.json records
 */
export function promptSetOf({ run, config, prompt_set_hash }: Manifest, given?: PromptSet): PromptSet {
  const name = config.prompt_set;
  const builtIn = Object.hasOwn(promptSets, name) ? promptSets[name] : undefined;
  const unstored = given ?? (config.prompts ? undefined : builtIn);
  const set = unstored ? withSystemMessage(unstored, config.system_message) : config.prompts;
  if (set && promptSetHash(set) === prompt_set_hash) return set;
  const where = given ? "the set that is given" : config.prompts ? "the set in its run.json" : "this version's";
  const other = set ? `${where} has ${promptSetHash(set)}` : "neither run.json nor this version has a set of that name";
  const restore = config.prompts && !given ? "restore run.json, or " : "";
  throw new RunError(
    `run "${run}" was sampled with prompt set "${name}" of SHA-256 ${prompt_set_hash}, and ${other}; ${restore}export it ` +
      `with the set it was sampled with: \`malt export --run ${run} --prompt-set FILE\``,
  );
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
