/** The real trainer (torch, TRL, PEFT) on a model of two layers; most of the time goes into loading those packages. */

import { mkdtempSync, rmSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { modelOfProfile } from "../../src/models/table.js";
import { trainingSettings } from "../../src/models/training.js";
import { python } from "../../src/paths.js";
import { readManifest } from "../../src/run/manifest.js";
import { trainingPlan } from "../../src/train/plan.js";
import { readMetrics, trainedStages } from "../../src/train/record.js";
import { stageFile } from "../../src/train/stage-file.js";
import type { TrainingStatus } from "../../src/train/status.js";
import { followToEnd, startTraining, stopTraining, trainRun } from "../../src/train/train.js";
import { followTraining, isTraining, startTrainer, trainerInstalled } from "../../src/train/trainer.js";
import { questions, trainingRun } from "./run.js";

vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const outputs = mkdtempSync(join(tmpdir(), "malt-train-"));
afterAll(() => rmSync(outputs, { recursive: true, force: true }));
const model = join(outputs, "model");
const changes = { batchSize: 4, saveSteps: 10, warmupSteps: 2, loraRank: 4, loraAlpha: 8, sftEpochs: 6, dpoEpochs: 6 };
const settings = trainingSettings(modelOfProfile("tiny").training, {
  ...changes,
  sftLearningRate: 0.01,
  dpoLearningRate: 0.01,
});
const training = {
  run: "broken",
  outputs,
  roles: ["verifier"],
  stages: ["sft", "dpo"] as const,
  settings,
  baseModel: model,
};

const installed = await trainerInstalled();
if (!installed) console.warn("skipped: the trainer's Python packages are missing (`npm run setup -- --extra train`)");

/** What test/python/checks.py says, and the folder of the run that it trained without a break. */
async function unbroken(): Promise<{ said: Record<string, unknown>[]; dir: string }> {
  const dir = await trainingRun(outputs, "unbroken");
  const roles = [{ name: "verifier", template: "verifier" } as const];
  const plan = trainingPlan({ roles, settings, rows: () => questions.length, stages: ["sft", "dpo"] });
  const files = plan.map(({ name }) => join(dir, "train", `${name}.yaml`));
  for (const [i, stage] of plan.entries())
    await writeFile(files[i]!, stageFile(stage, { baseModel: model, settings, seed: 0, trainer: "train.py" }));
  const script = fileURLToPath(new URL("../python/checks.py", import.meta.url));
  // As many threads as the trainer gives to each of two stages side by side: sums of floats depend on them.
  const threads = `${Math.max(1, Math.min(2, Math.floor(cpus().length / 2)))}`;
  const env = { HF_HUB_OFFLINE: "1", ...(cpus().length > 1 && { OMP_NUM_THREADS: threads }) };
  const { stdout } = await execa(python, [script, model, ...files], { env });
  const lines = stdout.split("\n").filter((line) => line.startsWith('{"'));
  return { said: lines.map((line) => JSON.parse(line) as Record<string, unknown>), dir };
}

describe.skipIf(!installed)("the trainer", () => {
  let whole: Awaited<ReturnType<typeof unbroken>>;
  beforeAll(async () => {
    whole = await unbroken();
  });
  const refused = (name: string) => whole.said.find(({ check }) => check === name)?.refused;
  const steps = (stage: string) => whole.said.filter((line) => line.event === "step" && line.stage === stage);

  it("starts DPO at loss ln 2 and margin 0, with policy and reference at the SFT adapter and away from the base", () => {
    const start = whole.said.find(({ event }) => event === "start") as unknown as TrainingStatus;
    const { policy, reference, sft, base } = start.logp!;
    expect(policy).toEqual(sft);
    expect(reference).toEqual(sft);
    expect(Math.abs(sft[0]! - base[0]!)).toBeGreaterThan(0.1);
    expect(refused("SFT adapter")).toBeNull();
    const first = whole.said.find(({ event }) => event === "first");
    expect(first!.loss).toBeCloseTo(Math.LN2, 3);
    expect(first!.margin).toBe(0);
  });

  it("learns: the loss of SFT and of DPO falls, and the margin grows", () => {
    for (const stage of ["verifier-sft", "verifier-dpo"]) {
      const rows = steps(stage);
      expect(rows).toHaveLength(60);
      expect(rows.at(-1)!.loss).toBeLessThan(0.95 * (rows[0]!.loss as number));
    }
    expect(steps("verifier-dpo").at(-1)!.margin).toBeGreaterThan(0.1);
  });

  it("refuses the base model as the reference, also after a resume", () => {
    expect(refused("base-model reference")).toMatch(/DPO's reference is not the SFT policy.*those of the base model/);
    expect(refused("base-model reference after a resume")).toMatch(/DPO's reference is not the SFT policy/);
  });

  it("refuses a fresh adapter on the base model, whose loss starts at ln 2 too", () => {
    expect(refused("base-model start")).toMatch(/DPO's policy is not the SFT policy.*those of the base model/);
    expect(refused("loss of a base-model start")).toBeNull();
    expect(refused("loss of another start")).toMatch(/starts at loss 0\.6951 with margin 0\.0000 and not at ln 2/);
  });

  it("refuses data that was exported anew while an earlier stage was trained", () => {
    expect(refused("changed data")).toMatch(/its data file has changed since the training began/);
  });

  it("drops and counts pairs that are identical after truncation", () => {
    const check = (name: string) => whole.said.find((line) => line.check === name);
    expect(check("truncation")).toMatchObject({ kept: 1, pairs: 3, identical_after_truncation: 2 });
    expect(check("no truncation")).toMatchObject({ kept: 2 });
  });

  it("is not needed to use two adapters, one trained on the other, as one: joined they say the same", () => {
    const { joined, stacked, first } = whole.said.find(({ check }) => check === "joined adapters") as Record<
      string,
      number[]
    >;
    expect(joined).toHaveLength(3);
    for (const [i, value] of joined!.entries()) {
      expect(value).toBeCloseTo(stacked![i]!, 3);
      expect(Math.abs(value - first![i]!)).toBeGreaterThan(0.01);
    }
  });

  it("weights examples, smooths labels and knows margins as their formulas say", () => {
    const said = (name: string) => whole.said.find((line) => line.check === name) as unknown as Record<string, number>;
    const weighted = said("weighted SFT");
    // 3 and 1 in turn, of mean 1.
    expect(weighted.weights).toEqual([1.5, 0.5, 1.5, 0.5]);
    expect(weighted.loss).toBeCloseTo(weighted.expected!, 3);
    expect(Math.abs(weighted.loss! - weighted.plain!)).toBeGreaterThan(1e-3);
    expect(refused("weights that are not read")).toMatch(/row 1 has a weight, which this stage does not read/);
    expect(refused("weights that are not there")).toMatch(/row 2 has weight -1, .*malt export --weights/);
    for (const name of ["smoothing", "offset", "target"])
      expect(said(`DPO with ${name}`).loss).toBeCloseTo(said(`DPO with ${name}`).expected!, 3);
    // ε = 0.25: ln 3. A target is the difference of values itself; an offset has no optimum, so the end of the grid.
    const best = (name: string) => said(`optimum with ${name}`).best as unknown as number[];
    for (const margin of best("smoothing")) expect(margin).toBeCloseTo(Math.log(3), 2);
    expect(best("target")[0]).toBeCloseTo(1 / 3, 2);
    expect(best("target")[1]).toBeCloseTo(1, 2);
    expect(best("offset")).toEqual([6, 6]);
  });

  it("adds the chosen texts' own loss to that of DPO, per token and with its weight", () => {
    const { added, expected } = whole.said.find(({ check }) => check === "sft term") as Record<string, number[]>;
    for (const [i, each] of expected!.entries()) {
      expect(each).toBeGreaterThan(0.1);
      expect(added![i]).toBeCloseTo(each, 3);
    }
    expect(refused("first loss with an sft term")).toBeNull();
    expect(refused("too small a first loss with an sft term")).toMatch(
      /starts at loss 0\.6000.*one between 0\.6931 and inf/,
    );
  });

  it("pretraining packs whole dialogues that do not see each other, and counts their completions in full", () => {
    const packing = whole.said.find(({ check }) => check === "packing")!;
    expect(packing.dialogues).toBeGreaterThan(300);
    expect(packing.furthest).toBeLessThan(1e-5);
    // Of each dialogue, in short and long rows, all tokens but the 20 of its prompt count in full.
    expect(packing.targets).toEqual([
      [-20, 256],
      [-20, 512],
    ]);
  });

  it("killed, stopped and resumed ends with the same adapters as unbroken, losing at most a checkpoint interval", async () => {
    const dir = await trainingRun(outputs, "broken");
    const seen: TrainingStatus[][] = [];
    /** Follows a start of the training and does something when it has come to a step. */
    const follow = async (stage: string, step: number, act: () => unknown) => {
      const statuses: TrainingStatus[] = [];
      seen.push(statuses);
      let acted = false;
      for await (const status of followTraining(dir)) {
        statuses.push(status);
        if (acted || status.stage !== stage || status.event !== "step" || status.step < step) continue;
        acted = true;
        await act();
      }
      return statuses.at(-1)!;
    };

    expect(await startTraining({ ...training, heldOut: [] })).toHaveLength(2);
    expect(await startTraining(training)).toBeNull();
    const killed = await follow("verifier-sft", 15, async () => {
      const { pid } = JSON.parse(await readFile(join(dir, "train", "trainer.json"), "utf8")) as { pid: number };
      process.kill(pid, "SIGKILL");
    });
    expect(killed).toMatchObject({ state: "failed", error: expect.stringContaining("it was killed") });
    expect(await isTraining(dir)).toBe(false);
    await expect(followToEnd(dir, {})).rejects.toThrow(
      /training failed in verifier-(sft|dpo) after step.*same command again/,
    );

    await startTraining(training);
    expect(await follow("verifier-dpo", 15, () => stopTraining("broken", outputs))).toMatchObject({ state: "stopped" });
    const final: TrainingStatus[] = [];
    seen.push(final);
    const stages = await trainRun({ ...training, onProgress: (status) => final.push(status) });

    const [first, second, third] = seen.map((statuses) => statuses.filter(({ step }) => step > 0));
    const begun = second!.find(({ event }) => event === "begin")!;
    const lost = first!.findLast(({ stage }) => stage === begun.stage)!.step - begun.step;
    expect(begun.step).toBeGreaterThan(0);
    expect(lost).toBeLessThanOrEqual(10);
    // A stop loses nothing: it saves where it is.
    const stoppedAt = second!.findLast(({ event }) => event === "step")!;
    expect(third!.find(({ event }) => event === "begin")).toMatchObject({
      stage: stoppedAt.stage,
      step: stoppedAt.step,
    });
    // The reference of the resumed DPO is measured again, and the policy has moved away from it.
    const resumed = final.find(({ event }) => event === "start")!.logp!;
    expect(resumed.reference).toEqual(resumed.sft);
    expect(resumed.policy).not.toEqual(resumed.sft);

    expect(stages.map(({ name, sha256 }) => [name, sha256])).toEqual(
      (await trainedStages(whole.dir)).map(({ name, sha256 }) => [name, sha256]),
    );
    const rows = await readMetrics(dir);
    expect(rows.map(({ stage, step, loss }) => ({ stage, step, loss }))).toEqual(
      [...steps("verifier-sft"), ...steps("verifier-dpo")].map(({ stage, step, loss }) => ({ stage, step, loss })),
    );
    expect(rows.map(({ tokens }) => tokens)).toEqual(
      [...steps("verifier-sft"), ...steps("verifier-dpo")].map(({ tokens }) => tokens),
    );
    expect(await readdir(join(dir, "train", "verifier-dpo"))).toContain("verifier-dpo.gguf");
  });

  it.skipIf(cpus().length < 2)("trains two stages side by side, each with its own numbers", async () => {
    const dir = await trainingRun(outputs, "beside");
    const told: TrainingStatus[] = [];
    const both = { ...training, run: "beside", roles: ["generator", "verifier"], stages: ["sft"] as const };
    const stages = await trainRun({ ...both, heldOut: [], onProgress: (status) => told.push(status) });
    expect(stages.map(({ name }) => name)).toEqual(["generator-sft", "verifier-sft"]);
    const [firstDone] = told.filter(({ event }) => event === "done");
    // Both processes are at work before one has ended; how far each has come depends on the machine.
    const begun = told.slice(0, told.indexOf(firstDone!)).filter(({ event }) => event === "load");
    expect(begun.map(({ stage }) => stage).sort()).toEqual(["generator-sft", "verifier-sft"]);
    expect(told.at(-1)).toMatchObject({ state: "done", finished: 2 });
    const rows = await readMetrics(dir);
    expect(rows.filter(({ stage }) => stage === "generator-sft").map(({ step }) => step)).toEqual(
      Array.from({ length: 60 }, (_, i) => i + 1),
    );
    // Beside another stage it comes to the same adapter as alone.
    const alone = (await trainedStages(whole.dir)).find(({ name }) => name === "verifier-sft")!;
    expect(stages[1]!.sha256).toBe(alone.sha256);
  });

  it("records every adapter in run.json, and skips what is done until its data changes", async () => {
    const dir = join(outputs, "runs", "broken");
    const { training: section } = (await readManifest(dir)) as unknown as {
      training: { stages: Record<string, unknown>[] };
    };
    const [sft] = await trainedStages(dir);
    expect(section.stages).toMatchObject([
      { name: "verifier-sft", role: "verifier", method: "sft", examples: 40, steps: 60, sha256: sft!.sha256 },
      {
        name: "verifier-dpo",
        pairs: 40,
        identical_after_truncation: 0,
        start: { loss: expect.closeTo(Math.LN2, 3), margin: 0 },
      },
    ]);
    expect(section.stages[1]).toMatchObject({
      config: { beta: 0.2, start_adapter: "verifier-sft" },
      versions: { trl: /\d/ },
    });

    const again: string[] = [];
    // Where the base model lies says nothing of its weights.
    const elsewhere = join(outputs, "elsewhere");
    await cp(model, elsewhere, { recursive: true });
    await startTraining({ ...training, baseModel: elsewhere });
    const told = { onProgress: ({ event, stage }: TrainingStatus) => again.push(`${event} ${stage}`) };
    // Two at once, as a terminal and a notebook do: both follow, and both record the end.
    const [one, other] = await Promise.all([followToEnd(dir, told), followToEnd(dir, {})]);
    expect(one).toEqual(other);
    expect(again).toEqual(["skip verifier-sft", "skip verifier-dpo", "end verifier-dpo"]);

    const path = join(dir, "train", "verifier-sft.jsonl");
    await writeFile(path, (await readFile(path, "utf8")).replace("It is 0.", "It is zero."));
    expect((await trainedStages(dir)).map(({ current }) => current)).toEqual([false, false]);
  });

  it("that fails shows its own last lines, and what to do", async () => {
    const dir = await trainingRun(outputs, "failing");
    await mkdir(join(dir, "train"), { recursive: true });
    await writeFile(join(dir, "train", "verifier-sft.yaml"), "output_dir: [");
    const stages = [{ name: "verifier-sft", start: null, data: "verifier-sft.jsonl" }];
    const place = { processes: 1, gpu: false, jobFlags: [], oneJob: false };
    await startTrainer({ run: "failing", dir, stages, baseModel: model, gguf: false, jobs: 1, outlives: true, place });
    await expect(followToEnd(dir, {})).rejects.toThrow(
      /training failed in verifier-sft: error: verifier-sft: verifier-sft\.yaml cannot be read \(.*line 1.*same command again/,
    );
  });
});
