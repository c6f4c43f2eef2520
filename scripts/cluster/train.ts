/**
 * Tries every launcher of `malt train --on` for real: samples a small run from malt-tiny, trains its verifier (SFT, then DPO)
 * here, and then at each place, killed once in the middle and resumed; the adapters must be those of the local training.
 *
 *     npx tsx scripts/cluster/train.ts [local processes ssh slurm ray sky]
 *
 * ssh: a real sshd on loopback (Debian: openssh-server, rsync). slurm: one-node-slurm.sh (slurm-wlm, munge; as root). ray: a
 * cluster of one node, of the `ray` on PATH; sky: its own reader of the task file, without a cloud. What is not installed is skipped, and said. Every variable that a launcher reads
 * holds a canary key, which must be in no file afterwards.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { loadQuestions } from "../../src/benchmarks/load.js";
import { exportRun } from "../../src/dataset/export.js";
import { startServer } from "../../src/models/embedded.js";
import { arithmetic, inPackage, python } from "../../src/paths.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { followToEnd, startTraining, type TrainRunOptions, trainRun } from "../../src/train/train.js";
import { missingForSsh, startSshd } from "../../test/cluster/sshd.js";

const canary = "canary-4f1d9c";
for (const name of ["OPENAI_API_KEY", "HF_TOKEN", "RAY_AUTH_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"])
  process.env[name] = canary;
// Sums of floats depend on the number of threads.
process.env.OMP_NUM_THREADS = "1";
const threads = "export OMP_NUM_THREADS=1";
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

// PLACE goes on in the folder of an earlier start.
const place = process.env.PLACE ?? (await mkdtemp(join(tmpdir(), "malt-launch-")));
await chmod(place, 0o755); // munge asks for it
const outputs = join(place, "outputs");
const cleanUp: (() => unknown)[] = [];
const began = Date.now();
const say = (text: string) => console.log(`${((Date.now() - began) / 1000).toFixed(0).padStart(4)} s  ${text}`);
const onPath = (name: string) => (process.env.PATH ?? "").split(delimiter).some((path) => existsSync(join(path, name)));

const training = (run: string, more: Partial<TrainRunOptions> = {}): TrainRunOptions => ({
  ...{ run, outputs, roles: ["verifier"], stages: ["sft", "dpo"] as const },
  settings: { sftEpochs: 1, dpoEpochs: 10, batchSize: 4, saveSteps: 2, jobs: 1 },
  onStatus: (text) => say(`  ${text}`),
  ...more,
});
const dirOf = (run: string) => join(outputs, "runs", run);

async function sampled(): Promise<void> {
  const questions = await loadQuestions(arithmetic.train, { limit: 10 });
  const server = await startServer({ model: "tiny" });
  await sampleRun({ run: "origin", outputs, policy: openaiPolicy(server), model: server.model, questions });
  await server.stop();
  await exportRun(dirOf("origin"));
}

/** Kills the trainer of a run with -9, wherever it was started on this machine. */
function killTrainer(run: string): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      const cwd = execFileSync("readlink", [`/proc/${pid}/cwd`], { encoding: "utf8" }).trim();
      if (command.includes("train.py") && cwd.includes(`/${run}/train`)) process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has just ended, or is another user's.
    }
  }
}

/** Trains at a target, killed in the middle of DPO, then resumed. @returns the adapters' hashes */
async function killedAndResumed(run: string, on: string, place: TrainRunOptions["place"], atStep4?: () => void) {
  await cp(dirOf("origin"), dirOf(run), { recursive: true });
  const options = training(run, { on, place: { setup: threads, ...place } });
  if (on === "local") options.place = { ...place };
  await startTraining({ ...options, heldOut: [] });
  let killed = false;
  const steps: string[] = [];
  const onProgress: TrainRunOptions["onProgress"] = ({ event, stage, step }) => {
    if (event === "begin" || event === "done") steps.push(`${event} ${stage} ${step}`);
    if (stage === "verifier-sft" && event === "step" && step === 4) atStep4?.();
    if (killed || stage !== "verifier-dpo" || event !== "step" || step < 3) return;
    killed = true;
    say(`  kill -9 at ${stage} step ${step}`);
    killTrainer(run);
  };
  await followToEnd(dirOf(run), { ...options, onProgress }).then(
    () => say("  it was too fast to be killed"),
    (error) => say(`  ${error.message.slice(0, 400)}`),
  );
  const stages = await trainRun({ ...options, onProgress });
  say(`  ${steps.join(", ")}`);
  return stages.map(({ name, sha256 }) => `${name} ${sha256.slice(0, 16)}`);
}

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

const places: Record<string, () => Promise<string[] | string>> = {
  local: () => killedAndResumed("here", "local", {}),

  async processes() {
    await cp(dirOf("origin"), dirOf("processes"), { recursive: true });
    const stages = await trainRun(training("processes", { place: { processes: 2 } }));
    return `two processes: loss ${stages.map(({ record }) => record.loss?.toFixed(4)).join(", ")}`;
  },

  async ssh() {
    const missing = missingForSsh();
    if (missing.length > 0) return `skipped: ${missing.join(", ")} not installed`;
    const folder = join(place, "sshd");
    await mkdir(folder);
    const sshd = await startSshd(folder);
    cleanUp.push(sshd.stop);
    process.env.PATH = `${sshd.bin}${delimiter}${process.env.PATH}`;
    return killedAndResumed("over-ssh", `ssh:gpu:${join(place, "remote")}`, { python });
  },

  async slurm() {
    const missing = ["sbatch", "slurmctld", "slurmd", "munged"].filter(
      (name) => !onPath(name) && !existsSync(`/usr/sbin/${name}`),
    );
    if (missing.length > 0) return `skipped: ${missing.join(", ")} not installed`;
    const daemon = background("bash", ["scripts/cluster/one-node-slurm.sh", join(place, "slurm")]);
    if (!(await Promise.race([once(daemon.stdout!, "data"), once(daemon, "close")])).toString().includes("ready"))
      return "skipped: Slurm does not come up here";
    process.env.SLURM_CONF = join(place, "slurm/slurm.conf");
    // As Slurm does when the time limit is near.
    const limit = () => {
      const { jobs } = JSON.parse(readFileSync(join(dirOf("in-slurm"), "train/trainer.json"), "utf8"));
      say("  scancel --batch --signal=USR1, as near the time limit");
      execFileSync("scancel", ["--batch", "--signal=USR1", jobs["verifier-sft"]]);
    };
    return killedAndResumed("in-slurm", "slurm", {}, limit);
  },

  async ray() {
    if (!onPath("ray")) return "skipped: ray is not on PATH";
    const head = [
      "start",
      "--head",
      "--num-cpus=2",
      "--port=26379",
      "--dashboard-port=28265",
      "--temp-dir",
      join(place, "ray"),
    ];
    const isUp = () =>
      fetch("http://127.0.0.1:28265/api/version").then(
        (answer) => answer.ok,
        () => false,
      );
    if (!(await isUp())) {
      const daemon = background("ray", [...head, "--include-dashboard=true", "--block"], { RAY_AUTH_TOKEN: "" });
      daemon.stdout!.resume();
      while (daemon.exitCode === null && !(await isUp())) await sleep(1000);
      if (daemon.exitCode !== null) return "skipped: Ray does not come up here";
    }
    return killedAndResumed("in-ray", `ray:http://127.0.0.1:28265${join(place, "shared")}`, { python });
  },

  sky: readBySky,
};

/** SkyPilot's own reader, of the `sky` on PATH, reads the task file; no cloud is asked. */
async function readBySky(): Promise<string> {
  const sky = (process.env.PATH ?? "")
    .split(delimiter)
    .map((path) => join(path, "sky"))
    .find((path) => existsSync(path));
  if (!sky) return "skipped: sky is not on PATH";
  await cp(dirOf("origin"), dirOf("in-sky"), { recursive: true });
  const places = process.env.PATH;
  process.env.PATH = dirname(process.execPath);
  await startTraining(training("in-sky", { on: "sky", settings: { device: "gpu" } })).catch(({ message }) =>
    say(`  ${message}`),
  );
  process.env.PATH = places;
  const read = `import sys, sky; t = sky.Task.from_yaml(sys.argv[1]); t.expand_and_validate_file_mounts(); print(t.name, t.resources)
config = t.to_yaml_config() | {"file_mount": {}}
try: sky.Task.from_yaml_config(config)
except ValueError as error: print("and with a wrong key:", error)`;
  const env = { ...process.env, HOME: join(place, "sky") };
  await mkdir(env.HOME);
  return execFileSync(join(dirname(sky), "python"), ["-c", read, join(dirOf("in-sky"), "train/sky.yaml")], {
    env,
    encoding: "utf8",
  });
}

const wanted = process.argv.slice(2);
try {
  say(`in ${place}: sampling 10 questions from malt-tiny`);
  if (!existsSync(dirOf("origin"))) await sampled();
  await cp(dirOf("origin"), dirOf("unbroken"), { recursive: true, force: false });
  const unbroken = (await trainRun(training("unbroken", { heldOut: [] }))).map(
    ({ name, sha256 }) => `${name} ${sha256.slice(0, 16)}`,
  );
  say(`local, unbroken: ${unbroken.join(", ")}`);
  for (const [name, train] of Object.entries(places)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    say(`${name}:`);
    const result = await train();
    const same =
      typeof result === "string"
        ? result
        : `${result.join(", ")}: ${`${result}` === `${unbroken}` ? "the same adapters" : "OTHER ADAPTERS"}`;
    say(`${name}: ${same}`);
    if (same.includes("OTHER")) process.exitCode = 1;
  }
} finally {
  for (const step of cleanUp.reverse()) await step();
}
const found = execFileSync("sh", ["-c", `grep -rlF ${canary} ${place} || true`], { encoding: "utf8" }).trim();
say(found === "" ? "the canary key is in no file" : `THE CANARY KEY IS IN ${found}`);
if (found !== "") process.exitCode = 1;
if (!process.exitCode) await rm(place, { recursive: true, force: true });
process.exit();
