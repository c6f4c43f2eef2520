import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fileSha256 } from "../../src/benchmarks/download.js";
import { readManifest, readQuestions } from "../../src/run/manifest.js";
import { malt, type Workplace, workplace } from "../failures/malt.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";

let server: FakeServer;
let place: Workplace;
beforeAll(async () => {
  [server, place] = [await startFakeServer(), await workplace()];
});
afterAll(async () => {
  await server.stop();
  await place.remove();
});

const problem = { problem: "What is 5 + 7?", level: "Level 1", type: "Algebra", solution: "It is $\\boxed{12}$." };

/** Samples and exports one question; what run.json, the dataset card and the report say of it. */
async function said(run: string, questions: string) {
  const commands = [
    ["sample", "--run", run, "--questions", questions, "--base-url", server.baseURL, "--branching", "1"],
    ["export", "--run", run],
    ["report", "--run", run],
  ];
  let last = { stdout: "", stderr: "" };
  let warned = "";
  for (const args of commands) {
    const ended = await malt(place, args).ended;
    expect(ended.code, ended.stderr).toBe(0);
    last = ended;
    warned += ended.stderr;
  }
  const dir = join(place.outputs, "runs", run);
  const card = await readFile(join(dir, "README.md"), "utf8");
  return { dir, card, warned, report: last.stdout, benchmark: (await readManifest(dir)).benchmark };
}

it("a run on the folder of MATH says that its split is the original, in run.json, card and report", async () => {
  const folder = join(place.outputs, "MATH", "train");
  const file = join(folder, "algebra", "1.json");
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify(problem));
  const { dir, card, report, benchmark } = await said("original", folder);
  expect(benchmark).toMatchObject({
    name: "math",
    partition: "original",
    questions: 1,
    sha256: await fileSha256(folder),
  });
  expect(await readQuestions(dir)).toMatchObject([{ id: "train/algebra/1.json", answer: "12" }]);
  for (const text of [card, report])
    expect(text).toContain("original split of 7,500 training and 5,000 test questions");
}, 60_000);

it("a run on PRM800K's file says so, and warns before anything is asked", async () => {
  const file = join(place.outputs, "train.jsonl");
  await writeFile(
    file,
    JSON.stringify({ ...problem, type: undefined, unique_id: "test/algebra/1.json", answer: "12" }),
  );
  const { card, report, benchmark, warned } = await said("prm", file);
  expect(benchmark).toMatchObject({ name: "math", partition: "PRM800K" });
  for (const text of [card, report])
    expect(text).toContain("PRM800K's split of 12,000 training and 500 test questions");
  expect(warned).toMatch(/1 of these 1 questions are for training here and for testing in MATH's original split/);
}, 60_000);
