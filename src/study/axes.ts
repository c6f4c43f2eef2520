/**
 * What a study may vary: what is decided before sampling, after it, and at the end. Credit and training have the names of
 * the options of exportRun and of the training settings, so whatever is an option there can be varied here.
 */
import { checkOptions, type ExportOptions } from "../dataset/rules.js";
import { InputError } from "../errors.js";
import { type Model, modelOfProfile, models } from "../models/table.js";
import { type TrainingSettings, trainingSettings } from "../models/training.js";
import { defaultSampling } from "../sample/sample.js";
import { promptSet } from "../team/prompt-sets.js";
import type { PromptSet } from "../team/prompts.js";
import { findSystems } from "../team/systems.js";
import { findTeam, type Team } from "../team/teams.js";
import { type TrainingStart, trainingStarts } from "../train/plan.js";

/** A value of an axis. A team and a prompt set may be given by name or whole. */
export type AxisValue = string | number | boolean | null | Team | PromptSet;

/** Values by axis. */
export type Settings = Readonly<Record<string, AxisValue>>;

/** When it is decided: what comes before it can be shared by cells that differ in it. */
export type Phase = "sampling" | "credit" | "training" | "evaluation";

export interface Axis {
  name: string;
  phase: Phase;
  /** The value where nothing is said; undefined where that depends on the questions or the model. */
  default: AxisValue | undefined;
  /** @throws InputError for a value that it cannot have */
  check(value: AxisValue): void;
}

/** Settings of the trainer that change how it works and not what comes out. */
const resources = ["jobs", "saveSteps", "device", "microBatchSize"];

/** All axes by name, with the training defaults of a model. */
export function axesOf(model: Model = models[0]!): ReadonlyMap<string, Axis> {
  const axes: Axis[] = [];
  const add = (phase: Phase, name: string, byDefault: AxisValue | undefined, check: (value: AxisValue) => void) =>
    axes.push({ name, phase, default: byDefault, check });
  const whole = (name: string, least: number) => number(name, least, Number.MAX_SAFE_INTEGER, true);

  add("sampling", "branching", 3, number("branching", 1, 1000, true));
  add("sampling", "temperature", defaultSampling.temperature, number("temperature", 0));
  add("sampling", "topP", defaultSampling.top_p, number("topP", Number.MIN_VALUE, 1));
  add("sampling", "maxTokens", undefined, whole("maxTokens", 1));
  add("sampling", "seed", 0, whole("seed", 0));
  add("sampling", "team", "malt", (value) => teamOf(value));
  add("sampling", "promptSet", undefined, (value) => promptsOf(value));
  add("sampling", "profile", models[0]!.profile, (value) => modelOfProfile(text("profile", value)));
  add("sampling", "model", undefined, (value) => text("model", value));

  add("sampling", "round", 1, whole("round", 0));

  const { openai: _, ...credit } = checkOptions({});
  for (const [name, byDefault] of Object.entries(credit))
    add("credit", name, byDefault, (value) => {
      if (typeof value !== typeof byDefault) throw wrong(name, `a ${typeof byDefault}`, value);
      checkOptions({ [name]: value } as ExportOptions);
    });

  for (const [name, byDefault] of Object.entries(model.training) as [keyof TrainingSettings, AxisValue][])
    if (!resources.includes(name))
      add("training", name, byDefault, (value) => {
        trainingSettings(model.training, { [name]: value });
      });
  add("training", "epochs", null, (value) => {
    trainingSettings(model.training, { sftEpochs: value as number, dpoEpochs: value as number });
  });
  add("training", "generatorDpo", false, (value) => {
    if (typeof value !== "boolean") throw wrong("generatorDpo", "true or false", value);
  });
  add("credit", "thresholdRise", 0, number("thresholdRise", 0, 1));
  add("training", "startFrom", "base", (value) => {
    if (!trainingStarts.includes(value as TrainingStart)) throw wrong("startFrom", trainingStarts.join(" or "), value);
  });
  add("training", "trainSeed", 0, whole("trainSeed", 0));
  add("training", "baseModel", undefined, (value) => text("baseModel", value));

  add("evaluation", "system", "MALT", (value) => text("system", value));
  add("evaluation", "votes", null, (value) => {
    if (value !== null) number("votes", 1, 9999, true)(value);
  });
  return new Map(axes.map((axis) => [axis.name, axis]));
}

/** A value in a few letters: of a team or prompt set its name. */
export const labelOf = (value: AxisValue): string =>
  value !== null && typeof value === "object" ? value.name : String(value ?? "default");

/** A team that is given by name or whole. @param n children per state of a built-in one */
export function teamOf(value: AxisValue, n = 3): Team {
  if (typeof value === "string") return findTeam(value, n);
  if (value !== null && typeof value === "object" && "roles" in value) return value;
  throw wrong("team", "the name of a team, or a team", value);
}

/** A prompt set that is given by name or whole. */
export function promptsOf(value: AxisValue): PromptSet {
  if (typeof value === "string") return promptSet(value);
  if (value !== null && typeof value === "object" && "generator" in value) return value;
  throw wrong("promptSet", "the name of a prompt set, or a prompt set", value);
}

/**
 * The system that a cell measures: its `system`, with `votes` if they are given, and the generator of DPO where there is one.
 * @throws InputError for a system that the team has not
 */
export function systemOf(settings: Settings) {
  const { system = "MALT", votes = null, generatorDpo = false, team = "malt" } = settings;
  const name = generatorDpo ? String(system).replace(/^MALT(?= equal|@|$)/, "MALT + G-DPO") : String(system);
  if (generatorDpo && name === system && /^MALT /.test(name) && !name.startsWith("MALT + G-DPO"))
    throw new InputError(`system "${name}" has no form with a generator of DPO; write system: MALT and votes: 1`);
  const [found] = findSystems([votes === null ? name : `${name}@${String(votes)}`], teamOf(team).roles);
  return found!;
}

function text(name: string, value: AxisValue): string {
  if (typeof value === "string") return value;
  throw wrong(name, "a text", value);
}

function number(name: string, least: number, most = Number.POSITIVE_INFINITY, whole = false) {
  return (value: AxisValue): void => {
    const fits = typeof value === "number" && value >= least && value <= most && (!whole || Number.isInteger(value));
    if (fits) return;
    const above = least === Number.MIN_VALUE ? "> 0" : `≥ ${least}`;
    const bound = most < Number.MAX_SAFE_INTEGER ? ` and ≤ ${most}` : "";
    throw wrong(name, `${whole ? "an integer" : "a number"} ${above}${bound}`, value);
  };
}

const wrong = (name: string, rule: string, value: unknown): InputError =>
  new InputError(`${name} must be ${rule}, not ${JSON.stringify(value)}`);
