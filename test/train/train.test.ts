import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { checkHeldOut } from "../../src/benchmarks/held-out.js";
import { InputError } from "../../src/errors.js";
import { modelOfProfile } from "../../src/models/table.js";
import { trainingSettings } from "../../src/models/training.js";
import { readManifest, writeManifest } from "../../src/run/manifest.js";
import { trainingDisplay } from "../../src/show/progress.js";
import { maltRoles } from "../../src/team/prompts.js";
import {
  type PlanOptions,
  starCompute,
  type TrainingMethod,
  type TrainingStage,
  trainingPlan,
} from "../../src/train/plan.js";
import { stageFile } from "../../src/train/stage-file.js";
import { parseEvent, statusReader, trainingLine, trainingNote } from "../../src/train/status.js";
import { tokensPerRow } from "../../src/train/tokens.js";
import { startTraining } from "../../src/train/train.js";
import { questions, trainingRun } from "./run.js";

const rows: Record<string, number> = {
  "generator-sft.jsonl": 334,
  "generator-dpo.jsonl": 125,
  "verifier-sft.jsonl": 1022,
  "verifier-dpo.jsonl": 379,
  "refiner-sft.jsonl": 3075,
  "refiner-dpo.jsonl": 518,
};
// Fixed here, so that better defaults change no expectation.
const settings = trainingSettings(modelOfProfile("tiny").training, {
  sftTexts: 800,
  dpoPairs: 700,
  sftLearningRate: 5e-4,
  dpoLearningRate: 5e-4,
});
const plan = (options: Partial<PlanOptions> = {}) =>
  trainingPlan({ roles: maltRoles(), settings, rows: (file) => rows[file]!, ...options });
const form = { baseModel: "../../../../data/malt-tiny", settings, seed: 3, trainer: "../../../../python/train.py" };

describe("the training plan", () => {
  it("is SFT for all roles, then DPO and STaR for verifier and refiner from their SFT adapters", () => {
    expect(plan().map(({ name, start, data }) => `${name} ← ${start} on ${data}`)).toEqual([
      "generator-sft ← null on generator-sft.jsonl",
      "verifier-sft ← null on verifier-sft.jsonl",
      "refiner-sft ← null on refiner-sft.jsonl",
      "verifier-dpo ← verifier-sft on verifier-dpo.jsonl",
      "refiner-dpo ← refiner-sft on refiner-dpo.jsonl",
      "verifier-star ← verifier-sft on verifier-sft.jsonl",
      "refiner-star ← refiner-sft on refiner-sft.jsonl",
    ]);
    expect(plan({ generatorDpo: true }).map(({ name }) => name)).toContain("generator-dpo");
  });

  it("gives STaR the compute of DPO: 4 forward passes a token of a pair against 3 of an example", () => {
    const sizes = [
      { rows: { "verifier-sft.jsonl": 1022, "verifier-dpo.jsonl": 379 }, pair: 2, example: 1 },
      { rows: { "verifier-sft.jsonl": 1029, "verifier-dpo.jsonl": 154 }, pair: 232.05, example: 99.57 },
      { rows: { "verifier-sft.jsonl": 403, "verifier-dpo.jsonl": 1999 }, pair: 3000, example: 501 },
    ];
    for (const { rows, pair, example } of sizes) {
      const tokens = (file: string) => (file.includes("dpo") ? pair : example);
      // By default both halves of a pair are as long as an example.
      const given = pair === 2 ? {} : { tokens };
      const count = (file: string) => (rows as Record<string, number>)[file]!;
      const [sft, dpo, star] = plan({ only: ["verifier"], rows: count, ...given });
      expect([dpo, star]).toMatchObject([{ name: "verifier-dpo" }, { name: "verifier-star", epochs: null }]);
      const spent = (stage: TrainingStage) =>
        (stage.steps / Math.ceil(stage.rows / 8)) * stage.rows * tokens(stage.data);
      expect((3 * spent(star!)) / (4 * spent(dpo!))).toBeCloseTo(1, 2);
      expect(spent(sft!)).toBeCloseTo(sft!.epochs! * sft!.rows * example, 6);
    }
    expect(plan({ only: ["verifier"], rows: () => 379, tokens: () => undefined })).toEqual(
      plan({ only: ["verifier"], rows: () => 379 }),
    );
  });

  it("knows the tokens of the recorded run as its trainer counted them, so STaR gets DPO's compute within 2 %", async () => {
    const dir = fileURLToPath(new URL("../../data/recorded", import.meta.url));
    const { training, export: made } = (await readManifest(dir)) as unknown as {
      training: { stages: { name: string; steps: number; tokens: number }[] };
      export: { roles: { role: string; sft: number; pairs: number }[] };
    };
    const counted = await tokensPerRow(dir, 1024);
    const own = new Map<string, number>(
      made.roles.flatMap(({ role, sft, pairs }) => [
        [`${role}-sft.jsonl`, sft] as const,
        [`${role}-dpo.jsonl`, pairs] as const,
      ]),
    );
    const sizes = { rows: (file: string) => own.get(file)!, tokens: (file: string) => counted.get(file) };
    const stages = plan({ settings: modelOfProfile("tiny").training, generatorDpo: true, ...sizes });
    const recorded = (name: string) => training.stages.find((stage) => stage.name === name)!;
    for (const { name, method, data, rows, steps } of stages) {
      const tokens = (steps / Math.ceil(rows / 8)) * rows * counted.get(data)!;
      if (method !== "star") expect(Math.abs(tokens / recorded(name).tokens - 1)).toBeLessThan(0.005);
      else expect(Math.abs((3 * tokens) / (4 * recorded(name.replace("star", "dpo")).tokens) - 1)).toBeLessThan(0.02);
    }
    expect((await tokensPerRow(dir, 50)).get("refiner-dpo.jsonl")).toBe(100);
    expect(await tokensPerRow(join(dir, "train"), 1024)).toEqual(new Map());
  });

  it("is checked afterwards: STaR's share of DPO's compute, from the tokens that the trainer counted", () => {
    const stage = (role: string, method: TrainingMethod, tokens: number | null) => ({
      role,
      method,
      record: { tokens },
    });
    const stages = [
      ...[stage("verifier", "sft", 7), stage("verifier", "dpo", 300), stage("verifier", "star", 396)],
      ...[stage("refiner", "dpo", 300), stage("refiner", "star", null), stage("generator", "sft", 7)],
    ];
    expect([...starCompute(stages)]).toEqual([["verifier", 0.99]]);
  });

  it("passes over little data often and over much once, unless told how often", () => {
    const epochs = (n: number, changes = {}) =>
      plan({ rows: () => n, settings: { ...settings, ...changes } }).map((stage) => stage.epochs);
    expect(epochs(20)).toEqual([10, 10, 10, 10, 10, null, null]);
    expect(epochs(300)).toEqual([3, 3, 3, 2, 2, null, null]);
    expect(epochs(5000)).toEqual([1, 1, 1, 1, 1, null, null]);
    expect(epochs(300, { sftEpochs: 4, dpoEpochs: 5 })).toEqual([4, 4, 4, 5, 5, null, null]);
  });

  it("holds the SFT stage that a chosen one starts from, and names what cannot be trained", () => {
    const names = (options: Partial<PlanOptions>) => plan(options).map(({ name }) => name);
    expect(names({ only: ["refiner"], stages: ["dpo"] })).toEqual(["refiner-sft", "refiner-dpo"]);
    expect(() => plan({ only: ["critic"] })).toThrow(
      /unknown role "critic"; this run has: generator, verifier, refiner/,
    );
    expect(() => plan({ only: ["generator"], stages: ["dpo"] })).toThrow(/nothing to train.*only with generator DPO/);
    const none = (file: string) => (file === "refiner-dpo.jsonl" ? 0 : 9);
    expect(() => plan({ rows: none })).toThrow(/refiner-dpo has nothing to learn from \(refiner-dpo\.jsonl: 0 rows\)/);
    expect(() => plan({ rows: none, stages: ["star"] })).toThrow(/refiner-star has nothing to learn from/);
    expect(plan({ rows: none, stages: ["sft"] })).toHaveLength(3);
  });
});

describe("settings", () => {
  it("keep what is not changed, and name setting and rule when a change is out of range", () => {
    expect(trainingSettings(modelOfProfile("smollm2").training, { beta: 0.1, batchSize: undefined })).toEqual({
      ...modelOfProfile("smollm2").training,
      beta: 0.1,
    });
    expect(trainingSettings(modelOfProfile("vllm").training, { batchSize: 9, microBatchSize: 4 }).microBatchSize).toBe(
      3,
    );
    expect(() => trainingSettings(modelOfProfile("tiny").training, { batchSize: 2.5 })).toThrow(
      "batchSize must be an integer > 0, not 2.5",
    );
    expect(() => trainingSettings(modelOfProfile("tiny").training, { loraDropout: 1 })).toThrow(
      "loraDropout must be a number in [0, 1), not 1",
    );
    expect(() => trainingSettings(modelOfProfile("tiny").training, { sftLearningRate: Number.NaN })).toThrow(
      InputError,
    );
  });
});

describe("a stage's file", () => {
  it("of SFT is one that `trl sft` takes: only TRL's keys, loss on completions, LoRA on the base model", () => {
    const text = stageFile(plan()[1]!, form);
    expect(text).toContain("trl sft --config verifier-sft.yaml");
    expect(parse(text)).toMatchObject({
      model_name_or_path: "../../../../data/malt-tiny",
      datasets: [{ path: "json", data_files: "verifier-sft.jsonl" }],
      output_dir: "verifier-sft",
      num_train_epochs: 1,
      per_device_train_batch_size: 8,
      learning_rate: 0.0005,
      completion_only_loss: true,
      use_peft: true,
      use_cpu: true,
      seed: 3,
    });
    expect(text).not.toMatch(/start_adapter|trainer:/);
  });

  it("of DPO starts from the SFT adapter and asks for no adapter of its own", () => {
    const text = stageFile(plan()[3]!, form);
    const keys = parse(text);
    expect(keys).toMatchObject({ trainer: "dpo", start_adapter: "verifier-sft", beta: 0.2, learning_rate: 0.0005 });
    for (const key of ["use_peft", "lora_r", "max_steps"]) expect(keys).not.toHaveProperty(key);
    expect(text).toContain("python ../../../../python/train.py verifier-dpo.yaml");
    expect(parse(stageFile(plan()[5]!, form))).toMatchObject({ max_steps: 253, start_adapter: "verifier-sft" });
  });

  it("names what uses values: weights of examples, smoothing and margins of pairs", () => {
    const settings = trainingSettings(modelOfProfile("tiny").training, { labelSmoothing: 0.27, dpoMargin: "offset" });
    const given = { ...form, settings, exampleWeights: true };
    const [sft, dpo] = [stageFile(plan()[1]!, given), stageFile(plan()[3]!, given)];
    expect(parse(sft)).toMatchObject({ example_weights: true });
    expect(sft).toContain("python ../../../../python/train.py verifier-sft.yaml");
    expect(sft).toContain("# That script's own keys: example_weights; all others are TRL's.");
    expect(parse(dpo)).toMatchObject({ label_smoothing: 0.27, dpo_margin: "offset" });
    expect(parse(dpo)).not.toHaveProperty("example_weights");
    const kept = { ...form, settings: trainingSettings(modelOfProfile("tiny").training, { dpoSftWeight: 0.5 }) };
    expect(parse(stageFile(plan()[3]!, kept))).toMatchObject({ loss_type: ["sigmoid", "sft"], loss_weights: [1, 0.5] });
    expect(stageFile(plan()[1]!, kept)).not.toContain("loss_type");
    for (const key of ["label_smoothing", "loss_type", "dpo_margin"])
      expect(stageFile(plan()[3]!, form)).not.toContain(key);
    const wrong = (changes: object) => () => trainingSettings(modelOfProfile("tiny").training, changes);
    expect(wrong({ labelSmoothing: 0.5 })).toThrow("labelSmoothing must be a number in [0, 0.5), not 0.5");
    expect(wrong({ dpoSftWeight: -1 })).toThrow("dpoSftWeight must be a number ≥ 0, not -1");
    expect(wrong({ dpoMargin: "wide" })).toThrow("dpoMargin must be one of none, offset, target");
    expect(wrong({ labelSmoothing: 0.1, dpoMargin: "target" })).toThrow("give one of them");
  });

  it("writes small numbers so that YAML 1.1 reads them as numbers, and fits the batch into a GPU's memory", () => {
    const tiny = { ...plan()[3]!, rate: 5e-7 };
    expect(stageFile(tiny, form)).toMatch(/^learning_rate: 5\.0e-7$/m);
    expect(parse(stageFile(tiny, form), { version: "1.1" }).learning_rate).toBe(5e-7);
    const gpu = parse(stageFile(tiny, { ...form, settings: modelOfProfile("vllm").training }));
    expect(gpu).toMatchObject({ per_device_train_batch_size: 2, gradient_accumulation_steps: 4, dtype: "bfloat16" });
    expect(gpu).not.toHaveProperty("use_cpu");
  });
});

describe("training never sees a test question", () => {
  let outputs: string;
  beforeEach(async () => {
    outputs = await mkdtemp(join(tmpdir(), "malt-leak-"));
  });
  afterEach(() => rm(outputs, { recursive: true, force: true }));
  const train = async (change: Partial<Parameters<typeof startTraining>[0]> = {}) =>
    startTraining({ run: "r", outputs, heldOut: [], ...change });

  it("not by its split", async () => {
    await trainingRun(outputs, "r", [...questions, { ...questions[0]!, id: "late", split: "test" }]);
    await expect(train()).rejects.toThrow('question "late" of the run is of split "test"');
  });

  it("not by its id, within a benchmark, nor by its text, however it is typed", () => {
    const [first] = questions;
    const other = { ...first!, id: "held", question: "item  0: WHAT is 0 + 0?\n" };
    expect(() => checkHeldOut(questions, new Map([["t.jsonl", [other]]]))).toThrow(
      'question "sum-0" of the run has the text of the held-out question "held" in t.jsonl',
    );
    const sameId = { ...first!, question: "Another one." };
    expect(() => checkHeldOut(questions, new Map([["t.jsonl", [sameId]]]))).toThrow(
      "has the id of a held-out question",
    );
    checkHeldOut(questions, new Map([["t.jsonl", [{ ...sameId, benchmark: "elsewhere" }]]]));
  });

  it("not from a file that is given, and not in a training file that was edited", async () => {
    const dir = await trainingRun(outputs, "r");
    const file = join(outputs, "held.jsonl");
    await writeFile(file, JSON.stringify({ id: "x", question: questions[39]!.question, answer: "1" }));
    await expect(train({ heldOut: [file] })).rejects.toThrow(
      /"sum-39" of the run has the text of the held-out question "x"/,
    );
    const foreign = { prompt: [{ role: "user", content: "What is 100 + 1?" }], chosen: [], rejected: [] };
    await appendFile(join(dir, "train", "refiner-dpo.jsonl"), `${JSON.stringify(foreign)}\n`);
    await expect(train()).rejects.toThrow(
      /refiner-dpo\.jsonl line 41 holds no question of the run \("What is 100 \+ 1\?/,
    );
  });
});

describe("margins", () => {
  it("are refused where the pairs were exported without them", async () => {
    const outputs = await mkdtemp(join(tmpdir(), "malt-margin-"));
    await trainingRun(outputs, "r");
    const given = { run: "r", outputs, heldOut: [], settings: { dpoMargin: "target" as const } };
    await expect(startTraining(given)).rejects.toThrow("run `malt export --run r --margins` first");
    await rm(outputs, { recursive: true });
  });
});

describe("training never sees prompts that were not sent", () => {
  it.each([{}, { prompt_set_hash: "0".repeat(64) }])(
    "not from files that were exported with others: %j",
    async (made) => {
      const outputs = await mkdtemp(join(tmpdir(), "malt-prompts-"));
      const dir = await trainingRun(outputs, "r");
      await writeManifest(dir, { ...(await readManifest(dir)), export: made });
      await expect(startTraining({ run: "r", outputs, heldOut: [] })).rejects.toThrow(
        /not exported with the prompts that run "r" was sampled with .*; run `malt export --run r` again/,
      );
      await rm(outputs, { recursive: true });
    },
  );
});

describe("following", () => {
  const step = (step: number, more: object = {}) => ({
    event: "step" as const,
    stage: "verifier-dpo",
    step,
    steps: 96,
    loss: Math.LN2,
    margin: 0,
    chosen_logp: -2.25,
    rejected_logp: -6.44,
    tokens: 2000 * step,
    seconds: 0.5 * step,
    seconds_left: 48 - 0.5 * step,
    ...more,
  });
  const four = [-0.19, -6.38, -0.21, -0.19];

  it("makes one status of the trainer's lines, with the rate of the last steps", () => {
    const read = statusReader(["verifier-sft", "verifier-dpo"]);
    expect(read({ event: "skip", stage: "verifier-sft" })).toMatchObject({ finished: 1, state: "loading" });
    read({ event: "load", stage: "verifier-dpo" });
    expect(read(parseEvent('{"event":"data","stage":"verifier-dpo","pairs":379}')!).counts).toEqual({ pairs: 379 });
    for (let i = 1; i <= 40; i++) read(step(i));
    const status = read(step(41, { tokens: 100_000, seconds: 20.5 }));
    expect(status).toMatchObject({ state: "training", stage: "verifier-dpo", step: 41, steps: 96, secondsLeft: 27.5 });
    expect(status.tokensPerSecond).toBeCloseTo((100_000 - 42_000) / 10, 6);
    expect(trainingLine(status)).toBe(
      "[2/2] verifier-dpo 41/96, loss 0.693, margin 0.00, log p chosen −2.3, rejected −6.4, 5,800 tokens/s, 28 s left",
    );
    expect(read({ event: "load", stage: "refiner-dpo" })).toMatchObject({ loss: null, step: 0, counts: null });
  });

  it("keeps the numbers of stages trained at a time apart, and a terminal watches one of them to its end", () => {
    const read = statusReader(["verifier-dpo", "refiner-dpo"]);
    const written: string[] = [];
    const display = trainingDisplay({ isTTY: false, write: (text) => written.push(text) }, () => 0);
    read({ event: "load", stage: "refiner-dpo" });
    const first = [read(step(1)), read({ ...step(7), stage: "refiner-dpo" }), read(step(2, { tokens: 9000 }))];
    expect(first.map(({ stage, step }) => `${stage} ${step}`)).toEqual([
      "verifier-dpo 1",
      "refiner-dpo 7",
      "verifier-dpo 2",
    ]);
    expect(first[1]!.tokensPerSecond).toBeNull();
    expect(first[2]!.tokensPerSecond).toBeGreaterThan(0);
    const done = read({ event: "done", stage: "verifier-dpo", seconds: 1 });
    expect(read({ ...step(8), stage: "refiner-dpo" })).toMatchObject({ step: 8, finished: 1 });
    for (const status of [first[0]!, first[1]!, done]) display.update(status);
    expect(written.map((line) => /(\w+-dpo)/.exec(line)![1])).toEqual(["verifier-dpo", "verifier-dpo"]);
  });

  it("reads no event from a half-written or foreign line", () => {
    for (const line of ["", '{"event":"step","stage":"x"', '{"event":"other"}', "{'loss': 0.1}"])
      expect(parseEvent(line)).toBeNull();
  });

  it("keeps the numbers of DPO's start on lines of their own", () => {
    const read = statusReader(["verifier-dpo"]);
    const written: string[] = [];
    const display = trainingDisplay({ isTTY: false, write: (text) => written.push(text) }, () => 0);
    const logp = { policy: four, reference: four, sft: four, base: four.map((x) => x - 0.5) };
    display.update(read({ event: "load", stage: "verifier-dpo" }));
    display.update(read({ event: "start", stage: "verifier-dpo", logp }));
    display.update(read(step(1)));
    display.update(read({ event: "first", stage: "verifier-dpo", loss: Math.LN2, margin: 0 }));
    expect(written).toHaveLength(3);
    expect(written[0]).toBe("[1/1] verifier-dpo is being loaded\n");
    expect(written[1]).toContain("policy −0.1900, reference −0.1900, SFT −0.1900, base −0.6900; policy −6.3800");
    expect(written[2]).toBe("verifier-dpo: step 0 loss 0.6931 (ln 2 = 0.6931), margin 0.0000\n");
    expect(trainingNote(read(step(2)))).toBeNull();
  });
});
