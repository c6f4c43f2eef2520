import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { register as evaluate } from "../../src/cli/evaluate.js";
import { register as sample } from "../../src/cli/sample.js";
import { exportRun } from "../../src/dataset/export.js";
import { InputError, RunError } from "../../src/errors.js";
import { hash, readManifest } from "../../src/run/manifest.js";
import { writeTraining } from "../../src/train/write.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";
import { questions, trainingRun } from "../train/run.js";

const outputs = await mkdtemp(join(tmpdir(), "malt-cli-rounds-"));
afterAll(() => rm(outputs, { recursive: true, force: true }));
const file = (name: string) => join(outputs, name);
const lines = (some: readonly object[]) => some.map((one) => `${JSON.stringify(one)}\n`).join("");
await writeFile(
  file("later.jsonl"),
  lines(
    questions.slice(0, 6).map((q) => ({ ...q, id: `later-${q.id}`, question: `Later: ${q.question}`, answer: "12" })),
  ),
);
await writeFile(file("first.jsonl"), lines(questions.map((q) => ({ ...q, split: "validation" }))));

const team = { generator: "generator-sft", verifier: "verifier-dpo", refiner: "refiner-dpo" };
const adapters = [...Object.values(team), "verifier-star", "refiner-star"];
let server: FakeServer;
beforeEach(async () => {
  for (const name of ["OPENAI_BASE_URL", "OPENAI_API_KEY"]) vi.stubEnv(name, "");
  vi.stubEnv("MALT_OUTPUTS", outputs);
  vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
  server = await startFakeServer({ models: ["malt-tiny", ...adapters] });
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await server.stop();
});

async function malt(...args: string[]): Promise<void> {
  const program = new Command("malt");
  for (const register of [sample, evaluate]) register(program);
  await program.parseAsync(args, { from: "user" });
}

/** Puts an adapter into a run, as a trainer leaves it. */
async function put(dir: string, name: string, weights = `${name} of ${dir}`): Promise<void> {
  const stage = join(dir, "train", name);
  await mkdir(stage, { recursive: true });
  await writeFile(join(stage, "adapter_model.safetensors"), weights);
  await writeFile(join(stage, "adapter_config.json"), "{}");
  await writeFile(join(stage, "done.json"), JSON.stringify({ sha256: hash(weights) }));
}
const first = await trainingRun(outputs, "first");
for (const name of adapters) await put(first, name);
const again = ["--questions", file("later.jsonl"), "--adapters", "first"];
const sampled = (run: string, ...more: string[]) =>
  malt("sample", ...again, "--run", run, "--base-url", server.baseURL, ...more);
const manifest = (run: string) => readManifest(join(outputs, "runs", run));

describe("malt sample --adapters", () => {
  it("asks for each role's own model, with the team and the prompts of that run, and records them", async () => {
    await sampled("second", "--branching", "2");
    expect(new Set(server.requests.map(({ body }) => body.model))).toEqual(new Set(Object.values(team)));
    const { config, prompt_set_hash, counts } = await manifest("second");
    expect(counts).toMatchObject({ completions: 6 * (2 + 4 + 8), failed: 0 });
    expect(config.policy).toEqual({ model: "malt-tiny", adapter: null });
    expect(config.adapters).toMatchObject({ run: "first", system: "MALT" });
    expect(Object.entries(config.adapters!.roles).map(([role, { name }]) => [role, name])).toEqual(
      Object.entries(team),
    );
    expect(prompt_set_hash).toBe((await manifest("first")).prompt_set_hash);
    await sampled("starred", "--branching", "1", "--adapters-of", "STaR MA");
    expect((await manifest("starred")).config.adapters!.roles.refiner!.name).toBe("refiner-star");
  });

  it("goes on without asking again, and is refused when the adapters have changed", async () => {
    await sampled("second", "--branching", "2");
    expect(server.requests).toHaveLength(0);
    await put(first, "verifier-dpo", "trained anew");
    await expect(sampled("second", "--branching", "2")).rejects.toThrow(
      /started with other parameters \(adapters\.roles\.verifier\.sha256: "[0-9a-f]{64}" → "[0-9a-f]{64}"\)/,
    );
    await put(first, "verifier-dpo");
  });

  it("is refused for what is not trained, and for names that fit nothing", async () => {
    await expect(sampled("third", "--adapters-of", "SFT MA")).rejects.toThrow(
      /has no trained refiner-sft, verifier-sft/,
    );
    await expect(sampled("third", "--adapters-of", "MA")).rejects.toThrow(/"MA" speaks with the base model/);
    await expect(sampled("third", "--team", "two-verifiers", "--adapters-of", "GPT")).rejects.toThrow(/unknown system/);
    await expect(
      malt("sample", "--questions", file("later.jsonl"), "--run", "x", "--adapters-of", "MALT"),
    ).rejects.toThrow("--adapters-of needs --adapters RUN");
    await expect(
      malt("sample", "--questions", file("later.jsonl"), "--run", "x", "--adapters", "none"),
    ).rejects.toThrow(/no run\.json/);
  });
});

describe("what earlier rounds learned from", () => {
  const ask = (run: string) =>
    malt("evaluate", "--run", run, "--questions", file("first.jsonl"), "--systems", "SA", "--base-url", server.baseURL);

  it("is never taken for unseen, in evaluation and in training", async () => {
    await sampled("second", "--branching", "2");
    await expect(ask("second")).rejects.toThrow(/question "sum-0" of the run has the id of a held-out question/);
    await exportRun(join(outputs, "runs", "second"));
    const training = { run: "second", outputs, heldOut: [file("first.jsonl")] };
    await expect(writeTraining("trl", file("written"), training)).rejects.toThrow(/has the id of a held-out question/);
  });

  it("must be known: the run of an earlier round cannot be missing", async () => {
    const place = join(outputs, "runs", "elsewhere");
    await rename(first, place);
    const error = await ask("second").catch((reason) => reason);
    await rename(place, first);
    expect(error).toBeInstanceOf(RunError);
    expect(error.message).toMatch(
      /learned from the questions of run "first", and there is no run in .*first; put it back/,
    );
  });
});

describe("training that goes on from the sampled adapters", () => {
  it("starts each role from the adapter it spoke with, which is copied beside the stages", async () => {
    await sampled("second", "--branching", "2");
    await exportRun(join(outputs, "runs", "second"));
    const card = await readFile(join(outputs, "runs", "second", "README.md"), "utf8");
    expect(card).toContain("| model | `malt-tiny`, with the adapters of MALT of run `first`: round 2 |");
    const what = { run: "second", outputs, stages: ["sft"], roles: ["generator", "refiner"] } as const;
    const { plan, files } = await writeTraining("trl", file("on"), { ...what, startFrom: "sampled", heldOut: [] });
    expect(plan.map(({ name, start }) => [name, start])).toEqual([
      ["generator-sft", "generator-sampled"],
      ["refiner-sft", "refiner-sampled"],
    ]);
    expect(files).toContain(join("refiner-sampled", "adapter_model.safetensors"));
    expect(await readFile(join(file("on"), "refiner-sampled", "adapter_model.safetensors"), "utf8")).toBe(
      `refiner-dpo of ${first}`,
    );
    const yaml = await readFile(join(file("on"), "generator-sft.yaml"), "utf8");
    expect(yaml).toMatch(/^start_adapter: generator-sampled$/m);
    expect(yaml).not.toMatch(/use_peft/);
    const fresh = await writeTraining("trl", file("fresh"), { ...what, heldOut: [] });
    expect(fresh.plan.map(({ start }) => start)).toEqual([null, null]);
    expect(existsSync(join(file("fresh"), "refiner-sampled"))).toBe(false);
  });

  it("is refused where there is nothing to go on from, or it has changed", async () => {
    const from = (run: string) =>
      writeTraining("trl", file("no"), { run, outputs, startFrom: "sampled", stages: ["sft"], heldOut: [] });
    await expect(from("first")).rejects.toThrow(/run "first" was sampled from the base model/);
    await expect(from("first")).rejects.toThrow(InputError);
    await put(first, "generator-sft", "trained anew");
    await expect(from("second")).rejects.toThrow(/was sampled with generator-sft of run "first" .* now has another/);
    await put(first, "generator-sft");
  });
});
