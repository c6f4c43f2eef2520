/**
 * Writes the explorer of a run: one HTML file that works from disk, without a network. Texts are packed question by
 * question as they are read, so that neither the writer nor the page ever holds all of them.
 */
import { open, rename, rm } from "node:fs/promises";
import * as z from "zod";
import { extractionModes } from "../answers/index.js";
import { pairings, sftSelections } from "../credit/pairs.js";
import { incompletes, poolings } from "../credit/values.js";
import type { OpenRun } from "../dataset/open.js";
import { snakeCase } from "../dataset/rules.js";
import { literal } from "../duckdb.js";
import { InputError, RunError } from "../errors.js";
import type { explorerBundle } from "../paths.js";
import type { EvaluationRow, Node, Question } from "../types.js";
import { type About, type EvaluationAbout, type Heading, part } from "./about.js";
import { type CreditSetting, paperSetting } from "./credit.js";
import { bundle, head, packed, packedColumn } from "./frame.js";
import { collectPasses, type EvaluatedSystem } from "./passes.js";
import { collectTrees } from "./trees.js";

/**
 * `explorer`: everything. `sliders`: the tree of one question under a setting that can be moved, and what all of the run's
 * trees yield under it.
 */
export type PageView = keyof typeof explorerBundle.scripts;

export interface PageOptions {
  /** By default `explorer`. */
  view?: PageView;
  /** Only this question's tree, and no evaluation; for `sliders` the one that is drawn, by default the first. */
  question?: string;
  /** Whether the evaluations are in the page too; true by default. */
  evaluations?: boolean;
  /** Called as questions are packed. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Writes the page; the file is replaced as a whole.
 * @returns its bytes
 * @throws RunError if the file cannot be written or the explorer has not been built; InputError if there is no such question
 */
export async function writePage(run: OpenRun, path: string, options: PageOptions = {}): Promise<number> {
  const draft = `${path}.${process.pid}.part`;
  let bytes = 0;
  try {
    const file = await open(draft, "w");
    try {
      for await (const text of pageParts(run, options)) {
        await file.writeFile(text);
        bytes += Buffer.byteLength(text);
      }
    } finally {
      await file.close();
    }
    await rename(draft, path);
    return bytes;
  } catch (error) {
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    throw new RunError(`cannot write ${path}: ${error.message}; name another file with --out`, { cause: error });
  } finally {
    await rm(draft, { force: true });
  }
}

/** The page, piece by piece. @throws as {@link writePage} */
export async function* pageParts(run: OpenRun, options: PageOptions = {}): AsyncGenerator<string> {
  const isExplorer = options.view !== "sliders";
  const [script, style] = await bundle(options.view ?? "explorer");
  yield head(script, style);
  const rules = rulesOf(run);
  const trees = collectTrees(rules.extraction);
  const all = await run.questions();
  const asked = options.question === undefined ? all : all.filter(({ id }) => id === options.question);
  const questions = isExplorer ? asked : all;
  if (asked.length === 0)
    throw new InputError(
      options.question === undefined
        ? `run ${run.name} has no questions; sample some first`
        : `run ${run.name} has no question "${options.question}"; its first is "${all[0]?.id}"`,
    );
  let done = 0;
  for await (const [question, nodes] of byQuestion(run, questions)) {
    const packet = trees.add(question, nodes);
    if (isExplorer || question === asked[0]) yield packed(part.question(done), packet);
    done++;
    options.onProgress?.(done, questions.length);
  }
  for (const [name, column] of Object.entries(trees.columns())) yield packedColumn(part.treeColumn(name), column);

  const evaluations: EvaluationAbout[] = [];
  if (isExplorer && options.evaluations !== false && options.question === undefined)
    for (const benchmark of await run.benchmarks()) {
      const [about, pieces] = await evaluation(run, benchmark, evaluations.length);
      yield* pieces;
      evaluations.push(about);
    }

  const { policy, sampling, seed } = run.manifest.config;
  const about: About = {
    run: run.name,
    subtitle:
      `${policy.model}, temperature ${sampling.temperature}, seed ${seed}; ${run.manifest.benchmark.name}, ` +
      `${questions.length.toLocaleString("en-US")} questions`,
    roles: run.roles,
    promptSet: run.promptSet,
    ...rules,
    ...{ ends: trees.ends, models: trees.models, questions: questions.map(heading), evaluations },
    ...(!isExplorer && { opens: asked[0]!.id }),
  };
  yield packed(part.about, about);
  yield `<script>${script}</script></body></html>\n`;
}

/** A run's questions in order, each with its nodes. Rows lie in the order of the questions, so one pass finds them. */
async function* byQuestion(run: OpenRun, questions: readonly Question[]): AsyncGenerator<[Question, Node[]]> {
  const only = questions.length === 1 ? ` WHERE question_id = ${literal(questions[0]!.id)}` : "";
  const waiting = [...questions].reverse();
  let nodes: Node[] = [];
  const isOf = (id: string) => waiting.at(-1)?.id === id;
  for await (const rows of run.stream<Node>(`SELECT * FROM nodes${only}`))
    for (const node of rows) {
      while (waiting.length > 0 && !isOf(node.question_id)) {
        yield [waiting.pop()!, nodes];
        nodes = [];
      }
      if (waiting.length === 0)
        throw new RunError(
          `nodes.parquet of run ${run.name} does not follow the order of questions.parquet at question ` +
            `"${node.question_id}"; export the run again`,
        );
      nodes.push(node);
    }
  while (waiting.length > 0) {
    yield [waiting.pop()!, nodes];
    nodes = [];
  }
}

/** An evaluation's description, and its packets and columns. */
async function evaluation(
  run: OpenRun,
  benchmark: string,
  index: number,
): Promise<[EvaluationAbout, Iterable<string>]> {
  const table = `(SELECT *, row_number() OVER () AS place FROM evaluation) WHERE benchmark = ${literal(benchmark)}`;
  const turns = await run.query<{ system: string; turn: string }>(
    `SELECT system, turn FROM ${table} GROUP BY system, turn ORDER BY min(place)`,
  );
  const systems: EvaluatedSystem[] = [];
  for (const { system, turn } of turns) {
    const known = systems.find(({ name }) => name === system);
    if (known) known.turns.push(turn);
    else systems.push({ name: system, turns: [turn] });
  }
  const kept = new Map((await run.evaluationQuestions(benchmark)).map((question) => [question.id, question]));
  const collected = collectPasses(systems);
  const questions: Heading[] = [];
  const pieces: string[] = [];
  let rows: EvaluationRow[] = [];
  const finish = () => {
    if (rows.length === 0) return;
    const id = rows[0]!.question_id;
    const question = kept.get(id) ?? null;
    pieces.push(packed(part.passes(index, questions.length), collected.add(question, rows)));
    questions.push(question ? heading(question) : [id, ""]);
    rows = [];
  };
  for await (const some of run.stream<EvaluationRow>(
    `SELECT * FROM ${table} ORDER BY length(question_id), question_id, place`,
  ))
    for (const row of some) {
      if (rows[0] && rows[0].question_id !== row.question_id) finish();
      rows.push(row);
    }
  finish();
  for (const [name, column] of Object.entries(collected.columns()))
    pieces.push(packedColumn(part.voteColumn(index, name), column));
  const { model } = modelShape.safeParse(run.manifest.evaluation?.[benchmark]).data ?? run.manifest.config.policy;
  return [{ benchmark, model, systems, questions }, pieces];
}

const modelShape = z.object({ model: z.string() });

/** Characters of a question that a list shows. */
const beginning = 140;
const heading = ({ id, question }: Question): Heading => [id, question.slice(0, beginning)];

/** The rules that the dataset follows; where run.json does not say, those of an export without options. */
function rulesOf({ manifest }: OpenRun): Pick<About, "setting" | "extraction"> {
  const fields = {
    ...{ threshold: z.number(), pooling: z.enum(poolings), incomplete: z.enum(incompletes) },
    ...{ pairing: z.enum(pairings), min_gap: z.number(), identical: z.enum(["drop", "keep"]) },
    ...{ dedupe: z.boolean(), examples: z.enum(sftSelections), extraction: z.enum(extractionModes) },
  };
  const shape = z.object({ options: z.object(fields).partial() });
  const { extraction = "strict", ...given } = shape.safeParse(manifest.export).data?.options ?? {};
  const known = { ...snakeCase(paperSetting), ...given };
  const names = Object.keys(paperSetting) as (keyof CreditSetting)[];
  const value = (name: string) => known[Object.keys(snakeCase({ [name]: 0 }))[0]! as keyof typeof known];
  return {
    extraction,
    setting: Object.fromEntries(names.map((name) => [name, value(name)])) as unknown as CreditSetting,
  };
}
