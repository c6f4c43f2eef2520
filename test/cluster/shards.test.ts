/** `malt sample --on` as a user runs it; scripts/cluster/run.ts does the same and more at a real sshd, Slurm and Ray. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { exportRun } from "../../src/dataset/export.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { files, folder, malt, sample, type Workplace, workplace } from "../failures/malt.js";
import { startFakeServer } from "../fake-server.js";
import { marked } from "../processes.js";

// Every shard loads the program anew.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

const questions = 6;
const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

async function newPlace(): Promise<Workplace> {
  const place = await workplace(questions);
  cleanUp.push(place.remove);
  return place;
}

/** Every file of the exported run "r" but those that tell how it was sampled: run.json and the journal. */
async function exported(place: Workplace): Promise<Map<string, string>> {
  await exportRun(folder(place));
  const all = [...(await files(folder(place)))].map(
    ([path, bytes]) => [path.slice(folder(place).length + 1), bytes] as const,
  );
  return new Map(all.filter(([path]) => path !== "run.json" && !path.startsWith("journal")));
}

/** What the unsharded run exports. */
let expected: Map<string, string>;
beforeAll(async () => {
  const place = await workplace(questions);
  const fake = await startFakeServer();
  await sample(place, fake.baseURL, ["--model", "fake"]).ended;
  expected = await exported(place);
  await fake.stop();
  await place.remove();
});

it("a shard that is killed is started again, asks for nothing twice but what was in flight, and the run is that of one process", async () => {
  const place = await newPlace();
  const killed: number[] = [];
  let asked = 0;
  const fake = await startFakeServer({
    before: async ({ body: { messages } }) => {
      // Question q of shard 2 of 2 is "q + (12 − q)?" with q odd.
      const q = Number(/(\d+) \+ -?\d+\?/.exec(JSON.stringify(messages))?.[1]);
      if (q % 2 !== 1 || ++asked !== 15) return undefined;
      const shard = join(place.outputs, "jobs/r.sample-2-of-2/sample/runs/r.shard-2-of-2");
      const { pid } = JSON.parse(await readFile(join(shard, "lock"), "utf8"));
      killed.push(pid);
      process.kill(pid, "SIGKILL");
      return undefined;
    },
  });
  cleanUp.push(fake.stop);
  const flags = ["--model", "fake", "--on", "local", "--shards", "2"];
  const { code, stdout, stderr } = await sample(place, fake.baseURL, flags).ended;
  expect(stderr).toMatch(/shard 2: it was killed .*; it is started again/);
  expect(stdout).toContain('merged 2 shards into run "r": 6 questions, 234 completions');
  expect(code).toBe(0);
  expect(killed).toHaveLength(1);
  const repeats = [...fake.asked.values()].reduce((sum, times) => sum + times - 1, 0);
  // Four requests of three choices each.
  expect(repeats).toBeLessThanOrEqual(3 * 4 * 3);
  expect([...(await exported(place))].filter(([name, bytes]) => expected.get(name) !== bytes)).toEqual([]);
  const again = await sample(place, fake.baseURL, flags).ended;
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('run "r" is complete, nothing was asked') });
});

it("--serve starts a server for as long as the sampling lasts; one that does not come up is told", async () => {
  const place = await newPlace();
  const serve = `${process.execPath} --import tsx ${fileURLToPath(new URL("serve-fake.ts", import.meta.url))}`;
  const basics = ["sample", "--questions", place.questions, "--run", "r", "--limit", "1"];
  const broken = await malt(place, [...basics, "--serve", "echo no GPU >&2; exit 3;"]).ended;
  expect(broken.code).toBe(1);
  expect(broken.stderr).toMatch(/no GPU\n(.*\n)*malt: the server has ended before it was ready: echo no GPU/);
  const own = marked();
  const marks = { ...place, env: { ...place.env, ...own.env } };
  const { code, stdout } = await malt(marks, [...basics, "--serve", serve]).ended;
  expect(stdout).toContain("1 questions, 39 completions, 0 failed");
  expect(code).toBe(0);
  expect(await own.left()).toEqual([]);
  // Also where it cannot end the server itself.
  const { child, ended } = malt(marks, [...basics, "--limit", "6", "--run", "s", "--serve", `${serve} --delay 300`]);
  await own.begun(/serve-fake/);
  child.kill("SIGKILL");
  await ended;
  expect(await own.left()).toEqual([]);
});

it("says what is wrong before anything is started", async () => {
  const place = await newPlace();
  const basics = [
    "sample",
    "--questions",
    place.questions,
    "--run",
    "r",
    "--model",
    "fake",
    "--base-url",
    "http://x/v1",
  ];
  const failed = async (...flags: string[]) => (await malt(place, [...basics, ...flags]).ended).errors.at(-1);
  expect(await failed("--on", "gpu1")).toMatch(/--on gpu1 is unknown; it can be local, ssh:/);
  expect(await failed("--shards", "2")).toMatch(/--shards needs --on TARGET/);
  const fake = await startFakeServer();
  cleanUp.push(fake.stop);
  const signal = AbortSignal.abort();
  await sampleRun({
    run: "r",
    outputs: place.outputs,
    questions: [{ id: "a", benchmark: "b", split: "train", question: "?", choices: null, answer: "1" }],
    policy: openaiPolicy({ baseURL: fake.baseURL, apiKey: null }),
    model: "fake",
    signal,
  }).catch(() => {});
  expect(await failed("--on", "local")).toMatch(/run "r" is there and not complete: go on with it by `malt sample`/);
});
