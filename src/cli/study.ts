/** `malt study`: a grid of settings, each cell trained and evaluated, what they share made once. */
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { environment } from "../environment.js";
import { InputError } from "../errors.js";
import { studyFigure } from "../figures/index.js";
import { interruption } from "../run/interruption.js";
import { parseShard, type Shard } from "../sample/shards.js";
import { saveFigure } from "../show/notebook.js";
import { liveLine, progressLine, samplingLine, trainingDisplay } from "../show/progress.js";
import { studyText } from "../show/study.js";
import { printResult } from "../show/terminal.js";
import { alignedTable } from "../show/text-table.js";
import { labelOf } from "../study/axes.js";
import { planStudy, type StudyDefinition, type StudyPlan } from "../study/definition.js";
import type { Serve } from "../study/serve.js";
import { runsOf, type StudyStep, study, studySteps } from "../study/study.js";
import { ggufOf } from "../train/adapters.js";
import { readYaml } from "../yaml-file.js";
import { oneOf } from "./options.js";
import { readPromptSet } from "./prompt-set.js";
import {
  onlyModel,
  policyAt,
  type ServerFlags,
  serverElsewhere,
  startEmbedded,
  withPatienceFlags,
} from "./server-flags.js";
import { readTeam } from "./team.js";

interface Flags extends ServerFlags {
  list?: true;
  shard?: Shard;
  until: StudyStep;
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  const command = program
    .command("study")
    .argument("<file>", "JSON or YAML: name, questions, limit, test, size, seeds, fixed, vary, repeat, reference")
    .summary("vary settings, train and evaluate each, compare them")
    .description(
      "vary settings over a grid, train and evaluate every cell, and compare them with the reference cell; what cells have in " +
        "common is made once. Run it again to go on where it stopped. studies/ holds ready-made ones",
    )
    .optionsGroup("What:")
    .option("--list", "show the cells and their runs, and do nothing")
    .option("--until <step>", `last step to do: ${studySteps.join(", ")}`, oneOf("--until", studySteps), "evaluate")
    .option(
      "--shard <i/N>",
      "every N-th run from the i-th on, so that runs can be jobs; sample first (--until sample), because jobs that start " +
        "together know nothing of each other",
      parseShard,
    )
    .option(
      "--base-url <urls>",
      "OpenAI-compatible server, or several with commas (default: OPENAI_BASE_URL, else the embedded server)",
    );
  withPatienceFlags(command).action(make);
}

async function make(file: string, flags: Flags): Promise<void> {
  const env = environment();
  const elsewhere = serverElsewhere(flags, env.baseURL);
  const given = await withFiles(await readYaml(file, "study"));
  const definition =
    elsewhere === null ? given : await withServedModel(given, () => policyAt(elsewhere, flags, { apiKey: env.apiKey }));
  const plan = planStudy(definition, file);
  if (flags.list) return printResult(list(plan, env.outputs));
  const serve: Serve = async ({ model, adapters }) => {
    if (elsewhere !== null) {
      const adapterFolders = new Map(adapters.map(({ name, folder }) => [name, resolve(folder)]));
      const policy = policyAt(elsewhere, flags, { apiKey: env.apiKey, adapterFolders });
      return { policy, model: "", stop: async () => {} };
    }
    const server = await startEmbedded(model, { adapters: adapters.map(ggufOf) });
    return { policy: policyAt(server, flags, { apiKey: null }), model: server.model, stop: () => server.stop() };
  };
  const line = liveLine();
  const training = trainingDisplay();
  const evaluation = progressLine("evaluation requests");
  const { signal, off } = interruption();
  const began = performance.now();
  try {
    const result = await study(definition, {
      ...{ outputs: env.outputs, serve, until: flags.until, signal },
      ...(flags.shard && { part: flags.shard }),
      ...(flags.concurrency !== undefined && { concurrency: flags.concurrency }),
      ...(flags.maxConcurrency !== undefined && { maxConcurrency: flags.maxConcurrency }),
      onStatus: line.note,
      onSampling: (progress) => line.show(() => samplingLine(progress, (performance.now() - began) / 1000)),
      onTraining: training.update,
      onEvaluation: evaluation.update,
    });
    line.end();
    const figures: string[] = [];
    for (const { name } of plan.axes)
      figures.push(...(await saveFigure(studyFigure(result.results, name), join(result.dir, name))));
    printResult(`${studyText(result)}\nfigures: ${figures.filter((path) => path.endsWith(".png")).join(", ")}`);
  } finally {
    for (const shown of [line, training, evaluation]) shown.end();
    off();
  }
}

/** A definition whose teams and prompt sets that are files are read. */
async function withFiles(content: unknown): Promise<StudyDefinition> {
  if (content === null || typeof content !== "object" || Array.isArray(content))
    throw new InputError("a study is a file with the fields name and vary; see studies/ for some");
  const readers: Record<string, (given: string, settings: Record<string, unknown>) => Promise<unknown>> = {
    team: (given, settings) => readTeam(given, Number(settings.branching ?? 3)),
    promptSet: (given) => readPromptSet(given),
  };
  const read = async (section: unknown, isList: boolean) => {
    if (section === null || typeof section !== "object") return section;
    const settings = { ...section } as Record<string, unknown>;
    for (const [name, reader] of Object.entries(readers)) {
      const value = settings[name];
      // A built-in name stays a name, so that --branching and the study's axis hold for it.
      const one = async (each: unknown) =>
        typeof each === "string" && /[./\\]/.test(each) ? await reader(each, settings) : each;
      if (value !== undefined)
        settings[name] = isList && Array.isArray(value) ? await Promise.all(value.map(one)) : await one(value);
    }
    return settings;
  };
  const { fixed, vary, ...rest } = content as Record<string, unknown>;
  const sections = { ...(fixed !== undefined && { fixed: await read(fixed, false) }), vary: await read(vary, true) };
  return { ...rest, ...sections } as StudyDefinition;
}

/** A definition for a server elsewhere, with the only model there if it names none. */
async function withServedModel(
  given: StudyDefinition,
  policy: () => ReturnType<typeof policyAt>,
): Promise<StudyDefinition> {
  if (given.fixed?.model !== undefined || given.vary?.model !== undefined) return given;
  return { ...given, fixed: { ...given.fixed, model: await onlyModel(policy(), "fixed: {model: NAME} in the study") } };
}

/** The cells and their runs as a table. */
function list(plan: StudyPlan, outputs: string): string {
  const names = plan.axes.map(({ name }) => name);
  const rows = plan.cells.map(({ cell, varied, system, isReference, replicas }) => [
    `${cell}${isReference ? "*" : ""}`,
    ...names.map((name) => labelOf(varied[name]!)),
    system.name,
    replicas.map(({ run }) => run).join(" "),
  ]);
  const runs = runsOf(plan, outputs).length;
  return `${alignedTable(["cell", ...names, "system", "run"], rows)}\n\n${rows.length} cells in ${runs} runs; * is the reference`;
}
