/**
 * A study as its author writes it, and the cells that it has: a grid of settings, each cell with its runs. Pure. What it
 * leaves out: doing the work (study.ts), and what the cells say (results.ts).
 */
import * as z from "zod";
import { InputError } from "../errors.js";
import { modelOfProfile } from "../models/table.js";
import type { System } from "../team/systems.js";
import { type Axis, type AxisValue, axesOf, labelOf, type Settings, systemOf, teamOf } from "./axes.js";
import { checkRounds, type PlannedRun, roundOf, runsOfCell, untrained } from "./rounds.js";

/** What a study is, in TypeScript or as a YAML file. */
export interface StudyDefinition {
  /** Names its folder and, with a hash, its runs: `^[a-z0-9][a-z0-9-]{0,47}$`. */
  name: string;
  /** What it asks, for tables and figures. */
  title?: string | undefined;
  /** Training questions: file, folder or URL. Default: those of the arithmetic benchmark. */
  questions?: string | undefined;
  /** The first so many of them, ≥ 1; all by default. */
  limit?: number | undefined;
  /** Held-out questions. Default: those of the arithmetic benchmark, if the training questions are its. */
  test?: string | undefined;
  /** Held-out questions per evaluation seed; 100 by default, the paper's. */
  size?: number | undefined;
  /** Evaluation seeds, 0 … seeds − 1; 4 by default, the paper's. */
  seeds?: number | undefined;
  /** What all cells have. */
  fixed?: Settings | undefined;
  /** The axes of the grid: every combination of their values is a cell. */
  vary: Readonly<Record<string, readonly AxisValue[]>>;
  /** Seeds under which every cell is made anew; its answers are pooled over them. */
  repeat?: { seed?: readonly number[] | undefined; trainSeed?: readonly number[] | undefined } | undefined;
  /** The cell that the others are compared with, by what differs from the defaults; else each axis's default, or its first value. */
  reference?: Settings | undefined;
}

/** One making of a cell. */
export interface Replica {
  /** 0, 1, … */
  repeat: number;
  /** Everything that was decided; what is not there has its default. */
  settings: Settings;
  /** The run that it is trained in and evaluated with; several cells may have the same. */
  run: string;
  /** Its runs, one per round of training; the last one is `run`, and without rounds the only one. */
  rounds: PlannedRun[];
}

/** A combination of the varied values. */
export interface Cell {
  /** 1, 2, 3, … in the order of the grid, the last axis fastest. */
  cell: number;
  /** The varied values, by axis. */
  varied: Settings;
  isReference: boolean;
  system: System;
  replicas: Replica[];
}

/** A study with its defaults put in, and its cells. */
export interface StudyPlan {
  definition: StudyDefinition & Required<Pick<StudyDefinition, "size" | "seeds" | "vary">>;
  /** The varied axes in the order of the definition. */
  axes: Axis[];
  cells: Cell[];
}

const value = z.union([z.string(), z.number(), z.boolean(), z.null(), z.looseObject({ name: z.string() })]);
const settings = z.record(z.string(), value);
const seedList = z.array(z.number().int().min(0)).min(1);
const shape = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,47}$/, 'must be 1 to 48 of a-z, 0-9 and "-"'),
  title: z.string().optional(),
  questions: z.string().optional(),
  limit: z.number().int().min(1).optional(),
  test: z.string().optional(),
  size: z.number().int().min(1).default(100),
  seeds: z.number().int().min(1).default(4),
  fixed: settings.default({}),
  vary: z.record(z.string(), z.array(value).min(1, "needs at least one value")),
  repeat: z.strictObject({ seed: seedList.optional(), trainSeed: seedList.optional() }).default({}),
  reference: settings.default({}),
});

/** Cells of a grid that is meant; a grid of more is a mistake, and its table unreadable. */
const mostCells = 1000;

/**
 * Checks a study and lays out its cells.
 * @param content the definition, or what a file holds
 * @param at the file, for errors
 * @throws InputError that names the field or axis, what was received and what is known
 */
export function planStudy(content: unknown, at = "study"): StudyPlan {
  const parsed = shape.safeParse(content);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    const field = path.length > 0 ? `field "${path.join(".")}": ` : "";
    throw new InputError(`${at}: ${field}${message}; a study has the fields ${Object.keys(shape.shape).join(", ")}`);
  }
  const definition = parsed.data as StudyPlan["definition"];
  const { vary, fixed = {}, repeat = {}, reference = {} } = definition;
  const profile = fixed.profile ?? vary.profile?.[0];
  const known = axesOf(typeof profile === "string" ? modelOfProfile(profile) : undefined);
  const axisOf = (name: string, where: string): Axis => {
    const axis = known.get(name);
    if (axis) return axis;
    const names = [...known.values()].map((each) => each.name).join(", ");
    throw new InputError(`${at}: there is no axis "${name}" (in ${where}); known: ${names}`);
  };
  const check = (name: string, one: AxisValue, where: string) => {
    try {
      axisOf(name, where).check(one);
    } catch (error) {
      if (!(error instanceof InputError) || error.message.startsWith(at)) throw error;
      throw new InputError(`${at}: ${where}: ${error.message}`);
    }
  };
  for (const [name, one] of Object.entries(fixed)) check(name, one, "fixed");
  for (const [name, values] of Object.entries(vary)) {
    for (const one of values) check(name, one, `vary.${name}`);
    const labels = values.map(labelOf);
    const twice = labels.find((label, i) => labels.indexOf(label) !== i);
    if (twice !== undefined) throw new InputError(`${at}: vary.${name} has ${twice} twice; leave one out`);
    if (Object.hasOwn(fixed, name)) throw new InputError(`${at}: "${name}" is both fixed and varied; leave one out`);
  }
  for (const name of Object.keys(repeat))
    if (Object.hasOwn(vary, name) || Object.hasOwn(fixed, name))
      throw new InputError(`${at}: "${name}" is repeated, so it cannot be varied or fixed too; leave one out`);
  const axes = Object.keys(vary).map((name) => axisOf(name, "vary"));
  const chosen = referenceOf(axes, vary, reference, at);
  const grid = combinations(Object.entries(vary));
  if (grid.length > mostCells)
    throw new InputError(`${at}: the grid has ${grid.length} cells; vary less at a time, at most ${mostCells}`);
  const repeats = combinations(
    Object.entries(repeat).filter(([, values]) => values !== undefined) as [string, AxisValue[]][],
  );
  // A hash of all that is decided before the evaluation, whatever else the study varies, names a run, so that a study to which
  // values are added goes on with the runs that it has.
  const about = [definition.questions ?? null, definition.limit ?? null];
  const cells = grid.map((varied, i): Cell => {
    const settings = { ...fixed, ...varied };
    const trained = systemOf(settings);
    try {
      checkRounds(settings, trained);
    } catch (error) {
      throw new InputError(`${at}: ${(error as Error).message}`);
    }
    return {
      cell: i + 1,
      varied,
      isReference: axes.every(({ name }) => labelOf(varied[name]!) === labelOf(chosen[name]!)),
      system: roundOf(settings) === 0 ? untrained(trained, teamOf(settings.team ?? "malt").roles) : trained,
      replicas: repeats.map((seeds, n) => {
        const all = { ...settings, ...seeds };
        const rounds = runsOfCell(definition.name, about, all, trained, known);
        return { repeat: n, settings: all, run: rounds.at(-1)!.run, rounds };
      }),
    };
  });
  return { definition, axes, cells };
}

/** Every combination of values, the last name fastest. */
function combinations(lists: readonly (readonly [string, readonly AxisValue[]])[]): Settings[] {
  return lists.reduce<Settings[]>(
    (all, [name, values]) => all.flatMap((settings) => values.map((one) => ({ ...settings, [name]: one }))),
    [{}],
  );
}

/** The value of the reference on each axis. */
function referenceOf(axes: readonly Axis[], vary: StudyDefinition["vary"], given: Settings, at: string): Settings {
  const stray = Object.keys(given).find((name) => !axes.some((axis) => axis.name === name));
  if (stray !== undefined)
    throw new InputError(
      `${at}: reference names "${stray}", which is not varied; varied: ${Object.keys(vary).join(", ")}`,
    );
  return Object.fromEntries(
    axes.map(({ name, default: byDefault }) => {
      const find = (wanted: AxisValue | undefined) =>
        wanted === undefined ? undefined : vary[name]!.find((one) => labelOf(one) === labelOf(wanted));
      if (!Object.hasOwn(given, name)) return [name, find(byDefault) ?? vary[name]![0]!];
      const found = find(given[name]);
      if (found !== undefined) return [name, found];
      const values = vary[name]!.map(labelOf).join(", ");
      throw new InputError(
        `${at}: reference.${name} is ${labelOf(given[name]!)}, which is no value of it; there are: ${values}`,
      );
    }),
  );
}
