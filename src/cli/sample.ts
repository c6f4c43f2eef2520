/** `malt sample`: samples the trees of a question file, or continues a run that was stopped. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { fileSha256 } from "../benchmarks/download.js";
import { questionList } from "../benchmarks/list.js";
import { questionsIn } from "../benchmarks/load.js";
import { treeSize } from "../credit/score.js";
import { searchKinds } from "../credit/search.js";
import { environment } from "../environment.js";
import { IncompleteError, InputError, ServerError } from "../errors.js";
import { shardResults } from "../launch/work.js";
import { chosenModel } from "../models/choose.js";
import { startOwnServer } from "../models/own-server.js";
import { servedElsewhere } from "../models/table.js";
import { recordedPath } from "../paths.js";
import { neutralExtra } from "../policy/openai.js";
import { interruption } from "../run/interruption.js";
import { promptSetOf, readManifest, runDir } from "../run/manifest.js";
import { failures } from "../sample/failures.js";
import { defaultSampling, type SampledRun, type SampleRunOptions, sampleRun } from "../sample/sample.js";
import { mergeShards, requireRoom, shardOf } from "../sample/shards.js";
import { requestModes } from "../sample/trees.js";
import { cost, liveLine, type Prices, samplingLine } from "../show/progress.js";
import { printResult } from "../show/terminal.js";
import { maltRoles, type SystemMessage } from "../team/prompts.js";
import { ggufOf, teamAdapters } from "../train/adapters.js";
import type { RequestMode, Split } from "../types.js";
import { doElsewhere, type PlaceFlags, requirePlace, shardEvents, withPlaceFlags } from "./elsewhere.js";
import { mergedSummary } from "./merge.js";
import { number, oneOf, splits } from "./options.js";
import { promptSetHelp, readPromptSet } from "./prompt-set.js";
import {
  damageNote,
  embeddedModel,
  endingsNote,
  localPath,
  onlyModel,
  policyAt,
  type ServerFlags,
  serverElsewhere,
  startEmbedded,
  systemMessageFlag,
  withPatienceFlags,
  withServerFlags,
} from "./server-flags.js";
import { readTeam, teamHelp } from "./team.js";

interface Flags extends ServerFlags, PlaceFlags {
  questions: string;
  run: string;
  model?: string;
  benchmark?: string;
  split?: Split;
  limit?: number;
  promptSet?: string;
  team?: string;
  adapters?: string;
  adaptersOf?: string;
  systemMessage?: SystemMessage;
  branching?: number;
  search: (typeof searchKinds)[number];
  budget?: number;
  searchThreshold?: number;
  temperature: number;
  topP: number;
  maxTokens?: number;
  presencePenalty: number;
  frequencyPenalty: number;
  extraBody: Record<string, unknown>;
  seed: number;
  request?: RequestMode;
  prices?: Prices;
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  const whole = (flag: string, min: number) => number(flag, { min, integer: true });
  const command = program
    .command("sample")
    .summary("sample a tree of completions for every question")
    .description("sample a tree of completions for every question; run it again to go on where it stopped")
    .optionsGroup("What:")
    .requiredOption(
      "--questions <path>",
      'JSONL of {"id","question","answer"[,"choices"]}, or a benchmark as published: file, folder or URL',
    )
    .requiredOption("--run <name>", "name of the run, the folder outputs/runs/<name>")
    .option("--limit <n>", "keep the first n questions", whole("--limit", 1))
    .option("--split <name>", "keep the questions of this split: train, validation or test", oneOf("--split", splits))
    .option("--benchmark <name>", "name of the benchmark, where the file does not tell")
    .option("--prompt-set <name or file>", `prompts to use: ${promptSetHelp} (default: by benchmark)`)
    .option(
      "--team <name or file>",
      `who speaks, and who sees whom: ${teamHelp} (default: malt, or that of --adapters)`,
    )
    .option(
      "--adapters <run>",
      "another round: speak with the team that this run has trained, with its model and prompts",
    )
    .option("--adapters-of <system>", "which of that run's systems, such as STaR MA or SFT MA (default: MALT)")
    .option(...systemMessageFlag);
  withServerFlags(command)
    .optionsGroup("Sampling:")
    .option(
      "--branching <n>",
      "children per state, of roles that do not say it themselves (default: 3; of an adaptive search at most 8)",
      whole("--branching", 1),
    )
    .option(
      "--search <kind>",
      "full: the whole tree; adaptive: as many completions where labels are least certain",
      oneOf("--search", searchKinds),
      "full",
    )
    .option(
      "--budget <n>",
      "of an adaptive search: completions per question (default: 39, the full tree of n = 3)",
      whole("--budget", 1),
    )
    .option(
      "--search-threshold <θ>",
      "of an adaptive search: the threshold of the labels that shall be certain (default: 0.5)",
      number("--search-threshold", { min: 0, max: 1 }),
    )
    .option(
      "--temperature <t>",
      "randomness of the choice of tokens",
      number("--temperature", { min: 0 }),
      defaultSampling.temperature,
    )
    .option("--seed <n>", "seed of the run", whole("--seed", 0), 0)
    .option("--max-tokens <n>", "longest completion (default: by profile)", whole("--max-tokens", 1))
    .option(
      "--top-p <p>",
      "share of the likeliest tokens that may be chosen",
      number("--top-p", { min: 0, max: 1 }),
      defaultSampling.top_p,
    )
    .option(
      "--presence-penalty <x>",
      "against tokens that were there",
      number("--presence-penalty", { min: -2, max: 2 }),
      0,
    )
    .option(
      "--frequency-penalty <x>",
      "against tokens that were there often",
      number("--frequency-penalty", { min: -2, max: 2 }),
      0,
    )
    .optionsGroup("Advanced:")
    .option(
      "--request <mode>",
      "streamed: one request per state, children start with each choice; whole: with the last; single: one per completion (default: by profile)",
      oneOf("--request", requestModes),
    )
    .option("--extra-body <json>", "further fields of each request, in place of those shown", json, { ...neutralExtra })
    .option("--prices <in,out[,cached]>", "dollars per million tokens, to show the cost", prices);
  withPatienceFlags(command);
  withPlaceFlags(command, "as a run of its own; see malt merge").action((flags: Flags) =>
    flags.on === undefined ? shardEvents(flags).around(() => sample(flags)) : sampleElsewhere(flags, command),
  );
}

/** In shards, each a job; then they are one run. */
async function sampleElsewhere(flags: Flags, command: Command): Promise<void> {
  const { outputs, baseURL } = environment();
  const { run } = flags;
  const elsewhere = serverElsewhere(flags, baseURL);
  if (!(await requireRoom(run, outputs))) {
    printResult(`run "${run}" is complete, nothing was asked; in ${runDir(run, outputs)}`);
    return;
  }
  const about = { kind: "sample" as const, run, outputs, adapters: [], baseURL: elsewhere };
  const work = await doElsewhere(flags, command, about);
  if (work === null) return;
  printResult(mergedSummary(await mergeShards({ run, outputs, from: shardResults(work) })));
}

async function sample(flags: Flags): Promise<void> {
  requirePlace(flags);
  const env = environment();
  const search = searchOf(flags);
  const before = await earlierRound(flags, env.outputs);
  const promptSet = flags.promptSet === undefined ? before?.promptSet : await readPromptSet(flags.promptSet);
  const n = flags.branching ?? (search ? 8 : undefined);
  const roles =
    flags.team === undefined && before ? before.roles(n) : (await readTeam(flags.team ?? "malt", n ?? 3)).roles;
  const sources = { benchmark: flags.benchmark, split: flags.split, limit: flags.limit };
  const questions = await questionList(questionsIn(flags.questions, sources));
  const part = flags.shard ? await shardOf(flags.run, questions, flags.shard) : { run: flags.run, questions };
  const own = flags.serve === undefined ? null : await startOwnServer(flags.serve);
  const elsewhere = own?.baseURL ?? serverElsewhere(flags, env.baseURL);
  const row = elsewhere ? servedElsewhere() : before ? embeddedModel(flags, before.manifest) : chosenModel(flags);
  const embedded = elsewhere ? null : await startEmbedded(row, { adapters: before?.trained.map(ggufOf) ?? [] });
  const interrupted = interruption();
  const line = liveLine();
  const events = shardEvents(flags);
  const began = performance.now();
  const failed = failures();
  try {
    const policy = policyAt(embedded ?? elsewhere!, flags, {
      apiKey: embedded ? null : env.apiKey,
      adapterFolders: new Map(before?.trained.map(({ name, folder }) => [name, resolve(folder)])),
    });
    const [served, trained] = [embedded?.weights, before?.manifest.server.weights];
    if (served && trained && served.sha256 !== trained.sha256)
      throw new InputError(
        `the adapters of run "${flags.adapters}" were trained on ${trained.source} of SHA-256 ${trained.sha256}, and the server has ` +
          `read ${served.source} of SHA-256 ${served.sha256}; sample with the file of that run`,
      );
    const result = await sampleRun({
      ...part,
      outputs: env.outputs,
      source: { path: recordedPath(flags.questions), sha256: await fileSha256(await localPath(flags.questions)) },
      policy,
      model: flags.model ?? embedded?.model ?? before?.manifest.config.policy.model ?? (await onlyModel(policy)),
      sampling: {
        temperature: flags.temperature,
        top_p: flags.topP,
        max_tokens: flags.maxTokens ?? row.maxTokens,
        presence_penalty: flags.presencePenalty,
        frequency_penalty: flags.frequencyPenalty,
        extra: flags.extraBody,
      },
      roles,
      adapters: before?.adapters,
      // llama.cpp batches only requests of one adapter.
      order: before && embedded ? "wide" : "deep",
      ...(search && { search }),
      ...(promptSet && { promptSet }),
      systemMessage:
        flags.systemMessage ??
        before?.manifest.config.system_message ??
        (row.systemMessage === false ? "merged" : "separate"),
      seed: flags.seed,
      concurrency: flags.concurrency ?? row.concurrency,
      maxConcurrency: flags.maxConcurrency,
      request: flags.request ?? row.request,
      onProgress: (progress) => {
        events.progress(progress.ok + progress.failed, progress.asked);
        line.show(() => samplingLine(progress, (performance.now() - began) / 1000, flags.prices));
      },
      onFailure: failed.add,
      signal: interrupted.signal,
    });
    line.end();
    printResult(summary(result, flags.prices));
    const { counts } = result.manifest;
    const goOn = failed.someRefused ? `; malt export --run ${result.manifest.run} leaves out their trees` : "";
    if (counts.failed === 0) return;
    const Failure = failed.onlyRefused && counts.ok > 0 ? IncompleteError : ServerError;
    throw new Failure(`${counts.failed} of ${counts.asked} requests failed${failed.text()}${goOn}`);
  } catch (error) {
    line.end();
    throw error;
  } finally {
    interrupted.off();
    await embedded?.stop();
    await own?.stop();
  }
}

/**
 * The run that --adapters names: its team, prompts and model are the defaults of the next round.
 * @throws InputError for --adapters-of alone, and as teamAdapters
 */
async function earlierRound({ adapters: run, adaptersOf: system }: Flags, outputs: string) {
  if (run === undefined) {
    if (system !== undefined) throw new InputError("--adapters-of needs --adapters RUN, whose system it names");
    return null;
  }
  const manifest = await readManifest(runDir(run, outputs));
  const { config } = manifest;
  const roles = (n?: number) =>
    n === undefined ? config.roles : config.roles.map((role) => ({ ...role, branching: n }));
  return { ...(await teamAdapters(run, { system, outputs })), manifest, roles, promptSet: promptSetOf(manifest) };
}

/** @throws InputError on flags of a search where there is none */
function searchOf({ search, budget, searchThreshold }: Flags): SampleRunOptions["search"] {
  if (search !== "full")
    return { kind: search, budget: budget ?? treeSize(maltRoles(3)), threshold: searchThreshold ?? 0.5 };
  const flag = budget !== undefined ? "--budget" : searchThreshold !== undefined ? "--search-threshold" : null;
  if (flag) throw new InputError(`${flag} is for a search: add --search adaptive, or leave it out`);
  return undefined;
}

/** One line: what the run holds, what this start added and how fast, and where it is. */
function summary({ dir, manifest, wasComplete, session, damaged }: SampledRun, prices?: Prices): string {
  const { counts, benchmark } = manifest;
  const holds =
    `${benchmark.questions} questions, ${counts.completions} completions, ${counts.failed} failed, ` +
    `${counts.pending} pending, ${endingsNote(counts)}, ${counts.retries} retries`;
  if (wasComplete) return `run "${manifest.run}" is complete, nothing was asked: ${holds}, in ${dir}`;
  const rate = session.completion_tokens / Math.max(session.seconds, 0.001);
  const paid = prices ? `, $${cost(session, prices).toFixed(2)}` : "";
  return (
    `${holds}; ${damageNote(damaged)}${session.completions} completions in ${session.seconds.toFixed(1)} s ` +
    `(${rate.toFixed(0)} tokens/s${paid}); in ${dir}`
  );
}

function prices(text: string): Prices {
  const [prompt, completion, cached = prompt, ...more] = text.split(",").map(number("--prices", { min: 0 }));
  if (prompt === undefined || completion === undefined || more.length > 0)
    throw new InputError(`--prices must be two or three numbers such as 0.15,0.60, not "${text}"`);
  return { prompt, completion, cached: cached! };
}

function json(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Reported below, with the text.
  }
  throw new InputError(`--extra-body must be a JSON object such as '{"top_k":-1}', not "${text}"`);
}
