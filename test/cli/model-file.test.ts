import { appendFile, copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { register as evaluate } from "../../src/cli/evaluate.js";
import { register as sample } from "../../src/cli/sample.js";
import { register as serve } from "../../src/cli/serve.js";
import { cachePath, dataPath } from "../../src/paths.js";
import { readManifest } from "../../src/run/manifest.js";
import { malt, type Workplace, workplace } from "../failures/malt.js";
import { type FakeHub, sha256, startFakeHub } from "../fake-hub.js";

// A model is loaded in each, by a process of its own.
vi.setConfig({ testTimeout: 180_000 });

const repo = "malt-notebooks-tests/model-file";
const commit = "d".repeat(40);
const copies = cachePath("models", repo.replace("/", "--"));
let hub: FakeHub;
let place: Workplace;
let weights: Buffer;
beforeAll(async () => {
  weights = await readFile(dataPath("malt-tiny", "malt-tiny.gguf"));
  hub = await startFakeHub({ repo, commit, files: new Map([["Tiny model (Q8).gguf", weights]]), token: "hf_test" });
  place = await workplace(1);
  Object.assign(place.env, { HF_ENDPOINT: hub.endpoint, HF_TOKEN: "hf_test", HF_HUB_OFFLINE: "" });
  await rm(copies, { recursive: true, force: true });
});
afterAll(async () => {
  await hub.stop();
  await place.remove();
  await rm(copies, { recursive: true, force: true });
});

const manifest = (run: string) => readManifest(join(place.outputs, "runs", run));

/** `malt sample` of one small tree. */
const sampled = (run: string, ...args: string[]) =>
  malt(place, [
    ...["sample", "--questions", place.questions, "--run", run, "--branching", "1", "--max-tokens", "24"],
    ...args,
  ]).ended;

describe("a model of the hub", () => {
  it("is downloaded and served by malt serve, under its file's name", async () => {
    const { child, ended } = malt(place, ["serve", "--hf", repo, "--context", "512", "--parallel", "2"]);
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout! })) {
      lines.push(line);
      if (line.startsWith("or set OPENAI_BASE_URL")) break;
    }
    const about = new Map(lines.map((line) => [line.slice(0, 10).trim(), line.slice(10)]));
    expect(about.get("model")).toBe("Tiny-model-Q8");
    expect(about.get("file")).toBe(`hf://${repo}@${commit}/Tiny model (Q8).gguf`);
    expect(about.get("SHA-256")).toBe(sha256(weights));
    const models = await fetch(`${about.get("base URL")}/models`);
    expect(await models.json()).toMatchObject({ data: [{ id: "Tiny-model-Q8" }] });
    child.kill("SIGTERM");
    const { stderr } = await ended;
    expect(stderr).toContain("Downloading hf://");
    expect(stderr).not.toContain("hf_test");
    expect(hub.downloads()).toMatchObject([{ token: null }]);
  });

  it("is in the run that it samples, with the commit; evaluation takes the same file, with no flag and no network", async () => {
    expect(await sampled("from-hub", "--hf", `${repo}:Tiny model (Q8).gguf`)).toMatchObject({ code: 0 });
    const file = { source: `hf://${repo}@${commit}/Tiny model (Q8).gguf`, sha256: sha256(weights) };
    const { config, server } = await manifest("from-hub");
    expect(config.policy.model).toBe("Tiny-model-Q8");
    expect(server).toMatchObject({ owner: "llamacpp", weights: file });
    expect(hub.downloads()).toHaveLength(1);
    const test = join(place.outputs, "test.jsonl");
    await appendFile(test, '{"id":"t","question":"Tom has 3 pens and buys 4. How many has he?","answer":"7"}\n');
    const args = ["--run", "from-hub", "--questions", test, "--systems", "SA", "--seeds", "1"];
    const offline = { ...place, env: { ...place.env, HF_HUB_OFFLINE: "1" } };
    const evaluated = await malt(offline, ["evaluate", ...args]).ended;
    expect(evaluated.errors.filter((line) => !line.startsWith("evaluation requests"))).toEqual([]);
    const { evaluation } = await manifest("from-hub");
    expect(Object.values(evaluation!)).toMatchObject([{ model: "Tiny-model-Q8", server: { weights: file } }]);
  });

  it("that the hub refuses is one line, and starts nothing", async () => {
    const closed = { ...place, env: { ...place.env, HF_TOKEN: "" } };
    const { code, errors, stdout } = await malt(closed, ["serve", "--hf", `${repo}@${commit}:other.gguf`]).ended;
    expect([code, stdout]).toEqual([1, ""]);
    expect(errors).toEqual([
      expect.stringMatching(/^malt: the hub does not show .* without a token \(HTTP status 401\)/),
    ]);
  });
});

describe("a model file", () => {
  it("of other bytes is another model: the run is not continued with it", async () => {
    const [one, other] = [join(place.outputs, "one", "m.gguf"), join(place.outputs, "other", "m.gguf")];
    for (const path of [one, other]) {
      await mkdir(join(path, ".."), { recursive: true });
      await copyFile(dataPath("malt-tiny", "malt-tiny.gguf"), path);
    }
    // What lies behind the tensors changes nothing that is computed.
    await appendFile(other, "\0".repeat(32));
    expect(await sampled("from-file", "--model-file", one)).toMatchObject({ code: 0 });
    const before = await manifest("from-file");
    expect(before.config.policy.model).toBe("m");
    expect(before.server.weights).toEqual({ source: one, sha256: sha256(weights) });
    const refused = await sampled("from-file", "--model-file", other);
    expect(refused.code).toBe(1);
    const changed = sha256(await readFile(other));
    expect(refused.errors).toEqual([
      `malt: run "from-file" was started with other parameters (server.weights.sha256: "${sha256(weights)}" → "${changed}"); use them, or another --run name`,
    ]);
    expect(await manifest("from-file")).toEqual(before);
    expect((await sampled("from-file", "--model-file", one)).stdout).toContain("is complete, nothing was asked");
  });

  it("that does not hold the bytes of the profile beside it is refused", async () => {
    const file = dataPath("malt-tiny", "malt-tiny.gguf");
    const { errors } = await malt(place, ["serve", "--profile", "qwen2.5-coder-1.5b-instruct", "--model-file", file])
      .ended;
    expect(errors).toEqual([
      expect.stringMatching(/has SHA-256 [0-9a-f]{64}, but that of qwen2\.5-coder-1\.5b-instruct has cc324af0/),
    ]);
  });
});

describe("flags that contradict each other", () => {
  const run = (command: (program: Command) => void, ...args: string[]) => {
    const program = new Command("malt").exitOverride();
    command(program);
    return program.parseAsync(args, { from: "user" });
  };
  const questions = ["--questions", dataPath("arithmetic", "test.jsonl"), "--limit", "1", "--run", "r"];

  it("are refused, with both of them named", async () => {
    await expect(run(serve, "serve", "--hf", "a/b", "--model-file", "m.gguf")).rejects.toThrow(
      "--model-file and --hf name two models",
    );
    await expect(run(serve, "serve", "--hf", "a/b", "--profile", "vllm")).rejects.toThrow(
      'profile "vllm" has no embedded',
    );
    const both = ["--base-url", "http://127.0.0.1:9", "--model-file", "m.gguf"];
    await expect(run(sample, "sample", ...questions, ...both)).rejects.toThrow("--base-url names a server");
    const { run: name } = await manifest("from-file");
    vi.stubEnv("MALT_OUTPUTS", place.outputs);
    const args = ["--run", name, "--questions", dataPath("arithmetic", "test.jsonl"), "--systems", "SA", ...both];
    await expect(run(evaluate, "evaluate", ...args)).rejects.toThrow("--base-url names a server");
    vi.unstubAllEnvs();
  });
});
