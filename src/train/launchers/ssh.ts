/**
 * `ssh:USER@HOST[:FOLDER]`: the trainer on another machine, by the system's own ssh and rsync with the keys and the
 * configuration that the user has. It runs there in a session of its own, so a lost connection does not touch it; its folder,
 * FOLDER/<run>, stays there, so that it can go on from its checkpoints.
 */
import { InputError, RunError } from "../../errors.js";
import { type ConnectionEnd, linesOfProgram, reconnecting } from "./connection.js";
import { eventFile, type Job, type Launcher, logFile, quoted, type Work } from "./launcher.js";
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

/** Whether the process $1 is the trainer: a number alone may belong to another one by now. */
const isAlive = `alive() { kill -0 "$1" 2>/dev/null && { [ ! -r "/proc/$1/cmdline" ] || grep -aqE 'train[.]py|job[.]sh' "/proc/$1/cmdline"; }; }`;

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
  const folderOf = (run: string) => `${root}/${run}`;
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
      const folder = folderOf(work.run);
      const [state, ...words] = (await script(`looking at ${host}`, lookScript(work, folder)))[0]?.split(" ") ?? [];
      if (state !== "ready") throw new RunError(refusal(host, state, words.join(" "), work));
      await rsync(`copying to ${host}`, "--exclude=/trainer.pid", `${from}/`, `${host}:${folder}/`);
    },

    async submit({ run }) {
      const folder = folderOf(run);
      const [pid] = await script(
        `starting the trainer on ${host}`,
        `cd ${quoted(folder)} || exit 1
session=$(command -v setsid || command -v nohup)
$session bash job.sh >train/${eventFile} 2>train/${logFile} </dev/null &
echo $! >trainer.pid
echo "${mark}$!"`,
      );
      if (!/^\d+$/.test(pid ?? ""))
        throw new RunError(`the trainer did not start on ${host}; see ${folder}/train/${logFile} there`);
      return { pid: Number(pid), folder };
    },

    async isWorking(_, { pid }) {
      const [state] = await script(
        `asking ${host} for its trainer`,
        `${isAlive}\nalive ${pid} && echo "${mark}yes" || echo "${mark}no"`,
      );
      return state === "yes";
    },

    follow: (_, job, signal) => reconnecting(host, () => connected(host, hints, job, signal), signal),

    async cancel(_, { pid }) {
      await script(`stopping the trainer on ${host}`, `${isAlive}\nalive ${pid} && kill -TERM ${pid}\ntrue`);
    },

    async collect(dir, { folder, stages }) {
      const names = (stages as readonly string[]).flatMap((name) => [`--include=/${name}/`, `--include=/${name}/**`]);
      const files = [eventFile, logFile].map((name) => `--include=/${name}`);
      await rsync(
        `bringing the results home from ${host}`,
        ...names,
        ...files,
        "--exclude=*",
        `${host}:${folder}/train/`,
        `${dir}/train/`,
      );
    },

    killCommand: ({ pid }) => `ssh ${host} kill -9 ${pid}`,
  };
}

/** Whether a host can train: says "ready", or what is wrong. */
function lookScript({ place }: Work, folder: string): string {
  const modules = "torch transformers trl peft yaml accelerate datasets";
  const find = `import importlib.util as u, sys; print("${mark}" + (" ".join(["modules", *m]) if (m := [n for n in "${modules}".split() if not u.find_spec(n)]) else "ready"))`;
  return `mkdir -p ${quoted(folder)} || { echo "${mark}folder"; exit 0; }
command -v rsync >/dev/null || { echo "${mark}rsync"; exit 0; }
${isAlive}
pid=$(cat ${quoted(`${folder}/trainer.pid`)} 2>/dev/null) && alive "$pid" && { echo "${mark}busy $pid"; exit 0; }
${place.setup === undefined ? "" : `{ ${place.setup}\n} >&2`}
${place.python ?? "python3"} -c ${quoted(find)} || echo "${mark}python"`;
}

function refusal(host: string, state: string | undefined, words: string, { place, run }: Work): string {
  const python = place.python ?? "python3";
  const environment = "or name an environment that has it with --python PATH or --setup 'source venv/bin/activate'";
  switch (state) {
    case "folder":
      return `the folder cannot be made on ${host}; name another one with ssh:${host}:FOLDER`;
    case "rsync":
      return `rsync is not installed on ${host}; install it there (apt-get install rsync)`;
    case "busy":
      return `a trainer of run "${run}" is at work on ${host} (process ${words}); wait for it, or end it with \`ssh ${host} kill ${words}\``;
    case "modules":
      return `${python} on ${host} lacks ${words.replaceAll(" ", ", ")}; install it there (pip install torch transformers trl peft gguf pyyaml), ${environment}`;
    default:
      return `${python} does not run on ${host}; install Python 3.10 or later, ${environment}`;
  }
}

/** Reads the events over one connection that lasts. */
async function* connected(
  host: string,
  hints: Advice,
  { pid, folder }: Job,
  signal?: AbortSignal,
): AsyncGenerator<string, ConnectionEnd> {
  const read = `${isAlive}
cd ${quoted(`${folder}/train`)} || exit 1
tail -n +1 -f ${eventFile} & tail=$!
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
  const lost = failure(`following the training on ${host}`, "ssh", said, "the connection was lost", hints);
  return { lost, forGood: /permission denied|host key|resolve hostname|no such file|can't cd/i.test(said) };
}
