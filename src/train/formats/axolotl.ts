/** A plan as files of axolotl (https://docs.axolotl.ai): its keys, its forms of data. Pure. */
import { pythonYaml } from "../stage-file.js";
import { batchesOf, lengthOf, type TrainerForm } from "./form.js";

/** Where `axolotl merge-lora` puts an adapter merged into its base model. */
const merged = (stage: string) => `${stage}/merged`;

export const axolotl: TrainerForm = {
  title: "axolotl 0.19",

  // Pairs go through untouched: its own form of chat pairs looks for a completion's text in the template's output, and
  // takes the wrong place for a text that is empty or stands in the template itself.
  row: (row) => ("completion" in row ? { messages: [...row.prompt, ...row.completion] } : row),

  stage(stage, { baseModel, settings, seed }) {
    const { name, method, data, start, rate } = stage;
    const gpu = settings.device === "gpu";
    const { micro, accumulation } = batchesOf(settings);
    const isPairs = method === "dpo";
    return pythonYaml({
      base_model: isPairs ? merged(start!) : baseModel,
      ...(isPairs
        ? {
            rl: "dpo",
            rl_beta: settings.beta,
            datasets: [{ path: data, split: "train", type: "passthrough.default" }],
            // TRL, which axolotl calls, then applies the chat template and cuts at sequence_len, as it does here.
            skip_prepare_dataset: true,
            remove_unused_columns: true,
          }
        : {
            datasets: [
              {
                path: data,
                ds_type: "json",
                type: "chat_template",
                field_messages: "messages",
                roles_to_train: ["assistant"],
                train_on_eos: "turn",
              },
            ],
            // By default what is too long is left out.
            excess_length_strategy: "truncate",
          }),
      chat_template: "tokenizer_default",
      dataset_prepared_path: `prepared/${name}`,
      val_set_size: 0,
      output_dir: name,
      adapter: "lora",
      ...(start !== null && !isPairs && { lora_model_dir: start }),
      lora_r: settings.loraRank,
      lora_alpha: settings.loraAlpha,
      lora_dropout: settings.loraDropout,
      lora_target_linear: true,
      sequence_len: settings.maxLength,
      sample_packing: false,
      pad_to_sequence_len: false,
      micro_batch_size: micro,
      gradient_accumulation_steps: accumulation,
      ...lengthOf(stage, { epochs: "num_epochs", steps: "max_steps" }),
      learning_rate: rate,
      lr_scheduler: "cosine",
      warmup_steps: settings.warmupSteps,
      optimizer: "adamw_torch_fused",
      weight_decay: 0,
      bf16: gpu,
      // Its own kernels for LoRA need a GPU.
      ...(!gpu && { lora_mlp_kernel: false, lora_qkv_kernel: false, lora_o_kernel: false }),
      gradient_checkpointing: gpu,
      logging_steps: 1,
      save_steps: settings.saveSteps,
      save_total_limit: 2,
      seed,
    });
  },

  others: () => ({}),

  scripts: ["join_adapters.py"],

  commands: ({ name }, next) => [`axolotl train ${name}.yaml`, ...(next ? [`axolotl merge-lora ${name}.yaml`] : [])],

  reference:
    "With rl: dpo axolotl always puts a fresh adapter on base_model and takes base_model without it as the reference; " +
    "lora_model_dir is then read by nobody, without a word. So the SFT adapter is first merged into the base model, and the " +
    "merged model is the base_model of DPO: start and reference are the SFT policy.",
  notes: [
    "The adapter of a DPO stage belongs to the merged model (`<role>-sft/merged`), not to the first base model: serve it " +
      "on that, or join both adapters into one (`python join_adapters.py verifier-sft verifier-dpo verifier-malt`), " +
      "which gives an adapter of twice the rank for the first base model with the same outputs.",
    "Merging rounds the SFT policy to the base model's precision.",
  ],
};
