/**
 * Makes a study: every run sampled, exported, trained and evaluated by the functions that do it for a single run, so each
 * can be stopped anywhere and goes on. What cells have in common is made once: completions of trees and passes by their
 * keys (sample/known.ts), stages by their data and settings (train/reuse.ts). Rounds of training come one after another: all
 * that a round needs is made before the next is sampled. What it leaves out: which cells there are
 * (definition.ts) and what they say (results.ts).
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileSha256 } from "../benchmarks/download.js";
import { loadQuestions } from "../benchmarks/load.js";
import { exportRun } from "../dataset/export.js";
import { checkOptions, snakeCase } from "../dataset/rules.js";
import { environment } from "../environment.js";
import { InputError, RunError, ServerError } from "../errors.js";
import { evaluateRun } from "../evaluate/evaluate.js";
import { type Model, modelOfProfile, models, servedElsewhere } from "../models/table.js";
import { arithmetic, recordedPath } from "../paths.js";
import { openJournal, readJournal } from "../run/journal.js";
import { findManifest, type Manifest, readManifest, runDir, type TeamAdapters } from "../run/manifest.js";
import type { Concurrency } from "../sample/concurrency.js";
import { type Known, knownCompletions, knownFirst } from "../sample/known.js";
import { defaultSampling, sampleRun } from "../sample/sample.js";
import type { Progress } from "../sample/trees.js";
import { findSystems, neededAdapters, type System } from "../team/systems.js";
import { speaksAs } from "../team/teams.js";
import { teamAdapters, trainedAdapters } from "../train/adapters.js";
import { type TrainingMethod, type TrainingStart, trainingMethods } from "../train/plan.js";
import { trainedStages } from "../train/record.js";
import type { TrainingStatus } from "../train/status.js";
import { type TrainRunOptions, trainRun } from "../train/train.js";
import { isTraining } from "../train/trainer.js";
import type { Question } from "../types.js";
import { promptsOf, type Settings } from "./axes.js";
import { type Cell, planStudy, type StudyDefinition, type StudyPlan } from "./definition.js";
import type { PlannedRun } from "./rounds.js";
import { type Serve, serveEmbedded, whenAsked } from "./serve.js";
import { reasonAgainst, type StudyResult, shortOf, writeStudy } from "./tables.js";

/** The steps of a study, in order. */
export const studySteps = ["sample", "export", "train", "evaluate"] as const;
export type StudyStep = (typeof studySteps)[number];

export interface StudyOptions extends Concurrency {
  /** Folder that holds `runs/` and `studies/`; MALT_OUTPUTS or `outputs` by default. */
  outputs?: string;
  /** Starts what serves a model; by default the embedded server. */
  serve?: Serve;
  /**
   * The part of the runs that this call makes: every `of`-th from the `index`-th on, with all its further rounds, so that they can
   * be jobs.
   */
  part?: { index: number; of: number };
  /** The last step to do; `evaluate` by default. */
  until?: StudyStep;
  /** What else the trainer is given, such as where it runs. */
  train?: Partial<TrainRunOptions>;
  /** Called with a line for each step of a run. */
  onStatus?: (text: string) => void;
  onSampling?: (progress: Readonly<Progress>) => void;
  onTraining?: (status: TrainingStatus) => void;
  onEvaluation?: (done: number, total: number, asked: number) => void;
  signal?: AbortSignal;
}

/** A run of a study, and the cells that are measured in it. */
interface StudyRun extends Omit<PlannedRun, "run"> {
  name: string;
  dir: string;
  cells: Cell[];
  /** 1, 2, … */
  round: number;
  /** The run of the round before, and the system of it that samples this one; null in the first. */
  before: { run: StudyRun; system: System } | null;
  /** Systems that sample the round after, and are trained for that. */
  next: System[];
}

/**
 * Makes a study, or goes on with one, and writes its tables in `<outputs>/studies/<name>/`. Cells that cannot be trained, say
 * because no output is on the right side of their threshold, are in the table with the reason.
 * @returns what the cells say, as far as they are made; of a part of the cells the others too, if they are there
 * @throws InputError for a study that cannot be made, and what sampling, training and evaluating throw: what had finished is
 *   kept, and the same call goes on
 */
export async function study(given: StudyDefinition, options: StudyOptions = {}): Promise<StudyResult> {
  const plan = planStudy(given, given.name === undefined ? "study" : `study "${given.name}"`);
  const { outputs = environment().outputs, part = { index: 1, of: 1 }, until = "evaluate", signal } = options;
  if (!(part.index >= 1 && part.index <= part.of))
    throw new InputError(`part ${part.index} of ${part.of} is none; give 1 ≤ index ≤ of`);
  const steps = studySteps.slice(0, studySteps.indexOf(until) + 1);
  const runs = runsOf(plan, outputs);
  const own = partOf(runs, part);
  const questions = await trainingQuestions(plan);
  const test = await testQuestions(plan, questions);
  const known = knownCompletions();
  const damaged = new Set<string>();
  for (const dir of await runsOnDisk(plan, outputs))
    for (const place of [dir, join(dir, "evaluation")]) if (await learn(known, place)) damaged.add(place);
  const work = { plan, options: { ...options, outputs }, questions, test, known, damaged, runs };
  for (let round = 1; own.some((run) => run.round === round); round++) {
    const ready: ReadyRun[] = [];
    for (const run of own.filter((each) => each.round === round)) {
      const team = await teamOfRun(run, outputs);
      if (team) ready.push({ run, team });
    }
    for (const step of steps) {
      if (step === "sample") await sampleAll(ready, work);
      else
        for (const { run } of ready) {
          signal?.throwIfAborted();
          await { export: exportOne, train: trainOne, evaluate: evaluateOne }[step](run, work);
        }
    }
  }
  return writeStudy(plan, outputs, { benchmark: test.benchmark, size: sizeOf(work) });
}

interface Work {
  plan: StudyPlan;
  options: StudyOptions & { outputs: string };
  questions: Question[];
  test: { questions: Question[]; path: string; benchmark: string };
  known: Known;
  /** Folders of journals that had damaged lines. */
  damaged: ReadonlySet<string>;
  /** All runs of the study. */
  runs: readonly StudyRun[];
}

/** Held-out questions per seed: as many as the study wants, or as there are. */
const sizeOf = ({ plan, test }: Pick<Work, "plan" | "test">): number =>
  Math.min(plan.definition.size, test.questions.length);

/** The runs of a study, in the order of its cells; those with more children first, because the others lie in them. */
export function runsOf({ cells }: StudyPlan, outputs: string): StudyRun[] {
  const runs = new Map<string, StudyRun>();
  for (const cell of cells)
    for (const { rounds } of cell.replicas) {
      let before: StudyRun | null = null;
      for (const [i, { run: name, ...rest }] of rounds.entries()) {
        const system = cell.system;
        const run: StudyRun = runs.get(name) ?? {
          ...{ name, dir: runDir(name, outputs), ...rest, cells: [], round: i + 1, next: [] },
          before: before && { run: before, system },
        };
        runs.set(name, run);
        if (i === rounds.length - 1) run.cells.push(cell);
        else if (!run.next.some((other) => other.name === system.name)) run.next.push(system);
        before = run;
      }
    }
  const branching = ({ settings }: StudyRun) => Number(settings.branching ?? 3);
  return [...runs.values()].sort((a, b) => branching(b) - branching(a));
}

/** The first round of a run. */
const firstOf = (run: StudyRun): StudyRun => (run.before ? firstOf(run.before.run) : run);

/** The runs of one part of a study: rounds stay together. */
function partOf(runs: readonly StudyRun[], { index, of }: NonNullable<StudyOptions["part"]>): StudyRun[] {
  const first = runs.filter(({ before }) => before === null);
  return runs.filter((run) => first.indexOf(firstOf(run)) % of === index - 1);
}

/** The team that samples a run; null where the round before has not trained it yet, or cannot. */
async function teamOfRun({ before }: StudyRun, outputs: string): Promise<Partial<TeamOfRun> | null> {
  if (!before) return {};
  const manifest = await findManifest(before.run.dir);
  if (!manifest?.export || reasonAgainst(manifest, before.system) !== null) return null;
  const done = (await trainedStages(before.run.dir)).filter(({ current }) => current);
  if (neededAdapters([before.system]).some((name) => !done.some((stage) => stage.name === name))) return null;
  return teamAdapters(before.run.name, { system: before.system, outputs });
}
type TeamOfRun = Awaited<ReturnType<typeof teamAdapters>>;

/** A run whose team is there; of the first round nothing is known of it, which is the base model. */
interface ReadyRun {
  run: StudyRun;
  team: Partial<TeamOfRun>;
}

/** Folders of this study's runs, also of values that it no longer has. */
async function runsOnDisk({ definition }: StudyPlan, outputs: string): Promise<string[]> {
  const folder = dirname(runDir("x", outputs));
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.startsWith(`${definition.name}.`)).map((name) => join(folder, name));
}

/**
 * Adds what a journal holds, if there is one.
 * @returns whether lines of it were damaged; they are then set aside, as when the run is sampled on
 */
async function learn(known: Known, dir: string): Promise<boolean> {
  if (!existsSync(join(dir, "journal"))) return false;
  try {
    for await (const entry of readJournal(dir)) known.add([entry]);
    return false;
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    const journal = await openJournal(dir);
    await journal.close();
    for await (const entry of readJournal(dir)) known.add([entry]);
    return true;
  }
}

async function trainingQuestions({ definition }: StudyPlan): Promise<Question[]> {
  const { questions = arithmetic.train, limit } = definition;
  return loadQuestions(questions, limit === undefined ? {} : { limit });
}

async function testQuestions({ definition }: StudyPlan, training: readonly Question[]): Promise<Work["test"]> {
  const isOwn = training.every(({ benchmark }) => benchmark === "arithmetic");
  const path = definition.test ?? (isOwn ? arithmetic.test : undefined);
  if (path === undefined)
    throw new InputError(
      `study "${definition.name}" asks questions of ${training[0]!.benchmark}; say which are held out: test: FILE`,
    );
  const questions = await loadQuestions(path);
  const benchmark = [...new Set(questions.map((each) => each.benchmark))].join("+");
  return { questions, path, benchmark };
}

/** The row of the table of models that a run samples from. */
function modelOf({ settings }: Pick<StudyRun, "settings">): Model {
  if (settings.model !== undefined) return servedElsewhere();
  return settings.profile === undefined ? models[0]! : modelOfProfile(String(settings.profile));
}

/** Samples the trees of all runs that lack some; a server is started where something is to be asked, once per model and team. */
async function sampleAll(runs: readonly ReadyRun[], { options, questions, plan, known, damaged }: Work): Promise<void> {
  const { serve = serveEmbedded, onStatus = () => {}, signal } = options;
  const open = new Map<string, ReadyRun[]>();
  for (const { run, team } of runs) {
    const before = await findManifest(run.dir);
    if (before) requireSameTeam(before, team, run);
    if (before && before.counts.ok === before.counts.asked && !damaged.has(run.dir)) continue;
    const group = `${modelOf(run).profile} ${JSON.stringify(team.adapters ?? null)}`;
    open.set(group, [...(open.get(group) ?? []), { run, team }]);
  }
  for (const group of open.values()) {
    const profile = modelOf(group[0]!.run);
    const server = await serve({ model: profile, adapters: group[0]!.team.trained ?? [] });
    try {
      for (const { run, team } of group) {
        signal?.throwIfAborted();
        const { settings } = run;
        onStatus(`${run.name}: sampling (${shortOf(run)})`);
        const source = plan.definition.questions ?? arithmetic.train;
        const { manifest } = await sampleRun({
          ...{ run: run.name, outputs: options.outputs, questions, model: String(settings.model ?? server.model) },
          source: { path: recordedPath(source), sha256: existsSync(source) ? await fileSha256(source) : null },
          policy: knownFirst(known, server.policy),
          roles: run.roles,
          adapters: team.adapters,
          // llama.cpp batches only requests of one adapter.
          ...(team.adapters && profile.embedded && { order: "wide" }),
          sampling: {
            temperature: Number(settings.temperature ?? defaultSampling.temperature),
            top_p: Number(settings.topP ?? defaultSampling.top_p),
            max_tokens: Number(settings.maxTokens ?? profile.maxTokens),
          },
          ...(settings.promptSet !== undefined && { promptSet: promptsOf(settings.promptSet) }),
          systemMessage: profile.systemMessage === false ? "merged" : "separate",
          seed: Number(settings.seed ?? 0),
          concurrency: options.concurrency ?? profile.concurrency,
          ...(options.maxConcurrency !== undefined && { maxConcurrency: options.maxConcurrency }),
          request: profile.request,
          ...(options.onSampling && { onProgress: options.onSampling }),
          ...(signal && { signal }),
        });
        const { failed, asked } = manifest.counts;
        if (failed > 0)
          throw new ServerError(
            `${failed} of ${asked} requests of ${run.name} failed; run the same command again to go on`,
          );
        await learn(known, run.dir);
      }
    } finally {
      await server.stop();
    }
  }
}

/** @throws RunError if the round before has trained other adapters since a run was sampled */
function requireSameTeam(
  { config }: Manifest,
  { adapters }: Partial<TeamOfRun>,
  { name, dir, before }: StudyRun,
): void {
  const hashes = (roles: TeamAdapters["roles"] = {}) =>
    JSON.stringify(Object.values(roles).map(({ sha256 }) => sha256));
  if (hashes(config.adapters?.roles) === hashes(adapters?.roles)) return;
  throw new RunError(
    `${name} was sampled with other adapters than ${before?.run.name} has now; remove ${dir}, and it is sampled anew`,
  );
}

/** The rules that a run's dataset is exported under. */
function rulesOf(settings: Settings) {
  const names = Object.keys(checkOptions({}));
  return checkOptions(Object.fromEntries(Object.entries(settings).filter(([name]) => names.includes(name))));
}

/** Exports a run, unless it is exported under these rules already. */
async function exportOne(run: StudyRun, { options }: Work): Promise<void> {
  const rules = rulesOf(run.settings);
  const before = (await readManifest(run.dir)).export?.options;
  if (JSON.stringify(before) === JSON.stringify(snakeCase(rules)) && existsSync(join(run.dir, "nodes.parquet"))) return;
  options.onStatus?.(`${run.name}: exporting (${shortOf(run)})`);
  await exportRun(run.dir, rules);
}

/** The systems that are measured in a run. */
const systemsOf = ({ cells }: StudyRun): System[] => cells.map(({ system }) => system);

/** Those of some systems that can be trained on a run's dataset, with those whose tokens they are to spend. */
async function trainable({ dir }: StudyRun, own: readonly System[]): Promise<System[]> {
  const manifest = await readManifest(dir);
  const others = own.flatMap(({ tokensOf }) => (tokensOf === undefined ? [] : [tokensOf]));
  const systems = new Map(
    [...findSystems(others, manifest.config.roles), ...own].map((system) => [system.name, system]),
  );
  return [...systems.values()].filter((system) => reasonAgainst(manifest, system) === null);
}

/** Trains what the systems of a run's cells need, unless it is there; a cell without data to learn from is left out. */
async function trainOne(run: StudyRun, { options, runs, test }: Work): Promise<void> {
  const needed = neededAdapters(await trainable(run, [...systemsOf(run), ...run.next]));
  const done = await trainedStages(run.dir);
  const missing = needed.filter((name) => !done.some((stage) => stage.name === name && stage.current));
  if (missing.length === 0) return;
  options.onStatus?.(`${run.name}: training ${missing.join(", ")} (${shortOf(run)})`);
  const { settings } = run;
  const profile = modelOf(run);
  const changes = Object.entries(settings).filter(([name]) => Object.hasOwn(profile.training, name));
  const epochs = settings.epochs as number | undefined;
  const generators = (await readManifest(run.dir)).config.roles.filter(({ template }) => template === "generator");
  for (const { stages, roles } of callsFor(missing, generators.map(speaksAs))) {
    const generatorDpo = generators.some((role) =>
      missing.some((name) => name.startsWith(`${speaksAs(role)}-`) && !name.endsWith("-sft")),
    );
    const train = () =>
      trainRun({
        ...{ run: run.name, outputs: options.outputs, stages, roles, generatorDpo },
        settings: { ...(epochs && { sftEpochs: epochs, dpoEpochs: epochs }), ...Object.fromEntries(changes) },
        seed: Number(settings.trainSeed ?? 0),
        ...(settings.startFrom !== undefined && { startFrom: settings.startFrom as TrainingStart }),
        ...(settings.baseModel !== undefined && { baseModel: String(settings.baseModel) }),
        heldOut: [test.path],
        reuse: runs.filter(({ dir }) => dir !== run.dir).map(({ dir }) => dir),
        outlives: false,
        ...(options.onTraining && { onProgress: options.onTraining }),
        ...(options.onStatus && { onStatus: options.onStatus }),
        ...(options.signal && { signal: options.signal }),
        ...options.train,
      });
    // A trainer that was left behind by a study that was killed is just stopping; then this one goes on from its checkpoint.
    const isJoined = await isTraining(run.dir);
    await train().catch((error) => {
      if (!isJoined || options.signal?.aborted || !(error instanceof RunError)) throw error;
      return train();
    });
  }
}

/**
 * The calls of the trainer for some adapters: one for all, if that trains nothing else; a call loads the trainer anew. Else
 * one per method, because a role without pairs must not be asked for its DPO.
 */
function callsFor(adapters: readonly string[], generators: readonly string[]) {
  const parts = adapters.map((name) => ({
    role: name.slice(0, name.lastIndexOf("-")),
    method: name.slice(name.lastIndexOf("-") + 1),
  }));
  const call = (some: typeof parts) => ({
    stages: trainingMethods.filter((method) => some.some((part) => part.method === method)),
    roles: [...new Set(some.map(({ role }) => role))],
  });
  const whole = call(parts);
  const isNeeded = (role: string, method: TrainingMethod) =>
    adapters.includes(`${role}-${method}`) || method === "sft" || generators.includes(role);
  if (whole.roles.every((role) => whole.stages.every((method) => isNeeded(role, method)))) return [whole];
  return whole.stages.map((method) => call(parts.filter((part) => part.method === method)));
}

/** Evaluates the systems of a run's cells, from what is known as far as it goes. */
async function evaluateOne(run: StudyRun, { plan, options, test, known }: Work): Promise<void> {
  const systems = await trainable(run, systemsOf(run));
  if (systems.length === 0) return;
  const { serve = serveEmbedded, onStatus = () => {}, onEvaluation, signal } = options;
  const profile = modelOf(run);
  const trained = await trainedAdapters(run.dir);
  const adapters = neededAdapters(systems).map((name) => trained.get(name)!);
  // Most evaluations of a study that goes on ask nothing, and need no server.
  const server = whenAsked(() => {
    onStatus(`${run.name}: evaluating ${systems.map(({ name }) => name).join(", ")} (${shortOf(run)})`);
    return serve({ model: profile, adapters });
  });
  const { seeds } = plan.definition;
  try {
    await evaluateRun({
      ...{ run: run.name, outputs: options.outputs, questions: test.questions, systems },
      source: { path: recordedPath(test.path), sha256: existsSync(test.path) ? await fileSha256(test.path) : null },
      seeds: Array.from({ length: seeds }, (_, i) => i),
      size: sizeOf({ plan, test }),
      policy: knownFirst(known, server.policy),
      extraction: rulesOf(run.settings).extraction,
      concurrency: options.concurrency ?? profile.concurrency,
      ...(options.maxConcurrency !== undefined && { maxConcurrency: options.maxConcurrency }),
      ...(onEvaluation && { onProgress: ({ done, total, asked }) => onEvaluation(done, total, asked) }),
      ...(signal && { signal }),
    });
  } finally {
    await server.stop();
  }
  await learn(known, join(run.dir, "evaluation"));
}
