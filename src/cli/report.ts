/** `malt report`: what a sampled run and its evaluation show, in numbers with intervals. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import * as z from "zod";
import { critiqueValue, type PairKey, type RoleSummary, summariseRoles } from "../credit/summary.js";
import { openDataset } from "../dataset/export.js";
import { runFolder } from "../dataset/open.js";
import { RunError } from "../errors.js";
import { percent } from "../format.js";
import { readManifest } from "../run/manifest.js";
import { readPaper, results } from "../show/results.js";
import { alignedTable } from "../show/text-table.js";
import type { Estimate } from "../stats/means.js";
import type { EvaluationRow, Node } from "../types.js";

/** What run.json says of the evaluation. */
const about = z.object({
  benchmark: z.string(),
  model: z.string(),
  judge: z.object({ kind: z.string(), model: z.string().optional() }),
});

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("report")
    .summary("show what a run and its evaluation say")
    .description("accuracy by role, the worth of a critique, and the comparison of systems")
    .requiredOption("--run <name>", "name of an exported or evaluated run, or its folder, such as data/recorded")
    .action(async ({ run }: { run: string }) => {
      const dir = runFolder(run);
      const manifest = await readManifest(dir);
      const has = (table: string) => existsSync(join(dir, `${table}.parquet`));
      const data = await openDataset(dir);
      try {
        const parts: string[] = [];
        if (has("nodes")) {
          const sft = await data.query<{ role: string }>("SELECT role FROM sft");
          const pairs = await data.query<PairKey>("SELECT question_id, role FROM dpo");
          const { policy, sampling, seed } = manifest.config;
          parts.push(`model ${policy.model}, temperature ${sampling.temperature}, seed ${seed}`);
          const nodes = await data.nodes();
          parts.push(endings(nodes), report(nodes, sft, pairs));
        }
        if (has("evaluation")) {
          const rows = await data.query<EvaluationRow>("SELECT * FROM evaluation");
          const evaluation = about.safeParse(manifest.evaluation).data;
          if (!evaluation)
            throw new RunError(`run.json in ${dir} does not describe evaluation.parquet; run \`malt evaluate\` again`);
          const { benchmark, model, judge } = evaluation;
          const reader = judge.model ?? "the answer they state";
          parts.push(`evaluation of ${model} on ${benchmark}; turns before the last are read by ${reader}`);
          parts.push(results(rows, await readPaper(benchmark)));
        }
        process.stdout.write(`${parts.join("\n\n")}\n`);
      } finally {
        data.close();
      }
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

/** Completions by role and finish reason. */
export function endings(nodes: readonly Node[]): string {
  const roles = summariseRoles(nodes);
  const reasons = [...new Set(roles.flatMap(({ finishReasons }) => [...finishReasons.keys()]))];
  const rows = roles.map((r) => [r.role, ...reasons.map((reason) => r.finishReasons.get(reason) ?? 0)]);
  return alignedTable(["ended by", ...reasons], rows);
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
