/**
 * The progress of a training. The trainer writes one JSON line per event (train/trainer.jsonl); here the events become
 * the status that is shown. Pure; trainer.ts reads the file.
 */
import * as z from "zod";
import { duration } from "../format.js";

const number = z.number().nullish();
const logProbs = z.object({
  policy: z.array(z.number()),
  reference: z.array(z.number()),
  sft: z.array(z.number()),
  base: z.array(z.number()),
});
const eventShape = z.discriminatedUnion("event", [
  z.object({ event: z.literal("load"), stage: z.string() }),
  z.looseObject({ event: z.literal("data"), stage: z.string() }),
  z.object({ event: z.literal("start"), stage: z.string(), logp: logProbs }),
  z.object({ event: z.literal("begin"), stage: z.string(), step: z.number(), steps: z.number() }),
  z.object({
    event: z.literal("step"),
    stage: z.string(),
    step: z.number(),
    steps: z.number(),
    /** null where nothing is trained: a shard of a sampling or an evaluation, whose steps are requests. */
    loss: number,
    margin: number,
    chosen_logp: number,
    rejected_logp: number,
    tokens: number,
    seconds: z.number(),
    seconds_left: z.number(),
  }),
  z.object({ event: z.literal("first"), stage: z.string(), loss: z.number(), margin: z.number() }),
  z.object({ event: z.literal("done"), stage: z.string(), seconds: number }),
  z.object({ event: z.literal("skip"), stage: z.string() }),
  z.object({
    event: z.literal("end"),
    stage: z.string(),
    state: z.enum(["done", "stopped", "failed"]),
    error: z.string().optional(),
  }),
]);

/** One line of train/trainer.jsonl. */
export type TrainingEvent = z.infer<typeof eventShape>;

/** log p in nats of a few chosen texts at the start of DPO (paper, Section 4.3: its reference is the SFT policy). */
export type StartLogProbs = z.infer<typeof logProbs>;

/** The status of a training, and the latest event. */
export interface TrainingStatus {
  /**
   * The latest event: a stage is loaded, its rows are counted, DPO's start is measured, its first step is
   * checked, steps begin, a step, a stage is done or was already (`skip`), the whole training ended.
   */
  event: TrainingEvent["event"];
  /** Of the training as a whole; `done` only when the last stage is. */
  state: "loading" | "training" | "done" | "stopped" | "failed";
  stage: string;
  /** All stages of this training, in order. */
  stages: readonly string[];
  /** Stages that are done. */
  finished: number;
  /** Steps of the stage that are done, and all of them; 0 while it is loaded. */
  step: number;
  steps: number;
  /** Of the last step; null before the first one, and where the method has no such value. */
  loss: number | null;
  /** Mean of β (log-ratio of chosen − log-ratio of rejected), DPO's implicit reward margin. */
  margin: number | null;
  /** Mean log p of the batch's chosen and rejected completions, in nats. */
  chosenLogp: number | null;
  rejectedLogp: number | null;
  /** Tokens trained on per second, over the last steps. */
  tokensPerSecond: number | null;
  /** Estimate for the rest of this stage. */
  secondsLeft: number | null;
  /** Rows of the stage: examples, or pairs and how many of them truncation made identical; dropped ones. */
  counts: Readonly<Record<string, number>> | null;
  /** At the start of DPO. */
  logp: StartLogProbs | null;
  /** Why it failed. */
  error: string | null;
}

/** Reads one line; null if it is not an event, such as a line that is only half written. */
export function parseEvent(line: string): TrainingEvent | null {
  try {
    return eventShape.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

/** Steps over which the rate is taken. */
const window = 20;

/**
 * Makes a function that takes one event after another and returns the status after it.
 * @param stages names of the stages that the trainer was given
 */
export function statusReader(stages: readonly string[]): (event: TrainingEvent) => TrainingStatus {
  const blank = { step: 0, steps: 0, loss: null, margin: null, chosenLogp: null, rejectedLogp: null };
  const unknown = { tokensPerSecond: null, secondsLeft: null, counts: null, logp: null, error: null };
  let status: TrainingStatus = {
    ...blank,
    ...unknown,
    event: "load",
    state: "loading",
    stage: stages[0] ?? "",
    stages,
    finished: 0,
  };
  // Several stages may be trained at a time.
  const each = new Map<string, { status: TrainingStatus; recent: { tokens: number; seconds: number }[] }>();
  return (event) => {
    const known = each.get(event.stage);
    const { finished } = status;
    status = {
      ...(known?.status ?? { ...status, ...blank, ...unknown }),
      finished,
      event: event.event,
      stage: event.stage,
    };
    let recent = event.event === "load" ? [] : (known?.recent ?? []);
    if (event.event === "data") {
      const counts = Object.entries(event).filter((entry): entry is [string, number] => typeof entry[1] === "number");
      status.counts = Object.fromEntries(counts);
    }
    if (event.event === "start") status.logp = event.logp;
    if (event.event === "begin") status = { ...status, state: "training", step: event.step, steps: event.steps };
    if (event.event === "step") {
      const { step, steps, loss, margin, chosen_logp, rejected_logp, tokens, seconds, seconds_left } = event;
      recent = [...recent.slice(-window), { tokens: tokens ?? 0, seconds }];
      const [from, to] = [recent[0]!, recent.at(-1)!];
      const rate = to.seconds > from.seconds ? (to.tokens - from.tokens) / (to.seconds - from.seconds) : null;
      const values = { chosenLogp: chosen_logp ?? null, rejectedLogp: rejected_logp ?? null, margin: margin ?? null };
      status = {
        ...status,
        ...values,
        state: "training",
        step,
        steps,
        loss: loss ?? null,
        tokensPerSecond: rate,
        secondsLeft: seconds_left,
      };
    }
    if (event.event === "done" || event.event === "skip")
      status = { ...status, state: "loading", finished: status.finished + 1, secondsLeft: null };
    if (event.event === "end") status = { ...status, state: event.state, error: event.error ?? null };
    each.set(event.stage, { status, recent });
    return status;
  };
}

/** One line: "[2/7] verifier-dpo 40/96, loss 0.561, margin 0.42, log p chosen −2.1, rejected −6.4, 5,300 tokens/s, 48 s left". */
export function trainingLine(status: TrainingStatus): string {
  const { stage, stages, step, steps, loss, margin, chosenLogp, rejectedLogp, tokensPerSecond, secondsLeft } = status;
  const place = `[${stages.indexOf(stage) + 1}/${stages.length}] ${stage}`;
  if (status.event === "skip") return `${place} is done already`;
  if (steps === 0) return `${place} is being loaded`;
  const parts = [
    `${place} ${step}/${steps}`,
    loss !== null && `loss ${loss.toFixed(3)}`,
    margin !== null && `margin ${signed(margin, 2)}`,
    chosenLogp !== null &&
      rejectedLogp !== null &&
      `log p chosen ${signed(chosenLogp, 1)}, rejected ${signed(rejectedLogp, 1)}`,
    tokensPerSecond !== null && `${Math.round(tokensPerSecond).toLocaleString("en-US")} tokens/s`,
    secondsLeft !== null && step < steps && `${duration(secondsLeft)} left`,
  ];
  return parts.filter((part) => part !== false).join(", ");
}

/**
 * The text of events that get a permanent line of their own: the rows of a stage, DPO's start, the end of a stage; else
 * null.
 */
export function trainingNote(status: TrainingStatus): string | null {
  const { event, stage, counts, logp, loss, margin, step } = status;
  if (event === "data" && counts) {
    const { examples, pairs, identical_after_truncation: identical = 0, dropped = 0 } = counts;
    const rows =
      pairs === undefined ? `${examples} examples` : `${pairs} pairs, ${identical} identical after truncation`;
    return `${stage}: ${rows}${dropped > 0 ? `, ${dropped} dropped because their prompt fills max_length` : ""}`;
  }
  if (event === "start" && logp) {
    const { policy, reference, sft, base } = logp;
    const texts = policy.map(
      (value, i) =>
        `policy ${signed(value, 4)}, reference ${signed(reference[i]!, 4)}, SFT ${signed(sft[i]!, 4)}, base ${signed(base[i]!, 4)}`,
    );
    return `${stage}: log p of ${texts.length} chosen texts: ${texts.join("; ")}`;
  }
  if (event === "first") {
    // With offsets, or the chosen texts' own loss beside DPO's, it starts elsewhere.
    const start = Math.abs(loss! - Math.LN2) < 1e-3 ? " (ln 2 = 0.6931)" : "";
    return `${stage}: step 0 loss ${loss?.toFixed(4)}${start}, margin ${signed(margin ?? 0, 4)}`;
  }
  if (event === "begin" && step > 0) return `${stage}: goes on after step ${step}`;
  if (event === "done") return `${stage}: done, ${step} steps, loss ${loss?.toFixed(3)}`;
  if (event === "skip") return trainingLine(status);
  return null;
}

/** A number with a real minus sign, and no "−0.00". */
function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}
