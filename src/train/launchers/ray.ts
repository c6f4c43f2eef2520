/**
 * `ray:ADDRESS[/FOLDER]`: the trainer as a job of a Ray cluster, by Ray's own command line (Ray Jobs: submit, logs, stop,
 * status). python/job.py keeps its folder on the cluster, FOLDER/<run>, and hands the results out at the end of the job's log,
 * because the Jobs API brings no files home.
 */
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError, RunError } from "../../errors.js";
import { parseEvent } from "../status.js";
import { type ConnectionEnd, linesOfProgram, reconnecting } from "./connection.js";
import { eventFile, type Launcher, logFile, quoted } from "./launcher.js";
import { type Advice, failure, runProgram } from "./program.js";
import { stagingFolder } from "./staging.js";

const advice: Advice = [
  [
    /failed to connect|connection ?(refused|error|aborted|reset)|max retries|name or service not known|timed out/i,
    "check the address (the dashboard's, http://HEAD:8265) and that the cluster is up",
  ],
  [
    /401|403|unauthenticated|unauthorized|authentication/i,
    "the cluster asks for a token: set RAY_AUTH_TOKEN as `ray get-auth-token` gives it",
  ],
  [
    /exceeds the maximum|package size|too large/i,
    "a base model of this size is not uploaded: give its name on the hub with --base-model, or a folder of the nodes with --setup 'export MALT_BASE_MODEL=/path'",
  ],
  [/version/i, "the cluster's Ray and this one have to be of the same version"],
];
const missing = "install it: npm run setup -- --extra ray, or pip install 'ray[default]' in the cluster's version";

/** Seconds that Ray waits for a job that it has asked to stop, before it kills it. */
const patience = 300;

/** Around the results in a job's log; python/job.py prints them. */
const [begin, end] = ["malt: results begin", "malt: results end"];

/** @throws InputError unless it is `ray:ADDRESS[/FOLDER]` */
export function rayLauncher(target: string): Launcher {
  const [, scheme = "http", host, path = ""] =
    /^ray:(?:(https?):\/\/)?([\w.-]+(?::\d+)?)(\/[\w./+@,-]*)?$/.exec(target) ?? [];
  if (!host)
    throw new InputError(
      `--on ${target} is no cluster; write ray:http://HEAD:8265, the address of its dashboard, or ray:http://HEAD:8265/FOLDER`,
    );
  const address = `${scheme}://${host}`;
  const root = path.replace(/\/+$/, "") || "~/malt-runs";
  const job = (verb: string, ...words: string[]): [string, ...string[]] => [
    "ray",
    "job",
    verb,
    "--log-style",
    "record",
    "--log-color",
    "false",
    "--address",
    address,
    ...words,
  ];
  const run = (what: string, ...command: [string, ...string[]]) =>
    runProgram(`${what} at ${address}`, command, { advice, missing });

  /** The job's state in Ray's word, and its message. */
  async function status(id: string): Promise<{ state: string; message: string }> {
    const out = await run("asking Ray for the job", ...job("status", id));
    const state = /(?:Status for job '[^']*': |Job '[^']*' )(\w+)/.exec(out)?.[1]?.toUpperCase() ?? "UNKNOWN";
    return {
      state,
      message: /Status message: ([\s\S]*)/.exec(out)?.[1]?.trim() ?? out.trim().split("\n").slice(-2).join(" "),
    };
  }
  const isOver = (state: string) => ["STOPPED", "SUCCEEDED", "FAILED"].includes(state);

  async function* connected(id: string, signal?: AbortSignal): AsyncGenerator<string, ConnectionEnd> {
    const lines = linesOfProgram(job("logs", "--follow", id), "", signal);
    let next = await lines.next();
    for (; !next.done; next = await lines.next()) yield next.value;
    const said = next.value;
    try {
      const { state, message } = await status(id);
      if (isOver(state)) return { ended: `Ray says ${state}: ${message.split("\n")[0]!.slice(0, 300)}` };
      return {
        lost:
          state === "PENDING"
            ? `job ${id} waits for its place in the cluster`
            : failure("following the job", "ray", said, "the connection was lost", advice),
      };
    } catch (error) {
      return {
        lost: (error as Error).message,
        forGood: /does not exist|not installed/i.test((error as Error).message),
      };
    }
  }

  return {
    target,
    place: `the Ray cluster at ${address}, folder ${root} of its nodes`,
    // Ray uploads the folder when the job is submitted.
    stageIn: async () => {
      await run("looking at the cluster", ...job("list"));
    },
    async submit(work) {
      const { place, run: name, stages, dir } = work;
      const id = `malt-${name}-${Date.now().toString(36)}`;
      const gpus =
        place.gpu && !/--entrypoint-num-gpus/.test(place.jobFlags.join(" "))
          ? ["--entrypoint-num-gpus", `${place.processes}`]
          : [];
      const environment = JSON.stringify({ env_vars: { RAY_JOB_STOP_WAIT_TIME_S: `${patience}` } });
      const flags = [
        "--no-wait",
        "--submission-id",
        id,
        "--working-dir",
        stagingFolder(dir),
        "--runtime-env-json",
        environment,
      ];
      // The home folder is the node's: its tilde is not for this shell.
      const entry = ["python3", "python/job.py", `${root}/${name}`, ...stages.map((stage) => stage.name)];
      await run(
        "submitting to Ray",
        ...job("submit", ...flags, ...gpus, ...place.jobFlags, "--", ...entry.map(quoted)),
      );
      return { id };
    },
    isWorking: async (_, { id }) => !isOver((await status(id as string)).state),
    follow: (_, { id }, signal) => reconnecting(address, () => connected(id as string, signal), signal),
    cancel: async (_, { id }) => {
      await run("stopping the job", ...job("stop", "--no-wait", id as string));
    },
    collect: async (dir, { id }) => unpack(dir, await run("fetching the job's log", ...job("logs", id as string))),
    killCommand: ({ id }) => `ray job stop --address ${address} ${id}`,
  };
}

/** The events, the log and the results from a job's log, into train/. */
async function unpack(dir: string, log: string): Promise<void> {
  const train = join(dir, "train");
  const lines = log.split("\n");
  const from = lines.lastIndexOf(begin);
  const to = lines.lastIndexOf(end);
  const isWhole = from >= 0 && to > from;
  const said = isWhole ? [...lines.slice(0, from), ...lines.slice(to + 1)] : lines;
  const isEvent = (line: string) => parseEvent(line) !== null;
  await writeFile(
    join(train, eventFile),
    said
      .filter(isEvent)
      .map((line) => `${line}\n`)
      .join(""),
  );
  await writeFile(join(train, logFile), said.filter((line) => !isEvent(line)).join("\n"));
  // One that was killed hands nothing out: what it has saved is in its folder on the cluster, where the next start goes on.
  if (!isWhole) return;
  const folder = await mkdtemp(join(train, "results-"));
  try {
    const archive = join(folder, "results.tar.gz");
    await writeFile(archive, Buffer.from(lines.slice(from + 1, to).join(""), "base64"));
    await mkdir(join(folder, "all"));
    await runProgram("unpacking the results", ["tar", "-xzf", archive, "-C", join(folder, "all")]);
    for (const { name } of (await readdir(join(folder, "all"), { withFileTypes: true })).filter((entry) =>
      entry.isDirectory(),
    )) {
      await rm(join(train, name), { recursive: true, force: true });
      await rename(join(folder, "all", name), join(train, name));
    }
  } catch (error) {
    throw new RunError(`the results of the job cannot be read from its log: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
