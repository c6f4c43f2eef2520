/** The estimate of a study as text. */
import { byteSize, duration, percent, thousands } from "../format.js";
import type { ExperimentEstimate, Rates } from "../plan/estimate.js";
import type { Experiment } from "../plan/file.js";
import { alignedTable } from "./text-table.js";

const whole = (value: number): string => thousands(Math.round(value));
const time = (hours: number | null): string => (hours === null ? "–" : duration(hours * 3600));

/** Everything `malt plan` prints. */
export function planText(study: Experiment, rates: Rates, estimate: ExperimentEstimate): string {
  const { sampling, stages, evaluation, evaluated, disk, hours, gpuHours, dollars, power } = estimate;
  const { sample, evaluate, hardware } = study;
  const work = [
    ...sampling.byRole.map((each) => [
      `sample: ${each.role}`,
      whole(each.completions),
      whole(each.promptTokens),
      whole(each.completionTokens),
      "–",
    ]),
    [
      "sample: all",
      ...[sampling.completions, sampling.promptTokens, sampling.completionTokens].map(whole),
      time(sampling.hours),
    ],
    [
      "evaluate",
      ...[evaluation.completions, evaluation.promptTokens, evaluation.completionTokens].map(whole),
      time(evaluation.hours),
    ],
  ];
  const training = stages.map((each) => [
    each.name,
    whole(each.rows),
    whole(each.steps),
    whole(each.tokens),
    time(each.hours),
  ]);
  const missing = [
    rates.completionRate === null && "completion_tokens_per_second",
    rates.trainingRate === null && "training_tokens_per_second",
  ].filter((name) => name !== false);
  const total =
    gpuHours === null
      ? `hours unknown: measure a pilot (--pilot RUN), or state hardware.${missing.join(" and hardware.")}`
      : `${time(hours)} on ${hardware.gpus} × ${hardware.name}: ${gpuHours.toFixed(1)} GPU hours${dollars === null ? "" : `, $${dollars.toFixed(2)}`}`;
  const adapters = disk.adapters === null ? "adapters unknown" : `adapters ${byteSize(disk.adapters)}`;
  const found = power.map((each) => [
    `MALT over ${each.system}`,
    percent(each.difference),
    percent(each.power),
    percent(each.corrected),
    whole(each.needed),
  ]);
  return [
    `study ${study.study}: ${study.model}, ${whole(sample.size)} questions × ${sample.branching}, from ${rates.source}`,
    "",
    alignedTable(["work", "completions", "prompt tokens", "completion tokens", "time"], work),
    "",
    alignedTable(["train", "rows", "steps", "tokens", "time"], training),
    "",
    total,
    `disk: journals ${byteSize(disk.journals)}, ${adapters}; model weights and their server come on top`,
    "",
    ...(found.length === 0
      ? [`the paper has no numbers for ${evaluate.benchmark}, so no power is computed`]
      : [
          alignedTable(["chance to find the paper's gain", "gain", "at 5 %", "corrected", "questions for 80 %"], found),
          "",
          `${evaluate.seeds} seeds of ${evaluate.size} draw about ${whole(Math.floor(evaluated))} different questions of ${whole(evaluate.pool)}. Two-sided, paired; MALT and a baseline are taken to`,
          `disagree on ${percent(rates.discordance)} of the questions. Corrected: Bonferroni, over all systems of the table.`,
        ]),
  ].join("\n");
}
