/** `malt evaluate`: compares systems on held-out questions, with the adapters a run has trained. */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { benchmarkName } from "../benchmarks/list.js";
import { fileSha256, loadQuestions } from "../benchmarks/load.js";
import { InputError } from "../errors.js";
import { type Evaluated, evaluateRun } from "../evaluate/evaluate.js";
import { llmJudge, ownAnswer } from "../evaluate/judge.js";
import { type Environment, environment, profile } from "../models/table.js";
import { profileOfModel } from "../models/weights.js";
import { arithmetic } from "../paths.js";
import { interruption } from "../run/interruption.js";
import { type Manifest, readManifest, runDir } from "../run/manifest.js";
import { progressLine } from "../show/progress.js";
import { readPaper, results } from "../show/results.js";
import { promptSet } from "../team/prompts.js";
import { findSystems, neededAdapters, type System } from "../team/systems.js";
import { type Adapter, trainedAdapters } from "../train/adapters.js";
import { number, oneOf } from "./options.js";
import {
  localPath,
  onlyModel,
  type ServerFlags,
  serverAt,
  setAside,
  startEmbedded,
  withServerFlags,
} from "./server.js";

interface Flags extends ServerFlags {
  run: string;
  questions?: string;
  systems?: string[];
  size: number;
  seeds: number;
  seed: number;
  profile?: string;
  model?: string;
  promptSet?: string;
  maxTokens?: number;
  temperature?: number;
  judge: "own" | "llm";
  judgeBaseUrl?: string;
  judgeModel?: string;
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  const positive = { min: 1, integer: true };
  const command = program
    .command("evaluate")
    .description("compare systems (SA, MA, STaR, MALT, debate, …) on held-out questions; run it again to go on")
    .requiredOption("--run <name>", "name of the run whose adapters are evaluated")
    .option("--questions <file>", "held-out questions (default: those of the arithmetic benchmark, for runs on it)")
    .option(
      "--systems <names>",
      "comma-separated: main (Table 1), debate (Table 2), mixes (Table 4), ablations (Table 5), extra, all, or names of " +
        "systems (default: main)",
      (text: string) => text.split(",").map((name) => name.trim()),
    )
    .option("--size <n>", "questions per seed, drawn at random", number("--size", positive), 400)
    .option("--seeds <n>", "how many seeds: subsets and sampling", number("--seeds", positive), 4)
    .option("--seed <n>", "the first seed", number("--seed", { min: 0, integer: true }), 0)
    .option(
      "--profile <name>",
      "tiny, smollm2 or vllm: the embedded server's model, and defaults (default: by the run's model)",
    )
    .option("--model <name>", "served name of the base model (default: the run's)")
    .option("--prompt-set <name>", "prompts to use (default: the run's)")
    .option("--temperature <t>", "(default: the run's)", number("--temperature", { min: 0 }))
    .option("--max-tokens <n>", "longest completion (default: the run's)", number("--max-tokens", positive))
    .option(
      "--judge <who>",
      "who reads the turns before a system's last (Figure 3): own, by the answer a turn states itself, or llm, a model",
      oneOf("--judge", ["own", "llm"]),
      "own",
    )
    .option("--judge-base-url <url>", "the judge's server; OPENAI_API_KEY goes there too (default: the systems')")
    .option("--judge-model <name>", "served name of the judge (default: the only one there)");
  withServerFlags(command).action(evaluate);
}

async function evaluate(flags: Flags): Promise<void> {
  const env = environment();
  const dir = runDir(flags.run, env.outputs);
  const manifest = await readManifest(dir);
  const runModel = manifest.config.policy.model;
  const path = flags.questions ?? ownTest(manifest);
  // What is recorded of the project's own file must not tell where the project lies on this machine.
  const source = flags.questions ?? "data/arithmetic/test.jsonl";
  const questions = await loadQuestions(path, {});
  const systems = findSystems(flags.systems ?? ["main"]);
  const used = adaptersOf(systems, await trainedAdapters(dir), flags.run);
  const elsewhere = flags.baseUrl ?? env.baseURL;
  const own = profileOfModel(runModel);
  if (!elsewhere && profile(flags.profile ?? own).embedded && (flags.profile ?? own) !== own)
    throw new InputError(
      `profile "${flags.profile}" does not serve ${runModel}, which run "${flags.run}" was sampled from; leave --profile out`,
    );
  const size = profile(elsewhere ? "vllm" : (flags.profile ?? own));
  const embedded = await startEmbedded(elsewhere, size.name, elsewhere ? [] : used.map(ggufOf));
  const baseURL = embedded?.baseURL ?? elsewhere!;
  const interrupted = interruption();
  const { signal } = interrupted;
  const line = progressLine("evaluation requests", process.stderr);
  const adapterFolders = new Map(used.map(({ name, folder }) => [name, resolve(folder)]));
  const server = serverAt(baseURL, flags, { apiKey: embedded ? null : env.apiKey, adapterFolders });
  let judge: Awaited<ReturnType<typeof judgeOf>> | undefined;
  try {
    judge = await judgeOf(flags, env, { dir: join(dir, "evaluation", "judge"), server, baseURL, signal });
    const evaluated = await evaluateRun({
      run: flags.run,
      outputs: env.outputs,
      questions,
      source: { path: source, sha256: await fileSha256(await localPath(path)) },
      systems,
      seeds: Array.from({ length: flags.seeds }, (_, i) => flags.seed + i),
      size: Math.min(flags.size, questions.length),
      server,
      baseURL,
      build: embedded?.build,
      model: flags.model,
      adapters: new Map(used.map(({ name, sha256 }) => [name, sha256])),
      sampling: {
        ...(flags.temperature !== undefined && { temperature: flags.temperature }),
        ...(flags.maxTokens !== undefined && { max_tokens: flags.maxTokens }),
      },
      promptSet: flags.promptSet === undefined ? undefined : promptSet(flags.promptSet),
      concurrency: flags.concurrency ?? size.concurrency,
      maxConcurrency: flags.maxConcurrency,
      judge,
      onProgress: ({ done, total, asked }) => line.update(done, total, asked),
      signal,
    });
    line.end();
    const paper = await readPaper(benchmarkName(questions.map(({ benchmark }) => benchmark)));
    process.stdout.write(`${results(evaluated.rows, paper)}\n\n${summary(evaluated)}\n`);
  } catch (error) {
    line.end();
    throw error;
  } finally {
    interrupted.off();
    await judge?.close();
    await embedded?.stop();
  }
}

/** One line: what was written, what it took, and where it is. */
function summary({ rows, sampled, damaged, seconds, unclear, dir }: Evaluated): string {
  const work = sampled > 0 ? `${sampled} completions sampled in ${seconds.toFixed(1)} s` : "nothing was sampled";
  const doubt = unclear > 0 ? `, ${unclear} turns before the last without a verdict` : "";
  return `${rows.length} rows${doubt}, ${setAside(damaged)}${work}; in ${join(dir, "evaluation.parquet")}`;
}

/** The judge of the flags. @throws InputError for flags of a judge that is not asked for */
async function judgeOf(
  flags: Flags,
  env: Environment,
  own: Pick<Parameters<typeof llmJudge>[0], "dir" | "server" | "baseURL" | "signal">,
) {
  const { judge, judgeBaseUrl, judgeModel, concurrency } = flags;
  if (judge === "own") {
    if (judgeBaseUrl !== undefined || judgeModel !== undefined)
      throw new InputError("--judge-base-url and --judge-model need --judge llm");
    return { ...ownAnswer, close: async () => {} };
  }
  const baseURL = judgeBaseUrl ?? own.baseURL;
  const server = judgeBaseUrl === undefined ? own.server : serverAt(baseURL, flags, { apiKey: env.apiKey });
  const model = judgeModel ?? (await onlyModel(await server.models(), baseURL));
  return llmJudge({ ...own, server, baseURL, model, ...(typeof concurrency === "number" && { concurrency }) });
}

/** @throws InputError that says which adapters are missing and how to train them */
function adaptersOf(systems: readonly System[], trained: ReadonlyMap<string, Adapter>, run: string): Adapter[] {
  const names = neededAdapters(systems);
  const missing = names.filter((name) => !trained.has(name));
  const more = missing.includes("generator-dpo") ? " --generator-dpo" : "";
  if (missing.length > 0)
    throw new InputError(
      `run "${run}" has no trained ${missing.join(", ")}; train with \`malt train --run ${run}${more}\`, or choose ` +
        "--systems that need none",
    );
  return names.map((name) => trained.get(name)!);
}

/** @throws InputError if the adapter was not written for llama.cpp */
function ggufOf({ name, gguf, folder }: Adapter): string {
  if (gguf) return gguf;
  throw new InputError(
    `adapter ${name} has no GGUF file in ${folder}; train it again, or serve it with vLLM (--base-url)`,
  );
}

/** The project's own test questions, for a run on its own benchmark. */
function ownTest({ benchmark }: Manifest): string {
  const path = arithmetic.test;
  if (benchmark.name === "arithmetic" && existsSync(path)) return path;
  throw new InputError(`benchmark ${benchmark.name} has no default test questions; give --questions FILE`);
}
