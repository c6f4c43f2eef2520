import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type TrainerFormName, trainerFormNames, writeTraining } from "../../src/train/write.js";
import { trainingRun } from "./run.js";

let outputs: string;
beforeEach(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-write-"));
  await trainingRun(outputs, "r");
});
afterEach(() => rm(outputs, { recursive: true, force: true }));

const settings = { sftEpochs: 2, dpoEpochs: 3, batchSize: 8, microBatchSize: 2, beta: 0.3 };
/** Writes the plan and gives a reader of its files. */
const written = async (format: TrainerFormName, changes = {}) => {
  const out = join(outputs, format);
  const how = {
    run: "r",
    outputs,
    heldOut: [],
    settings: { ...settings, ...changes },
    baseModel: "org/model",
    seed: 5,
  };
  const { files } = await writeTraining(format, out, how);
  expect([...files].sort()).toEqual((await readdir(out)).sort());
  const text = (name: string) => readFile(join(out, name), "utf8");
  return { text, yaml: async (name: string) => parse(await text(`${name}.yaml`), { version: "1.1" }) };
};
const firstRow = (text: string) => JSON.parse(text.split("\n")[0]!);
const prompt = [{ role: "user", content: "Item 0: what is 0 + 0? You are the verifier." }];
const [chosen, rejected] = ["It is 0.", "No, 0 of them."].map((content) => ({ role: "assistant", content }));

describe("a plan for axolotl", () => {
  it("merges the SFT adapter into the base of DPO, whose reference it thereby is", async () => {
    const { yaml, text } = await written("axolotl");
    const dpo = await yaml("verifier-dpo");
    expect(dpo).toMatchObject({
      base_model: "verifier-sft/merged",
      rl: "dpo",
      rl_beta: 0.3,
      adapter: "lora",
      num_epochs: 3,
    });
    expect(dpo).not.toHaveProperty("lora_model_dir");
    const readme = await text("README.md");
    const order = [
      "axolotl train verifier-sft.yaml",
      "axolotl merge-lora verifier-sft.yaml",
      "axolotl train verifier-dpo.yaml",
    ];
    expect(order.map((command) => readme.indexOf(command))).toEqual(
      [...order.map((command) => readme.indexOf(command))].sort((a, b) => a - b),
    );
    expect(readme).not.toContain("merge-lora generator-sft.yaml");
    for (const place of [readme, await text("verifier-dpo.yaml")])
      expect(place).toContain("read by nobody, without a word");
    expect(await text("verifier-sft.yaml")).not.toContain("reference");
  });

  it("goes on with the SFT adapter for STaR, and keeps batch, rates, lengths and seed", async () => {
    const { yaml, text } = await written("axolotl", { sftLearningRate: 5e-7 });
    expect(await yaml("verifier-star")).toMatchObject({
      base_model: "org/model",
      lora_model_dir: "verifier-sft",
      max_steps: 40,
    });
    expect(await yaml("verifier-sft")).toMatchObject({
      ...{
        micro_batch_size: 2,
        gradient_accumulation_steps: 4,
        num_epochs: 2,
        learning_rate: 5e-7,
        lora_r: 16,
        seed: 5,
      },
      datasets: [{ path: "verifier-sft.jsonl", type: "chat_template", roles_to_train: ["assistant"] }],
    });
    expect(firstRow(await text("verifier-sft.jsonl"))).toEqual({ messages: [...prompt, chosen] });
    expect(firstRow(await text("verifier-dpo.jsonl"))).toEqual({ prompt, chosen: [chosen], rejected: [rejected] });
  });
});

describe("a plan for LLaMA-Factory", () => {
  it("names the SFT adapter as start and as reference, which by default would be the base model", async () => {
    const { yaml, text } = await written("llama-factory");
    expect(await yaml("verifier-dpo")).toMatchObject({
      ...{ model_name_or_path: "org/model", adapter_name_or_path: "verifier-sft", stage: "dpo", pref_beta: 0.3 },
      ...{ ref_model: "org/model", ref_model_adapters: "verifier-sft", num_train_epochs: 3 },
    });
    expect(await yaml("verifier-star")).toMatchObject({
      stage: "sft",
      adapter_name_or_path: "verifier-sft",
      max_steps: 40,
    });
    expect(await yaml("verifier-sft")).not.toHaveProperty("adapter_name_or_path");
    expect(await text("verifier-dpo.yaml")).toContain("# DPO's reference must be the SFT policy.");
  });

  it("lists its data with their forms", async () => {
    const { text } = await written("llama-factory");
    const info = JSON.parse(await text("dataset_info.json"));
    expect(Object.keys(info)).toHaveLength(5);
    expect(info["verifier-dpo"]).toMatchObject({
      file_name: "verifier-dpo.jsonl",
      ranking: true,
      formatting: "sharegpt",
    });
    expect(firstRow(await text("verifier-dpo.jsonl"))).toEqual({ messages: prompt, chosen, rejected });
  });
});

describe("writing a plan", () => {
  it("for TRL alone brings the script that gives DPO the SFT adapter", async () => {
    const { text, yaml } = await written("trl");
    expect(await yaml("verifier-dpo")).toMatchObject({ trainer: "dpo", start_adapter: "verifier-sft" });
    expect(await text("README.md")).toContain("python train.py verifier-dpo.yaml");
    // Every module of ours that the scripts import is there, but for adapters of llama.cpp, which are written on request.
    const ours = (await readdir(fileURLToPath(new URL("../../python", import.meta.url)))).map((name) =>
      name.replace(".py", ""),
    );
    const there = await readdir(join(outputs, "trl"));
    for (const name of there.filter((each) => each.endsWith(".py")))
      for (const [, module] of (await text(name)).matchAll(/^\s*(?:from|import) (\w+)/gm))
        if (ours.includes(module!) && module !== "adapter") expect(there).toContain(`${module}.py`);
  });

  it.each(trainerFormNames)(
    "for %s touches no folder that holds something, and leaves no half-made one",
    async (format) => {
      const out = join(outputs, "mine");
      await mkdir(out);
      await writeFile(join(out, "notes.txt"), "mine");
      const options = { run: "r", outputs, heldOut: [], baseModel: "org/model" };
      await expect(writeTraining(format, out, options)).rejects.toThrow(
        /holds files already \(notes\.txt, …\); give a new folder/,
      );
      await expect(writeTraining(format, join(out, "notes.txt"), options)).rejects.toThrow(
        /no folder that can be read/,
      );
      expect(await readdir(out)).toEqual(["notes.txt"]);
      await expect(writeTraining(format, join(out, "new"), { ...options, run: "none" })).rejects.toThrow(/run\.json/);
      expect(await readdir(out)).toEqual(["notes.txt"]);
    },
  );
});
