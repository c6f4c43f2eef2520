/** `--on TARGET` of `malt sample` and `malt evaluate`: the command in shards, each a job at that place; and what a shard says. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { InputError } from "../errors.js";
import { runShards, stopShards } from "../launch/run.js";
import type { ShardedWork } from "../launch/work.js";
import { interruptedCode, interruption } from "../run/interruption.js";
import { parseShard, type Shard, shardLabel } from "../sample/shards.js";
import { progressLine } from "../show/progress.js";
import { printResult, say, tell } from "../show/terminal.js";
import { launcherOf, targets } from "../train/launchers/target.js";
import { number } from "./options.js";

/** Where a command is done, and in how many parts. */
export interface PlaceFlags {
  on?: string;
  shards?: number;
  retries: number;
  gpus?: number;
  malt?: string;
  setup?: string;
  jobFlags?: string;
  stop?: true;
  shard?: Shard;
  serve?: string;
  events?: true;
}

/** Adds the flags of a server that the command starts itself, of shards, and of their places. */
export function withPlaceFlags(command: Command, merged: string): Command {
  const whole = (flag: string, min: number) => number(flag, { min, integer: true });
  const services = command.name() === "evaluate" ? "; or openai: the models that malt train --on openai has made" : "";
  return command
    .optionsGroup("Model and server:")
    .option(
      "--serve <command>",
      "start this server as long as it is needed, such as 'vllm serve MODEL'; --host and --port are added",
    )
    .optionsGroup("Where:")
    .option(
      "--on <targets>",
      `in shards, each a job there: ${targets}, or several with commas, which take turns${services} (default: this process); ` +
        "elsewhere Ctrl-C leaves them at work, and the same command comes back to them",
    )
    .option("--shards <n>", "how many (default: one for each target)", whole("--shards", 1))
    .addOption(
      new Option("--shard <i/N>", `every N-th question from the i-th on; ${merged}`)
        .argParser(parseShard)
        .conflicts(["on", "shards"]),
    )
    .option(
      "--retries <n>",
      "how often a shard that had begun and ended too early is started again",
      whole("--retries", 0),
      3,
    )
    .option(
      "--gpus <n>",
      "that a shard asks Slurm, Ray or SkyPilot for (default: with --serve 1, else 0)",
      whole("--gpus", 0),
    )
    .option("--malt <command>", "this command line there (default: malt; local and slurm: this one)")
    .option("--setup <command>", "bash command there before it, such as 'export OPENAI_API_KEY=$(cat ~/.key)'")
    .option(
      "--job-flags <flags>",
      "for sbatch, ray job submit or sky launch, such as '--partition=gpu --time=12:00:00'",
    )
    .option("--stop", "stop the shards; what they have is kept, and the same command goes on")
    .addOption(new Option("--events", "JSON events on stdout").hideHelp());
}

/** Flags that say where, and not what. */
const own = ["--on", "--shards", "--retries", "--gpus", "--malt", "--setup", "--job-flags", "--stop"];
/** Flags whose value may be a file or folder here. */
const files = ["--questions", "--prompt-set", "--team", "--model-file"];

/** The words of a command as they were given, without those that say where; and which of them are paths. */
export function wordsOf(command: Command): { words: string[]; paths: Set<string> } {
  // What commander itself keeps; its types do not list it.
  const { rawArgs } = command.parent as unknown as { rawArgs: readonly string[] };
  const given = rawArgs.slice(rawArgs.lastIndexOf(command.name()) + 1);
  const words: string[] = [];
  const paths = new Set<string>();
  for (let i = 0; i < given.length; i++) {
    const [flag, ...rest] = given[i]!.split("=");
    const option = command.options.find(({ long }) => long === flag);
    const hasValue = option?.required === true;
    const value = hasValue ? (rest.length > 0 ? rest.join("=") : given[++i]!) : null;
    if (own.includes(flag!)) continue;
    words.push(...(value === null ? [given[i]!] : [flag!, value]));
    if (value !== null && files.includes(flag!) && existsSync(value)) paths.add(value);
  }
  return { words, paths };
}

/**
 * Does a command in shards at its places, or stops them.
 * @returns the work, once all shards are done; null if they were stopped
 * @throws InputError for flags that do not go together, and as runShards
 */
export async function doElsewhere(
  flags: PlaceFlags & { run: string },
  command: Command,
  work: Pick<ShardedWork, "kind" | "run" | "outputs" | "adapters"> & { baseURL: string | null },
): Promise<ShardedWork | null> {
  const { kind } = work;
  const places = flags.on!.split(",").map((target) => target.trim());
  for (const target of places) launcherOf(target);
  const gpus = flags.gpus ?? (flags.serve === undefined ? 0 : 1);
  const { words, paths } = wordsOf(command);
  // Elsewhere the variable is not set.
  if (work.baseURL !== null && flags.serve === undefined && !words.includes("--base-url"))
    words.push("--base-url", work.baseURL);
  const sharded: ShardedWork = {
    ...{ kind, run: work.run, outputs: work.outputs, adapters: work.adapters },
    ...{ words, paths, of: flags.shards ?? places.length },
    malt: thisCommand(),
    place: {
      processes: Math.max(1, gpus),
      gpu: gpus > 0,
      malt: flags.malt,
      setup: flags.setup,
      jobFlags: flags.jobFlags?.split(/\s+/).filter(Boolean) ?? [],
      oneJob: false,
    },
  };
  if (flags.stop) {
    const count = await stopShards(sharded);
    printResult(
      `${count} of ${sharded.of} shards were at work and are stopped; the same command without --stop goes on`,
    );
    return null;
  }
  const { signal, off } = interruption();
  const line = progressLine(`${kind === "sample" ? "sampling" : "evaluation"} requests of ${sharded.of} shards`);
  try {
    const onProgress = (done: number, total: number) => line.update(done, total);
    const onStatus = (text: string) => {
      line.end();
      say(text);
    };
    await runShards({ work: sharded, targets: places, retries: flags.retries, onProgress, onStatus, signal });
    return sharded;
  } finally {
    line.end();
    off();
  }
}

/** The words that run this command line, in any folder; from sources with the loader that reads them. */
function thisCommand(): string[] {
  const loader = import.meta.url.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
  return [process.execPath, ...loader, resolve(process.argv[1]!)];
}

/** Events of a shard for who has started it, at most one a second; does nothing without `--events`. */
export function shardEvents({ events, shard }: PlaceFlags) {
  // As its launcher knows it.
  const stage = shard ? shardLabel(shard) : "all";
  const began = performance.now();
  let latest = Number.NEGATIVE_INFINITY;
  let first: number | null = null;
  return {
    progress(step: number, steps: number): void {
      const now = performance.now();
      const isFirst = first === null;
      first ??= step;
      if (!events || (now - latest < 1000 && step < steps)) return;
      latest = now;
      const seconds = (now - began) / 1000;
      const left = step > first ? (seconds / (step - first)) * (steps - step) : 0;
      if (isFirst) tell({ event: "begin", stage, step, steps });
      tell({ event: "step", stage, step, steps, seconds, seconds_left: left });
    },
    /** Tells the end of some work, however it ends. */
    async around<T>(work: () => Promise<T>): Promise<T> {
      try {
        const result = await work();
        if (events) tell({ event: "end", stage, state: "done" });
        return result;
      } catch (error) {
        const state = interruptedCode() === null ? "failed" : "stopped";
        if (events) tell({ event: "end", stage, state, error: (error as Error).message });
        throw error;
      }
    },
  };
}

/** @throws InputError for flags of places without a place */
export function requirePlace(flags: PlaceFlags): void {
  const { shards, gpus, malt, setup, jobFlags, stop } = flags;
  const given = Object.entries({ shards, gpus, malt, setup, "job-flags": jobFlags, stop }).find(([, value]) => value);
  if (flags.on === undefined && given) throw new InputError(`--${given[0]} needs --on TARGET: ${targets}`);
}
