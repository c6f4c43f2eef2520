/**
 * The passes of an evaluation: what is asked for is checked, the questions are drawn, and what is not in the journal is sampled;
 * of a shard, on its part of the questions. What it leaves out: reading, voting and writing (evaluate.ts).
 *
 * All completions go to one journal, evaluation/journal/, under the same keys as those of trees: model, adapter, prompt,
 * parameters, seed and path. So passes that systems have in common are sampled once: SA is the generator's turn of MA,
 * one pass of MA+MV is MA, and STaR and MALT share a generator. Each system's accuracy is still unbiased, and paired
 * tests between systems gain power, because what they share cancels. The systems are not independent: their errors are
 * correlated, so their intervals must not be compared as if they came from separate samples. Where two adapters differ,
 * nothing is shared.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { ExtractionMode } from "../answers/index.js";
import { checkHeldOut } from "../benchmarks/held-out.js";
import { questionList } from "../benchmarks/list.js";
import { InputError, ServerError } from "../errors.js";
import { type Policy, requireModel } from "../policy/openai.js";
import { type Journal, openJournal } from "../run/journal.js";
import { learnedQuestions } from "../run/learned.js";
import { type Manifest, promptSetOf, readManifest, runDir } from "../run/manifest.js";
import { type Concurrency, withLimit } from "../sample/concurrency.js";
import { failures } from "../sample/failures.js";
import type { Shard } from "../sample/shards.js";
import type { SampleTreesOptions } from "../sample/trees.js";
import { type PromptSet, withSystemMessage } from "../team/prompts.js";
import type { System } from "../team/systems.js";
import { trainedAdapters } from "../train/adapters.js";
import type { Complete, JournalEntry, PolicyId, Question, Role, Sampling } from "../types.js";
import type { Judge } from "./judge.js";
import { type EvaluationProgress, progressOf, samplePasses, type Transcripts, withTokensOf } from "./passes.js";
import { openShard, type ShardRecord, shardFolders, takeOver } from "./shards.js";

export interface EvaluateOptions extends Pick<SampleTreesOptions, "signal">, Concurrency {
  /** Name of the run whose adapters are evaluated. */
  run: string;
  outputs?: string;
  /** The held-out questions; each seed draws `size` of them. */
  questions: readonly Question[];
  /** Where they came from, for the manifest; `path` is "memory" by default. */
  source?: { path: string; sha256: string | null };
  systems: readonly System[];
  /** One subset and one set of sampling seeds for each; the paper averages over 4. */
  seeds: readonly number[];
  /** Questions per seed; all by default. */
  size?: number;
  /** Asked only if something is missing in the journal. */
  policy: Policy;
  /** Name under which the base model is served; by default the run's. */
  model?: string;
  /** Where the models of systems that have one of their own are served; by default at `policy`. */
  comparatorPolicy?: Policy;
  /** SHA-256 of each trained adapter, by name; by default those that the run has trained. */
  adapters?: ReadonlyMap<string, string>;
  /** What differs from the run's. */
  sampling?: Partial<Sampling>;
  /** Default: the run's, which the adapters were trained on. */
  promptSet?: PromptSet;
  /** Reads the turns before a system's last; by default {@link ownAnswerIn}. */
  judge?: Judge;
  /** Folders of shards beside the run's own, whose completions are taken over; see shards.ts. */
  shardFolders?: readonly string[];
  /** Which answers of a text count, see `extract`; "strict" by default. */
  extraction?: ExtractionMode;
  onProgress?: (progress: EvaluationProgress) => void;
  onFailure?: (error: ServerError, system: string, questionId: string) => void;
}

/** What a server says about itself, for run.json. */
export async function aboutServer(policy: Policy) {
  const { owner, build } = await policy.info();
  return { owner, build, ...(policy.weights && { weights: policy.weights }) };
}

/** Samples all passes, or those of a shard's questions. @throws as evaluateRun */
export async function sampledPasses(options: EvaluateOptions, shard: Shard | null) {
  const { seeds, policy, source = { path: "memory", sha256: null } } = options;
  let { systems } = options;
  checkPlan(systems, seeds);
  const dir = runDir(options.run, options.outputs);
  const manifest = await readManifest(dir);
  const adapters = options.adapters ?? (await hashes(dir));
  checkHeldOut(await learnedQuestions(dir), new Map([[source.path, options.questions]]));
  const given = options.promptSet;
  const set = given ? withSystemMessage(given, manifest.config.system_message) : promptSetOf(manifest);
  const sampling = { ...manifest.config.sampling, ...options.sampling };
  const model = options.model ?? manifest.config.policy.model;
  requireSameFile(manifest, policy, model);
  const size = options.size ?? options.questions.length;
  const list = await questionList(options.questions);
  const place = new Map(options.questions.map(({ id }, i) => [id, i]));
  const isOwn = ({ id }: Question) => shard === null || place.get(id)! % shard.of === shard.index - 1;
  const subsets = seeds.map((seed) => drawSubset(options.questions, size, seed).filter(isOwn));
  const asked = subsets.reduce((sum, subset) => sum + subset.length, 0);
  const speaker = speakerOf(model, adapters);
  for (const system of systems) for (const role of system.roles) speaker(system, role);
  const began = performance.now();
  const others = new Set(systems.flatMap((system) => system.model ?? []));
  if (others.has(model))
    throw new InputError(`"${model}" is the run's own model; a comparator is another one, and SA is the run's`);
  const serverOf = (asked: string): Policy => (others.has(asked) ? (options.comparatorPolicy ?? policy) : policy);

  const complete: Complete = async (request, signal) => {
    const server = serverOf(request.policy.model);
    await requireModel(request.policy.model, server);
    return server.complete(request, signal);
  };
  const kept = shard ? await openShard(dir, shard) : await openJournal(join(dir, "evaluation"));
  const journal = remembering(kept);
  const failed = collector(options.onFailure);
  const said = new Map<string, Transcripts[]>();
  const shared = { promptSet: set, sampling, journal, complete, signal: options.signal };
  let taken = 0;
  let records: ShardRecord[] = [];
  try {
    const folders = shard ? [] : [...(await shardFolders(dir)), ...(options.shardFolders ?? [])];
    ({ taken, records } = await takeOver(journal, folders, options.questions));
    await withLimit(options, policy, async (concurrency) => {
      const sample = async (some: readonly System[]) => {
        // Most votes first: the smaller systems then find all their passes in the journal.
        const ordered = [...some].sort((a, b) => b.votes - a.votes || b.roles.length - a.roles.length);
        const progress = progressOf(ordered, asked, options.onProgress);
        for (const system of ordered) {
          const transcripts: Transcripts[] = [];
          said.set(system.name, transcripts);
          for (const [s, seed] of seeds.entries()) {
            const questions = subsets[s]!;
            const hooks = { onFailure: failed.of(system.name), onEnded: progress(system, questions.length) };
            const talk = { ...shared, ...hooks, concurrency, questions, seed };
            transcripts.push(await samplePasses(system, (role) => speaker(system, role), talk));
          }
        }
      };
      await sample(systems);
      if (shard) return;
      systems = systems.map((system) => withTokensOf(system, said));
      const changed = systems.filter(({ votes }, i) => votes !== options.systems[i]!.votes);
      if (changed.length > 0) await sample(changed);
    });
  } finally {
    await kept.close();
  }
  failed.throw(policy.baseURL);
  const about = { dir, manifest, source, list, set, sampling, adapters, model, size };
  const work = { systems, subsets, said, failed, taken, records, began };
  return { ...about, ...work, sampled: journal.added() - taken, damaged: kept.damaged };
}

/** @throws InputError if the run's model is served from another file than the run was sampled from */
function requireSameFile({ run, config, server }: Manifest, { weights }: Policy, model: string): void {
  const was = server.weights;
  if (model !== config.policy.model || !was || !weights || was.sha256 === weights.sha256) return;
  throw new InputError(
    `run "${run}" was sampled from ${was.source} of SHA-256 ${was.sha256}, and the server has read ${weights.source} of ` +
      `SHA-256 ${weights.sha256}; evaluate it with the file it was sampled from`,
  );
}

/** @throws InputError for a plan without systems or seeds, with one of them twice, or with impossible numbers */
function checkPlan(systems: readonly System[], seeds: readonly number[]): void {
  const twice = <T>(items: readonly T[]) => items.find((item, i) => items.indexOf(item) !== i);
  const names = systems.map(({ name }) => name);
  if (systems.length === 0) throw new InputError("there are no systems to evaluate; give at least one");
  if (seeds.length === 0) throw new InputError("there are no seeds; give at least one");
  const name = twice(names);
  if (name !== undefined) throw new InputError(`two systems are named "${name}"; names must be unique`);
  const seed = twice(seeds) ?? seeds.find((s) => !Number.isInteger(s) || s < 0 || s >= 2 ** 31);
  if (seed !== undefined)
    throw new InputError(`seeds must be different integers in 0 … 2³¹ − 1, not ${seed} among them`);
  const other = systems.find(
    ({ tokensOf }) => tokensOf !== undefined && !systems.some((s) => s.name === tokensOf && s.tokensOf === undefined),
  );
  if (other)
    throw new InputError(
      `system "${other.name}" is to spend the tokens of "${other.tokensOf}", which is not evaluated; add that system too`,
    );
  const debate = systems.find((system) => system.debate && system.roles.length !== 1);
  if (debate)
    throw new InputError(`a debate has one role, and system "${debate.name}" has ${debate.roles.length}; give it one`);
}

/**
 * The questions of one seed: a random subset without replacement, in the order they were given. The same seed draws the
 * same questions whatever the systems, and a smaller subset of a seed lies in a larger one.
 * @throws InputError if there are fewer than `size`, or two have one id
 */
export function drawSubset(questions: readonly Question[], size: number, seed: number): Question[] {
  if (!Number.isInteger(size) || size < 1 || size > questions.length)
    throw new InputError(`a subset of ${size} questions cannot be drawn from ${questions.length}; give 1 … that many`);
  const rank = new Map(
    questions.map(({ id }) => [id, createHash("sha256").update(`${seed}\n${id}`).digest("hex")] as const),
  );
  if (rank.size < questions.length) throw new InputError("two held-out questions have one id; make ids unique");
  const chosen = new Set(
    [...rank]
      .sort(([, a], [, b]) => (a < b ? -1 : 1))
      .slice(0, size)
      .map(([id]) => id),
  );
  return questions.filter(({ id }) => chosen.has(id));
}

/** SHA-256 of the adapters that a run has trained, by name. */
async function hashes(dir: string): Promise<ReadonlyMap<string, string>> {
  return new Map([...(await trainedAdapters(dir))].map(([name, { sha256 }]) => [name, sha256]));
}

function speakerOf(model: string, adapters: ReadonlyMap<string, string>) {
  return (system: System, role: Role): PolicyId => {
    if (system.model !== undefined) return { model: system.model, adapter: null };
    const name = system.adapters[role.name];
    if (name === undefined) return { model, adapter: null };
    const sha256 = adapters.get(name);
    if (sha256 === undefined) {
      const known = [...adapters.keys()].join(", ") || "none";
      throw new InputError(
        `system "${system.name}" needs adapter "${name}", which is not trained; there are: ${known}`,
      );
    }
    return { model, adapter: { name, sha256 } };
  };
}

/** A journal that also finds what was appended since it was opened: systems share passes within one call. */
function remembering(journal: Journal) {
  const fresh = new Map<string, JournalEntry[]>();
  let added = 0;
  return {
    kept: async (questionId: string) => [...(await journal.kept(questionId)), ...(fresh.get(questionId) ?? [])],
    async append(entries: readonly JournalEntry[]) {
      await journal.append(entries);
      added += entries.length;
      for (const entry of entries) {
        const known = fresh.get(entry.question_id);
        if (known) known.push(entry);
        else fresh.set(entry.question_id, [entry]);
      }
    },
    added: () => added,
    get completions() {
      return journal.completions + added;
    },
  };
}

/** Counts what failed, and says so at the end. */
function collector(onFailure: EvaluateOptions["onFailure"]) {
  const names = new Set<string>();
  const all = failures();
  let count = 0;
  return {
    of: (name: string) => (error: ServerError, questionId: string) => {
      count++;
      names.add(JSON.stringify(name));
      all.add(error, questionId);
      onFailure?.(error, name, questionId);
    },
    throw(baseURL: string) {
      if (count === 0) return;
      const orElse = all.someRefused ? "; or evaluate without these systems" : "";
      throw new ServerError(`${count} requests of ${[...names].join(", ")} failed at ${baseURL}${all.text()}${orElse}`);
    },
  };
}
