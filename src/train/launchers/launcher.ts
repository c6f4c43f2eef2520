/**
 * Where work is done: a training, or a shard of a sampling or an evaluation. The one interface of all launchers. Each is a
 * small file beside this one and runs the programs that the place has for it (ssh, sbatch, ray, sky); what the program is and
 * which files it needs, the work says. What it leaves out: which launcher a target names (target.ts), and a job's life (job.ts).
 */
import { basename } from "node:path";
import { RunError } from "../../errors.js";

/** What one start of a program has to do, and how. */
export interface Work {
  /** Names its jobs, and its folder elsewhere. */
  name: string;
  /** Its working folder, absolute. Elsewhere there is one of the same last name: train, sample or evaluate. */
  folder: string;
  /** Identifies what is done: a job that ended well with the same key need not be done again. */
  key: string;
  /** In order; `start` is the part that another one waits for. */
  parts: readonly { name: string; start: string | null }[];
  /** Paths in the working folder that it makes. */
  results: readonly string[];
  /** What a place gets that does not see the files of this machine: their paths here, by the path in the job's folder. */
  files(): Promise<ReadonlyMap<string, string>>;
  /**
   * The program, run in the working folder. Its events are JSON lines on stdout.
   * @param isCopied whether it runs beside copied files
   */
  program(place: WorkPlace, isCopied: boolean): readonly string[];
  /** Its arguments for some parts. @param prefix of the paths in the working folder */
  args(place: WorkPlace, parts: readonly string[], prefix: string): readonly string[];
  /** Variables of its environment. */
  variables(isCopied: boolean): Readonly<Record<string, string>>;
  /** Shell commands before it, in the working folder. */
  before: string;
  /** What a place must have. */
  needs: {
    /** A shell command that prints "malt: ready", or "malt: " and what is wrong. */
    check(place: WorkPlace): string;
    /** The same for a person, with what to do. */
    refusal(place: WorkPlace, host: string, state: string, words: string): string;
    /** Shell commands that install it. */
    install: string;
  };
  /** Whether it needs the keys of this process, where it is run by it. */
  keepsKey: boolean;
  /** Whether it goes on when this process ends; local alone can do otherwise. */
  outlives: boolean;
  place: WorkPlace;
}

/** What a person says about the place. */
export interface WorkPlace {
  /** Processes that train a stage together, one a GPU; the batch of a step is shared among them. GPUs of any other work. */
  processes: number;
  /** Whether a GPU is asked for. */
  gpu: boolean;
  /** The Python command there; default python3, and locally the project's own. */
  python?: string | undefined;
  /** The command there that runs this command line; default malt, and locally this one. */
  malt?: string | undefined;
  /** A shell command before the program, such as `source venv/bin/activate`; in the home folder, in Slurm where it is submitted. */
  setup?: string | undefined;
  /** Flags for the program that submits: sbatch, ray job submit, sky launch. */
  jobFlags: readonly string[];
  /** Slurm: one job for all parts; default a job for each. */
  oneJob: boolean;
}

/** What identifies a submitted job later, also from another process: plain values, kept in its record. */
export type Job = Readonly<Record<string, string | number | readonly string[] | Readonly<Record<string, string>>>>;

/** A line of the program's events, or what is to be told meanwhile: that it waits in a queue, or cannot be seen. */
export type News = { line: string } | { note: string };

export interface Launcher {
  /** As given: `local`, `ssh:gpu1`, … */
  target: string;
  /** The place in words: for the list of what leaves this machine, and in messages. */
  place: string;
  /**
   * Brings the files that {@link stageFiles} has gathered to the place, after a look whether it can do the work; null where
   * the program works in the working folder itself.
   */
  stageIn: ((work: Work, staged: string) => Promise<void>) | null;
  /** Starts the program, or puts it in the queue. */
  submit(work: Work): Promise<Job>;
  /** Whether it is in the queue or at work. `folder` is the working folder, here as in the following. */
  isWorking(folder: string, job: Job): Promise<boolean>;
  /**
   * The program's events from the first one on, as they come. Ends after it has ended.
   * @returns why, in the place's words, if they say it
   */
  follow(folder: string, job: Job, signal?: AbortSignal): AsyncGenerator<News, string | null>;
  /** Asks it to save what it has and end; whether it has can be seen with `isWorking`. */
  cancel(folder: string, job: Job): Promise<void>;
  /** Brings results, events and log home, into the working folder; null where they are there already. */
  collect: ((folder: string, job: Job) => Promise<void>) | null;
  /** How a person ends it by force. */
  killCommand(job: Job): string;
}

/** The place has the same work in hand already: who started it ended before it could note that. */
export class BusyError extends RunError {
  override name = "BusyError";
  constructor(
    message: string,
    /** What identifies the job there. */
    readonly job: Job,
  ) {
    super(message);
  }
}

const stems: Readonly<Record<string, string>> = { train: "trainer", sample: "sampler", evaluate: "evaluator" };

/** The files of a job in its working folder: its events, everything else that it says, and what identifies it. */
export function jobFiles(folder: string): { stem: string; events: string; log: string; record: string } {
  const stem = stems[basename(folder)] ?? "job";
  return { stem, events: `${stem}.jsonl`, log: `${stem}.log`, record: `${stem}.json` };
}

/** A word as a POSIX shell reads it. */
export const quoted = (word: string): string =>
  /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
