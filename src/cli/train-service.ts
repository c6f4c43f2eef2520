/** `malt train --on openai`: shows what would be sent to a fine-tuning service and what it costs, sends it, follows the jobs. */
import { environment } from "../environment.js";
import { InputError, RunError } from "../errors.js";
import { byteSize } from "../format.js";
import { type FineTuningService, fineTuningService } from "../policy/fine-tuning.js";
import { interruption } from "../run/interruption.js";
import { runDir } from "../run/manifest.js";
import { trainingDisplay } from "../show/progress.js";
import { printResult } from "../show/terminal.js";
import { alignedTable } from "../show/text-table.js";
import { type PlannedOptions, plannedTraining } from "../train/planned.js";
import { cancelOnService, trainOnService } from "../train/service.js";
import { hyperparametersOf, type ServiceJob, serviceDoubts, serviceJobs } from "../train/service-jobs.js";
import { readServiceState, type ServiceState } from "../train/service-state.js";
import { statusReader } from "../train/status.js";

interface Flags {
  run: string;
  baseUrl?: string;
  learningRateMultiplier: number;
  price?: number;
  yes?: true;
  stop?: true;
  follow?: true;
}

/** Runs the command. @throws InputError if a flag is missing or wrong, and as {@link trainOnService} */
export async function trainByService(flags: Flags, options: PlannedOptions): Promise<void> {
  const { apiKey, baseURL, outputs } = environment();
  const { run, price } = flags;
  const dir = runDir(run, outputs);
  const known = await readServiceState(dir);
  const service = fineTuningService({
    // A run that is at a service already needs no address again.
    baseURL: flags.baseUrl ?? known?.service ?? baseURL ?? "https://api.openai.com/v1",
    apiKey,
  });
  if (flags.stop) {
    const stages = await cancelOnService(dir, service);
    printResult(
      stages.length > 0
        ? `cancelled at ${service.baseURL}: ${stages.join(", ")}`
        : `run "${run}" has no job at work there`,
    );
    return;
  }
  if (flags.follow) {
    if (known === null) throw new RunError(`run "${run}" has no jobs at a service; leave --follow out to begin some`);
    return follow(flags, dir, service, [], "", options.seed ?? 0, Object.keys(known.stages));
  }
  if (options.startFrom === "sampled")
    throw new InputError("a service cannot go on from adapters that were trained elsewhere; leave --start-from out");
  const planned = await plannedTraining({ ...options, baseModel: undefined });
  const model = options.baseModel ?? planned.manifest.config.policy.model;
  const jobs = await serviceJobs(run, planned, flags.learningRateMultiplier);
  printResult(listing(run, service, model, jobs, price));
  for (const doubt of serviceDoubts(jobs, planned.settings.batchSize)) printResult(`note: ${doubt}`);
  if (!flags.yes) throw new InputError("nothing was sent; give --yes to send it and pay for it");
  const names = jobs.map(({ stage }) => stage.name);
  await follow(flags, dir, service, jobs, model, options.seed ?? 0, names);
}

async function follow(
  { run, price }: Flags,
  dir: string,
  service: FineTuningService,
  jobs: readonly ServiceJob[],
  model: string,
  seed: number,
  names: readonly string[],
): Promise<void> {
  const display = trainingDisplay();
  const read = statusReader(names);
  const { signal, off } = interruption();
  signal.addEventListener("abort", () =>
    display.note("the jobs go on at the service: --follow shows them again, --stop cancels them"),
  );
  try {
    const state = await trainOnService({
      ...{ run, dir, service, model, jobs, seed, signal },
      onEvent: (event) => display.update(read(event)),
      onNote: display.note,
    });
    printResult(summary(state, names, price));
  } finally {
    display.end();
    off();
  }
}

/** What leaves this machine, where it goes, what is done with it there and what that costs. */
function listing(
  run: string,
  service: FineTuningService,
  model: string,
  jobs: readonly ServiceJob[],
  price: number | undefined,
): string {
  const files = [...new Map(jobs.map(({ file }) => [file.name, file])).values()];
  const sent = files.reduce((sum, { content }) => sum + content.length, 0);
  const rows = jobs.map(({ stage, file, method, tokens }) => {
    const { n_epochs, batch_size, learning_rate_multiplier } = hyperparametersOf(method);
    const beta = method.type === "dpo" ? method.dpo.hyperparameters.beta : "–";
    const start = stage.start === null ? model : `model of ${stage.start}`;
    const size = [
      file.rows,
      n_epochs,
      batch_size,
      learning_rate_multiplier,
      beta,
      count(tokens),
      dollars(tokens, price),
    ];
    return [stage.name, method.type, start, file.name, ...size];
  });
  const known = jobs.every(({ tokens }) => tokens !== null);
  const all = known ? jobs.reduce((sum, { tokens }) => sum + tokens!, 0) : null;
  const head = [
    "stage",
    "method",
    "starts from",
    "file",
    "rows",
    "epochs",
    "batch",
    "rate ×",
    "β",
    "tokens",
    "dollars",
  ];
  const costs =
    price === undefined
      ? "give --price DOLLARS, of a million training tokens, to see the cost"
      : `$${price} a million tokens: ${all === null ? "the tokens of this run were not counted" : `about ${dollars(all, price)} dollars`}`;
  return [
    `Run "${run}" would send to ${service.baseURL}: ${files.length} files, ${byteSize(sent)}, with the questions, the prompts`,
    "and what the model wrote; beside them the run's name and the names of its stages, and nothing else.",
    "",
    alignedTable(head, rows),
    "",
    `${all === null ? "tokens unknown" : `${count(all)} tokens as the sampled model counts them; the service counts its own`}; ${costs}`,
    "DPO starts from the model that the SFT job makes. The API has no field for DPO's reference: it is the model that the job",
    "starts from, which cannot be checked from outside.",
  ].join("\n");
}

const count = (tokens: number | null): string => (tokens === null ? "–" : tokens.toLocaleString("en-US"));
const dollars = (tokens: number | null, price: number | undefined): string =>
  tokens === null || price === undefined ? "–" : ((tokens / 1e6) * price).toFixed(2);

function summary({ stages }: ServiceState, names: readonly string[], price: number | undefined): string {
  const rows = names.flatMap((name) => {
    const stage = stages[name];
    if (!stage) return [];
    const { job, status, fine_tuned_model, trained_tokens: tokens } = stage;
    return [[name, job ?? "–", status ?? "not begun", count(tokens), dollars(tokens, price), fine_tuned_model ?? "–"]];
  });
  return alignedTable(["stage", "job", "", "tokens", "dollars", "model"], rows);
}
