/** Measures on a small run what a study is planned with: tokens, rows, throughput, bytes. Reading; estimate.ts computes. */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { openDataset } from "../dataset/export.js";
import { RunError } from "../errors.js";
import { journalFiles } from "../run/files.js";
import { readManifest } from "../run/manifest.js";
import { passesPerToken, trainingMethods } from "../train/plan.js";
import { tokensPerRow } from "../train/tokens.js";
import type { Rates } from "./estimate.js";
import type { Experiment } from "./file.js";

/** What a study states of itself. */
export function statedRates({ expect, hardware }: Experiment): Rates {
  const { discordance, ...roles } = expect;
  return {
    source: "the study's own file, measured by nobody here",
    roles,
    rowTokens: new Map(),
    completionRate: hardware.completion_tokens_per_second ?? null,
    trainingRate: hardware.training_tokens_per_second ?? null,
    bytesPerCompletion: null,
    adapterBytes: hardware.adapter_parameters === undefined ? null : 4 * hardware.adapter_parameters,
    discordance,
  };
}

const trained = z.object({
  training: z.object({
    stages: z.array(
      z.object({
        method: z.enum(trainingMethods as unknown as ["sft"]),
        tokens: z.number().nullable(),
        seconds: z.number().nullable(),
      }),
    ),
  }),
});

/**
 * The rates of an exported run. What it has not measured, such as training in a run that was not trained, stays as stated.
 * @param dir a run folder, also of another hardware: then its throughput is that one's
 * @param questions how many of its first questions count; by default all
 * @throws RunError if it is not exported, has other roles or branching, or holds no counted completion
 */
export async function pilotRates(dir: string, study: Experiment, questions?: number): Promise<Rates> {
  const manifest = await readManifest(dir);
  const stated = statedRates(study);
  const { branching } = study.sample;
  const { roles, policy } = manifest.config;
  const wrong = roles.find((role) => !Object.hasOwn(stated.roles, role.name) || role.branching !== branching);
  if (wrong || roles.length !== 3)
    throw new RunError(
      `${dir} was sampled with ${roles.map(({ name, branching }) => `${name} ×${branching}`).join(", ")}, and the study ` +
        `plans three roles ×${branching}; sample the pilot with --branching ${branching}`,
    );
  if (!existsSync(join(dir, "nodes.parquet"))) throw new RunError(`${dir} is not exported; run \`malt export\` first`);
  const data = await openDataset(dir);
  try {
    const few = `question_id IN (SELECT question_id FROM questions LIMIT ${Math.floor(questions ?? 1e9)})`;
    const [all] = await data.query<{ count: number }>(`SELECT count(*) AS count FROM questions WHERE ${few}`);
    const asked = all!.count;
    // A run may be kept without its training tables; what they would hold follows from the labels.
    const has = (table: string) => existsSync(join(dir, `${table}.parquet`));
    const examples = has("sft") ? "sft" : "(FROM nodes WHERE label)";
    const pairs = has("dpo")
      ? "dpo"
      : `(SELECT good.* FROM nodes good JOIN nodes bad ON good.question_id = bad.question_id AND good.role = bad.role
          AND good.parent_id IS NOT DISTINCT FROM bad.parent_id AND good.label AND NOT bad.label AND good.text <> bad.text)`;
    const rows = await data.query<{
      role: string;
      prompt: number | null;
      completion: number | null;
      sft: number;
      pairs: number;
    }>(`
      SELECT role, avg(prompt_tokens) AS prompt, avg(completion_tokens) AS completion,
        (SELECT count(*) FROM ${examples} sft WHERE sft.role = nodes.role AND ${few}) / ${asked} AS sft,
        (SELECT count(*) FROM ${pairs} dpo WHERE dpo.role = nodes.role AND ${few}) / ${asked} AS pairs
      FROM nodes WHERE ${few} GROUP BY role`);
    const measured = Object.fromEntries(
      rows.map(({ role, prompt, completion, sft, pairs }) => {
        if (prompt === null || completion === null)
          throw new RunError(`the server of ${dir} counted no tokens of the ${role}; state them in the study's file`);
        return [role, { prompt, completion, sft, pairs }];
      }),
    );
    const completions = manifest.counts.completions;
    const files = await journalFiles(dir).catch(() => []);
    const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    const tokens = manifest.usage?.completion_tokens ?? manifest.counts.completion_tokens;
    const training = trained.safeParse(manifest).data?.training.stages ?? [];
    const counted = training.filter((each) => each.tokens && each.seconds);
    const work = counted.reduce(
      (sum, { method, tokens }) => sum + tokens! * (passesPerToken[method] / passesPerToken.sft),
      0,
    );
    const seconds = counted.reduce((sum, each) => sum + each.seconds!, 0);
    return {
      ...stated,
      source: `${asked} questions of run ${manifest.run} with ${policy.model}`,
      roles: measured,
      rowTokens: await tokensPerRow(dir, Number.MAX_SAFE_INTEGER),
      completionRate: manifest.wall_seconds > 0 ? tokens / manifest.wall_seconds : stated.completionRate,
      trainingRate: seconds > 0 ? work / seconds : stated.trainingRate,
      bytesPerCompletion: bytes > 0 ? bytes / completions : null,
    };
  } finally {
    data.close();
  }
}
