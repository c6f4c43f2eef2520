/**
 * A run's dataset: every file but the journal, made from the run folder alone (manifest, questions, journal), and
 * read back for notebooks. Exporting again under another threshold or grader never samples again.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { gradeText } from "../answers/index.js";
import { type DesignSums, designSums, effectiveLeaves } from "../credit/posterior.js";
import { type Grade, noQuestion, type ScoreOptions, treeScorer } from "../credit/score.js";
import { literal, openDuckDB, pathLiteral } from "../duckdb.js";
import { RunError } from "../errors.js";
import { openJournalReader, readJournal } from "../run/journal.js";
import { lock } from "../run/lock.js";
import {
  findManifest,
  type Manifest,
  promptSetOf,
  readManifest,
  streamQuestions,
  writeManifest,
} from "../run/manifest.js";
import type { JournalReader } from "../run/reader.js";
import type { PromptSet } from "../team/prompts.js";
import type { EvaluationRow, Node, Question, Role, Split } from "../types.js";
import { card } from "./card.js";
import { checkOptions, type ExportOptions, type ExportSummary, snakeCase } from "./rules.js";
import { evaluationTables, tableNames, tables, writeViews } from "./tables.js";

/**
 * Writes questions, nodes, sft and dpo as Parquet, run.duckdb, trees.arrow, the trainer's JSONL files and the card, and
 * the `export` section of the manifest. The same journal and options give the same bytes. Each file is replaced as a
 * whole, when all have been written.
 * @param runDir a run folder with run.json, questions.jsonl and journal/
 * @returns the counts, and the files' paths relative to the folder
 * @throws InputError on an option out of range; RunError if the folder is not a run or is being written, or its prompts
 *   are not those it was sampled with
 */
export async function exportRun(
  runDir: string,
  options: ExportOptions = {},
): Promise<ExportSummary & { files: string[] }> {
  const rules = checkOptions(options);
  await readManifest(runDir);
  const unlock = await lock(join(runDir, "lock"));
  const staging = join(runDir, ".export");
  try {
    const found = await readManifest(runDir);
    const manifest = { ...found, config: { ...found.config, prompts: promptSetOf(found, options.promptSet) } };
    await rm(staging, { recursive: true, force: true });
    await mkdir(join(staging, "train"), { recursive: true });
    const { splits, ...counts } = await writeTrees(runDir, staging, manifest, rules, options);
    const nodes = counts.roles.reduce((sum, role) => sum + role.nodes, 0);
    const summary: ExportSummary = { options: rules, nodes, ...counts };
    const evaluation = evaluationTables.filter((name) => existsSync(join(runDir, `${name}.parquet`)));
    await writeViews(join(staging, "run.duckdb"), [...tableNames, ...evaluation], [staging, runDir]);
    await writeFile(join(staging, "README.md"), card(basename(resolve(runDir)), manifest, splits, summary));
    const files = await moveAll(staging, runDir);
    const { prompt_set_hash } = manifest;
    await writeManifest(runDir, { ...manifest, export: { ...summary, options: snakeCase(rules), prompt_set_hash } });
    return { ...summary, files };
  } catch (error) {
    // What the file system and DuckDB report is a plain Error; anything else is a bug in this code.
    if (!(error instanceof Error) || Object.getPrototypeOf(error) !== Error.prototype) throw error;
    const advice = "nothing sampled is lost; free space or fix the folder, then export again";
    throw new RunError(`cannot export ${runDir}: ${error.message}; ${advice}`, { cause: error });
  } finally {
    await rm(staging, { recursive: true, force: true });
    await unlock();
  }
}

/** Scores one tree after another and writes its rows, so that memory does not grow with the number of questions. */
async function writeTrees(
  runDir: string,
  staging: string,
  { config, benchmark }: Manifest & { config: { prompts: PromptSet } },
  rules: ExportSummary["options"],
  { grade, onProgress }: ExportOptions,
) {
  const { roles, prompts } = config;
  const own: Grade = (question, text) => gradeText(question, text, rules.extraction);
  const grading = { ...rules, grade: grade ?? own, search: config.search };
  // Loaded here, because it loads Apache Arrow, which a reader of a run never needs.
  const { treeFiles } = await import("./files.js");
  const files = await treeFiles(staging, roles, prompts, rules);
  const splits = new Map<Split, number>();
  let [done, complete, nodes] = [0, 0, 0];
  let journal: JournalReader | undefined;
  try {
    journal = await openJournalReader(runDir);
    const effective = rules.estimator === "posterior" ? await leavesOf(runDir, journal, roles, grading) : undefined;
    const score = treeScorer(roles, { ...grading, effective });
    for await (const question of streamQuestions(runDir)) {
      const tree = score(question, await journal.kept(question.id));
      await files.write(question, tree);
      splits.set(question.split, (splits.get(question.split) ?? 0) + 1);
      complete += Number(tree.complete);
      nodes += tree.nodes.length;
      done++;
      onProgress?.(done, benchmark.questions);
    }
    if (nodes !== journal.completions) await checkQuestions(runDir);
    return {
      splits,
      trees: { complete, incomplete: done - complete },
      ...(effective && { effectiveLeaves: effective }),
      ...(await files.finish()),
    };
  } finally {
    await files.close();
    await journal?.close();
  }
}

/** Effective leaves by depth. They are a property of all trees, so the journal is read once more, tree by tree. */
async function leavesOf(
  runDir: string,
  journal: JournalReader,
  roles: readonly Role[],
  grading: ScoreOptions,
): Promise<number[]> {
  const score = treeScorer(roles, { ...grading, estimator: "value" });
  const sums: DesignSums[] = [];
  for await (const question of streamQuestions(runDir)) {
    const { nodes, forest } = score(question, await journal.kept(question.id));
    designSums(
      forest.parent,
      Float64Array.from(nodes, ({ value }) => value ?? Number.NaN),
      sums,
    );
  }
  return effectiveLeaves(sums);
}

/** @throws RunError if the journal has an entry of a question that is not in the run */
async function checkQuestions(runDir: string): Promise<void> {
  const ids = new Set<string>();
  for await (const { id } of streamQuestions(runDir)) ids.add(id);
  for await (const entry of readJournal(runDir)) if (!ids.has(entry.question_id)) throw noQuestion(entry);
}

/** Writes run.duckdb again over all Parquet files in a run folder; does nothing before the first export. */
export async function refreshViews(runDir: string): Promise<void> {
  const names = [...tableNames, ...evaluationTables].filter((name) => existsSync(join(runDir, `${name}.parquet`)));
  if (!names.includes("nodes")) return;
  const draft = join(runDir, `.run.duckdb.${process.pid}`);
  await rm(draft, { force: true });
  await writeViews(draft, names, [runDir]);
  await rename(draft, join(runDir, "run.duckdb"));
}

/** Moves what was staged into the run folder, and removes trainer's files of an earlier export that this one lacks. */
async function moveAll(staging: string, runDir: string): Promise<string[]> {
  const names = (await readdir(staging, { recursive: true })).filter((name) => name !== "train").sort();
  await mkdir(join(runDir, "train"), { recursive: true });
  for (const name of await readdir(join(runDir, "train"))) {
    const ours = /^([a-z0-9-]+-(sft|dpo)|distilled)(-eval)?(-openai)?\.jsonl$/.test(name);
    if (ours && !names.includes(join("train", name))) await rm(join(runDir, "train", name));
  }
  for (const name of names) await rename(join(staging, name), join(runDir, name));
  return names;
}

/** A result row by column name. Integers beyond 32 bits arrive as numbers where they fit exactly. */
export type Row = Record<string, unknown>;

/** A dataset opened for reading. */
export interface Dataset {
  /**
   * Runs any SQL of DuckDB; the tables questions, nodes, sft, dpo, evaluation, evaluation_questions and training
   * (metrics.parquet) exist where their files do.
   * @param values of $1, $2, … in the SQL
   */
  query<T extends object = Row>(sql: string, values?: readonly string[]): Promise<T[]>;
  /** The same, some thousand rows at a time, so that a large table is never in memory as a whole. */
  stream<T extends object = Row>(sql: string): AsyncIterable<T[]>;
  /** All nodes in the dataset's order. */
  nodes(): Promise<Node[]>;
  /** All questions in the run's order. */
  questions(): Promise<Question[]>;
  /** The benchmarks that systems were evaluated on, that of the run's own questions first, the others by their names. */
  benchmarks(): Promise<string[]>;
  /**
   * The rows of the evaluation on one benchmark, system by system.
   * @param benchmark by default the first of {@link benchmarks}
   * @throws RunError if there is none, which says how to get it
   */
  evaluation(benchmark?: string): Promise<EvaluationRow[]>;
  /** The questions of an evaluation; none where they were not kept, as in older runs. */
  evaluationQuestions(benchmark: string): Promise<Question[]>;
  close(): void;
}

/**
 * Opens a folder with the Parquet files of a run, whole or in part, without a server or run.json.
 * @throws RunError if there is none of them
 */
export async function openDataset(dir: string): Promise<Dataset> {
  const files = [...tableNames, ...evaluationTables].map((name) => [name, join(dir, `${name}.parquet`)] as const);
  // A trained run keeps its metrics with the trainer's files; a copy may be with the tables.
  const metrics = [".", "train"].map((folder) => ["training", join(dir, folder, "metrics.parquet")] as const);
  const views = new Map([...files, ...metrics].filter(([, path]) => existsSync(path)));
  if (views.size === 0) throw new RunError(`no Parquet files in ${dir}; export the run first, or check the folder`);
  const { connection, close } = await openDuckDB(2);
  const query = async <T extends object = Row>(sql: string, values?: readonly string[]): Promise<T[]> => {
    const result = await connection.runAndReadAll(sql, values && [...values]);
    return result.getRowObjectsJS().map((row) => plain(row) as T);
  };
  for (const [name, path] of views) {
    const table = `read_parquet(${pathLiteral(resolve(path))})`;
    const columns = name === "evaluation" ? await evaluationColumns(table, dir, query) : "*";
    await connection.run(`CREATE VIEW ${name} AS SELECT ${columns} FROM ${table}`);
  }
  const benchmarksOf = async (table: "questions" | "evaluation"): Promise<string[]> => {
    if (!views.has(table)) return [];
    const rows = await query<{ benchmark: string }>(`SELECT DISTINCT benchmark FROM ${table} ORDER BY benchmark`);
    return rows.map(({ benchmark }) => benchmark);
  };
  const benchmarks = async () => {
    const [own, all] = [new Set(await benchmarksOf("questions")), await benchmarksOf("evaluation")];
    return [...all.filter((name) => own.has(name)), ...all.filter((name) => !own.has(name))];
  };
  const questionsIn = async (sql: string, values?: readonly string[]): Promise<Question[]> => {
    const rows = await query<Omit<Question, "id" | "choices"> & { question_id: string; choices: string | null }>(
      sql,
      values,
    );
    return rows.map(({ question_id, choices, ...rest }) => ({
      id: question_id,
      ...rest,
      choices: choices === null ? null : (JSON.parse(choices) as string[]),
    }));
  };
  return {
    query,
    async *stream<T extends object>(sql: string) {
      const result = await connection.stream(sql);
      for await (const rows of result.yieldRowObjectJs()) yield rows.map((row) => plain(row) as T);
    },
    benchmarks,
    nodes: () => query<Node>("SELECT * FROM nodes"),
    questions: () => questionsIn("SELECT * FROM questions"),
    async evaluationQuestions(benchmark) {
      if (!views.has("evaluation_questions")) return [];
      return questionsIn("SELECT * FROM evaluation_questions WHERE benchmark = $1", [benchmark]);
    },
    async evaluation(benchmark) {
      if (!views.has("evaluation")) {
        const advice = "make one with `npx malt evaluate --run NAME`, or open another run (MALT_RUN=NAME)";
        throw new RunError(`no evaluation.parquet in ${dir}; ${advice}`);
      }
      const all = await benchmarks();
      const chosen = benchmark ?? all[0] ?? "";
      if (benchmark !== undefined && !all.includes(benchmark))
        throw new RunError(`no evaluation on benchmark "${benchmark}" in ${dir}; there are: ${all.join(", ")}`);
      return query<EvaluationRow>("SELECT * FROM evaluation WHERE benchmark = $1", [chosen]);
    },
    close,
  };
}

/**
 * The columns of evaluation.parquet for a view. Older files lack some: the benchmark is then the one in run.json beside
 * them, "unknown" without it, and other columns are null.
 */
async function evaluationColumns(table: string, dir: string, query: Dataset["query"]): Promise<string> {
  const found = await query<{ column_name: string }>(`DESCRIBE SELECT * FROM ${table}`);
  const names = new Set(found.map(({ column_name }) => column_name));
  const [benchmark = "unknown"] = names.has("benchmark")
    ? []
    : Object.keys((await findManifest(dir))?.evaluation ?? {});
  return Object.entries(tables.evaluation)
    .map(([name, type]) => {
      if (names.has(name)) return name;
      return `${name === "benchmark" ? literal(benchmark) : `NULL::${type}`} AS ${name}`;
    })
    .join(", ");
}

/** Counts and sums arrive as BigInt, which neither JSON nor Plot accepts. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** Writes nodes as an Arrow IPC file, in the columns of trees.arrow. @throws Error if the file cannot be written */
export async function writeArrow(path: string, nodes: readonly Node[]): Promise<void> {
  const { arrowFile } = await import("./arrow.js");
  const file = arrowFile(path);
  try {
    file.write(nodes);
    file.finish();
  } finally {
    file.close();
  }
}
