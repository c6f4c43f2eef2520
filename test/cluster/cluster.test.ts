/** The files of scripts/cluster, run as a user runs them, where Slurm and Ray are to be had; see the skipped tests' notes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { exportRun } from "../../src/dataset/export.js";
import { files, folder, sample, type Workplace, workplace } from "../failures/malt.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";

// Every task of every job loads the program anew, and a cluster takes its time.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

const root = fileURLToPath(new URL("../..", import.meta.url));
const malt = `${process.execPath} --import tsx ${join(root, "src/cli.ts")}`;
const questions = 24;

const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** What the unsharded run exports. */
let expected: Map<string, string>;
beforeAll(async () => {
  const place = await workplace(questions);
  const fake = await startFakeServer();
  expect(await sample(place, fake.baseURL, ["--model", "fake"]).ended).toMatchObject({ code: 0 });
  await exportRun(folder(place));
  expected = await exported(place);
  await fake.stop();
  await place.remove();
});

/** Every file of the exported run "r" but those that tell how it was sampled: run.json and the journal. */
async function exported(place: Workplace): Promise<Map<string, string>> {
  const all = [...(await files(folder(place)))].map(([path, bytes]) => [path.slice(folder(place).length + 1), bytes]);
  return new Map(all.filter(([path]) => path !== "run.json" && !path!.startsWith("journal")) as [string, string][]);
}

function expectSame(merged: Map<string, string>): void {
  expect([...merged.keys()].sort()).toEqual([...expected.keys()].sort());
  expect([...merged.keys()].filter((file) => merged.get(file) !== expected.get(file))).toEqual([]);
}

async function newPlace(): Promise<Workplace> {
  const place = await workplace(questions);
  cleanUp.push(place.remove);
  return place;
}

/** A server that kills the sampler of shard 2 with -9 at its twentieth request, once. */
async function killingServer(place: Workplace): Promise<FakeServer & { killed: number[] }> {
  const killed: number[] = [];
  let asked = 0;
  const fake = await startFakeServer({
    before: async ({ body: { messages } }) => {
      // So that the shards overlap, and tasks do not end before the last one has started.
      await sleep(20);
      // Question q of shard 2 of 3 is "q + (12 − q)?" with q mod 3 = 1.
      const q = /(\d+) \+ -?\d+\?/.exec(JSON.stringify(messages));
      if (Number(q?.[1]) % 3 !== 1 || ++asked !== 20) return undefined;
      const { pid } = JSON.parse(await readFile(join(place.outputs, "runs/r.shard-2-of-3/lock"), "utf8"));
      killed.push(pid);
      process.kill(pid, "SIGKILL");
      return undefined;
    },
  });
  cleanUp.push(fake.stop);
  return Object.assign(fake, { killed });
}

/** All was asked for, and a second time only what the kill caught in flight (4 x 3) or on its way to the disk. */
function expectNoWaste({ asked, killed }: { asked: Map<string, number>; killed: number[] }): void {
  expect(killed).toHaveLength(1);
  expect(asked.size).toBeGreaterThan(questions * 30);
  const repeats = [...asked.values()].reduce((sum, times) => sum + times - 1, 0);
  expect(repeats).toBeGreaterThan(0);
  expect(repeats).toBeLessThanOrEqual(3 * 4 * 3);
}

const settings = (place: Workplace) => ({
  ...place.env,
  RUN: "r",
  QUESTIONS: place.questions,
  MODEL: "fake",
  SHARDS: "3",
  SAMPLE_FLAGS: "--concurrency 4 --max-retries 0",
  TASK: "--cpus-per-task=1",
  MERGE: "--cpus-per-task=1",
  MALT: malt,
});

/** Runs a command in the repository to its end. */
async function command(env: NodeJS.ProcessEnv, file: string, ...args: string[]) {
  const child = spawn(file, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: child.exitCode, stdout, stderr };
}

const onPath = (program: string) =>
  (process.env.PATH ?? "").split(delimiter).find((path) => path !== "" && existsSync(join(path, program)));

async function log(place: Workplace, name: string): Promise<string> {
  return readFile(join(place.outputs, `r-${name}.log`), "utf8");
}

async function standIn(place: Workplace): Promise<NodeJS.ProcessEnv> {
  const memory = join(place.outputs, "stand-in");
  await mkdir(memory);
  const path = `${join(root, "test/cluster")}${delimiter}${process.env.PATH}`;
  return { ...settings(place), PATH: path, STAND_IN: memory };
}

it.skipIf(process.platform === "win32")(
  "sample.sbatch (with a stand-in for Slurm) requeues a task that was killed, and gives the unsharded run's files",
  async () => {
    const place = await newPlace();
    const fake = await killingServer(place);
    const env = { ...(await standIn(place)), BASE_URL: fake.baseURL };
    expect(await command(env, "bash", "scripts/cluster/sample.sbatch")).toMatchObject({ code: 0 });
    expect(await log(place, "2")).toContain("the sampler was killed: the task starts again");
    expectNoWaste(fake);
    expectSame(await exported(place));
  },
);

it.skipIf(process.platform === "win32")(
  "sample.sbatch (with a stand-in for Slurm) gives each task a server of its own where none is named",
  async () => {
    const place = await newPlace();
    const serve = `${process.execPath} --import tsx ${join(root, "test/cluster/serve-fake.ts")}`;
    const env = { ...(await standIn(place)), BASE_URL: "", SERVE: serve };
    expect(await command({ ...env, MODEL: "wrong" }, "bash", "scripts/cluster/sample.sbatch")).toMatchObject({
      code: 1,
    });
    expect(await log(place, "1")).toMatch(/malt: model "wrong" is not served at .*; served: fake\n$/);
    expect(await command(env, "bash", "scripts/cluster/sample.sbatch")).toMatchObject({ code: 0, stderr: "" });
    const ports = await Promise.all(
      ["1", "2", "3"].map(async (i) => /http:\S+(?=\n$|\nsampling)/.exec(await log(place, i))),
    );
    expect(new Set(ports.map((port) => port?.[0])).size).toBe(3);
    expectSame(await exported(place));
  },
);

it("sample.sbatch under Slurm: array job, kill -9, requeue and dependent merge give the unsharded run's files", async ({
  skip,
}) => {
  const missing = ["sbatch", "slurmctld", "slurmd", "munged"].filter((program) => !onPath(program));
  if (missing.length > 0) skip(`${missing.join(", ")} not installed (Debian: apt-get install slurm-wlm munge)`);
  if (process.getuid?.() !== 0) skip("slurmd must be root to start jobs as their users");
  const place = await newPlace();
  const dir = await mkdtemp(join(tmpdir(), "malt-slurm-"));
  cleanUp.push(() => rm(dir, { recursive: true, force: true }));
  const said = await startSlurm(dir);
  if (!said.includes("ready")) skip(`Slurm does not come up here: ${said}`);
  const fake = await killingServer(place);
  const env = { ...settings(place), BASE_URL: fake.baseURL, SLURM_CONF: join(dir, "slurm.conf") };
  expect(await command(env, "bash", "scripts/cluster/sample.sbatch")).toMatchObject({ code: 0 });
  while ((await command(env, "squeue", "--noheader")).stdout !== "") await sleep(500);
  expect(await log(place, "2")).toContain("the sampler was killed: the task starts again");
  expect(await log(place, "merge")).toContain('merged 3 shards into run "r": 24 questions, 936 completions');
  expectNoWaste(fake);
  expectSame(await exported(place));
});

/** Starts the one-node cluster. @returns what it says once it is up, or why it is not */
async function startSlurm(dir: string): Promise<string> {
  const child: ChildProcess = spawn("bash", ["scripts/cluster/one-node-slurm.sh", dir], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(child, "close");
  cleanUp.push(async () => {
    child.kill();
    await ended;
  });
  let said = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk) => (said += chunk));
  await Promise.race([ended, once(child.stdout!, "data")]);
  return said;
}

it("ray_sample.py: tasks, one of which is killed and retried, and the merge give the unsharded run's files", async ({
  skip,
}) => {
  const bin = [join(root, ".venv/bin"), onPath("ray")].find((path) => path && existsSync(join(path, "ray")));
  if (!bin) skip("Ray is not installed (npm run setup -- --extra ray)");
  const place = await newPlace();
  const temporary = await mkdtemp(join(tmpdir(), "malt-ray-"));
  cleanUp.push(() => rm(temporary, { recursive: true, force: true }));
  const fake = await killingServer(place);
  const own = { RAY_TMPDIR: temporary, RAY_AUTH_MODE: "disabled", RAY_USAGE_STATS_ENABLED: "0", RAY_ADDRESS: "local" };
  const flags = ["--run", "r", "--shards", "3", "--questions", place.questions, "--model", "fake", "--cpus", "0.5"];
  const sampling = ["--base-url", fake.baseURL, "--", "--concurrency", "4", "--max-retries", "0"];
  const env = { ...settings(place), ...own };
  const script = join(root, "scripts/cluster/ray_sample.py");
  const done = await command(env, join(bin!, "python"), script, ...flags, ...sampling);
  expect(done.code, done.stderr).toBe(0);
  expect(done.stderr).toMatch(/^shard 2, attempt 1: malt ended with -9$/m);
  expect((await readdir(join(place.outputs, "runs"))).sort()).toEqual([
    "r",
    ...[1, 2, 3].map((i) => `r.shard-${i}-of-3`),
  ]);
  expectNoWaste(fake);
  expectSame(await exported(place));
});
