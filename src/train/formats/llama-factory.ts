/** A plan as files of LLaMA-Factory (https://github.com/hiyouga/LLaMA-Factory): its keys, its forms of data. Pure. */
import { pythonYaml } from "../stage-file.js";
import { batchesOf, lengthOf, type TrainerForm } from "./form.js";

const nameOf = (data: string) => data.replace(/\.jsonl$/, "");

export const llamaFactory: TrainerForm = {
  title: "LLaMA-Factory 0.9.5",

  row: (row) =>
    "completion" in row
      ? { messages: [...row.prompt, ...row.completion] }
      : { messages: row.prompt, chosen: row.chosen.at(-1), rejected: row.rejected.at(-1) },

  stage(stage, { baseModel, settings, seed }) {
    const { name, method, data, start, rate } = stage;
    const gpu = settings.device === "gpu";
    const { micro, accumulation } = batchesOf(settings);
    return pythonYaml({
      model_name_or_path: baseModel,
      stage: method === "dpo" ? "dpo" : "sft",
      do_train: true,
      finetuning_type: "lora",
      ...(start === null
        ? {
            lora_rank: settings.loraRank,
            lora_alpha: settings.loraAlpha,
            lora_dropout: settings.loraDropout,
            lora_target: "all",
          }
        : { adapter_name_or_path: start }),
      ...(method === "dpo" && {
        ref_model: baseModel,
        ref_model_adapters: start,
        pref_loss: "sigmoid",
        pref_beta: settings.beta,
      }),
      dataset_dir: ".",
      dataset: nameOf(data),
      cutoff_len: settings.maxLength,
      output_dir: name,
      per_device_train_batch_size: micro,
      gradient_accumulation_steps: accumulation,
      ...lengthOf(stage, { epochs: "num_train_epochs", steps: "max_steps" }),
      learning_rate: rate,
      lr_scheduler_type: "cosine",
      warmup_steps: settings.warmupSteps,
      bf16: gpu,
      ...(!gpu && { use_cpu: true }),
      disable_gradient_checkpointing: !gpu,
      logging_steps: 1,
      save_steps: settings.saveSteps,
      save_total_limit: 2,
      seed,
      report_to: "none",
    });
  },

  others(plan) {
    const tags = { role_tag: "role", content_tag: "content", user_tag: "user", assistant_tag: "assistant" };
    const entries = plan.map(({ data, method }) => {
      const pairs = method === "dpo" && { ranking: true };
      const columns = { messages: "messages", ...(pairs && { chosen: "chosen", rejected: "rejected" }) };
      const entry = {
        file_name: data,
        formatting: "sharegpt",
        ...pairs,
        columns,
        tags: { ...tags, system_tag: "system" },
      };
      return [nameOf(data), entry] as const;
    });
    return { "dataset_info.json": `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n` };
  },

  scripts: [],

  commands: ({ name }) => [`llamafactory-cli train ${name}.yaml`],

  reference:
    "With LoRA and no ref_model LLaMA-Factory takes the model with its adapter switched off as the reference: that is the " +
    "base model, also where training starts from an SFT adapter (adapter_name_or_path). So ref_model and " +
    "ref_model_adapters name the base model with the SFT adapter: start and reference are the SFT policy.",
  notes: [
    "No template is named, so LLaMA-Factory takes the tokenizer's own chat template apart. It cannot do that with every " +
      "one: compare the prompt that it prints at its start with the one of this run, or name one of its own templates.",
    "It merges the SFT adapter into the reference's weights, in their precision: with bfloat16 reference and policy differ by " +
      "rounding at the first step.",
    "It cuts a text that is longer than cutoff_len in prompt and completion alike, TRL at the end of both together.",
  ],
};
