/** The rules an export follows, and the report of its result. Pure. */
import { type ExtractionMode, extractionModes } from "../answers/index.js";
import { type DistillOptions, distillForms, distillSelections } from "../credit/distill.js";
import { type CreditOptions, creditRules } from "../credit/estimators.js";
import {
  checkPairOptions,
  type PairOptions,
  type SftOptions,
  type SplitOptions,
  sftSelections,
  splitOf,
} from "../credit/pairs.js";
import type { Grade } from "../credit/score.js";
import { checkOneOf, incompletes } from "../credit/values.js";
import { checkWeights, type WeightOptions } from "../credit/weights.js";
import { InputError } from "../errors.js";
import type { PromptSet } from "../team/prompts.js";

/** Options of an export; `dedupe` holds for examples and pairs alike. */
export interface ExportOptions
  extends Omit<CreditOptions, "effective">,
    PairOptions,
    SftOptions,
    SplitOptions,
    WeightOptions,
    Omit<DistillOptions, "distill" | "distillLimit"> {
  /** Also write whole good trajectories as one model's examples, `train/distilled.jsonl`; see credit/distill.ts. */
  distill?: DistillOptions["distill"] | null;
  /** At most so many of them of one question; null, the default, for all. */
  distillLimit?: number | null;
  /** Also give each pair in train/<role>-dpo.jsonl its `margin`, the difference of the two credits; default false. */
  margins?: boolean;
  /** Also write `train/<role>-{sft,dpo}-openai.jsonl` in the form of OpenAI's fine-tuning service. */
  openai?: boolean;
  /** Which answers of a text count, see `extract`; "strict" by default. */
  extraction?: ExtractionMode;
  /** Grades instead of this project's grader. */
  grade?: Grade;
  /**
   * The prompts the run was sampled with, for a run of an earlier version, whose run.json has only their hash. They are
   * then kept there.
   */
  promptSet?: PromptSet | undefined;
  /** Called as questions are exported. */
  onProgress?: (done: number, total: number) => void;
}

/** What an export holds; also the `export` section of run.json, with the options' names in snake_case. */
export interface ExportSummary {
  /** Every rule in force, defaults included. */
  options: Required<Omit<ExportOptions, "grade" | "promptSet" | "onProgress">>;
  /** Questions by the state of their trees. Incomplete ones give no examples unless `incomplete` is "available". */
  trees: { complete: number; incomplete: number };
  nodes: number;
  /**
   * Of estimator `posterior`: effective leaves below a node of each role but the last, from all trees of the run (credit/posterior.ts).
   */
  effectiveLeaves?: number[];
  /** Whole trajectories written, where they were asked for. */
  distilled?: number;
  roles: RoleCounts[];
}

/** Rows of one role. */
export interface RoleCounts {
  role: string;
  nodes: number;
  /** Nodes with a value. */
  valued: number;
  /** Nodes with label true: value > θ. */
  positive: number;
  sft: number;
  pairs: number;
}

/** Fills in the defaults and checks what the pure functions would detect only in the middle of an export. */
export function checkOptions(options: ExportOptions): ExportSummary["options"] {
  const rules: ExportSummary["options"] = {
    ...creditRules(options),
    pairing: options.pairing ?? "all",
    minGap: options.minGap ?? 0,
    identical: options.identical ?? "drop",
    dedupe: options.dedupe ?? false,
    // Advantages tell good from bad by themselves.
    examples: options.examples ?? (options.weights === "advantage" ? "all" : "positives"),
    weights: options.weights ?? "none",
    weightTemperature: options.weightTemperature ?? 0.2,
    margins: options.margins ?? false,
    evalFraction: options.evalFraction ?? 0,
    splitSeed: options.splitSeed ?? 0,
    openai: options.openai ?? false,
    distill: options.distill ?? null,
    distillForm: options.distillForm ?? "think",
    distillLimit: options.distillLimit ?? null,
    extraction: options.extraction ?? "strict",
  };
  checkOneOf("extraction", rules.extraction, extractionModes);
  checkOneOf("incomplete", rules.incomplete, incompletes);
  checkPairOptions(rules);
  checkOneOf("examples", rules.examples, sftSelections);
  splitOf("", rules);
  checkWeights(rules, rules.estimator);
  if (rules.distill !== null) checkOneOf("distill", rules.distill, distillSelections);
  checkOneOf("distill form", rules.distillForm, distillForms);
  if (rules.distillLimit !== null && !(Number.isInteger(rules.distillLimit) && rules.distillLimit >= 1))
    throw new InputError(`distill limit is ${rules.distillLimit}; give an integer of at least 1, or none`);
  return rules;
}

/** Options under the names of files and flags: `eval_fraction` for `evalFraction`. */
export function snakeCase(options: object): Record<string, unknown> {
  const name = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [name(key), value]));
}
