/** Slurm's programs are stand-ins here: what a queue does must come at once. scripts/cluster/train.ts tries the real ones. */
import { appendFile, chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Job, News } from "../../../src/train/launchers/launcher.js";
import { slurmLauncher } from "../../../src/train/launchers/slurm.js";
import { trainingWork } from "../../../src/train/work.js";
import { step, workplace } from "./work.js";

const slurm = slurmLauncher(5);
const path = process.env.PATH;
let work: Awaited<ReturnType<typeof workplace>>;
/** What the stand-ins read and write. */
let memory: string;
const remembered = (name: string) => readFile(join(memory, name), "utf8").catch(() => "");

beforeEach(async () => {
  work = await workplace("", { gpu: true, jobFlags: ["--partition=gpu"] });
  memory = join(work.root, "memory");
  const bin = join(work.root, "bin");
  await Promise.all([mkdir(memory), mkdir(bin)]);
  const programs = {
    sbatch: `echo "$*" >>${memory}/sbatch; [ ! -e ${memory}/full ] || { cat ${memory}/full >&2; exit 1; }; wc -l <${memory}/sbatch`,
    squeue: `cat ${memory}/queue`,
    scancel: `echo "$*" >>${memory}/scancel`,
    scontrol: `cat ${memory}/job-$4`,
    sacct: `cat ${memory}/accounts`,
  };
  for (const [name, text] of Object.entries(programs)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`);
    await chmod(join(bin, name), 0o755);
  }
  process.env.PATH = `${bin}${delimiter}${path}`;
});
afterEach(async () => {
  process.env.PATH = path;
  await rm(work.root, { recursive: true, force: true });
});

const job = { jobs: { "verifier-sft": "1", "verifier-dpo": "2" } };
const queue = (...rows: string[]) => writeFile(join(memory, "queue"), rows.map((row) => `${row}\n`).join(""));
const tell = (stage: string, line: string) =>
  appendFile(join(work.dir, "train", `trainer.${stage}.jsonl`), `${line}\n`);
const end = (state: string, stage: string, error?: string) =>
  JSON.stringify({ event: "end", stage, state, ...(error && { error }) });

/** Follows to the end; `act` is called with every piece of news. */
async function followed(act: (news: News, at: number) => unknown = () => {}, which: Job = job) {
  const told: string[] = [];
  const news = slurm.follow(join(work.dir, "train"), which);
  let next = await news.next();
  for (; !next.done; next = await news.next()) {
    told.push("note" in next.value ? next.value.note : next.value.line);
    await act(next.value, told.length);
  }
  return { told, why: next.value };
}

describe("slurm", () => {
  it("submits a job for each stage, which waits for the one it starts from; a job's record holds no secret", async () => {
    process.env.MY_API_KEY = "canary";
    expect(await slurm.submit(trainingWork(work))).toEqual(job);
    delete process.env.MY_API_KEY;
    const [sft, dpo] = (await remembered("sbatch")).split("\n");
    expect(sft).toMatch(
      /--job-name=malt-r-verifier-sft .*--requeue --signal=B:USR1@120 .*--gres=gpu:1 --partition=gpu \S+ verifier-sft --jobs 1 verifier-sft\.yaml$/,
    );
    expect(sft).not.toContain("--dependency");
    expect(dpo).toContain("--dependency=afterok:1");
    expect(sft).toMatch(/--export=\S*PATH/);
    expect(sft).not.toMatch(/MY_API_KEY|canary/);
    const script = await readFile(join(work.dir, "train", "trainer.sbatch"), "utf8");
    expect(script).toMatch(/python3 \S+train\.py "\$@" >>"trainer\.\$name\.jsonl" &/);

    expect(await slurm.submit({ ...trainingWork(work), place: { ...work.place, oneJob: true } })).toEqual({
      jobs: { all: "3" },
    });
    expect(await remembered("sbatch")).toMatch(/all --jobs 1 verifier-sft\.yaml verifier-dpo\.yaml\n$/);
  });

  it.each([
    ["sbatch: error: QOSMaxSubmitJobPerUserLimit", /the queue takes no more, or no such jobs of yours: wait/],
    ["sbatch: error: invalid partition specified: gpu", /ask for what this cluster has: --job-flags/],
    ["sbatch: error: Unable to contact slurm controller", /controller does not answer/],
    ["slurm_open: No space left on device", /make room there/],
  ])("says %j in Slurm's words and ours", async (said, advice) => {
    await writeFile(join(memory, "full"), said);
    const failed = await slurm.submit(trainingWork(work)).catch((error: Error) => error.message);
    expect(failed).toContain(`submitting to Slurm failed: sbatch says "${said}"`);
    expect(failed).toMatch(advice);
  });

  it("a job that was stopped by the time limit and queued again has not ended", async () => {
    await slurm.submit(trainingWork(work));
    await queue("1|RUNNING|None", "2|PENDING|Dependency");
    await tell("verifier-sft", step("verifier-sft", 1));
    await tell("verifier-sft", end("stopped", "verifier-sft"));
    const { told, why } = await followed(async (_, at) => {
      if (at === 1) await queue("1|PENDING|BeginTime", "2|PENDING|Dependency");
      if (at !== 2) return;
      await tell("verifier-sft", step("verifier-sft", 2));
      await tell("verifier-sft", end("done", "verifier-sft"));
      await tell("verifier-dpo", end("done", "verifier-dpo"));
      await queue();
    });
    expect(told).toEqual([
      step("verifier-sft", 1),
      "job 1 (verifier-sft) waits in Slurm's queue: BeginTime",
      step("verifier-sft", 2),
      end("done", "verifier-dpo"),
    ]);
    expect(why).toBeNull();
    await slurm.collect!(join(work.dir, "train"), job);
    expect(await readFile(join(work.dir, "train", "trainer.jsonl"), "utf8")).toBe(
      `${step("verifier-sft", 1)}\n${step("verifier-sft", 2)}\n`,
    );
  });

  it.each([
    ["OUT_OF_MEMORY", "0:125", "for want of memory; ask for more with --job-flags --mem=64G"],
    ["TIMEOUT", "0:0", "at its time limit"],
    ["CANCELLED", "0:15", "because it was cancelled, by somebody"],
    ["NODE_FAIL", "1:0", "because its node failed"],
    ["FAILED", "137:0", "with state FAILED (exit code 137:0)"],
  ])("tells why a job ended that could not say so itself: %s", async (state, code, words) => {
    await slurm.submit(trainingWork(work));
    await queue();
    await writeFile(join(memory, "job-1"), `JobId=1 JobState=${state} Reason=x ExitCode=${code}`);
    expect((await followed()).why).toContain(`Slurm ended job 1 (verifier-sft) ${words}`);
  });

  it("asks the accounts where the controller has forgotten a job, and reports the trainer's own failure first", async () => {
    await slurm.submit(trainingWork(work));
    await queue();
    await writeFile(join(memory, "accounts"), "CANCELLED by 1000\n");
    expect((await followed()).why).toContain("because it was cancelled");
    await tell("verifier-dpo", end("failed", "verifier-dpo", "no space left"));
    expect((await followed()).told).toEqual([end("failed", "verifier-dpo", "no space left")]);
  });

  it("stops jobs that are at work with a checkpoint, and takes the others out of the queue", async () => {
    await slurm.cancel(join(work.dir, "train"), job);
    expect(await remembered("scancel")).toBe("--state=PENDING 1 2\n--state=RUNNING --batch --signal=TERM 1 2\n");
  });
});
