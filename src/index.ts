/**
 * The public API: what notebooks and other programs import, in the order of the loop. Anything not exported here is
 * internal and may change. Heavy packages (DuckDB, jsdom, resvg, Arrow) are loaded when something first needs them.
 */

// Answers.
export { extract, grade, gradeCase, gradeText } from "./answers/index.js";
// A benchmark's questions, a model, a server, a team.
export { loadQuestions } from "./benchmarks/load.js";
export { hoeffdingRadius, hoeffdingTail } from "./credit/bounds.js";
export { estimatorErrors } from "./credit/estimator-error.js";
export { assignCredit, type Estimator, estimatorNames } from "./credit/estimators.js";
export { heldOutBranches, identicalNoise } from "./credit/label-noise.js";
export { type Pairing, preferencePairs, sftExamples } from "./credit/pairs.js";
export { designSums, effectiveLeaves, errorProbability } from "./credit/posterior.js";
// Credit.
export { type SampleSummary, summariseSample } from "./credit/samples.js";
export { columns, scoreTrees, treeSize } from "./credit/score.js";
export { nextChildren, type SearchNode } from "./credit/search.js";
export { type Choose, type SearchedNode, searchStored } from "./credit/search-stored.js";
export { shapleyValues } from "./credit/shapley.js";
export { critiqueValue, summariseRoles } from "./credit/summary.js";
export { sweepThresholds } from "./credit/thresholds.js";
export { advantage, backUp, type Pooling } from "./credit/values.js";
// The dataset.
export { type Dataset, exportRun, openDataset, writeArrow } from "./dataset/export.js";
export { mixedQuestion, type OpenRun, openRun, openRuns, recordedTimelines } from "./dataset/open.js";
export { tableNames, tables } from "./dataset/tables.js";
export { environment } from "./environment.js";
export { MaltError } from "./errors.js";
// Evaluation.
export { evaluateRun } from "./evaluate/evaluate.js";
export {
  caseGraders,
  confusion,
  type GraderCase,
  loadCases,
  mathVerify,
  mathVerifyGrade,
  movement,
  ownCases,
  regrade,
  runGraders,
} from "./evaluate/graders.js";
export {
  type PublishedRow,
  publishedFlips,
  publishedFor,
  publishedGeneratorDpo,
  publishedTable,
  publishedTurns,
} from "./evaluate/published.js";
export { besidePublished, flips, perTurn, summariseSystems } from "./evaluate/results.js";
export { roleShares } from "./evaluate/shapley.js";
// Figures, and what shows them.
export {
  ablationFigure,
  accuracyFigure,
  agreementFigure,
  type CurvePoint,
  critiqueFigure,
  curvesFigure,
  difficultyFigure,
  estimatorFigure,
  flipsFigure,
  type LimitPoint,
  lengthFigure,
  limitFigure,
  logProbFigure,
  loopFigure,
  lossFigure,
  marginFigure,
  type PairCount,
  pairCountFigure,
  slotsFigure,
  studyFigure,
  systemsFigure,
  thresholdFigure,
  tokensFigure,
  treeFigure,
  turnsFigure,
  valueFigure,
} from "./figures/index.js";
export { percent } from "./format.js";
export { startServer } from "./models/embedded.js";
export { type Model, models } from "./models/table.js";
export { openaiPolicy, type Policy } from "./policy/openai.js";
export { interruption } from "./run/interruption.js";
export { readManifest } from "./run/manifest.js";
export { AdaptiveLimit } from "./sample/limit.js";
export { replay } from "./sample/replay.js";
// Sampling.
export { sampleRun } from "./sample/sample.js";
export { logNormalLengths, type VirtualServer, virtualServer } from "./sample/simulate.js";
export { requestSeed, statesPerTree } from "./sample/state.js";
export { noCounts, requestModes, type SampleTreesOptions, sampleTrees } from "./sample/trees.js";
export { aboutRun, manifestTable } from "./show/about.js";
export { compareRuns } from "./show/changes.js";
export { dialogue, explore } from "./show/explorer.js";
export { healthOf, showHealth } from "./show/health.js";
export { planNext } from "./show/next.js";
export { progress, saveFigure, show, table, text, trainingProgress } from "./show/notebook.js";
export { creditSliders } from "./show/sliders.js";
// Statistics.
export { clusterMean, meanPassAtK, meanStd, plusMinus } from "./stats/means.js";
export { holm, pairedTest } from "./stats/paired.js";
export { powerOf, questionsNeeded } from "./stats/power.js";
// Studies.
export { openStudy } from "./study/open.js";
export { study } from "./study/study.js";
export { promptSet } from "./team/prompt-sets.js";
export { maltRoles, messages, type PromptSet } from "./team/prompts.js";
export {
  ablationSystems,
  allSystems,
  debateSystem,
  findSystems,
  mainSystems,
  mixSystems,
  type System,
} from "./team/systems.js";
export { findTeam, parseTeam } from "./team/teams.js";
export { trainedAdapters } from "./train/adapters.js";
// Training.
export { readMetrics } from "./train/record.js";
export { trainRun } from "./train/train.js";
// Shared types.
export type {
  EvaluationRow,
  JournalEntry,
  Node,
  PolicyId,
  PreferencePair,
  Question,
  Role,
  SftExample,
  SlotInterval,
} from "./types.js";
