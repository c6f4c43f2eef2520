import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { questionList } from "../../src/benchmarks/list.js";
import { InputError, RunError, UnreachableError } from "../../src/errors.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { readManifest } from "../../src/run/manifest.js";
import { sampleRun } from "../../src/sample/sample.js";
import { mergeShards, shardOf } from "../../src/sample/shards.js";
import { maltRoles } from "../../src/team/prompts.js";
import { findSystems } from "../../src/team/systems.js";
import type { Question, WeightsFile } from "../../src/types.js";
import { hashes, heldOut, team } from "../team.js";

const outputs = await mkdtemp(join(tmpdir(), "malt-weights-"));
afterAll(() => rm(outputs, { recursive: true, force: true }));

const file = (letter: string, source = `/models/${letter}.gguf`): WeightsFile => ({
  source,
  sha256: letter.repeat(64),
});
const questions = heldOut.map(
  (question): Question => ({
    ...question,
    id: `train ${question.id}`,
    split: "train",
    question: `Seen: ${question.question}`,
  }),
);

/** A server that has read its model from a file, or one elsewhere, of which that is not known. */
const server = (weights?: WeightsFile) => ({ ...team().policy, ...(weights && { weights }) });
const sample = (run: string, weights?: WeightsFile, some = questions) =>
  sampleRun({ run, outputs, questions: some, policy: server(weights), model: "malt-tiny", roles: maltRoles(1) });
const evaluate = (run: string, weights?: WeightsFile) =>
  evaluateRun({
    ...{ run, outputs, questions: heldOut, systems: findSystems(["SA"]), seeds: [0], adapters: hashes() },
    ...{ policy: server(weights) },
  });

describe("the file of a run's model", () => {
  it("is in run.json, and stays there when the run goes on at a server that does not tell", async () => {
    let asked = 0;
    const broken = team({
      complete: (honest) => (request) => (asked++ < 5 ? honest(request) : Promise.reject(new UnreachableError("gone"))),
    });
    const about = { run: "kept", outputs, questions, model: "malt-tiny", roles: maltRoles(1), concurrency: 1 };
    await expect(sampleRun({ ...about, policy: { ...broken.policy, weights: file("a") } })).rejects.toThrow("gone");
    const manifest = await readManifest(join(outputs, "runs", "kept"));
    expect(manifest.server).toEqual({ owner: "fake", build: "1", weights: file("a") });
    expect(manifest.counts).toMatchObject({ ok: 5 });
    const next = await sample("kept");
    expect(next.manifest.counts).toMatchObject({ ok: 18, failed: 0 });
    expect(next.manifest.server.weights).toEqual(file("a"));
    expect((await sample("unknown")).manifest.server).toEqual({ owner: "fake", build: "1" });
    // A run of a server elsewhere may be continued with a file: which one it was is not known.
    expect((await sample("unknown", file("a"))).wasComplete).toBe(true);
  });

  it("of other bytes is another model, of the same bytes elsewhere the same", async () => {
    await sample("identity", file("a"));
    await expect(sample("identity", file("b"))).rejects.toThrow(RunError);
    await expect(sample("identity", file("b"))).rejects.toThrow(
      `server.weights.sha256: "${"a".repeat(64)}" → "${"b".repeat(64)}"`,
    );
    expect((await sample("identity", file("a", "hf://x/y@z/a.gguf"))).wasComplete).toBe(true);
  });

  it("is the same in all shards of a run", async () => {
    const list = await questionList(questions);
    for (const [index, weights] of [file("a"), file("b")].entries()) {
      const part = await shardOf("sharded", list, { index: index + 1, of: 2 });
      await sampleRun({ ...part, outputs, policy: server(weights), model: "malt-tiny", roles: maltRoles(1) });
    }
    await expect(mergeShards({ run: "sharded", outputs })).rejects.toThrow(
      /not shards of the same run .*server\.weights/,
    );
  });
});

describe("an evaluation", () => {
  it("is of the file that was sampled, and records it", async () => {
    await sample("evaluated", file("a"));
    await expect(evaluate("evaluated", file("b"))).rejects.toThrow(InputError);
    await expect(evaluate("evaluated", file("b"))).rejects.toThrow(
      /sampled from \/models\/a\.gguf of SHA-256 a{64}, and the server has read \/models\/b\.gguf of SHA-256 b{64}/,
    );
    const recorded = async () => {
      const { manifest } = await sample("evaluated", file("a"));
      return Object.values(manifest.evaluation!)[0] as { server: object };
    };
    await evaluate("evaluated", file("a"));
    expect((await recorded()).server).toEqual({ owner: "fake", build: "1", weights: file("a") });
    // Nothing is sampled again, so what was recorded stays.
    await evaluate("evaluated");
    expect((await recorded()).server).toEqual({ owner: "fake", build: "1", weights: file("a") });
  });
});
