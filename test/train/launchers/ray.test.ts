/** Ray's command line is a stand-in here; scripts/cluster/train.ts tries the real one. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { python, pythonScript } from "../../../src/paths.js";
import { rayLauncher } from "../../../src/train/launchers/ray.js";
import { followTraining, startTrainer } from "../../../src/train/trainer.js";
import { step, workplace } from "./work.js";

const path = process.env.PATH;
let work: Awaited<ReturnType<typeof workplace>>;
let memory: string;
const ray = () => rayLauncher("ray:http://head:8265/mnt/malt");

beforeEach(async () => {
  work = await workplace("", { gpu: true, processes: 2 });
  memory = join(work.root, "memory");
  const bin = join(work.root, "bin");
  await Promise.all([mkdir(memory), mkdir(bin)]);
  await writeFile(
    join(bin, "ray"),
    `#!/bin/sh
echo "$*" >>${memory}/asked
[ ! -e ${memory}/broken ] || { cat ${memory}/broken >&2; exit 1; }
case $2 in
  logs) cat ${memory}/log ;;
  status) echo "Status for job 'x': $(cat ${memory}/state)"; echo "Status message: $(cat ${memory}/message)" ;;
esac
`,
  );
  await chmod(join(bin, "ray"), 0o755);
  process.env.PATH = `${bin}${delimiter}${path}`;
});
afterEach(async () => {
  process.env.PATH = path;
  await rm(work.root, { recursive: true, force: true });
});
const remember = (name: string, text: string) => writeFile(join(memory, name), text);
const asked = () => readFile(join(memory, "asked"), "utf8");

describe("ray", () => {
  it("submits the gathered folder as a job, with time to save a checkpoint when it is stopped", async () => {
    await startTrainer(work, ray());
    const submitted = (await asked()).split("\n").find((line) => line.includes(" submit "))!;
    expect(submitted).toMatch(
      /^job submit .*--address http:\/\/head:8265 --no-wait --submission-id malt-r-\w+ --working-dir \S+train\/job --runtime-env-json \{"env_vars":\{"RAY_JOB_STOP_WAIT_TIME_S":"300"\}\} --entrypoint-num-gpus 2 -- python3 python\/job\.py \/mnt\/malt\/r train verifier-sft verifier-dpo$/,
    );
    expect(await readFile(join(work.dir, "train/job/job.sh"), "utf8")).toMatch(
      /python3 \.\.\/python\/train\.py --jobs 1 --processes 2 verifier-sft\.yaml verifier-dpo\.yaml\n$/,
    );
  });

  it.each([
    ["ConnectionError: Failed to connect to Ray at address: http://head:8265.", /check the address \(the dashboard's/],
    ["RuntimeError: Request failed with status code 401: Unauthorized", /set RAY_AUTH_TOKEN/],
    ["Package size (912.00MiB) exceeds the maximum size of 500.00MiB.", /give its name on the hub with --base-model/],
  ])("says %j in Ray's words and ours", async (said, advice) => {
    await remember("broken", said);
    const failed = await startTrainer(work, ray()).catch((error: Error) => error.message);
    expect(failed).toContain(`failed: ray says "${said}"`);
    expect(failed).toMatch(advice);
  });

  it("a job that was killed says so in Ray's words; one that could hand out its results did so in its log", async () => {
    // What the job's own program makes of a folder that was uploaded.
    const [uploaded, kept] = [join(work.root, "uploaded"), join(work.root, "kept")];
    await mkdir(join(uploaded, "train", "verifier-sft", "checkpoint-2"), { recursive: true });
    await mkdir(join(kept, "train", "verifier-sft", "checkpoint-4"), { recursive: true });
    for (const [folder, at] of [
      [uploaded, 2],
      [kept, 4],
    ] as const) {
      await writeFile(join(folder, "train/verifier-sft/state.json"), '{"fingerprint": "same"}');
      await writeFile(join(folder, `train/verifier-sft/checkpoint-${at}/trainer_state.json`), "{}");
    }
    await writeFile(join(uploaded, "job.sh"), `echo '${step("verifier-sft", 5)}'; echo a log >&2; exit 7`);
    const run = () =>
      execFileSync(python, [pythonScript("job.py"), kept, "train", "verifier-sft"], {
        cwd: uploaded,
        encoding: "utf8",
        stdio: "pipe",
      });
    let log = "";
    try {
      run();
    } catch (error) {
      log = (error as { stdout: string }).stdout;
    }
    // Ray's program says at the end what has happened, and the last of the log once more.
    const again = `2026-01-01\tINFO cli.py:89 -- Status message: it failed\n${step("verifier-sft", 5)}\n`;
    await remember("log", `Running entrypoint for job x\n${log}${again}`);
    await remember("state", "FAILED");
    await remember("message", "Job entrypoint command failed with exit code 7, last available logs:\nmore");
    await startTrainer(work, ray());
    const told = [];
    for await (const status of followTraining(work.dir)) told.push(status);
    expect(told.map(({ event, step }) => `${event} ${step}`)).toEqual(["step 5", "end 5"]);
    expect(told.at(-1)).toMatchObject({
      state: "failed",
      error: expect.stringContaining("Ray says FAILED: Job entrypoint command failed with exit code 7"),
    });
    // The checkpoint of the cluster was further than the one that was uploaded, and came home.
    expect(await readFile(join(work.dir, "train/verifier-sft/checkpoint-4/trainer_state.json"), "utf8")).toBe("{}");
    expect(await readFile(join(work.dir, "train/trainer.log"), "utf8")).toContain("Running entrypoint");
  });
});
