/**
 * The public surface: what notebooks and other programs import. What is not listed here is inside and may change.
 */

export * from "./answers/index.js";
export * from "./audit.js";
export { type LoadOptions, loadQuestions, questionsIn } from "./benchmarks.js";
export { type Environment, environment, type Profile, profile, profiles } from "./config.js";
export type { ExportOptions, ExportSummary, RoleCounts } from "./dataset/rules.js";
export { type Dataset, exportRun, openDataset, type Row, scoreRun } from "./dataset.js";
export * from "./display.js";
export * from "./errors.js";
export { debatePrompt } from "./evaluate/debate.js";
export { type Judge, type LlmJudgeOptions, llmJudge, ownAnswer, type Reading } from "./evaluate/judge.js";
export type { EvaluationProgress } from "./evaluate/passes.js";
export { drawSubset, type Evaluated, type EvaluateOptions, evaluateRun } from "./evaluate.js";
export * from "./figures.js";
export { interruption } from "./interruption.js";
export { type Journal, type Kept, openJournal, openKept, readJournal } from "./journal.js";
export * from "./pairs.js";
export * from "./pipeline.js";
export type { Load } from "./policy/load.js";
export { policyPool } from "./policy/pool.js";
export {
  neutralExtra,
  openaiPolicy,
  type Policy,
  type PolicyOptions,
  requireModel,
  type ServerInfo,
} from "./policy.js";
export { cost, type Prices, samplingLine } from "./progress.js";
export * from "./prompts.js";
export * from "./published.js";
export { type QuestionList, questionList } from "./questions.js";
export * from "./recorded.js";
export * from "./reestimate.js";
export * from "./results.js";
export { differences, type Manifest, readManifest, readQuestions, runDir } from "./run.js";
export { defaultSampling, type SampledRun, type SampleRunOptions, sampleRun } from "./sample.js";
export * from "./score.js";
export { type Server, type ServerOptions, startServer } from "./server.js";
export { type MergedRun, type MergeOptions, mergeShards, parseShard, type Shard, shardOf } from "./shards.js";
export * from "./stats/paired.js";
export { type PairedDesign, powerOf, questionsNeeded } from "./stats/power.js";
export * from "./stats.js";
export * from "./summary.js";
export * from "./thresholds.js";
export { type Adapter, trainedAdapters } from "./train/adapters.js";
export * from "./train.js";
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
} from "./tree.js";
export * from "./types.js";
export * from "./values.js";
