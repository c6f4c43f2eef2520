/**
 * `ray:ADDRESS[/FOLDER]`: the program as a job of a Ray cluster, by Ray's own command line (Ray Jobs: submit, logs, stop,
 * status). python/job.py keeps its folder on the cluster, FOLDER/<name>, and hands the results out at the end of the job's log,
 * because the Jobs API brings no files home.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, open, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InputError, RunError } from "../../errors.js";
import { parseEvent } from "../status.js";
import { type ConnectionEnd, linesOfProgram, reconnecting } from "./connection.js";
import { jobFiles, type Launcher, quoted } from "./launcher.js";
import { type Advice, failure, runProgram } from "./program.js";
import { stagingFolder } from "./staging.js";

const advice: Advice = [
  [
    /no available agent/i,
    "the cluster has no node that is ready: it is starting, or its nodes are gone; try again in a minute",
  ],
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

/** The lines of a job's log. At its end Ray's program tells the job's state, and the last lines of the log once more. */
async function* logOf(lines: AsyncGenerator<string, string>): AsyncGenerator<string, string> {
  let isLog = true;
  let next = await lines.next();
  for (; !next.done; next = await lines.next()) {
    isLog &&= !/\bcli\.py:\d+ -- (Status (for|message)|Job ')/.test(next.value);
    if (isLog) yield next.value;
  }
  return next.value;
}

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
    const lines = logOf(linesOfProgram(job("logs", "--follow", id), "", signal));
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
      const { place, name, results, folder } = work;
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
        stagingFolder(folder),
        "--runtime-env-json",
        environment,
      ];
      // The home folder is the node's: its tilde is not for this shell.
      const entry = ["python3", "python/job.py", `${root}/${name}`, basename(folder), ...results];
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
    collect: async (folder, { id, results }) => {
      // Of a job that has ended, following is reading piece by piece: the results may be larger than memory.
      const lines = logOf(linesOfProgram(job("logs", "--follow", id as string), ""));
      const hasResults = async () => (await status(id as string)).state === "SUCCEEDED";
      await unpack(folder, results as readonly string[], lines, hasResults);
    },
    killCommand: ({ id }) => `ray job stop --address ${address} ${id}`,
  };
}

/**
 * The events, the log and the results from a job's log, into the working folder.
 * @param hasResults whether the job came to its end, so that they must be in the log
 */
async function unpack(
  here: string,
  paths: readonly string[],
  lines: AsyncGenerator<string, string>,
  hasResults: () => Promise<boolean>,
): Promise<void> {
  const { events, log } = jobFiles(here);
  const folder = await mkdtemp(join(here, "results-"));
  const archive = await open(join(folder, "results.tar.gz"), "w");
  const said: string[] = [];
  let results: "none" | "begun" | "whole" = "none";
  try {
    let next = await lines.next();
    for (; !next.done; next = await lines.next()) {
      const line = next.value;
      if (line === begin) results = "begun";
      else if (line === end) results = "whole";
      else if (results === "begun") await archive.write(Buffer.from(line, "base64"));
      else said.push(line);
    }
    await archive.close();
    const isCut = said.length === 0 || (results !== "whole" && (await hasResults()));
    if (isCut)
      throw new RunError(failure("fetching the job's results from its log", "ray", next.value, "nothing", advice));
    const isEvent = (line: string) => parseEvent(line) !== null;
    const textOf = (some: string[]) => some.map((line) => `${line}\n`).join("");
    await writeFile(join(here, log), textOf(said.filter((line) => !isEvent(line))));
    // One that was killed hands nothing out: what it has saved is in its folder on the cluster, where the next start goes on.
    if (results === "whole") {
      await mkdir(join(folder, "all"));
      const unpacking = ["tar", "-xzf", join(folder, "results.tar.gz"), "-C", join(folder, "all")] as const;
      await runProgram("unpacking the results from the job's log", unpacking);
      for (const path of paths.filter((each) => existsSync(join(folder, "all", each)))) {
        await rm(join(here, path), { recursive: true, force: true });
        await mkdir(dirname(join(here, path)), { recursive: true });
        await rename(join(folder, "all", path), join(here, path));
      }
    }
    // Last, because these say that all of it is here.
    await writeFile(join(here, events), textOf(said.filter(isEvent)));
  } finally {
    await archive.close().catch(() => {});
    await rm(folder, { recursive: true, force: true });
  }
}
