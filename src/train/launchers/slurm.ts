/**
 * `slurm`: a job for each part, or one for all, on a cluster that sees this folder under the same path. A job that comes to
 * its time limit saves a checkpoint, goes back into the queue and goes on.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { publicVariables } from "../../environment.js";
import { parseEvent, type TrainingEvent } from "../status.js";
import { type Job, jobFiles, type Launcher, type News, quoted, type Work } from "./launcher.js";
import { type Advice, runProgram } from "./program.js";
import { exports } from "./staging.js";
import { tail } from "./tail.js";

/** Every so many looks at the files there is one at the queue, which is shared with others. */
const looks = 5;

const advice: Advice = [
  [
    /QOS|accounting|association|limit/i,
    "the queue takes no more, or no such jobs of yours: wait, ask for less with --job-flags, or use --one-job",
  ],
  [
    /invalid partition|requested node configuration|invalid (generic resource|account)|invalid feature/i,
    "ask for what this cluster has: --job-flags '--partition=… --gres=gpu:1 --time=12:00:00'",
  ],
  [
    /unable to contact slurm controller|connection refused|resource temporarily unavailable/i,
    "Slurm's controller does not answer: try again later",
  ],
  [/invalid user|access.*denied|permission denied/i, "Slurm refuses this user: ask the cluster's administrators"],
];
const missing = "run this on a machine of the cluster that has Slurm's programs";
const run = (what: string, ...command: [string, ...string[]]) => runProgram(what, command, { advice, missing });

/** What Slurm's words for a job's end mean. */
const ends: Readonly<Record<string, string>> = {
  OUT_OF_MEMORY: "for want of memory; ask for more with --job-flags --mem=64G",
  TIMEOUT:
    "at its time limit, before a checkpoint was saved; ask for more time, or an earlier warning with --job-flags --signal=B:USR1@600",
  CANCELLED: "because it was cancelled, by somebody or by its dependency",
  NODE_FAIL: "because its node failed",
  PREEMPTED: "because it was preempted",
  DEADLINE: "at its deadline",
};

const eventsOf = (folder: string, name: string) => join(folder, `${jobFiles(folder).stem}.${name}.jsonl`);
const logOf = (folder: string, name: string) => join(folder, `${jobFiles(folder).stem}.${name}.log`);
const jobsOf = (job: Job) => Object.entries(job.jobs as Readonly<Record<string, string>>);

/** @param every milliseconds between two looks at the files */
export const slurmLauncher = (every = 1000): Launcher => ({
  target: "slurm",
  place: "the Slurm cluster, which has to see this folder under the same path",
  stageIn: null,

  async submit(work) {
    const { folder, parts, place } = work;
    await mkdir(folder, { recursive: true });
    const script = join(folder, `${jobFiles(folder).stem}.sbatch`);
    await writeFile(script, jobScript(work));
    const asked = place.jobFlags.join(" ");
    const gpus = place.gpu && !/--(gres|gpus)/.test(asked) ? [`--gres=gpu:${place.processes}`] : [];
    const jobs: Record<string, string> = {};
    for (const [name, own] of place.oneJob
      ? ([["all", parts]] as const)
      : parts.map((part) => [part.name, [part]] as const)) {
      await Promise.all([writeFile(eventsOf(folder, name), ""), writeFile(logOf(folder, name), "")]);
      // The first stage of a role waits for nobody, so different roles may be trained side by side.
      const start = own[0]!.start !== null && jobs[own[0]!.start];
      const flags = [
        ...[
          "--parsable",
          `--job-name=malt-${work.name}-${name}`,
          `--output=${logOf(folder, name)}`,
          "--open-mode=append",
        ],
        ...["--requeue", "--signal=B:USR1@120", "--kill-on-invalid-dep=yes"],
        // Slurm keeps a job's variables in files: none that could be a key.
        `--export=${publicVariables().join(",")}`,
        ...(start ? [`--dependency=afterok:${start}`] : []),
      ];
      const args = work.args(
        place,
        own.map((part) => part.name),
        "",
      );
      try {
        const id = await run(
          "submitting to Slurm",
          "sbatch",
          ...flags,
          ...gpus,
          ...place.jobFlags,
          script,
          name,
          ...args,
        );
        jobs[name] = id.trim().split("\n").at(-1)!.split(";")[0]!;
      } catch (error) {
        // Half of a training would run to no end.
        if (Object.keys(jobs).length > 0) await run("cancelling", "scancel", ...Object.values(jobs)).catch(() => {});
        throw error;
      }
    }
    return { jobs };
  },

  isWorking: async (_, job) => (await queue(job)).size > 0,
  follow: (folder, job, signal) => follow(folder, job, every, signal),

  async cancel(_, job) {
    const ids = jobsOf(job).map(([, id]) => id);
    await run("taking jobs out of Slurm's queue", "scancel", "--state=PENDING", ...ids);
    await run("stopping Slurm's jobs", "scancel", "--state=RUNNING", "--batch", "--signal=TERM", ...ids);
  },

  /** The jobs have written into the folder themselves; their events and logs are put together. */
  async collect(folder, job) {
    const read = (path: string) => readFile(path, "utf8").catch(() => "");
    const names = jobsOf(job).map(([name]) => name);
    const events = (await Promise.all(names.map((name) => read(eventsOf(folder, name))))).join("").split("\n");
    const kept = events.filter((line) => line !== "" && parseEvent(line)?.event !== "end");
    await writeFile(join(folder, jobFiles(folder).events), kept.map((line) => `${line}\n`).join(""));
    await writeFile(
      join(folder, jobFiles(folder).log),
      (await Promise.all(names.map((name) => read(logOf(folder, name))))).join(""),
    );
  },

  killCommand: (job) =>
    `scancel ${jobsOf(job)
      .map(([, id]) => id)
      .join(" ")}`,
});

/** The job: the first argument names its files, the others are the program's. */
function jobScript(work: Work): string {
  const { place, folder } = work;
  const { stem } = jobFiles(folder);
  // What a person says is a command for the shell; the rest are words.
  const [own, ...words] = work.program(place, false);
  const program = [place.python === own || place.malt === own ? own : quoted(own!), ...words.map(quoted)].join(" ");
  return `#!/bin/bash
# Does work in this file's folder as a Slurm job. Submitted again by hand it goes on, too.
name=$1
shift
${place.setup ?? ""}
cd ${quoted(folder)} || exit 1
${[...exports(work, false), work.before].filter((line) => line !== "").join("\n")}
${program} "$@" >>"${stem}.$name.jsonl" &
program=$!
limit=
trap 'limit=1; kill -TERM $program' USR1
trap 'kill -TERM $program' TERM INT
# A signal interrupts \`wait\`, not the process it waits for.
while :; do
  wait $program && code=0 || code=$?
  kill -0 $program 2>/dev/null || break
done
if [ -n "$limit" ] && [ $code = 143 ]; then
  echo "the time limit is near: the job goes back into the queue, and on from its checkpoint" >&2
  scontrol requeue "$SLURM_JOB_ID"
  sleep 60 # until Slurm ends this job: were it to end by itself, it would count as failed
fi
exit $code
`;
}

/** State and reason of the jobs that are in the queue or at work, by id. */
async function queue(job: Job): Promise<Map<string, { state: string; reason: string }>> {
  const ids = new Set(jobsOf(job).map(([, id]) => id));
  const out = await run("asking Slurm for its queue", "squeue", "--noheader", "--me", "--format=%i|%T|%r");
  const rows = out.split("\n").map((line) => line.trim().split("|"));
  return new Map(
    rows.flatMap(([id, state, reason]) => (ids.has(id!) ? [[id!, { state: state!, reason: reason! }]] : [])),
  );
}

async function* follow(
  folder: string,
  job: Job,
  every: number,
  signal?: AbortSignal,
): AsyncGenerator<News, string | null> {
  const jobs = jobsOf(job).map(([name, id]) => ({
    name,
    id,
    news: tail(eventsOf(folder, name)),
    end: null as TrainingEvent | null,
  }));
  const told = new Map<string, string>();
  let waiting: Awaited<ReturnType<typeof queue>> | null = null;
  for (let look = 0; !signal?.aborted; look++) {
    if (look % looks === 0) {
      try {
        waiting = await queue(job);
        told.delete("queue");
      } catch (error) {
        if (waiting === null) throw error;
        if (!told.has("queue")) yield { note: `${(error as Error).message}; it is asked again` };
        told.set("queue", "");
      }
    }
    for (const each of jobs) {
      for (const line of await each.news()) {
        // A job that was requeued goes on after its end.
        const event = parseEvent(line);
        if (event) each.end = event.event === "end" ? event : null;
        if (event && event.event !== "end") yield { line };
      }
      const { state = "", reason = "" } = waiting?.get(each.id) ?? {};
      const words =
        state === "PENDING" && reason !== "Dependency"
          ? `job ${each.id} (${each.name}) waits in Slurm's queue: ${reason}`
          : "";
      if (words !== (told.get(each.id) ?? "") && words !== "") yield { note: words };
      told.set(each.id, words);
    }
    if (waiting?.size === 0 && look % looks === 0) return yield* ending(jobs);
    await sleep(every, undefined, { signal }).catch(() => {});
  }
  return null;
}

/** One end of all: the first failure, else the first stop, else the last job's own. */
async function* ending(
  jobs: readonly { name: string; id: string; end: TrainingEvent | null }[],
): AsyncGenerator<News, string | null> {
  const endOf = (state: string) => jobs.find(({ end }) => end?.event === "end" && end.state === state)?.end;
  const failed = endOf("failed");
  const dead = jobs.find(({ end }) => end === null);
  const end = failed ?? (dead && endOf("stopped")) ?? (dead ? null : (endOf("stopped") ?? jobs.at(-1)!.end));
  if (end) {
    yield { line: JSON.stringify(end) };
    return null;
  }
  const words = await stateOf(dead!.id);
  return `Slurm ended job ${dead!.id} (${dead!.name}) ${ends[words] ?? `with state ${words}`}`;
}

/** How a job ended, in Slurm's word; it remembers for some minutes, where it keeps accounts for ever. */
async function stateOf(id: string): Promise<string> {
  const shown = await run("asking Slurm for a job", "scontrol", "--oneliner", "show", "job", id).catch(() => "");
  const state = /JobState=(\w+)/.exec(shown)?.[1];
  if (state) return `${state}${state === "FAILED" ? ` (exit code ${/ExitCode=([\d:]+)/.exec(shown)?.[1]})` : ""}`;
  const counted = await run(
    "asking Slurm's accounts",
    "sacct",
    "--noheader",
    "--parsable2",
    "--allocations",
    "--format=State",
    `--jobs=${id}`,
  ).catch(() => "");
  return counted.trim().split(" ")[0] || "unknown; Slurm has forgotten it";
}
