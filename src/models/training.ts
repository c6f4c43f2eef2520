/**
 * The hyper-parameters of training as data, and what the paper's terms mean here; the values for each model are in
 * table.ts. Pure. The stages are planned in plan.ts and written for the trainer in stage-file.ts.
 */
import { InputError } from "../errors.js";

/**
 * What a stage is trained with. The paper's terms (A.9) look like those of a fine-tuning service, OpenPipe's; that is an
 * inference, and data/published/README.md has other readings. What they became in TRL's keys:
 *
 * | paper | here | TRL |
 * |---|---|---|
 * | batch size 8 | `batchSize` | per_device_train_batch_size × gradient_accumulation_steps |
 * | β 0.2 | `beta` | beta |
 * | 1–10 epochs, by the size of the data | `sftEpochs`, `dpoEpochs`; `sftTexts`, `dpoPairs` | num_train_epochs |
 * | learning-rate multiplier 0.1 | `sftLearningRate`, `dpoLearningRate` | learning_rate |
 * | adapter weight 0.2 | `loraAlpha` / `loraRank` | lora_alpha / lora_r |
 *
 * Batch size, β and epochs mean the same thing. The paper does not say which size of the data got how many epochs, so a
 * stage gets as many as come nearest to a fixed number of texts.
 *
 * The multiplier then scales a base rate that the service chose and did not publish, so it has no absolute value; rates here
 * are TRL's and PEFT's usual ones for LoRA, DPO's a fraction of SFT's.
 *
 * No key of TRL sets the adapter weight. Read as the adapter's share of the weights it would be the ratio given here
 * (0.2 × rank), but under Adam the ratio and the rate act as one product, and the rate is unknown; so it stays at the
 * customary 2. Scaling the finished adapter by 0.2 when serving is the other reading; it would serve a different policy
 * from the one DPO took as its reference, so it is not done.
 */
export interface TrainingSettings {
  /** Rank r of the adapter, on all linear layers; ≥ 1. */
  loraRank: number;
  /** The adapter is added with weight loraAlpha / loraRank; > 0. */
  loraAlpha: number;
  /** [0, 1) */
  loraDropout: number;
  /** Sequences (SFT) or pairs (DPO) per step. */
  batchSize: number;
  /** How many of them may be computed at once, to fit into memory; the largest divisor of `batchSize` up to it is used. */
  microBatchSize: number;
  /** Passes over the positives; null: as many whole ones, from 1 to 10, as come nearest to `sftTexts`. */
  sftEpochs: number | null;
  sftTexts: number;
  /** Passes over the pairs; null: as many whole ones, from 1 to 10, as come nearest to `dpoPairs`. */
  dpoEpochs: number | null;
  dpoPairs: number;
  /** Peak learning rate of SFT; it falls along a cosine after `warmupSteps`. */
  sftLearningRate: number;
  /** The same of DPO. */
  dpoLearningRate: number;
  warmupSteps: number;
  /** β of DPO: how strongly the policy is held to its reference. */
  beta: number;
  /**
   * ε of conservative DPO, in [0, 0.5): the probability that a preference is the wrong way round. The margin then has an optimum,
   * ln((1 − ε) / ε): 1, that of A.6.2, at ε = 0.27. Default 0, the paper's plain DPO, whose margin grows without end: on 16
   * pairs of malt-tiny's refiner (40 steps of 4 pairs, rate 1e-3) to 8.2, where log p of the chosen text fell from -0.9 to
   * -3.0; with ε = 0.27 the margin ends at 1.0 and log p at -0.03.
   */
  labelSmoothing: number;
  /**
   * Weight of the chosen texts' own SFT loss, per token, beside DPO's (Pang et al. 2024, arXiv 2404.19733, who take 1); ≥ 0. It keeps
   * them likely where DPO makes both texts of a pair less likely. Default 0, the paper's plain DPO.
   */
  dpoSftWeight: number;
  /**
   * How the difference of a pair's values enters its loss (python/value_losses.py): `none`, the default and the paper's; `offset`:
   * at least this margin; `target`: this margin, which the policy that A.6.2 derives has.
   */
  dpoMargin: DpoMargin;
  /** Tokens of prompt and completion together; what is longer is cut at its end. */
  maxLength: number;
  /** Steps between two checkpoints: the most that a kill can cost. */
  saveSteps: number;
  /** Stages trained at the same time, each in a process of its own; never more than there are cores. */
  jobs: number;
  /** `gpu`: bfloat16 weights, and whatever GPU there is; the file still runs, slowly, without one. */
  device: "cpu" | "gpu";
}

export type DpoMargin = "none" | "offset" | "target";
export const dpoMargins: readonly DpoMargin[] = ["none", "offset", "target"];

type Settable = { [K in keyof TrainingSettings]?: TrainingSettings[K] | undefined };

/**
 * Defaults with changes; an undefined change leaves the default.
 * @throws InputError that names the setting and its rule
 */
export function trainingSettings(defaults: TrainingSettings, changes: Settable = {}): TrainingSettings {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  const settings: TrainingSettings = { ...defaults, ...Object.fromEntries(given) };
  const { device, dpoMargin, ...numbers } = settings;
  for (const [name, value] of Object.entries(numbers)) {
    if (value === null && (name === "sftEpochs" || name === "dpoEpochs")) continue;
    const whole = ["loraRank", "batchSize", "microBatchSize", "warmupSteps", "maxLength", "saveSteps", "jobs"].includes(
      name,
    );
    const isShare = name === "loraDropout" || name === "labelSmoothing";
    const below = name === "labelSmoothing" ? 0.5 : 1;
    const mayBeZero = isShare || name === "warmupSteps" || name === "dpoSftWeight";
    const allowed =
      value !== null &&
      Number.isFinite(value) &&
      (mayBeZero ? value >= 0 : value > 0) &&
      (!whole || Number.isInteger(value));
    if (!allowed || (isShare && value! >= below)) {
      const rule = isShare ? `in [0, ${below})` : mayBeZero ? "≥ 0" : "> 0";
      throw new InputError(`${name} must be ${whole ? "an integer" : "a number"} ${rule}, not ${value}`);
    }
  }
  if (device !== "cpu" && device !== "gpu") throw new InputError(`device must be cpu or gpu, not ${String(device)}`);
  if (!dpoMargins.includes(dpoMargin))
    throw new InputError(`dpoMargin must be one of ${dpoMargins.join(", ")}, not ${String(dpoMargin)}`);
  if (settings.labelSmoothing > 0 && dpoMargin === "target")
    throw new InputError('labelSmoothing and dpoMargin "target" both say how sure a preference is; give one of them');
  let microBatchSize = Math.min(settings.microBatchSize, settings.batchSize);
  while (settings.batchSize % microBatchSize !== 0) microBatchSize--;
  return { ...settings, microBatchSize };
}
