/**
 * `ssh:USER@HOST[:FOLDER]`: the program on another machine, by the system's own ssh and rsync with the keys and the
 * configuration that the user has. It runs there in a session of its own, so a lost connection does not touch it; its folder,
 * FOLDER/<run>, stays there, so that it can go on from its checkpoints.
 */
import { basename } from "node:path";
import { InputError, RunError } from "../../errors.js";
import { type ConnectionEnd, linesOfProgram, reconnecting } from "./connection.js";
import { BusyError, type Job, jobFiles, type Launcher, quoted, type Work } from "./launcher.js";
import { type Advice, failure, runProgram } from "./program.js";

/** Nothing is asked for; a connection that is gone is noticed within a minute. */
const flags = ["BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ServerAliveCountMax=3"];
const options = flags.flatMap((flag) => ["-o", flag]);

const advice: Advice = [
  [
    /permission denied|too many authentication failures/i,
    "try `ssh HOST` by hand: the key is not accepted (is it in the agent, or in ~/.ssh/config?)",
  ],
  [
    /host key verification failed|host identification has changed/i,
    "connect once by hand with `ssh HOST`, and check the host's key",
  ],
  [/could not resolve hostname/i, "check the host's name, and ~/.ssh/config"],
  [
    /connection refused|no route to host|timed out|network is unreachable|connection (closed|reset)|broken pipe/i,
    "check that the host is up and its sshd can be reached",
  ],
];

/** The script's own words begin with this: whatever a login prints does not. */
const mark = "malt: ";

/** Whether the process $1 is the job's: a number alone may belong to another one by now. */
const isAlive = `alive() { kill -0 "$1" 2>/dev/null && { [ ! -r "/proc/$1/cmdline" ] || grep -aqE 'train[.]py|job[.]sh|--shard' "/proc/$1/cmdline"; }; }`;

/** @throws InputError unless it is `ssh:USER@HOST[:FOLDER]` */
export function sshLauncher(target: string): Launcher {
  const [, host, folder = "malt-runs"] = /^ssh:([\w.@%-]+)(?::(.+))?$/.exec(target) ?? [];
  if (!host || host.startsWith("-"))
    throw new InputError(
      `--on ${target} is no machine; write ssh:HOST or ssh:USER@HOST:FOLDER, as ssh itself knows it`,
    );
  // Seen from the home folder, which needs no tilde; and nothing that a shell would read otherwise.
  const root = folder.replace(/^~\//, "").replace(/\/+$/, "");
  if (!/^[\w./+@,-]+$/.test(root) || root.startsWith("-"))
    throw new InputError(
      `--on ${target}: the folder may have letters, digits and . _ - / + @ , alone, not "${folder}"`,
    );
  return onHost(target, host, root);
}

/**
 * A launcher for a host that the user's ssh knows.
 * @param root folder there, below which every run has its own
 */
export function onHost(target: string, host: string, root: string): Launcher {
  const hints = advice.map(([pattern, words]) => [pattern, words.replaceAll("HOST", host)] as const);
  const folderOf = (name: string) => `${root}/${name}`;
  const missing = "install OpenSSH's client";

  /** Runs a bash script there, whatever the login shell is. @returns what it printed after the mark */
  const script = async (what: string, text: string): Promise<string[]> => {
    const input = `${text}\n`;
    const out = await runProgram(what, ["ssh", ...options, host, "bash"], { advice: hints, missing, input });
    return out.split("\n").flatMap((line) => (line.startsWith(mark) ? [line.slice(mark.length)] : []));
  };
  const rsync = async (what: string, ...args: string[]) => {
    const shell = ["ssh", ...options].join(" ");
    const install = "install rsync here (apt-get install rsync, brew install rsync)";
    await runProgram(what, ["rsync", "--archive", "--delete", "-e", shell, ...args], {
      advice: hints,
      missing: install,
    });
  };

  return {
    target,
    place: `${host}, folder ${root}`,
    async stageIn(work, from) {
      const folder = folderOf(work.name);
      const [state, ...words] = (await script(`looking at ${host}`, lookScript(work, folder)))[0]?.split(" ") ?? [];
      if (state === "busy")
        throw new BusyError(
          `the ${jobFiles(work.folder).stem} of "${work.name}" is at work on ${host} (process ${words[0]}); wait for it, or end it with ` +
            `\`ssh ${host} kill ${words[0]}\``,
          { pid: Number(words[0]), folder },
        );
      if (state !== "ready") throw new RunError(refusal(host, state ?? "", words.join(" "), work));
      await rsync(`copying to ${host}`, "--exclude=/job.pid", `${from}/`, `${host}:${folder}/`);
    },

    async submit({ name, folder: here }) {
      const folder = folderOf(name);
      const { stem, events, log } = jobFiles(here);
      const own = basename(here);
      const [pid] = await script(
        `starting the ${stem} on ${host}`,
        `cd ${quoted(folder)} || exit 1
session=$(command -v setsid || command -v nohup)
$session bash job.sh >${own}/${events} 2>${own}/${log} </dev/null &
echo $! >job.pid
echo "${mark}$!"`,
      );
      if (!/^\d+$/.test(pid ?? ""))
        throw new RunError(`the ${stem} did not start on ${host}; see ${folder}/${own}/${log} there`);
      return { pid: Number(pid), folder };
    },

    async isWorking(_, { pid }) {
      const [state] = await script(
        `asking ${host} for its job`,
        `${isAlive}\nalive ${pid} && echo "${mark}yes" || echo "${mark}no"`,
      );
      return state === "yes";
    },

    follow: (here, job, signal) => reconnecting(host, () => connected(host, hints, here, job, signal), signal),

    async cancel(_, { pid }) {
      await script(`stopping the job on ${host}`, `${isAlive}\nalive ${pid} && kill -TERM ${pid}\ntrue`);
    },

    async collect(here, { folder, results }) {
      const names = (results as readonly string[]).flatMap((path) => [
        ...path.split("/").map((_, depth, parts) => `--include=/${parts.slice(0, depth + 1).join("/")}/`),
        `--include=/${path}/**`,
      ]);
      const { events, log } = jobFiles(here);
      const files = [events, log].map((name) => `--include=/${name}`);
      await rsync(
        `bringing the results home from ${host}`,
        ...names,
        ...files,
        "--exclude=*",
        `${host}:${folder}/${basename(here)}/`,
        `${here}/`,
      );
    },

    killCommand: ({ pid }) => `ssh ${host} kill -9 ${pid}`,
  };
}

/** Whether a host can do the work: says "ready", or what is wrong. */
function lookScript({ place, needs }: Work, folder: string): string {
  return `mkdir -p ${quoted(folder)} || { echo "${mark}folder"; exit 0; }
command -v rsync >/dev/null || { echo "${mark}rsync"; exit 0; }
${isAlive}
pid=$(cat ${quoted(`${folder}/job.pid`)} 2>/dev/null) && alive "$pid" && { echo "${mark}busy $pid"; exit 0; }
${place.setup === undefined ? "" : `{ ${place.setup}\n} >&2`}
${needs.check(place)}`;
}

function refusal(host: string, state: string, words: string, { place, needs }: Work): string {
  switch (state) {
    case "folder":
      return `the folder cannot be made on ${host}; name another one with ssh:${host}:FOLDER`;
    case "rsync":
      return `rsync is not installed on ${host}; install it there (apt-get install rsync)`;
    default:
      return needs.refusal(place, host, state, words);
  }
}

/** Reads the events over one connection that lasts. */
async function* connected(
  host: string,
  hints: Advice,
  here: string,
  { pid, folder }: Job,
  signal?: AbortSignal,
): AsyncGenerator<string, ConnectionEnd> {
  const read = `${isAlive}
cd ${quoted(`${folder}/${basename(here)}`)} || exit 1
tail -n +1 -f ${jobFiles(here).events} & tail=$!
trap 'kill $tail 2>/dev/null' EXIT
# Its words on stderr fail once nobody listens any more.
while alive ${pid}; do sleep 1; echo . >&2 || exit 1; done
sleep 1; kill $tail; echo; echo "${mark}ended $(df -Pk . | awk 'NR == 2 { print $4 }')"
`;
  const lines = linesOfProgram(["ssh", ...options, host, "bash"], read, signal);
  let next = await lines.next();
  for (; !next.done; next = await lines.next()) {
    if (!next.value.startsWith(`${mark}ended`)) yield next.value;
    else {
      await lines.return("");
      // kB that are free
      const isFull = Number(next.value.split(" ").at(-1)) < 1024;
      return {
        ended: isFull
          ? `the disk of ${host} is full`
          : `it was killed on ${host} (by hand, for want of memory, or with the machine)`,
      };
    }
  }
  const said = next.value.replaceAll(/^\.$/gm, "");
  const lost = failure(
    `following the ${jobFiles(here).stem} on ${host}`,
    "ssh",
    said,
    "the connection was lost",
    hints,
  );
  return { lost, forGood: /permission denied|host key|resolve hostname|no such file|can't cd/i.test(said) };
}
