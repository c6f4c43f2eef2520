/** Sharded evaluation of the embedded model: its tables are those of an unsharded one, byte by byte. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadQuestions } from "../../src/benchmarks/load.js";
import { evaluateRun, evaluateShard } from "../../src/evaluate/evaluate.js";
import type { EvaluateOptions } from "../../src/evaluate/sampling.js";
import { type EmbeddedServer, startServer } from "../../src/models/embedded.js";
import { arithmetic } from "../../src/paths.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { readManifest } from "../../src/run/manifest.js";
import { findSystems } from "../../src/team/systems.js";
import { trainingRun } from "../train/run.js";

let server: EmbeddedServer;
let outputs: string;
beforeAll(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-evaluate-shards-"));
  server = await startServer({ model: "tiny" });
}, 600_000);
afterAll(async () => {
  await server.stop();
  await rm(outputs, { recursive: true, force: true });
});

it("an evaluation takes over what shards have, asks for nothing twice, and writes what an unsharded one writes", async () => {
  const policy = openaiPolicy(server);
  const questions = await loadQuestions(arithmetic.test, { limit: 4 });
  // The third one's votes depend on the tokens of all questions.
  const systems = findSystems(["SA", "MA+MV", "SA+MV equal tokens to MA+MV"]);
  const sampling = { temperature: 0.3, max_tokens: 80 };
  const options = (run: string): EvaluateOptions => ({
    ...{ run, outputs, questions, systems, policy, sampling, size: 3, seeds: [0], concurrency: 16 },
  });
  const [whole, sharded] = await Promise.all(["whole", "sharded"].map((run) => trainingRun(outputs, run)));
  const { sampled: all } = await evaluateRun(options("whole"));

  const first = await evaluateShard(options("sharded"), { index: 1, of: 2 });
  const second = await evaluateShard(options("sharded"), { index: 2, of: 2 });
  expect(first.dir).toBe(join(sharded!, "evaluation/shard-1-of-2"));
  expect((await evaluateShard(options("sharded"), { index: 2, of: 2 })).sampled).toBe(0);
  const { sampled: rest } = await evaluateRun(options("sharded"));
  // Only the votes beyond those that the third system started with were left.
  expect(first.sampled + second.sampled + rest).toBe(all);
  expect(rest).toBeLessThan(all / 3);
  for (const name of ["evaluation.parquet", "evaluation_questions.parquet"])
    expect((await readFile(join(sharded!, name))).equals(await readFile(join(whole!, name))), name).toBe(true);
  expect((await evaluateRun(options("sharded"))).sampled).toBe(0);
  const section = (await readManifest(sharded!)).evaluation!.arithmetic as { server: object };
  expect(section.server).toMatchObject({ owner: "llamacpp" });
}, 600_000);
