/** The plan of the next run, for a notebook. */
import type { OpenRun } from "../dataset/open.js";
import { RunError } from "../errors.js";
import { duration, percent, thousands } from "../format.js";
import { type ExperimentEstimate, estimateExperiment } from "../plan/estimate.js";
import {
  discordanceOf,
  expectedYields,
  type FinalVote,
  type NextOptions,
  nextExperiment,
  questionsForGains,
} from "../plan/next.js";
import { pilotRates } from "../plan/pilot.js";
import type { Estimate } from "../stats/means.js";
import { type Section, showSections } from "./sections.js";

/**
 * Shows what a run of so many questions would take and give, this one being its pilot: examples and pairs, tokens, hours and
 * dollars, and how many held-out questions it takes to see a gain.
 * @throws InputError on an option out of range; MaltError outside a tslab kernel
 */
export async function planNext(run: OpenRun, options: NextOptions): Promise<void> {
  showSections(await nextSections(run, options));
}

/** All rows of an evaluation may be many, with their texts. */
const finalVotes =
  "SELECT system, turn, pass, seed, question_id, voted_correct FROM evaluation WHERE benchmark = $1 AND pass = 0";

/** The same as data. */
export async function nextSections(run: OpenRun, options: NextOptions): Promise<Section[]> {
  const study = nextExperiment(run.manifest, options);
  const nodes = await run.nodes();
  const asked = (await run.questions()).map(({ id }) => id);
  const [benchmark] = await run.benchmarks();
  const yields = expectedYields(nodes, asked, options.questions);
  const sections: Section[] = [
    {
      title: `Rows to expect of ${whole(options.questions)} questions, from the ${whole(asked.length)} of run ${run.name}`,
      rows: yields.map(({ role, examples, pairs }) => ({
        role,
        "SFT examples": whole(examples.mean),
        "95 %": interval(examples),
        pairs: whole(pairs.mean),
        "95 % ": interval(pairs),
      })),
      note: "Intervals say how well the pilot's questions fix the mean of a question, not what another model or prompt would do.",
    },
  ];
  try {
    sections.push(work(estimateExperiment(study, await pilotRates(run.dir, study), []), options));
  } catch (error) {
    // Of another team than generator, verifier and refiner nothing is known but its rows.
    if (!(error instanceof RunError)) throw error;
    sections.push({ title: "Tokens, hours and dollars", rows: [], note: error.message });
  }
  const votes = await (benchmark === undefined ? [] : run.query<FinalVote>(finalVotes, [benchmark]));
  const discordance = discordanceOf(nodes, votes);
  sections.push(gains(discordance ?? { share: study.expect.discordance, between: "two systems, assumed" }));
  return sections;
}

const whole = (value: number): string => thousands(Math.round(value));
const interval = ({ low, high }: Estimate): string => (Number.isNaN(low) ? "–" : `${whole(low)} to ${whole(high)}`);
const time = (hours: number | null): string => (hours === null ? "unknown" : duration(hours * 3600));

function work({ sampling, stages, evaluation, ...all }: ExperimentEstimate, options: NextOptions): Section {
  const trained = stages.map(({ hours }) => hours);
  const training = trained.includes(null) ? null : (trained as number[]).reduce((sum, each) => sum + each, 0);
  const row = (step: string, completions: string, tokens: number, hours: number | null) => ({
    ...{ step, completions, "tokens written or trained": whole(tokens), time: time(hours) },
  });
  const { gpus = 1, dollarsPerGpuHour } = options;
  const price = dollarsPerGpuHour === undefined ? "" : ` at $${dollarsPerGpuHour} an hour`;
  const total =
    all.gpuHours === null
      ? "GPU hours unknown, because this run was not trained: give trainingTokensPerSecond, or train it (npx malt train)."
      : `${all.gpuHours.toFixed(2)} GPU hours on ${gpus} GPU${gpus === 1 ? "" : "s"} of the pilot's kind${price}` +
        `${all.dollars === null ? "; give dollarsPerGpuHour for dollars" : `: $${all.dollars.toFixed(2)}`}.`;
  return {
    title: "Work, at the pilot's throughput",
    rows: [
      row("sample", whole(sampling.completions), sampling.completionTokens, sampling.hours),
      row(
        "train",
        "–",
        stages.reduce((sum, stage) => sum + stage.tokens, 0),
        training,
      ),
      row("evaluate", whole(evaluation.completions), evaluation.completionTokens, evaluation.hours),
    ],
    note: `${total} npx malt plan takes all of this from a study's file.`,
  };
}

const gains = ({ share, between }: { share: number; between: string }): Section => ({
  title: `Held-out questions that a gain needs, if two systems disagree on ${percent(share)} of them`,
  rows: questionsForGains([0.01, 0.02, 0.05, 0.1], share).map(({ gain, needed }) => ({
    "gain, in points": Math.round(100 * gain),
    "different questions": whole(needed),
  })),
  note: `80 % power, two-sided at 5 %, paired. Disagreement is that of ${between}. Seeds that ask the same question again add little.`,
});
