/** What a terminal gets to see of texts that servers and files hold. */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { dataPath } from "../../src/paths.js";
import { type FakeOptions, startFakeServer } from "../fake-server.js";
import { malt, sample, type Workplace, workplace } from "./malt.js";

// Each test starts several processes; on a busy machine one takes seconds to load.
vi.setConfig({ testTimeout: 180_000 });

const attack = "\x1b]0;title\x07\x1b[2J\x1b]8;;http://evil\x1b\\\x1b]52;c;Zg==\x07\u009b2J\u202e\r\nmalt: all is well";
const shown = "\\u001b]0;title\\u0007\\u001b[2J";
const steering = /[^\P{C}\n]|\u2028|\u2029/u;

let place: Workplace;
const cleanUp: (() => Promise<void>)[] = [];
beforeEach(async () => {
  place = await workplace(2);
});
afterEach(async () => {
  for (const step of cleanUp.splice(0)) await step();
  await place.remove();
});

async function server(options: FakeOptions): Promise<string> {
  const fake = await startFakeServer(options);
  cleanUp.push(fake.stop);
  return fake.baseURL;
}

it.each<[string, FakeOptions]>([
  ["an error", { before: () => ({ status: 400, body: JSON.stringify({ error: { message: attack } }) }) }],
  [
    "an error of the model list",
    { modelsFault: { status: 500, body: JSON.stringify({ error: { message: attack } }) } },
  ],
  ["an error page", { before: () => ({ status: 502, type: "text/html", body: attack }) }],
  ["a text in place of a completion", { before: () => ({ status: 200, type: "text/plain", body: attack }) }],
  ["the names of its models", { models: [attack, "other"] }],
])("%s of a server is printed without its control characters, on one line", async (_, options) => {
  const { code, stdout, stderr, errors } = await sample(place, await server(options)).ended;
  expect(code).toBe(1);
  expect(stdout + stderr).not.toMatch(steering);
  expect(errors).toHaveLength(1);
});

it("the words of a server are shown, with the escapes that were in them", async () => {
  const fault = { status: 400, body: JSON.stringify({ error: { message: attack } }) };
  const { errors } = await sample(place, await server({ before: () => fault })).ended;
  expect(errors[0]).toContain(shown);
});

it("names of files, models, roles and benchmarks are printed without their control characters", async () => {
  const name = attack.replaceAll("/", "");
  const missing = await malt(place, ["sample", "--run", "r", "--questions", `${name}.jsonl`]).ended;
  expect(missing.stderr).toContain(shown);
  const unknown = await malt(place, ["sample", `--${name}`]).ended;
  const model = await sample(place, await server({}), ["--model", name]).ended;
  expect(model.stderr).toContain(shown);

  // A run that somebody else has made.
  const dir = join(place.outputs, "runs", "theirs");
  await mkdir(dir, { recursive: true });
  for (const table of ["questions", "nodes", "sft", "dpo", "evaluation"])
    await copyFile(dataPath("recorded", `${table}.parquet`), join(dir, `${table}.parquet`));
  const manifest = JSON.parse(await readFile(dataPath("recorded", "run.json"), "utf8"));
  manifest.config.policy.model = name;
  for (const evaluation of Object.values<{ model: string }>(manifest.evaluation)) evaluation.model = name;
  await writeFile(join(dir, "run.json"), JSON.stringify(manifest));
  const report = await malt(place, ["report", "--run", "theirs"]).ended;
  expect(report.stdout + report.stderr).toContain(shown);

  for (const { stdout, stderr } of [missing, unknown, model, report]) expect(stdout + stderr).not.toMatch(steering);
});

it("verdicts stay JSON of the same content, without control characters", async () => {
  const cases = join(place.outputs, "cases.jsonl");
  const row = { id: attack, gold: "1", pred: `${attack} 1`, input: "raw" };
  await writeFile(cases, `${JSON.stringify(row)}\n`);
  const { code, stdout } = await malt(place, ["grade", "--file", cases]).ended;
  expect(code).toBe(0);
  expect(stdout).not.toMatch(steering);
  expect(JSON.parse(stdout).id).toBe(attack);
});
