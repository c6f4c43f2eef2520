/**
 * `sky`: a machine of a cloud or of Kubernetes by SkyPilot. The task file, sky.yaml in the working folder, can be launched by hand, too. Where
 * `sky` is installed it is launched, and SkyPilot makes the machine one that ssh knows by name: from there on the work is
 * followed, stopped and brought home as with `ssh:`.
 */
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import { RunError } from "../../errors.js";
import { jobFiles, type Launcher, quoted, type Work } from "./launcher.js";
import { type Advice, ProgramError, runProgram } from "./program.js";
import { onHost } from "./ssh.js";
import { stagingFolder } from "./staging.js";

const advice: Advice = [
  [/no cloud access|no enabled cloud|run: `?sky check/i, "give SkyPilot access to a cloud or to Kubernetes: sky check"],
  [
    /resources? (are )?unavailable|no launchable resource|catalog does not contain|quota/i,
    "ask for other GPUs or another cloud with --job-flags '--gpus H100:1 --infra aws'",
  ],
];

/** Minutes without work after which the machine is given back. */
const idle = 30;

/** Its cluster is named after the run, so that the next start finds it again while it is there. */
const clusterOf = (name: string) => `malt-${name.replaceAll(/[^a-z0-9-]/g, "-")}`;
const root = "malt-runs";

export const sky: Launcher = {
  target: "sky",
  place: "a machine that SkyPilot starts; it costs money until it is stopped",
  async stageIn(work) {
    await writeFile(join(work.folder, "sky.yaml"), taskFile(work));
  },
  async submit({ name, folder: here, place }) {
    const cluster = clusterOf(name);
    const task = join(here, "sky.yaml");
    const flags = ["--yes", "--detach-run", "--cluster", cluster, "--idle-minutes-to-autostop", `${idle}`, "--down"];
    try {
      await runProgram("launching with SkyPilot", ["sky", "launch", ...flags, ...place.jobFlags, task], { advice });
    } catch (error) {
      if (!(error instanceof ProgramError) || error.code !== null) throw error;
      throw new RunError(
        `sky is not installed here (pip install 'skypilot[aws]'); the task file is ${task}: launch it where sky is with ` +
          `\`sky launch --cluster ${cluster} ${task}\``,
      );
    }
    const folder = `${root}/${name}`;
    const wait = `for i in $(seq 120); do [ -s ${folder}/job.pid ] && cat ${folder}/job.pid && exit; sleep 1; done; exit 1`;
    const pid = await runProgram("asking the machine for its job", ["ssh", cluster, wait], { advice });
    return { host: cluster, pid: Number(pid.trim().split("\n").at(-1)), folder };
  },
  isWorking: (dir, job) => onHost("sky", job.host as string, root).isWorking(dir, job),
  follow: (dir, job, signal) => onHost("sky", job.host as string, root).follow(dir, job, signal),
  cancel: (dir, job) => onHost("sky", job.host as string, root).cancel(dir, job),
  collect: (dir, job) => onHost("sky", job.host as string, root).collect!(dir, job),
  killCommand: ({ host }) => `sky down ${host}`,
};

/**
 * SkyPilot's task: the gathered files are copied to the machine, what the work needs is installed, its program started. The
 * machine goes back by itself when nothing has run for half an hour.
 */
export function taskFile(work: Work): string {
  const { name, folder: here, place, needs } = work;
  const folder = `${root}/${name}`;
  const own = basename(here);
  const { events, log } = jobFiles(here);
  const task = {
    name: clusterOf(name),
    resources: place.gpu ? { accelerators: `H100:${place.processes}` } : { cpus: "4+" },
    file_mounts: { [`~/${folder}`]: stagingFolder(here) },
    setup: `rm -f ~/${quoted(folder)}/job.pid
${needs.install}`,
    run: `cd ~/${quoted(folder)}
setsid bash job.sh >${own}/${events} 2>${own}/${log} </dev/null &
echo $! >job.pid
# The job lasts as long as the work, so that the machine is not taken for idle.
wait`,
  };
  return `# Does ${name} on a machine of its own. By hand: sky launch --down -i ${idle} ${join(own, "sky.yaml")}\n${stringify(task, { lineWidth: 0 })}`;
}
