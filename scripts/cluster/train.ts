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
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { cp, mkdir } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { loadQuestions } from "../../src/benchmarks/load.js";
import { exportRun } from "../../src/dataset/export.js";
import { startServer } from "../../src/models/embedded.js";
import { arithmetic, python } from "../../src/paths.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { followToEnd, startTraining, type TrainRunOptions, trainRun } from "../../src/train/train.js";
import { endAll, finish, killWhere, newPlace, prepare, say, targetsHere, threads } from "./places.js";

prepare();
const place = await newPlace();
const outputs = join(place, "outputs");

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

/** Kills the trainer of a run with -9. */
const killTrainer = (run: string) =>
  killWhere((command, cwd) => command.includes("train.py") && cwd.includes(`/${run}/train`));

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

const places: Record<string, () => Promise<string[] | string>> = {
  local: () => killedAndResumed("here", "local", {}),

  async processes() {
    await cp(dirOf("origin"), dirOf("processes"), { recursive: true });
    const stages = await trainRun(training("processes", { place: { processes: 2 } }));
    return `two processes: loss ${stages.map(({ record }) => record.loss?.toFixed(4)).join(", ")}`;
  },

  async ssh() {
    const target = await targetsHere.ssh!(place);
    return target.startsWith("skipped") ? target : killedAndResumed("over-ssh", target, { python });
  },

  async slurm() {
    const target = await targetsHere.slurm!(place);
    if (target.startsWith("skipped")) return target;
    // As Slurm does when the time limit is near.
    const limit = () => {
      const { jobs } = JSON.parse(readFileSync(join(dirOf("in-slurm"), "train/trainer.json"), "utf8"));
      say("  scancel --batch --signal=USR1, as near the time limit");
      execFileSync("scancel", ["--batch", "--signal=USR1", jobs["verifier-sft"]]);
    };
    return killedAndResumed("in-slurm", target, {}, limit);
  },

  async ray() {
    const target = await targetsHere.ray!(place);
    return target.startsWith("skipped") ? target : killedAndResumed("in-ray", target, { python });
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
  await endAll();
}
await finish(place);
