/** `malt report`: what a sampled run and its evaluation show, in numbers with intervals. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import * as z from "zod";
import { partitionText } from "../benchmarks/doubts.js";
import { estimatorErrors } from "../credit/estimator-error.js";
import { summariseSample } from "../credit/samples.js";
import { countEnds, critiqueValue, type PairKey, type RoleSummary, summariseRoles } from "../credit/summary.js";
import { type Dataset, openDataset } from "../dataset/export.js";
import { type OpenRun, openRun, runFolder } from "../dataset/open.js";
import { InputError, RunError } from "../errors.js";
import { rolesByMode, systemsByMode } from "../evaluate/extraction.js";
import { turnedPasses } from "../evaluate/results.js";
import { roleShares, type VoteRow } from "../evaluate/shapley.js";
import { percent } from "../format.js";
import { type Manifest, readManifest } from "../run/manifest.js";
import { runChanges } from "../show/changes.js";
import { estimatorTable, shareTable } from "../show/credit.js";
import { exampleText } from "../show/examples.js";
import { healthOf, healthText } from "../show/health.js";
import { modes, readPaper, results } from "../show/results.js";
import { sampleTable } from "../show/samples.js";
import { sectionsText } from "../show/sections.js";
import { printResult } from "../show/terminal.js";
import { alignedTable } from "../show/text-table.js";
import type { Estimate } from "../stats/means.js";
import type { EvaluationRow, Node } from "../types.js";
import { oneLine } from "../visible.js";
import { number } from "./options.js";

interface Flags {
  run: string[];
  benchmark?: string;
  examples: number;
  system?: string;
  credit?: true;
  changes?: true;
  health?: true;
}

/** What run.json says of an evaluation. */
const about = z.object({
  partition: z.string().optional(),
  model: z.string(),
  judge: z.object({ kind: z.string(), model: z.string().optional() }),
});

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("report")
    .summary("show what a run and its evaluation say")
    .description("accuracy by role, the worth of a critique, and the comparison of systems; of several runs a row each")
    .requiredOption(
      "--run <name...>",
      "name of an exported or evaluated run, or its folder, such as data/recorded; or several, to compare what was sampled",
    )
    .option("--benchmark <name>", "show only this one of the benchmarks that systems were evaluated on")
    .option(
      "--examples <n>",
      "show so many passes that the team corrects, and as many that it breaks, with all they said (Appendix A.4)",
      number("--examples", { min: 0, integer: true }),
      0,
    )
    .option("--system <name>", "the team of the examples (default: MALT if it was evaluated, else the last team)")
    .option(
      "--credit",
      "show instead the bias and variance of credit estimators, on a run of 8 or more branches, and what training each role is worth, where all mixes were evaluated",
    )
    .option(
      "--changes",
      "show instead what changed from the first of two runs to the second: settings, accuracy paired by question, labels and verdicts of the same texts, systems",
    )
    .option("--health", "show instead whether the run is fit to learn from: what each number means, and what mends it")
    .action(async ({ run: runs, benchmark: only, examples, system, credit, changes, health }: Flags) => {
      if (health) return printResult(await healthReport(runs));
      if (changes) return printResult(await changesOf(runs));
      if (runs.length > 1) return printResult(await comparison(runs));
      const dir = runFolder(runs[0]!);
      const manifest = await readManifest(dir);
      const has = (table: string) => existsSync(join(dir, `${table}.parquet`));
      const data = await openDataset(dir);
      try {
        const parts: string[] = [];
        if (credit) return printResult((await creditOf(data, manifest, has("nodes"), only)).join("\n\n"));
        if (has("nodes")) {
          const sft = await data.query<{ role: string }>("SELECT role FROM sft");
          const pairs = await data.query<PairKey>("SELECT question_id, role FROM dpo");
          const { policy, sampling, seed } = manifest.config;
          parts.push(oneLine(`model ${policy.model}, temperature ${sampling.temperature}, seed ${seed}`));
          const { name, partition } = manifest.benchmark;
          if (partition !== undefined) parts.push(oneLine(`questions of ${name}: ${partitionText(partition)}`));
          const nodes = await data.nodes();
          parts.push(endings(nodes), report(nodes, sft, pairs));
          parts.push(...modes(rolesByMode(await data.questions(), nodes), "role"));
        }
        for (const benchmark of only === undefined ? await data.benchmarks() : [only]) {
          const rows = await data.evaluation(benchmark);
          const evaluation = about.safeParse(manifest.evaluation?.[benchmark]).data;
          if (!evaluation)
            throw new RunError(
              `run.json in ${dir} does not describe the evaluation of ${benchmark}; run \`malt evaluate\` again`,
            );
          const { partition, model, judge } = evaluation;
          const reader = judge.model ?? "the answer they state";
          parts.push(oneLine(`evaluation of ${model} on ${benchmark}; turns before the last are read by ${reader}`));
          if (partition !== undefined)
            parts.push(oneLine(`held-out questions of ${benchmark}: ${partitionText(partition)}`));
          parts.push(results(rows, await readPaper(benchmark)));
          const questions = await data.evaluationQuestions(benchmark);
          if (questions.length > 0) parts.push(...modes(systemsByMode(questions, rows), "system"));
          if (examples > 0) parts.push(...(await examplesOf(data, rows, examples, system)));
        }
        printResult(parts.join("\n\n"));
      } finally {
        data.close();
      }
    });
}

const pairKeys = "SELECT question_id, role, parent_id FROM dpo";

/** What several runs sampled, a row each: prompts and temperatures side by side. */
async function comparison(names: readonly string[]): Promise<string> {
  const rows = [];
  for (const name of names) {
    const run = await openRun(name);
    try {
      const { config } = run.manifest;
      const about = {
        prompts: run.promptSet.name,
        temperature: config.sampling.temperature,
        model: config.policy.model,
      };
      rows.push({ ...about, sample: summariseSample(await run.nodes(), await run.query(pairKeys)) });
    } finally {
      run.close();
    }
  }
  return sampleTable(rows);
}

/** The health of each run. */
async function healthReport(names: readonly string[]): Promise<string> {
  const parts: string[] = [];
  for (const name of names) {
    const run = await openRun(name);
    try {
      parts.push(healthText(run.name, await healthOf(run)));
    } finally {
      run.close();
    }
  }
  return parts.join("\n\n");
}

/** @throws InputError unless there are two runs */
async function changesOf(names: readonly string[]): Promise<string> {
  if (names.length !== 2)
    throw new InputError(`--changes compares two runs, received ${names.length}; write --run FIRST SECOND --changes`);
  const runs: OpenRun[] = [];
  try {
    for (const name of names) runs.push(await openRun(name));
    return sectionsText(await runChanges(runs[0]!, runs[1]!));
  } finally {
    for (const run of runs) run.close();
  }
}

/** @throws RunError if the run shows neither */
async function creditOf(data: Dataset, { run, config }: Manifest, hasNodes: boolean, only?: string): Promise<string[]> {
  const n = 3;
  const isWide = hasNodes && config.roles.every(({ branching }) => branching >= 2 * n + 2);
  const parts = isWide ? [estimatorTable(estimatorErrors(await data.nodes(), config.roles, { n }), n)] : [];
  for (const benchmark of only === undefined ? await data.benchmarks() : [only]) {
    const rows = await data.query<VoteRow>(
      "SELECT system, seed, question_id, pass, turn, voted_correct FROM evaluation WHERE benchmark = $1 AND pass = 0",
      [benchmark],
    );
    if (rows.some(({ system }) => system.startsWith("mix ")))
      parts.push(oneLine(benchmark), shareTable(roleShares(rows)));
  }
  if (parts.length > 0) return parts;
  throw new RunError(
    `run "${run}" shows nothing about credit: estimators are compared on trees of ${2 * n + 2} or more branches (\`malt sample ` +
      "--branching 8`), roles on the systems `malt evaluate --systems main,mixes`",
  );
}

/** Passes that a team corrects and breaks, the first of each, with their questions. */
async function examplesOf(
  data: Dataset,
  rows: readonly EvaluationRow[],
  most: number,
  system = rows.find((row) => row.system === "MALT")?.system ??
    rows.findLast(({ turn }) => turn !== "generator")?.system,
): Promise<string[]> {
  if (system === undefined) return ["There are no examples, because no team was evaluated."];
  const asked = await data.evaluationQuestions(rows[0]!.benchmark);
  return [true, false].flatMap((isRight) => {
    const passes = turnedPasses(rows, system, isRight);
    const title = `${passes.length} passes that ${system} ${isRight ? "corrects" : "breaks"}, the first ${Math.min(most, passes.length)}:`;
    const of = (turns: readonly EvaluationRow[]) => asked.find(({ id }) => id === turns[0]!.question_id);
    return [title, ...passes.slice(0, most).map((turns) => exampleText(turns, of(turns)))];
  });
}

/** The summaries as aligned tables; that of critiques only where the team has a verifier. */
export function report(nodes: readonly Node[], sft: readonly { role: string }[], pairs: readonly PairKey[]): string {
  const questions = new Set(nodes.map((n) => n.question_id)).size;
  const critiques = critiqueValue(nodes);
  return [
    roleTable(summariseRoles(nodes, sft, pairs)),
    ...(critiques.some((row) => row.refinement.n > 0) ? [critiqueTable(critiques)] : []),
    `Intervals are 95 %, over ${questions} questions.`,
  ].join("\n\n");
}

const interval = ({ low, high }: Estimate) =>
  Number.isNaN(low) ? "–" : `${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)}`;

function roleTable(roles: readonly RoleSummary[]): string {
  const head = ["role", "nodes", "accuracy", "interval", "answered", "cut off", "tokens", "SFT", "pairs", "with pairs"];
  const rows = roles.map((r) => [
    r.role,
    r.accuracy.n,
    percent(r.accuracy.mean),
    interval(r.accuracy),
    percent(r.answered),
    percent(r.truncated),
    r.meanTokens?.toFixed(1) ?? "–",
    r.sftExamples,
    r.pairs,
    percent(r.questionsWithPairs),
  ]);
  return alignedTable(head, rows);
}

/** "ended by: stop 7,780, length 19, content_filter 1" */
export function endings(nodes: readonly Node[]): string {
  const counts = [...countEnds(nodes)].map(([reason, times]) => `${reason} ${times.toLocaleString("en-US")}`);
  return `ended by: ${counts.join(", ")}`;
}

function critiqueTable(rows: ReturnType<typeof critiqueValue>): string {
  const word = (right: boolean) => (right ? "right" : "wrong");
  return alignedTable(
    ["answer, critique", "refinements", "right", "interval"],
    rows.map((r) => [
      `${word(r.answerRight)} answer, ${word(r.critiqueRight)} critique`,
      r.refinement.n,
      percent(r.refinement.mean),
      interval(r.refinement),
    ]),
  );
}
