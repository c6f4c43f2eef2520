import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { modelOfRun } from "../../src/models/choose.js";
import { startServer } from "../../src/models/embedded.js";
import { type Model, modelOfProfile, models, servedElsewhere } from "../../src/models/table.js";
import { trainingSettings } from "../../src/models/training.js";
import { servedWeights, trainableWeights } from "../../src/models/weights.js";
import { dataPath } from "../../src/paths.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { maltRoles } from "../../src/team/prompts.js";

let outputs: string;
beforeAll(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-models-"));
  vi.stubEnv("MALT_OUTPUTS", outputs);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(outputs, { recursive: true, force: true });
});

describe("the table of models", () => {
  it("has one row for each profile and each served name, and one for servers elsewhere", () => {
    expect(new Set(models.map(({ profile }) => profile)).size).toBe(models.length);
    expect(new Set(models.map(({ name }) => name)).size).toBe(models.length);
    expect(servedElsewhere()).toMatchObject({ profile: "vllm", embedded: null, weights: null });
    for (const { name, embedded, license } of models) {
      expect(embedded === null).toBe(name === null);
      expect(license === null).toBe(name === null);
    }
  });

  it("finds a row by profile or by served name", () => {
    expect(modelOfProfile("smollm2").name).toBe("smollm2-135m-instruct");
    expect(modelOfRun("malt-tiny", undefined).profile).toBe("tiny");
    expect(modelOfRun("meta-llama/Llama-3.1-8B-Instruct", undefined).profile).toBe("vllm");
    expect(() => modelOfProfile("huge")).toThrow('unknown profile "huge"; known: tiny, smollm2, qwen2.5-coder, vllm');
  });

  it("another row is another model: served under its name, sampled, and trainable", async () => {
    const row: Model = {
      ...modelOfProfile("tiny"),
      profile: "mine",
      name: "my-model",
      weights: { from: "files", gguf: dataPath("malt-tiny", "malt-tiny.gguf"), trainable: dataPath("malt-tiny") },
      embedded: { slots: 2, context: 512 },
      training: { ...modelOfProfile("tiny").training, loraRank: 4 },
    };
    const table = [...models, row];
    expect(modelOfProfile("mine", table)).toBe(row);
    expect(modelOfRun("my-model", undefined, table)).toBe(row);
    expect(await trainableWeights(row, undefined, () => {})).toBe(dataPath("malt-tiny"));
    expect(trainingSettings(row.training, { beta: 0.1 })).toMatchObject({ loraRank: 4, beta: 0.1 });
    const server = await startServer({ model: row });
    try {
      const policy = openaiPolicy(server);
      expect(await policy.models()).toEqual(["my-model"]);
      const question = { id: "q", benchmark: "arithmetic", split: "train", choices: null, answer: "7" } as const;
      const { manifest } = await sampleRun({
        ...{ run: "mine", policy, model: server.model, roles: maltRoles(1), sampling: { max_tokens: 40 } },
        questions: [{ ...question, question: "Tom has 3 apples and buys 4 more. How many apples does Tom have?" }],
      });
      expect(manifest.config).toMatchObject({ base_url: server.baseURL, policy: { model: "my-model" } });
      expect(manifest).toMatchObject({ server: { build: server.build }, counts: { ok: 3, failed: 0 } });
      expect(manifest.benchmark).toMatchObject({ source: "memory", sha256: null });
    } finally {
      await server.stop();
    }
  });

  it("has no weights for a model that is served elsewhere", async () => {
    const elsewhere = servedElsewhere();
    await expect(servedWeights(elsewhere)).rejects.toThrow("no weights of its own; give --base-url");
    await expect(trainableWeights(elsewhere, undefined, () => {})).rejects.toThrow("--base-model PATH or ORG/NAME");
    await expect(startServer({ model: elsewhere })).rejects.toThrow('profile "vllm" has no embedded server');
  });
});
