/**
 * Where a training runs: the one interface of all launchers. Each is a small file beside this one and runs the programs
 * that the place has for it (ssh, sbatch, ray, sky); python/train.py does the work everywhere, from the same stage files.
 * What it leaves out: which launcher a target names (target.ts), and what is done with its news (../trainer.ts).
 */
import type { TrainingStage } from "../plan.js";

/** The trainer's files in train/: its events, everything else that it says, and what identifies it. */
export const eventFile = "trainer.jsonl";
export const logFile = "trainer.log";

/** What one start of the trainer has to do, and how. */
export interface Work {
  run: string;
  /** The run's folder, absolute. */
  dir: string;
  /** In order. Their YAML files are in train/. */
  stages: readonly Pick<TrainingStage, "name" | "start" | "data">[];
  /** Folder of the base model, or its name on the model hub. */
  baseModel: string;
  /** Whether each adapter is also written for llama.cpp. */
  gguf: boolean;
  /** Stages trained at the same time. */
  jobs: number;
  /** Whether the trainer goes on when this process ends; local alone can do otherwise. */
  outlives: boolean;
  place: TrainingPlace;
}

/** What a person says about the place. */
export interface TrainingPlace {
  /** Processes that train a stage together, one a GPU; the batch of a step is shared among them. */
  processes: number;
  /** Whether the settings ask for a GPU. */
  gpu: boolean;
  /** The Python command there; default python3, and locally the project's own. */
  python?: string | undefined;
  /** A shell command before the trainer, such as `source venv/bin/activate`; in the home folder, in Slurm where it is submitted. */
  setup?: string | undefined;
  /** Flags for the program that submits: sbatch, ray job submit, sky launch. */
  jobFlags: readonly string[];
  /** Slurm: one job for all stages; default a job for each. */
  oneJob: boolean;
}

/** What identifies a submitted training later, also from another process: plain values, kept in train/trainer.json. */
export type Job = Readonly<Record<string, string | number | readonly string[] | Readonly<Record<string, string>>>>;

/** A line of the trainer's events, or what is to be told meanwhile: that it waits in a queue, or cannot be seen. */
export type News = { line: string } | { note: string };

export interface Launcher {
  /** As given: `local`, `ssh:gpu1`, … */
  target: string;
  /** The place in words: for the list of what leaves this machine, and in messages. */
  place: string;
  /**
   * Brings the files that {@link stageFiles} has gathered to the place, after a look whether it can train; null where the
   * trainer works in the run's own folder.
   */
  stageIn: ((work: Work, folder: string) => Promise<void>) | null;
  /** Starts the trainer, or puts it in the queue. */
  submit(work: Work): Promise<Job>;
  /** Whether it is in the queue or at work. */
  isWorking(dir: string, job: Job): Promise<boolean>;
  /**
   * The trainer's events from the first one on, as they come. Ends after it has ended.
   * @returns why, in the place's words, if they say it
   */
  follow(dir: string, job: Job, signal?: AbortSignal): AsyncGenerator<News, string | null>;
  /** Asks it to save a checkpoint and end; whether it has can be seen with `isWorking`. */
  cancel(dir: string, job: Job): Promise<void>;
  /** Brings adapters, checkpoints, events and log home, into train/; null where they are there already. */
  collect: ((dir: string, job: Job) => Promise<void>) | null;
  /** How a person ends it by force. */
  killCommand(job: Job): string;
}

/** The arguments of train.py; files as seen from its working folder, train/. */
export function trainerArguments(work: Pick<Work, "stages" | "gguf" | "jobs" | "place">, folder = ""): string[] {
  const { stages, gguf, jobs, place } = work;
  return [
    ...["--jobs", `${jobs}`],
    ...(place.processes > 1 ? ["--processes", `${place.processes}`] : []),
    ...(gguf ? ["--gguf"] : []),
    ...stages.map(({ name }) => `${folder}${name}.yaml`),
  ];
}

/** A word as a POSIX shell reads it. */
export const quoted = (word: string): string =>
  /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
