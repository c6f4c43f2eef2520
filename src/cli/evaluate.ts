/** `malt evaluate`: compares systems on held-out questions, with the adapters a run has trained. */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import type { ExtractionMode } from "../answers/index.js";
import { fileSha256 } from "../benchmarks/download.js";
import { unseen } from "../benchmarks/held-out.js";
import { loadQuestions } from "../benchmarks/load.js";
import { type Environment, environment } from "../environment.js";
import { InputError } from "../errors.js";
import { type Evaluated, type EvaluatedShard, evaluateRun, evaluateShard } from "../evaluate/evaluate.js";
import { systemsByMode } from "../evaluate/extraction.js";
import { llmJudge, ownAnswerIn } from "../evaluate/judge.js";
import type { EvaluateOptions } from "../evaluate/sampling.js";
import { shardResults } from "../launch/work.js";
import type { EmbeddedServer } from "../models/embedded.js";
import { startOwnServer } from "../models/own-server.js";
import { servedElsewhere } from "../models/table.js";
import { arithmetic, recordedPath } from "../paths.js";
import type { Policy } from "../policy/openai.js";
import { onePerRequest } from "../policy/single.js";
import { interruption } from "../run/interruption.js";
import { learnedQuestions } from "../run/learned.js";
import { type Manifest, promptSetOf, readManifest, runDir } from "../run/manifest.js";
import { progressLine } from "../show/progress.js";
import { modes, readPaper, results } from "../show/results.js";
import { printResult } from "../show/terminal.js";
import { type ServedModel, whenAsked } from "../study/serve.js";
import { comparator, findSystems } from "../team/systems.js";
import { adaptersFor, ggufOf, type TrainedAdapter, trainedAdapters } from "../train/adapters.js";
import { type ServiceModels, serviceModels } from "../train/service-models.js";
import type { Split } from "../types.js";
import { doElsewhere, type PlaceFlags, requirePlace, shardEvents, withPlaceFlags } from "./elsewhere.js";
import { extractionOption, number, oneOf, splits } from "./options.js";
import { promptSetHelp, readPromptSet } from "./prompt-set.js";
import {
  damageNote,
  embeddedModel,
  localPath,
  onlyModel,
  policyAt,
  type ServerFlags,
  serverElsewhere,
  startEmbedded,
  withPatienceFlags,
  withServerFlags,
} from "./server-flags.js";
import { readTeam, teamHelp } from "./team.js";

interface Flags extends ServerFlags, PlaceFlags {
  run: string;
  questions?: string;
  benchmark?: string;
  split?: Split;
  systems?: string[];
  size: number;
  seeds: number;
  seed: number;
  model?: string;
  promptSet?: string;
  team?: string;
  maxTokens?: number;
  temperature?: number;
  comparatorModel?: string;
  comparatorBaseUrl?: string;
  judge: "own" | "llm";
  judgeBaseUrl?: string;
  judgeModel?: string;
  extraction: ExtractionMode;
  request: "whole" | "single";
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  const whole = (flag: string, min: number) => number(flag, { min, integer: true });
  const command = program
    .command("evaluate")
    .summary("compare the team with its baselines")
    .description("compare the team with its baselines on held-out questions; run it again to go on")
    .optionsGroup("What:")
    .requiredOption("--run <name>", "name of the run whose adapters are evaluated")
    .option("--questions <path>", "held-out questions (default: those of the arithmetic benchmark, for runs on it)")
    .option("--split <name>", "keep the questions of this split: train, validation or test", oneOf("--split", splits))
    .option(
      "--benchmark <name>",
      "name of the benchmark, where the file does not tell; a run keeps one evaluation of each",
    )
    .option(
      "--systems <names>",
      "comma-separated: main (Table 1), debate (Table 2), mixes (Table 4), ablations (Table 5), extra, all, or names of " +
        "systems, also with other votes, MALT@9, or another's tokens, STaR MA equal tokens to MALT@9 (default: main)",
      (text: string) => text.split(",").map((name) => name.trim()),
    )
    .option("--team <name or file>", `who speaks: ${teamHelp}, for adapters that the run has (default: the run's team)`)
    .option("--size <n>", "questions per seed, drawn at random; the paper's 100", whole("--size", 1), 100)
    .option("--seeds <n>", "how many seeds, of subsets and sampling; the paper's 4", whole("--seeds", 1), 4)
    .option("--seed <n>", "the first seed", whole("--seed", 0), 0);
  withServerFlags(command, "the model that was sampled")
    .optionsGroup("Sampling:")
    .option("--prompt-set <name or file>", `prompts to use: ${promptSetHelp} (default: the run's own)`)
    .option("--temperature <t>", "(default: the run's)", number("--temperature", { min: 0 }))
    .option("--max-tokens <n>", "longest completion (default: the run's)", whole("--max-tokens", 1))
    .optionsGroup("Comparator:")
    .option(
      "--comparator-model <name>",
      "served name of another model, such as a larger one, that answers alone as one more system (Table 3)",
    )
    .option("--comparator-base-url <url>", "its server; OPENAI_API_KEY goes there too (default: the systems')")
    .optionsGroup("Judge:")
    .option(...extractionOption)
    .option(
      "--judge <who>",
      "who reads the turns before a system's last (Figure 3): own, by the answer a turn states itself, or llm, a model",
      oneOf("--judge", ["own", "llm"]),
      "own",
    )
    .option("--judge-base-url <url>", "the judge's server; OPENAI_API_KEY goes there too (default: the systems')")
    .option("--judge-model <name>", "served name of the judge (default: the only one there)")
    .optionsGroup("Advanced:")
    .option(
      "--request <mode>",
      "whole: one request for all first turns of a vote; single: one per completion, for servers that ignore n",
      oneOf("--request", ["whole", "single"]),
      "whole",
    );
  withPatienceFlags(command);
  withPlaceFlags(command, "without it, malt evaluate takes over what shards have and samples the rest").action(
    (flags: Flags) => shardEvents(flags).around(() => evaluate(flags, command)),
  );
}

async function evaluate(flags: Flags, command: Command): Promise<void> {
  requirePlace(flags);
  const env = environment();
  const dir = runDir(flags.run, env.outputs);
  const manifest = await readManifest(dir);
  const promptSet = flags.promptSet === undefined ? promptSetOf(manifest) : await readPromptSet(flags.promptSet);
  const path = flags.questions ?? ownTest(manifest);
  const loaded = await loadQuestions(path, { benchmark: flags.benchmark, split: flags.split });
  const questions = unseen(await learnedQuestions(dir), loaded);
  if (questions.length < loaded.length)
    process.emitWarning(
      `${loaded.length - questions.length} of ${loaded.length} held-out questions are left out: their benchmark has ` +
        "their texts among its training questions too",
      "MaltWarning",
    );
  const found = [...new Set(questions.map(({ split }) => split))];
  if (found.length > 1)
    throw new InputError(`${path} holds questions of the splits ${found.join(" and ")}; give --split test, or another`);
  const team = flags.team === undefined ? manifest.config : await readTeam(flags.team);
  const own = findSystems(flags.systems ?? ["main"], team.roles);
  const atService = flags.on === "openai" ? await serviceModels(dir, flags.run) : null;
  const used = adaptersFor(own, atService ? asAdapters(atService) : await trainedAdapters(dir), flags.run);
  const named = serverElsewhere(flags, env.baseURL) ?? atService?.service ?? null;
  const work =
    flags.on === undefined || atService
      ? null
      : await doElsewhere(flags, command, {
          ...{ kind: "evaluate", run: flags.run, outputs: env.outputs },
          ...{ adapters: used, baseURL: named },
        });
  if (flags.on !== undefined && !atService && work === null) return;
  const mine = flags.serve === undefined || work ? null : await startOwnServer(flags.serve);
  const elsewhere = mine?.baseURL ?? named;
  const row = elsewhere ? servedElsewhere() : embeddedModel(flags, manifest);
  const start = () => startEmbedded(row, { adapters: used.map(ggufOf) });
  const embedded = elsewhere || work ? null : await start();
  const interrupted = interruption();
  const { signal } = interrupted;
  const line = progressLine("evaluation requests");
  const adapterFolders = new Map(used.map(({ name, folder }) => [name, resolve(folder)]));
  const asked = (server: Policy) => (flags.request === "single" ? onePerRequest(server) : server);
  const served = (server: EmbeddedServer | string) =>
    asked(
      policyAt(server, flags, {
        ...{ apiKey: typeof server === "string" ? env.apiKey : null, adapterFolders },
        adapterModels: atService?.names,
      }),
    );
  // After shards at most what systems need that spend another's tokens is left to ask.
  const later = work && whenAsked(() => remaining(flags, elsewhere, served, start));
  const policy = later?.policy ?? served(embedded ?? elsewhere!);
  const events = shardEvents(flags);
  let judge: Awaited<ReturnType<typeof judgeOf>> | undefined;
  try {
    const { comparatorModel, comparatorBaseUrl: url } = flags;
    const comparatorPolicy = url === undefined ? policy : asked(policyAt(url, flags, { apiKey: env.apiKey }));
    const isCompared = comparatorModel !== undefined || url !== undefined;
    const other = isCompared && (comparatorModel ?? (await onlyModel(comparatorPolicy, "--comparator-model")));
    const systems = other ? [...own, comparator(other, team.roles)] : own;
    judge = await judgeOf(flags, env, { dir: join(dir, "evaluation", "judge"), policy, signal });
    const options: EvaluateOptions = {
      run: flags.run,
      outputs: env.outputs,
      questions,
      source: { path: recordedPath(path), sha256: await fileSha256(await localPath(path)) },
      systems,
      seeds: Array.from({ length: flags.seeds }, (_, i) => flags.seed + i),
      size: Math.min(flags.size, questions.length),
      policy,
      comparatorPolicy,
      model: flags.model ?? atService?.base,
      ...(atService && { adapters: atService.sha256 }),
      sampling: {
        ...(flags.temperature !== undefined && { temperature: flags.temperature }),
        ...(flags.maxTokens !== undefined && { max_tokens: flags.maxTokens }),
      },
      promptSet,
      concurrency: flags.concurrency ?? row.concurrency,
      maxConcurrency: flags.maxConcurrency,
      judge,
      extraction: flags.extraction,
      ...(work && { shardFolders: shardResults(work) }),
      onProgress: ({ done, total, asked }) => {
        events.progress(done, total);
        line.update(done, total, asked);
      },
      signal,
    };
    if (flags.shard) {
      const shard = await evaluateShard(options, flags.shard);
      line.end();
      printResult(shardSummary(shard));
      return;
    }
    const evaluated = await evaluateRun(options);
    line.end();
    const paper = await readPaper(evaluated.benchmark);
    const byMode = modes(systemsByMode(questions, evaluated.rows), "system");
    printResult([results(evaluated.rows, paper), ...byMode, summary(evaluated)].join("\n\n"));
  } catch (error) {
    line.end();
    throw error;
  } finally {
    interrupted.off();
    await judge?.close();
    await embedded?.stop();
    await later?.stop();
    await mine?.stop();
  }
}

const sampledNote = (sampled: number, seconds: number): string =>
  sampled > 0 ? `${sampled} completions sampled in ${seconds.toFixed(1)} s` : "nothing was sampled";

/** What was written, what it took, where it is, and what it replaced. */
function summary({ rows, sampled, damaged, seconds, unclear, dir, benchmark, replaced }: Evaluated): string {
  const doubt = unclear > 0 ? `, ${unclear} turns before the last without a verdict` : "";
  const line = `${rows.length} rows${doubt}, ${damageNote(damaged)}${sampledNote(sampled, seconds)}; in ${join(dir, "evaluation.parquet")}`;
  if (replaced === null) return line;
  return (
    `${line}\nThey replace the earlier evaluation of ${benchmark}: ${replaced}. What it sampled is kept: with its flags the ` +
    "command\nwrites it again and samples nothing. --benchmark NAME keeps other questions apart."
  );
}

/** The models of a service in the place of adapters; they have no files here. */
const asAdapters = ({ sha256 }: ServiceModels): Map<string, TrainedAdapter> =>
  new Map([...sha256].map(([name, hash]) => [name, { name, sha256: hash, folder: "", gguf: null }]));

/** What is asked for what shards have left. @throws InputError where no server is here */
async function remaining(
  { serve, run }: Flags,
  elsewhere: string | null,
  served: (server: EmbeddedServer | string) => Policy,
  start: () => Promise<EmbeddedServer>,
): Promise<ServedModel> {
  if (serve !== undefined)
    throw new InputError(
      `the shards' own servers have ended, and systems that spend another's tokens need more of them; run \`malt evaluate --run ${run}\` ` +
        "with the same flags and --base-url in place of --on and --serve",
    );
  if (elsewhere) return { policy: served(elsewhere), model: "", stop: async () => {} };
  const server = await start();
  return { policy: served(server), model: server.model, stop: () => server.stop() };
}

/** What a shard has done. */
function shardSummary({ sampled, damaged, seconds, dir }: EvaluatedShard): string {
  return `${damageNote(damaged)}${sampledNote(sampled, seconds)}; in ${dir}; \`malt evaluate\` without --shard makes the table of all shards`;
}

/** The judge of the flags. @throws InputError for flags of a judge that is not asked for */
async function judgeOf(flags: Flags, env: Environment, own: { dir: string; policy: Policy; signal: AbortSignal }) {
  const { judge, judgeBaseUrl, judgeModel, concurrency } = flags;
  if (judge === "own") {
    if (judgeBaseUrl !== undefined || judgeModel !== undefined)
      throw new InputError("--judge-base-url and --judge-model need --judge llm");
    return { ...ownAnswerIn(flags.extraction), close: async () => {} };
  }
  const policy = judgeBaseUrl === undefined ? own.policy : policyAt(judgeBaseUrl, flags, { apiKey: env.apiKey });
  const model = judgeModel ?? (await onlyModel(policy, "--judge-model"));
  return llmJudge({ ...own, policy, model, ...(typeof concurrency === "number" && { concurrency }) });
}

/** The project's own test questions, for a run on its own benchmark. */
function ownTest({ benchmark }: Manifest): string {
  const path = arithmetic.test;
  if (benchmark.name === "arithmetic" && existsSync(path)) return path;
  throw new InputError(`benchmark ${benchmark.name} has no default test questions; give --questions FILE`);
}
