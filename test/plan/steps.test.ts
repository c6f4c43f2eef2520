/** Which steps of a study are done; scripts/cluster/run.ts runs whole ones, killed and resumed. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadQuestions } from "../../src/benchmarks/load.js";
import { exportRun } from "../../src/dataset/export.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { inPackage } from "../../src/paths.js";
import { type Experiment, readExperiment } from "../../src/plan/file.js";
import { stepsOf } from "../../src/plan/steps.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { findSystems } from "../../src/team/systems.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";

let outputs: string;
let fake: FakeServer;
let study: Experiment;
beforeAll(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-steps-"));
  fake = await startFakeServer();
  const rows = (prefix: string, first: number) =>
    [0, 1, 2].map((i) =>
      JSON.stringify({ id: `${prefix}${i}`, question: `${first + i} + ${12 - first - i}?`, answer: "12" }),
    );
  const [train, test] = [join(outputs, "train.jsonl"), join(outputs, "test.jsonl")];
  await writeFile(train, rows("q", 0).join("\n"));
  await writeFile(test, rows("t", 5).join("\n"));
  const tiny = await readExperiment(inPackage("studies/paper-tiny.yaml"));
  study = {
    ...tiny,
    model: "fake",
    sample: { ...tiny.sample, questions: train, size: 3 },
    train: { ...tiny.train, stages: [] },
    evaluate: { ...tiny.evaluate, questions: test, systems: ["SA", "MA"], size: 2, seeds: 2 },
  };
});
afterAll(async () => {
  await fake.stop();
  await rm(outputs, { recursive: true, force: true });
});

const done = async (given: Experiment): Promise<string[]> => {
  const names: string[] = [];
  for (const step of stepsOf(given, { isServed: true })) if (await step.isDone(outputs)) names.push(step.name);
  return names;
};

it("a step is done when its result is there, and not when the study asks for another one", async () => {
  const policy = openaiPolicy({ baseURL: fake.baseURL, apiKey: null });
  expect(await done(study)).toEqual([]);
  const { sample, evaluate } = study;
  const sampling = { temperature: sample.temperature, max_tokens: sample.max_tokens };
  const questions = await loadQuestions(sample.questions);
  const { dir } = await sampleRun({ run: study.study, outputs, policy, model: "fake", questions, sampling });
  expect(await done(study)).toEqual(["sample"]);
  await exportRun(dir);
  expect(await done(study)).toEqual(["sample", "export"]);
  await evaluateRun({
    ...{ run: study.study, outputs, policy, systems: findSystems(evaluate.systems), size: 2, seeds: [0, 1] },
    questions: await loadQuestions(evaluate.questions),
  });
  expect(await done(study)).toEqual(["sample", "export", "evaluate"]);
  expect(await done({ ...study, evaluate: { ...evaluate, systems: ["SA", "MA", "debate"] } })).not.toContain(
    "evaluate",
  );
  expect(await done({ ...study, evaluate: { ...evaluate, seeds: 4 } })).not.toContain("evaluate");
  expect(await done({ ...study, sample: { ...sample, temperature: 1 } })).not.toContain("sample");
  expect(await done({ ...study, sample: { ...sample, branching: 2 } })).not.toContain("sample");
});

it("training is a step where there are stages, and what a person adds goes to the steps that need it", () => {
  const flags = {
    ...{ isServed: true, serving: ["--base-url", "http://x/v1"], sampling: ["--on", "slurm", "--shards", "2"] },
    training: ["--on", "slurm"],
  };
  const words = (given: Experiment) => stepsOf(given, flags).map((step) => step.words.join(" "));
  expect(words(study).map((line) => line.split(" ")[0])).toEqual(["sample", "export", "evaluate", "report"]);
  const [sample, , train, evaluate] = words({ ...study, train: { ...study.train, stages: ["sft", "dpo"] } });
  expect(sample).toMatch(/--model fake .*--base-url http:\/\/x\/v1 --on slurm --shards 2$/);
  expect(train).toBe("train --run paper-tiny --profile tiny --stages sft,dpo --epochs 1 --base-model fake --on slurm");
  expect(evaluate).toMatch(/--systems SA,MA --size 2 --seeds 2 --model fake --base-url .* --shards 2$/);
});
