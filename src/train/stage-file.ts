/**
 * A stage as the YAML file that the trainer reads: TRL's own keys, so that anyone can run it by hand on any machine. Pure.
 */
import { stringify } from "yaml";
import type { TrainingSettings } from "../models/training.js";
import type { TrainingStage } from "./plan.js";

export interface StageFileOptions {
  /** Folder of the base model, relative to train/ where possible, or its name on the model hub. */
  baseModel: string;
  settings: TrainingSettings;
  seed: number;
  /** Whether the examples of SFT and STaR have weights. */
  exampleWeights?: boolean | undefined;
  /** Path of python/train.py as seen from train/, for the comment on how to run it. */
  trainer: string;
}

/** The content of `<stage>.yaml`. */
export function stageFile(stage: TrainingStage, options: StageFileOptions): string {
  const { settings, baseModel, seed, trainer } = options;
  const { name, role, method, data, start, epochs, steps, rate } = stage;
  const gpu = settings.device === "gpu";
  const { dpoMargin } = settings;
  const ours = {
    ...(method === "dpo" && dpoMargin !== "none" && { dpo_margin: dpoMargin }),
    ...(method !== "dpo" && options.exampleWeights && { example_weights: true }),
  };
  const keys = {
    model_name_or_path: baseModel,
    // Adapters are trained in float32; on a CPU the frozen base is too, because its bfloat16 sums are no faster.
    dtype: gpu ? "bfloat16" : "float32",
    // At a hundred tokens the fused attention's backward pass on a CPU takes as long as all the rest.
    ...(!gpu && { attn_implementation: "eager" }),
    datasets: [{ path: "json", data_files: data }],
    output_dir: name,
    ...(epochs === null ? { max_steps: steps } : { num_train_epochs: epochs }),
    per_device_train_batch_size: settings.microBatchSize,
    gradient_accumulation_steps: settings.batchSize / settings.microBatchSize,
    learning_rate: rate,
    lr_scheduler_type: "cosine",
    warmup_steps: settings.warmupSteps,
    max_length: settings.maxLength,
    ...(method === "dpo"
      ? {
          beta: settings.beta,
          ...(settings.labelSmoothing > 0 && { label_smoothing: settings.labelSmoothing }),
          ...(settings.dpoSftWeight > 0 && { loss_type: ["sigmoid", "sft"], loss_weights: [1, settings.dpoSftWeight] }),
        }
      : { completion_only_loss: true }),
    ...(start === null && {
      use_peft: true,
      lora_r: settings.loraRank,
      lora_alpha: settings.loraAlpha,
      lora_dropout: settings.loraDropout,
      lora_target_modules: "all-linear",
    }),
    bf16: true,
    ...(!gpu && { use_cpu: true }),
    gradient_checkpointing: gpu,
    logging_steps: 1,
    save_steps: settings.saveSteps,
    save_total_limit: 2,
    seed,
    report_to: "none",
    disable_tqdm: true,
    ...(method === "dpo" && { trainer: "dpo" }),
    ...(start !== null && { start_adapter: start }),
    ...ours,
  };
  const what = { sft: "SFT on its positives", dpo: "DPO on its pairs", star: "STaR, further SFT on its positives" }[
    method
  ];
  const own = [
    ...(method === "dpo" ? ["trainer"] : []),
    ...(start === null ? [] : ["start_adapter"]),
    ...Object.keys(ours),
  ];
  const run = own.length === 0 ? `trl sft --config ${name}.yaml` : `python ${trainer} ${name}.yaml`;
  const note = own.length === 0 ? "" : `# That script's own keys: ${own.join(", ")}; all others are TRL's.\n`;
  return `# Stage ${name}: ${what} for the ${role}, ${steps} steps. By hand, in this folder:\n#   ${run}\n${note}${pythonYaml(keys)}`;
}

/**
 * YAML as Python reads it, version 1.1: there a number with an exponent needs a decimal point, otherwise it is read as
 * a string.
 */
export function pythonYaml(keys: object): string {
  return stringify(keys, { version: "1.1", lineWidth: 0 }).replace(/^(\w+: \d+)(e[-+]\d+)$/gm, "$1.0$2");
}
