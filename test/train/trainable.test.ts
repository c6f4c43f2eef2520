/** What is trained of a GGUF file is what is served of it: real llama.cpp, transformers and PEFT on models of two layers. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { chosenModel } from "../../src/models/choose.js";
import { modelOfProfile } from "../../src/models/table.js";
import { trainingSettings } from "../../src/models/training.js";
import { trainableWeights } from "../../src/models/weights.js";
import { cachePath, python } from "../../src/paths.js";
import { readManifest, writeManifest } from "../../src/run/manifest.js";
import { trainedAdapters } from "../../src/train/adapters.js";
import { trainRun } from "../../src/train/train.js";
import { trainerInstalled } from "../../src/train/trainer.js";
import { sha256OfFile } from "../../src/transfer.js";
import { trainingRun } from "./run.js";

vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

const folder = mkdtempSync(join(tmpdir(), "malt-trainable-"));
const made: string[] = [];
afterAll(() => {
  for (const path of [folder, ...made]) rmSync(path, { recursive: true, force: true });
});

const installed = await trainerInstalled();
if (!installed) console.warn("skipped: the trainer's Python packages are missing (`npm run setup -- --extra train`)");

describe.skipIf(!installed)("a GGUF file", () => {
  const said = new Map<string, { refused: string | null; tokens?: number; mean_difference?: number }>();
  let left: string[];
  beforeAll(async () => {
    const script = fileURLToPath(new URL("../python/trainable_checks.py", import.meta.url));
    const { stdout } = await execa(python, [script, folder], { env: { HF_HUB_OFFLINE: "1" } });
    for (const line of stdout.split("\n").filter((text) => text.startsWith('{"'))) {
      const about = JSON.parse(line);
      if ("left" in about) left = about.left;
      else said.set(about.check, about);
    }
  });

  it.each(["llama", "qwen2"])("of architecture %s becomes weights that say what the server says", (name) => {
    expect(said.get(name)).toMatchObject({ refused: null });
    expect(said.get(name)!.tokens).toBeGreaterThan(20);
    expect(said.get(name)!.mean_difference).toBeLessThan(0.02);
  });

  it.each(["llama", "qwen2"])("of architecture %s is served with an adapter as PEFT merges it", (name) => {
    expect(said.get(`${name} with its adapter`)).toMatchObject({ refused: null });
    expect(said.get(`${name} without its adapter`)!.refused).toMatch(/differ by \d\.\d\d nats on average/);
  });

  it("is refused where something would differ, with what", () => {
    expect(said.get("other weights")!.refused).toMatch(/log-probabilities .* differ by \d\.\d\d nats/);
    expect(said.get("other template")!.refused).toMatch(
      /^the chat template gives 'Hello\. .*' in training and '.*' in the server/,
    );
    expect(said.get("other end")!.refused).toMatch(
      /^a reply in training ends with \['<\|end\|>'\], and the server ends at/,
    );
    expect(said.get("architecture")!.refused).toBe(
      "its architecture is phi3, and only llama and qwen2 can be trained from a GGUF file",
    );
    expect(said.get("no template")!.refused).toMatch(/^it holds no chat template/);
    // Nothing is left of those that were refused.
    expect(left).toEqual(["llama", "llama-adapter", "qwen2", "qwen2-adapter", "wrong"]);
  });

  it("that cannot be trained is one line that says what helps", async () => {
    const model = chosenModel({ modelFile: join(folder, "phi.gguf") });
    await expect(trainableWeights(model, undefined, () => {})).rejects.toThrow(
      /^phi\.gguf cannot be trained: its architecture is phi3, .*; name the weights that .*phi\.gguf was made from with --base-model/,
    );
  });

  it("that a run was sampled from is what is trained, and the adapter is written for the server", async () => {
    const gguf = join(folder, "qwen2.gguf");
    const sha256 = await sha256OfFile(gguf);
    made.push(cachePath("trainable", sha256.slice(0, 16)));
    const dir = await trainingRun(folder, "from-file");
    const manifest = await readManifest(dir);
    const server = { ...manifest.server, weights: { source: gguf, sha256 } };
    // The name is that of a model of the table: the file decides.
    await writeManifest(dir, { ...manifest, server });
    expect(manifest.config.policy.model).toBe("malt-tiny");
    const settings = trainingSettings(modelOfProfile("tiny").training, { sftEpochs: 1, loraRank: 4, jobs: 1 });
    const notes: string[] = [];
    const [stage] = await trainRun({
      ...{ run: "from-file", outputs: folder, roles: ["verifier"], stages: ["sft"], settings },
      // Its settings are taken, not its weights.
      model: modelOfProfile("smollm2"),
      onStatus: (text) => void notes.push(text),
    });
    expect(stage).toMatchObject({ name: "verifier-sft" });
    expect(notes.join()).toContain("is converted once for training, and compared with what is served");
    expect(await readFile(join(made[0]!, "config.json"), "utf8")).toContain('"model_type": "qwen2"');
    const adapter = (await trainedAdapters(dir)).get("verifier-sft")!;
    expect(existsSync(adapter.gguf!)).toBe(true);
    expect((await readFile(adapter.gguf!)).subarray(0, 200).toString("latin1")).toContain("qwen2");
    expect(await readdir(made[0]!)).toContain("check.json");
  });
});
