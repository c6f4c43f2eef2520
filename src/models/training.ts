/**
 * The hyper-parameters of training as data: defaults per profile, and what the paper's terms mean here. Pure; which
 * stages there are is plan.ts's part, and how they are written for the trainer stage-file.ts's.
 */
import { InputError } from "../errors.js";

/**
 * What a stage is trained with. The paper (A.9) reports a fine-tuning service's terms; what they became in TRL's keys:
 *
 * | paper | here | TRL |
 * |---|---|---|
 * | batch size 8 | `batch` | per_device_train_batch_size × gradient_accumulation_steps |
 * | β 0.2 | `beta` | beta |
 * | 1–10 epochs, by the size of the data | `sftEpochs`, `dpoEpochs`; `sftTexts`, `dpoPairs` | num_train_epochs |
 * | learning-rate multiplier 0.1 | `sftRate`, `dpoRate` | learning_rate |
 * | adapter weight 0.2 | `loraAlpha` / `loraRank` | lora_alpha / lora_r |
 *
 * Batch size, β and epochs mean the same thing. The paper does not say which size of the data got how many epochs, so a
 * stage gets as many as come nearest to a fixed number of texts.
 *
 * The multiplier scales a base rate that the service chose and did not publish, so it has no absolute value; rates here
 * are TRL's and PEFT's usual ones for LoRA, DPO's a fraction of SFT's.
 *
 * No key of TRL says the adapter weight. Read as the adapter's share of the weights it would be the ratio given here
 * (0.2 × rank), but under Adam the ratio and the rate act as one product, and the rate is unknown; so it stays at the
 * customary 2. Scaling the finished adapter by 0.2 when serving is the other reading; it would serve another policy
 * than the one DPO took as its reference, so it is not done.
 */
export interface TrainingSettings {
  /** Rank r of the adapter, on all linear layers; ≥ 1. */
  loraRank: number;
  /** The adapter is added with weight loraAlpha / loraRank; > 0. */
  loraAlpha: number;
  /** [0, 1) */
  loraDropout: number;
  /** Sequences (SFT) or pairs (DPO) per step. */
  batch: number;
  /** How many of them may be computed at once, to fit into memory; the largest divisor of `batch` up to it is used. */
  microBatch: number;
  /** Passes over the positives; null: as many whole ones, from 1 to 10, as come nearest to `sftTexts`. */
  sftEpochs: number | null;
  sftTexts: number;
  /** Passes over the pairs; null: as many whole ones, from 1 to 10, as come nearest to `dpoPairs`. */
  dpoEpochs: number | null;
  dpoPairs: number;
  /** Peak learning rate of SFT; it falls along a cosine after `warmupSteps`. */
  sftRate: number;
  /** The same of DPO. */
  dpoRate: number;
  warmupSteps: number;
  /** β of DPO: how strongly the policy is held to its reference. */
  beta: number;
  /** Tokens of prompt and completion together; what is longer is cut at its end. */
  maxLength: number;
  /** Steps between two checkpoints: the most that a kill can cost. */
  saveSteps: number;
  /** Stages trained at the same time, each in a process of its own; never more than there are cores. */
  jobs: number;
  /** `gpu`: bfloat16 weights, and whatever GPU there is; the file still runs, slowly, without one. */
  device: "cpu" | "gpu";
}

// Chosen on 60 to 100 training questions outside the run. More or larger steps of DPO let a refiner of this size write
// on past its last line: the team's 88 % (rate 2e-4, 60 and 52 steps) fell to 80 % (100 and 104 steps) and 48 % (5e-4,
// the same).
const tiny: TrainingSettings = {
  loraRank: 16,
  loraAlpha: 32,
  loraDropout: 0,
  batch: 8,
  microBatch: 8,
  sftEpochs: null,
  sftTexts: 800,
  dpoEpochs: null,
  dpoPairs: 550,
  sftRate: 5e-4,
  dpoRate: 2e-4,
  warmupSteps: 10,
  beta: 0.2,
  maxLength: 1024,
  saveSteps: 50,
  jobs: 2,
  device: "cpu",
};

/** The defaults of each profile (table.ts). A larger model takes smaller steps. */
export const trainingDefaults: Readonly<Record<"tiny" | "smollm2" | "vllm", TrainingSettings>> = {
  tiny,
  // Two sequences at a time: the logits of a batch over a vocabulary of 49,152 fill the memory of a laptop.
  smollm2: { ...tiny, jobs: 1, microBatch: 2, sftEpochs: 1, dpoEpochs: 1, sftRate: 2e-4, dpoRate: 5e-5, saveSteps: 10 },
  vllm: {
    ...tiny,
    jobs: 1,
    microBatch: 2,
    sftTexts: 4000,
    dpoPairs: 4000,
    sftRate: 1e-4,
    dpoRate: 5e-6,
    maxLength: 4096,
    device: "gpu",
  },
};

type Settable = { [K in keyof TrainingSettings]?: TrainingSettings[K] | undefined };

/**
 * Defaults with changes; an undefined change leaves the default.
 * @throws InputError that names the setting and its rule
 */
export function trainingSettings(profile: keyof typeof trainingDefaults, changes: Settable = {}): TrainingSettings {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  const settings: TrainingSettings = { ...trainingDefaults[profile], ...Object.fromEntries(given) };
  const { device, ...numbers } = settings;
  for (const [name, value] of Object.entries(numbers)) {
    if (value === null && (name === "sftEpochs" || name === "dpoEpochs")) continue;
    const whole = ["loraRank", "batch", "microBatch", "warmupSteps", "maxLength", "saveSteps", "jobs"].includes(name);
    const mayBeZero = name === "loraDropout" || name === "warmupSteps";
    const allowed =
      value !== null &&
      Number.isFinite(value) &&
      (mayBeZero ? value >= 0 : value > 0) &&
      (!whole || Number.isInteger(value));
    if (!allowed || (name === "loraDropout" && value! >= 1)) {
      const rule = name === "loraDropout" ? "in [0, 1)" : mayBeZero ? "≥ 0" : "> 0";
      throw new InputError(`${name} must be ${whole ? "an integer" : "a number"} ${rule}, not ${value}`);
    }
  }
  if (device !== "cpu" && device !== "gpu") throw new InputError(`device must be cpu or gpu, not ${String(device)}`);
  let microBatch = Math.min(settings.microBatch, settings.batch);
  while (settings.batch % microBatch !== 0) microBatch--;
  return { ...settings, microBatch };
}
