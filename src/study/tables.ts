/**
 * The tables of a study, made from its run folders alone: results.parquet with a row per cell, outcomes.parquet with a row per
 * answer, and study.json. The same folders give the same tables, however often the work was interrupted. What it leaves out:
 * the statistics (results.ts).
 */
import { existsSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { openDataset } from "../dataset/export.js";
import { writeTable } from "../dataset/parquet.js";
import { groupBy } from "../evaluate/results.js";
import { readJournal } from "../run/journal.js";
import { findManifest, type Manifest, runDir } from "../run/manifest.js";
import { findSystems, neededAdapters, type System } from "../team/systems.js";
import { speaksAs } from "../team/teams.js";
import { type TrainedStage, trainedStages } from "../train/record.js";
import type { EvaluationRow } from "../types.js";
import { labelOf, type Settings } from "./axes.js";
import type { Cell, StudyPlan } from "./definition.js";
import {
  type AtTokens,
  atEqualTokens,
  type CellAnswer,
  type CellResult,
  type Cost,
  compareCells,
  type Made,
} from "./results.js";

/** A study as far as it is made. */
export interface StudyResult {
  /** `<outputs>/studies/<name>` */
  dir: string;
  plan: StudyPlan;
  results: CellResult[];
  outcomes: CellAnswer[];
  /** Of a study that varies the votes: its teams at the tokens that each number of votes of the reference's team takes. */
  equalTokens: AtTokens[];
  work: StudyWork;
  /** Cells that are neither evaluated nor known to be impossible. */
  left: number;
}

/** What was needed by all cells together, and what was made for it. Seconds are those of the work, over all calls. */
export interface StudyWork {
  completions: Shared;
  stages: Shared;
  passes: Shared;
  seconds: { sampling: number; training: number; evaluation: number };
}

/** How much cells need, each for itself, and how much was made. */
interface Shared {
  needed: number;
  made: number;
}

const exported = z.object({
  roles: z.array(z.object({ role: z.string(), sft: z.number(), pairs: z.number() })),
});
const evaluated = z.object({
  seeds: z.array(z.number()),
  size: z.number(),
  systems: z.array(z.object({ name: z.string() })),
  wall_seconds: z.number(),
});

/** `threshold 0.3, pooling mean`: a run in a few words, of its cells or of the round that it is for others. */
export const shortOf = ({ cells, round }: { cells: readonly Cell[]; round: number }): string => {
  if (cells.length === 0) return `round ${round}`;
  const words = Object.entries(cells[0]!.varied).map(([name, value]) => `${name} ${labelOf(value)}`);
  return words.join(", ") + (cells.length > 1 ? `, … ${cells.length} cells` : "");
};

/** Examples and pairs by the adapter that learns from them; null before the export. */
function rowsOf({ export: section, config }: Manifest): Map<string, { sft: number; pairs: number }> | null {
  const read = exported.safeParse(section).data;
  if (!read) return null;
  const rows = new Map<string, { sft: number; pairs: number }>();
  for (const { role, sft, pairs } of read.roles) {
    const name = speaksAs(config.roles.find((each) => each.name === role)!);
    const before = rows.get(name) ?? { sft: 0, pairs: 0 };
    rows.set(name, { sft: before.sft + sft, pairs: before.pairs + pairs });
  }
  return rows;
}

const stageOf = (adapter: string) => {
  const at = adapter.lastIndexOf("-");
  return { role: adapter.slice(0, at), method: adapter.slice(at + 1) };
};

/** Why a system cannot be trained on a run's dataset; null where it can, or before the export. */
export function reasonAgainst(manifest: Manifest, system: System): string | null {
  const rows = rowsOf(manifest);
  const others = system.tokensOf === undefined ? [] : findSystems([system.tokensOf], manifest.config.roles);
  for (const adapter of rows ? neededAdapters([system, ...others]) : []) {
    const { role, method } = stageOf(adapter);
    const { sft, pairs } = rows!.get(role) ?? { sft: 0, pairs: 0 };
    if (sft === 0) return `the ${role} has no example to learn from`;
    if (method === "dpo" && pairs === 0) return `the ${role} has no pair to learn from`;
  }
  return null;
}

/** The held-out questions: their benchmark, and how many each seed has. */
interface HeldOut {
  benchmark: string;
  size: number;
}

/** What a run folder holds of a study. */
interface Found {
  manifest: Manifest;
  stages: TrainedStage[];
  /** Rows of its evaluation by system; none before it. */
  rows: Map<string, EvaluationRow[]>;
  seconds: number;
}

async function findRun(dir: string, { definition }: StudyPlan, { benchmark, size }: HeldOut): Promise<Found | null> {
  const manifest = await findManifest(dir);
  if (!manifest) return null;
  const stages = (await trainedStages(dir)).filter(({ current }) => current);
  const section = evaluated.safeParse(manifest.evaluation?.[benchmark]).data;
  const isWhole = section && section.seeds.length === definition.seeds && section.size === size;
  if (!isWhole || !existsSync(join(dir, "evaluation.parquet")))
    return { manifest, stages, rows: new Map(), seconds: 0 };
  const data = await openDataset(dir);
  try {
    const rows = groupBy(await data.evaluation(benchmark), ({ system }) => system);
    return { manifest, stages, rows, seconds: section.wall_seconds };
  } finally {
    data.close();
  }
}

/** The answers of one making of a cell: the votes at the last turn, with the tokens of all passes and turns. */
function outcomesOf(rows: readonly EvaluationRow[], cell: number, repeat: number): CellAnswer[] {
  const last = rows.at(-1)?.turn;
  return [...groupBy(rows, ({ seed, question_id }) => `${seed}\n${question_id}`).values()].map((own) => {
    const { seed, question_id, voted_correct } = own.find(({ turn, pass }) => turn === last && pass === 0)!;
    const isCounted = own.every(({ completion_tokens }) => completion_tokens !== null);
    const tokens = isCounted ? own.reduce((sum, row) => sum + row.completion_tokens!, 0) : null;
    return { cell, repeat, seed, question_id, correct: voted_correct, tokens };
  });
}

function costOf({ manifest, stages }: Found, system: System): Cost {
  const needed = new Set(neededAdapters([system]));
  for (const { name, record } of stages)
    if (needed.has(name) && record.config.start_adapter) needed.add(record.config.start_adapter);
  const own = stages.filter(({ name }) => needed.has(name));
  const sum = (of: (record: TrainedStage["record"]) => number | null | undefined) =>
    own.reduce<number | null>((total, { record }) => {
      const value = of(record);
      return total === null || value === null || value === undefined ? null : total + value;
    }, 0);
  return {
    sampled_completions: manifest.counts.completions,
    sampled_tokens: manifest.counts.completion_tokens || null,
    sft_examples: sum(({ examples }) => examples ?? 0)!,
    pairs: sum(({ pairs }) => pairs ?? 0)!,
    training_steps: sum(({ steps }) => steps)!,
    training_tokens: sum(({ tokens }) => tokens),
  };
}

/** The cost of two rounds. */
function plus(one: Cost, other: Cost): Cost {
  const sum = (a: number | null, b: number | null) => (a === null || b === null ? null : a + b);
  const names = Object.keys(one) as (keyof Cost)[];
  return Object.fromEntries(names.map((name) => [name, sum(one[name], other[name])])) as unknown as Cost;
}

/** Counts what several journals hold, and how many of it are the same. */
async function counted(folders: readonly string[]): Promise<Shared> {
  const keys = new Set<string>();
  let needed = 0;
  for (const dir of folders) {
    if (!existsSync(join(dir, "journal"))) continue;
    for await (const { key } of readJournal(dir)) {
      keys.add(key);
      needed++;
    }
  }
  return { needed, made: keys.size };
}

/**
 * Reads a study's runs, compares its cells and writes its tables.
 * @throws RunError if a folder cannot be read or written
 */
export async function writeStudy(plan: StudyPlan, outputs: string, heldOut: HeldOut): Promise<StudyResult> {
  const { definition, cells, axes } = plan;
  const dir = join(outputs, "studies", definition.name);
  const names = [
    ...new Set(cells.flatMap(({ replicas }) => replicas.flatMap(({ rounds }) => rounds.map(({ run }) => run)))),
  ];
  const found = new Map<string, Found | null>();
  for (const run of names) found.set(run, await findRun(runDir(run, outputs), plan, heldOut));
  const outcomes: CellAnswer[] = [];
  const made: Made[] = [];
  for (const { cell, replicas, system } of cells)
    for (const { run, rounds, repeat } of replicas) {
      const parts = rounds.map((round) => found.get(round.run) ?? null);
      const reason = parts.reduce<string | null>((first, part, i) => {
        const own = first === null && part ? reasonAgainst(part.manifest, system) : null;
        return own !== null && rounds.length > 1 ? `round ${i + 1}: ${own}` : (first ?? own);
      }, null);
      const own = found.get(run);
      if (!own && reason === null) continue;
      const costs = parts.flatMap((part) => (part ? [costOf(part, system)] : []));
      made.push({ cell, repeat, cost: costs.reduce(plus), reason });
      if (own && reason === null) outcomes.push(...outcomesOf(own.rows.get(system.name) ?? [], cell, repeat));
    }
  const results = compareCells(cells, outcomes, made);
  const equalTokens = axes.some(({ name }) => name === "votes")
    ? atEqualTokens(cells, outcomes, results, budgetsOf(results, cells))
    : [];
  const runs = [...found.values()].filter((one) => one !== null);
  const stages = runs.flatMap((run) => run.stages);
  // A DPO of one step, whose rate is still 0, leaves the weights of its SFT.
  const unique = [...new Map(stages.map((stage) => [`${stage.name} ${stage.sha256}`, stage])).values()];
  const folders = names.map((name) => runDir(name, outputs));
  const total = (values: readonly (number | null)[]) =>
    Math.round(values.reduce<number>((sum, value) => sum + (value ?? 0), 0));
  const work: StudyWork = {
    completions: await counted(folders),
    stages: { needed: stages.length, made: unique.length },
    passes: await counted(folders.map((folder) => join(folder, "evaluation"))),
    seconds: {
      sampling: total(runs.map(({ manifest }) => manifest.wall_seconds)),
      training: total(unique.map(({ record }) => record.seconds)),
      evaluation: total(runs.map(({ seconds }) => seconds)),
    },
  };
  const isMade = ({ cell, replicas }: Cell) =>
    replicas.every(({ repeat }) => {
      const making = made.find((each) => each.cell === cell && each.repeat === repeat);
      return making && (making.reason !== null || outcomes.some((o) => o.cell === cell && o.repeat === repeat));
    });
  const left = cells.filter((cell) => !isMade(cell)).length;
  await mkdir(dir, { recursive: true });
  await writeTable(
    join(dir, "results.parquet"),
    resultColumns(plan),
    results.map((result) => rowOf(result, cells)),
  );
  await writeTable(join(dir, "outcomes.parquet"), outcomeColumns, outcomes);
  const about = cells.map(({ cell, varied, system, replicas }) => ({
    ...{ cell, varied: labels(varied), system: system.name, runs: replicas.map(({ run }) => run) },
  }));
  const draft = join(dir, "study.json.draft");
  await writeFile(draft, `${JSON.stringify({ schema: 1, definition, cells: about, work, left }, null, 2)}\n`);
  await rename(draft, join(dir, "study.json"));
  return { dir, plan, results, outcomes, equalTokens, work, left };
}

const labels = (settings: Settings) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, labelOf(value)]));

/** What each number of votes of the reference's team takes. */
function budgetsOf(results: readonly CellResult[], cells: readonly Cell[]): number[] {
  const reference = results.find(({ isReference }) => isReference);
  const own = results.filter((result) =>
    Object.entries(result.values).every(([name, label]) => name === "votes" || reference?.values[name] === label),
  );
  const votes = ({ cell }: CellResult) => cells.find((each) => each.cell === cell)!.system.votes;
  return own.sort((a, b) => votes(a) - votes(b)).flatMap(({ tokens }) => tokens ?? []);
}

const outcomeColumns = {
  cell: "INTEGER",
  repeat: "INTEGER",
  seed: "INTEGER",
  question_id: "VARCHAR",
  correct: "BOOLEAN",
  tokens: "INTEGER",
};

/** The columns of results.parquet: the cell, a column per axis, what was measured, the comparison and the cost. */
function resultColumns({ axes, cells }: StudyPlan): Record<string, string> {
  const type = (name: string) => {
    const types = new Set(cells.map(({ varied }) => typeof varied[name]));
    const [only] = types;
    return types.size > 1 ? "VARCHAR" : only === "number" ? "DOUBLE" : only === "boolean" ? "BOOLEAN" : "VARCHAR";
  };
  const numbers = ["accuracy", "low", "high", "sd_over_seeds", "sd_over_repeats", "tokens"];
  const comparison = ["difference", "difference_low", "difference_high", "difference_sd_over_repeats", "p", "p_holm"];
  const cost = ["sampled_completions", "sampled_tokens", "sft_examples", "pairs", "training_steps", "training_tokens"];
  const double = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, "DOUBLE"]));
  return {
    cell: "INTEGER",
    ...Object.fromEntries(axes.map(({ name }) => [name, type(name)])),
    evaluated_system: "VARCHAR",
    reference: "BOOLEAN",
    reason: "VARCHAR",
    answers: "INTEGER",
    questions: "INTEGER",
    ...double([...numbers, ...comparison, ...cost]),
  };
}

function rowOf({ cell, system, isReference, reason, accuracy, ...result }: CellResult, cells: readonly Cell[]): object {
  const { varied } = cells.find((each) => each.cell === cell)!;
  const plain = ([name, value]: [string, Settings[string]]) => [
    name,
    typeof value === "object" ? labelOf(value) : value,
  ];
  const { against, overSeeds, overRepeats, tokens, cost } = result;
  return {
    cell,
    ...Object.fromEntries(Object.entries(varied).map(plain)),
    ...{ evaluated_system: system, reference: isReference, reason },
    ...{ answers: accuracy?.n ?? 0, questions: accuracy?.clusters ?? 0 },
    ...{ accuracy: accuracy?.mean, low: accuracy?.low, high: accuracy?.high },
    ...{ sd_over_seeds: overSeeds, sd_over_repeats: overRepeats, tokens },
    ...{ difference: against?.difference.mean, difference_low: against?.difference.low },
    ...{ difference_high: against?.difference.high, difference_sd_over_repeats: against?.overRepeats ?? null },
    ...{ p: against?.p, p_holm: against?.pHolm },
    ...cost,
  };
}
