/**
 * The public surface: what notebooks and other programs import. What is not listed here is inside and may change.
 */

export * from "./answers/index.js";
export { type QuestionList, questionList } from "./benchmarks/list.js";
export { type LoadOptions, loadQuestions, questionsIn } from "./benchmarks/load.js";
export * from "./credit/label-noise.js";
export * from "./credit/pairs.js";
export * from "./credit/score.js";
export * from "./credit/summary.js";
export * from "./credit/thresholds.js";
export * from "./credit/values.js";
export { type Dataset, exportRun, openDataset, type Row, scoreRun } from "./dataset/export.js";
export * from "./dataset/open.js";
export type { ExportOptions, ExportSummary, RoleCounts } from "./dataset/rules.js";
export * from "./errors.js";
export { debatePrompt } from "./evaluate/debate.js";
export { drawSubset, type Evaluated, type EvaluateOptions, evaluateRun } from "./evaluate/evaluate.js";
export * from "./evaluate/graders.js";
export { type Judge, type LlmJudgeOptions, llmJudge, ownAnswer, type Reading } from "./evaluate/judge.js";
export type { EvaluationProgress } from "./evaluate/passes.js";
export * from "./evaluate/published.js";
export * from "./evaluate/results.js";
export * from "./figures/index.js";
export { type Server, type ServerOptions, startServer } from "./models/embedded.js";
export { type Environment, environment, type Profile, profile, profiles } from "./models/table.js";
export type { Load } from "./policy/load.js";
export {
  neutralExtra,
  openaiPolicy,
  type Policy,
  type PolicyOptions,
  requireModel,
  type ServerInfo,
} from "./policy/openai.js";
export { policyPool } from "./policy/pool.js";
export { interruption } from "./run/interruption.js";
export { type Journal, type Kept, openJournal, openKept, readJournal } from "./run/journal.js";
export { differences, type Manifest, readManifest, readQuestions, runDir } from "./run/manifest.js";
export { defaultSampling, type SampledRun, type SampleRunOptions, sampleRun } from "./sample/sample.js";
export { type MergedRun, type MergeOptions, mergeShards, parseShard, type Shard, shardOf } from "./sample/shards.js";
export {
  AdaptiveLimit,
  type Counts,
  childId,
  fixedLimit,
  type Limit,
  nodeKey,
  type Progress,
  type RequestMode,
  requestModes,
  requestSeed,
  type SampleTreesOptions,
  sampleTrees,
  statesPerTree,
} from "./sample/trees.js";
export * from "./show/notebook.js";
export { cost, type Prices, samplingLine } from "./show/progress.js";
export * from "./stats/means.js";
export * from "./stats/paired.js";
export { type PairedDesign, powerOf, questionsNeeded } from "./stats/power.js";
export * from "./team/prompts.js";
export * from "./team/systems.js";
export { type Adapter, trainedAdapters } from "./train/adapters.js";
export * from "./train/train.js";
export * from "./types.js";
