/** Real places on this machine for the scripts beside this file: an sshd on loopback, a Slurm of one node, a Ray of one node. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inPackage } from "../../src/paths.js";
import { missingForSsh, startSshd } from "../../test/cluster/sshd.js";

/** In every variable that a launcher reads: it must be in no file afterwards. */
export const canary = "canary-4f1d9c";

/** Sets the variables of this process, for itself and for what it starts. */
export function prepare(): void {
  for (const name of ["OPENAI_API_KEY", "HF_TOKEN", "RAY_AUTH_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"])
    process.env[name] = canary;
  // Sums of floats depend on the number of threads.
  process.env.OMP_NUM_THREADS = "1";
  process.env.RAY_AUTH_MODE = "disabled";
  process.env.RAY_USAGE_STATS_ENABLED = "0";
  // On a busy machine.
  for (const name of ["agent_register_timeout_ms", "health_check_timeout_ms", "health_check_initial_delay_ms"])
    process.env[`RAY_${name}`] = "600000";
  for (const name of [
    "DASHBOARD_STARTUP_TIMEOUT_S",
    "DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT",
    "worker_register_timeout_seconds",
  ])
    process.env[`RAY_${name}`] = "600";
}
/** The same threads, as a command of --setup. */
export const threads = "export OMP_NUM_THREADS=1";

/** A folder for everything; PLACE goes on in that of an earlier start. */
export async function newPlace(): Promise<string> {
  const place = process.env.PLACE ?? (await mkdtemp(join(tmpdir(), "malt-launch-")));
  await chmod(place, 0o755); // munge asks for it
  return place;
}

const cleanUp: (() => unknown)[] = [];
/** Ends everything that was started here. */
export async function endAll(): Promise<void> {
  for (const step of cleanUp.splice(0).reverse()) await step();
}

export const onPath = (name: string): boolean =>
  (process.env.PATH ?? "").split(delimiter).some((path) => existsSync(join(path, name)));

function background(file: string, args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn(file, args, {
    cwd: inPackage(),
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanUp.push(async () => {
    child.kill();
    await once(child, "close");
  });
  return child;
}

/** The targets, started when they are first asked for; what is missing here is told in a string that begins with "skipped". */
export const targetsHere: Record<string, (place: string) => Promise<string>> = {
  local: async () => "local",

  async ssh(place) {
    const missing = missingForSsh();
    if (missing.length > 0) return `skipped: ${missing.join(", ")} not installed`;
    const folder = join(place, "sshd");
    await mkdir(folder);
    const sshd = await startSshd(folder);
    cleanUp.push(sshd.stop);
    process.env.PATH = `${sshd.bin}${delimiter}${process.env.PATH}`;
    return `ssh:gpu:${join(place, "remote")}`;
  },

  async slurm(place) {
    const missing = ["sbatch", "slurmctld", "slurmd", "munged"].filter(
      (name) => !onPath(name) && !existsSync(`/usr/sbin/${name}`),
    );
    if (missing.length > 0) return `skipped: ${missing.join(", ")} not installed`;
    const daemon = background("bash", ["scripts/cluster/one-node-slurm.sh", join(place, "slurm")]);
    if (!(await Promise.race([once(daemon.stdout!, "data"), once(daemon, "close")])).toString().includes("ready"))
      return "skipped: Slurm does not come up here";
    process.env.SLURM_CONF = join(place, "slurm/slurm.conf");
    return "slurm";
  },

  async ray(place) {
    if (!onPath("ray")) return "skipped: ray is not on PATH";
    const ports = ["--port=26379", "--dashboard-port=28265", "--include-dashboard=true"];
    const isUp = () =>
      fetch("http://127.0.0.1:28265/api/version").then(
        (answer) => answer.ok,
        () => false,
      );
    if (!(await isUp())) {
      const head = ["start", "--head", "--num-cpus=2", ...ports, "--temp-dir", join(place, "ray"), "--block"];
      const daemon = background("ray", head, { RAY_AUTH_TOKEN: "" });
      daemon.stdout!.resume();
      while (daemon.exitCode === null && !(await isUp())) await sleep(1000);
      if (daemon.exitCode !== null) return "skipped: Ray does not come up here";
    }
    return `ray:http://127.0.0.1:28265${join(place, "shared")}`;
  },
};

/**
 * Kills processes with -9, wherever they were started on this machine.
 * @returns how many
 */
export function killWhere(is: (command: string, cwd: string) => boolean): number {
  let killed = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      if (!is(command, realpathSync(`/proc/${pid}/cwd`))) continue;
      process.kill(Number(pid), "SIGKILL");
      killed++;
    } catch {
      // It has just ended, or is another user's.
    }
  }
  return killed;
}

const began = Date.now();
/** Prints a line with the seconds since the start. */
export const say = (text: string): void =>
  console.log(`${((Date.now() - began) / 1000).toFixed(0).padStart(4)} s  ${text}`);

/** Looks for the canary in the place's files, removes them if all went well, and ends this process. */
export async function finish(place: string): Promise<never> {
  const found = execFileSync("sh", ["-c", `grep -rlF ${canary} ${place} || true`], { encoding: "utf8" }).trim();
  say(found === "" ? "the canary key is in no file" : `THE CANARY KEY IS IN ${found}`);
  if (found !== "") process.exitCode = 1;
  if (!process.exitCode) await rm(place, { recursive: true, force: true });
  process.exit();
}
