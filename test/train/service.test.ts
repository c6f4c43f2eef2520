import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { trainByService } from "../../src/cli/train-service.js";
import { InputError, RefusedError } from "../../src/errors.js";
import { fineTuningService } from "../../src/policy/fine-tuning.js";
import { readManifest } from "../../src/run/manifest.js";
import { plannedTraining } from "../../src/train/planned.js";
import { cancelOnService, type ServiceOptions, trainOnService } from "../../src/train/service.js";
import { serviceDoubts, serviceJobs } from "../../src/train/service-jobs.js";
import { readServiceState, serviceStatePath } from "../../src/train/service-state.js";
import type { TrainingEvent } from "../../src/train/status.js";
import { files, malt, type Workplace } from "../failures/malt.js";
import { type StandIn, type StandInOptions, standIn } from "./fine-tuning-service.js";
import { trainingRun } from "./run.js";

const key = "sk-canary-0123456789abcdef";
const settings = { sftEpochs: 3, dpoEpochs: 2 };
let outputs: string;
let dir: string;
let at: StandIn;
let notes: string[];
let events: TrainingEvent[];

beforeEach(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-service-"));
  dir = await trainingRun(outputs, "r");
  [notes, events] = [[], []];
});
afterEach(async () => {
  await at?.stop();
  // Whatever happened, nothing that was asked breaks the documentation, and the key is nowhere.
  expect(at.violations).toEqual([]);
  for (const [path, text] of await files(outputs)) expect(text, path).not.toContain(key);
  expect(notes.join("\n")).not.toContain(key);
  await rm(outputs, { recursive: true, force: true });
});

const serve = async (options: StandInOptions = {}) => {
  at = await standIn(key, options);
};
const jobsOf = async (changes: Partial<Parameters<typeof plannedTraining>[0]> = {}) =>
  serviceJobs(
    "r",
    await plannedTraining({ run: "r", outputs, heldOut: [], settings, stages: ["sft", "dpo"], ...changes }),
    0.1,
  );
const train = async (changes: Partial<ServiceOptions> = {}, apiKey = key) => {
  const service = fineTuningService({ baseURL: at.baseURL, apiKey, sleep: async () => {} });
  return trainOnService({
    ...{ run: "r", dir, service, model: "base-model", jobs: await jobsOf(), seed: 7, sleep: async () => {} },
    onEvent: (event) => events.push(event),
    onNote: (text) => notes.push(text),
    ...changes,
  });
};
const asked = (what: string) => at.requests.filter((each) => each === what).length;
const of = (stage: string) => at.jobs.find(({ request }) => request.metadata.malt_stage === stage)!;

describe("training by a service", () => {
  it("sends each file once, a job a stage with the paper's numbers, and starts DPO from what SFT has made", async () => {
    await serve();
    const state = await train({ jobs: await jobsOf({ stages: ["sft", "dpo", "star"] }) });
    expect(Object.keys(state.stages)).toHaveLength(7);
    expect([...at.files.values()].map(({ name }) => name.replace(/-[0-9a-f]{12}/, "")).sort()).toEqual([
      "r-generator-sft.jsonl",
      "r-refiner-dpo.jsonl",
      "r-refiner-sft.jsonl",
      "r-verifier-dpo.jsonl",
      "r-verifier-sft.jsonl",
    ]);
    const [sft, dpo, star] = ["verifier-sft", "verifier-dpo", "verifier-star"].map(of);
    expect(sft!.request).toMatchObject({
      model: "base-model",
      seed: 7,
      suffix: "malt-r-verifier-sft",
      method: {
        type: "supervised",
        supervised: { hyperparameters: { n_epochs: 3, batch_size: 8, learning_rate_multiplier: 0.1 } },
      },
    });
    expect(dpo!.request).toMatchObject({
      model: sft!.fine_tuned_model,
      method: {
        type: "dpo",
        dpo: { hyperparameters: { n_epochs: 2, batch_size: 8, learning_rate_multiplier: 0.1, beta: 0.2 } },
      },
    });
    // 27 steps of 5 a pass are 5 passes.
    expect(star!.request).toMatchObject({
      model: sft!.fine_tuned_model,
      method: { supervised: { hyperparameters: { n_epochs: 5 } } },
    });
    expect(state.stages["verifier-dpo"]).toMatchObject({
      status: "succeeded",
      fine_tuned_model: dpo!.fine_tuned_model,
      trained_tokens: 1234,
      checkpoints: [{ step: 5, model: `${dpo!.fine_tuned_model}:ckpt-step-5` }],
    });
    expect((await readManifest(dir)).training_service).toMatchObject({ stages: { "verifier-dpo": { job: dpo!.id } } });
    const steps = events.filter((event) => event.event === "step" && event.stage === "verifier-dpo");
    expect(steps).toMatchObject([{ step: 2, steps: 9, loss: 0.5, seconds: 2, seconds_left: 98 }, { step: 3 }]);
    for (const state of ["validating files", "queued", "running", "succeeded"])
      expect(notes).toContain(`verifier-sft: ${state}`);

    // Once more: everything is there already.
    const before = at.requests.length;
    events = [];
    await train({ jobs: await jobsOf({ stages: ["sft", "dpo", "star"] }) });
    expect(at.requests.length).toBe(before);
    expect(events.map(({ event }) => event)).toEqual(Array(7).fill("skip"));
  });

  it("finds files and jobs again whose answer was lost, and creates nothing twice", async () => {
    // The answer to every first creation of its kind is lost after the work was done, once by a cut, once by HTTP 500.
    const lost = new Set<string>();
    await serve({
      fault: (method, path) => {
        if (method !== "POST" || lost.has(path)) return undefined;
        lost.add(path);
        return path === "/files" ? { when: "after" } : { when: "after", status: 500 };
      },
    });
    await train();
    expect(lost.size).toBe(2);
    expect(at.files.size).toBe(5);
    expect(at.jobs).toHaveLength(5);
  });

  it.each([
    "POST /files",
    "POST /fine_tuning/jobs",
    "GET /fine_tuning/jobs/ftjob-0",
    "GET /fine_tuning/jobs/ftjob-3/events",
  ])("goes on after a process that died at %s, with the same files and jobs", async (where) => {
    let isDead = false;
    await serve({
      fault: (method, path) => {
        if (isDead || `${method} ${path}` !== where) return undefined;
        isDead = true;
        return { when: "after", status: 401, body: { error: { message: "as if the process had died here" } } };
      },
    });
    await expect(train()).rejects.toThrow("died here");
    const state = await train();
    expect(Object.values(state.stages).map(({ status }) => status)).toEqual(Array(5).fill("succeeded"));
    expect(at.files.size).toBe(5);
    expect(at.jobs).toHaveLength(5);
    expect(asked("POST /fine_tuning/jobs")).toBe(5);
  });

  it("tells a failed job in the service's words, does not begin what follows it, and begins it anew when asked again", async () => {
    const error = {
      code: "invalid_training_file",
      message: `The job failed due to an unsafe training file (${key}).`,
      param: "training_file",
    };
    let isBad = true;
    await serve({
      error,
      states: ({ metadata }) =>
        isBad && metadata.malt_stage === "verifier-sft" ? ["queued", "failed"] : ["running", "succeeded"],
    });
    await expect(train()).rejects.toThrow(
      /job ftjob-1 of verifier-sft failed \(invalid_training_file: The job failed due to an unsafe training file \(\*\*\*\)\.\); not begun: verifier-dpo; the same command/,
    );
    expect((await readServiceState(dir))!.stages["refiner-dpo"]!.status).toBe("succeeded");
    isBad = false;
    const state = await train();
    expect(state.stages["verifier-dpo"]!.status).toBe("succeeded");
    expect(at.files.size).toBe(5);
    // One more than there are stages.
    expect(at.jobs).toHaveLength(6);
  });

  it("is cancelled by --stop, and says so where somebody else cancels a job", async () => {
    await serve({ states: () => Array(99).fill("running") });
    const service = fineTuningService({ baseURL: at.baseURL, apiKey: key, sleep: async () => {} });
    let looks = 0;
    const sleep = async () => {
      if (++looks === 2)
        expect(await cancelOnService(dir, service)).toEqual(["generator-sft", "verifier-sft", "refiner-sft"]);
    };
    await expect(train({ sleep })).rejects.toThrow(
      /job ftjob-0 of generator-sft cancelled, .*not begun: verifier-dpo, refiner-dpo/,
    );
    expect(await cancelOnService(dir, service)).toEqual([]);
  });

  it("leaves the jobs at work when it is interrupted, and follows them without creating any", async () => {
    await serve();
    const stop = new AbortController();
    await train({ signal: stop.signal, sleep: async () => stop.abort() });
    expect(at.jobs.map(({ status }) => status)).toEqual(Array(3).fill("validating_files"));
    const state = await train({ jobs: [] });
    expect(at.jobs).toHaveLength(3);
    expect(Object.values(state.stages).map(({ status }) => status)).toEqual(Array(3).fill("succeeded"));
  });

  it("waits as long as it is told to, and asks again when the connection or the service fails", async () => {
    const waits: number[] = [];
    await serve({
      fault: (_, path, ordinal) => {
        if (ordinal === 0) return { when: "before", status: 429, headers: { "retry-after": "7" } };
        // Between them it is asked whether the file is there.
        if (ordinal === 2) return { when: "before", status: 503 };
        if (path.endsWith("ftjob-1") && ordinal < 40) return { when: "before" };
        return undefined;
      },
    });
    const service = fineTuningService({ baseURL: at.baseURL, apiKey: key, sleep: async (ms) => waits.push(ms) });
    const state = await train({ service });
    expect(waits.slice(0, 2)).toEqual([7000, 2000]);
    expect(notes.join("\n")).toMatch(/verifier-sft: no answer from http.*looking again until it answers/);
    expect(Object.values(state.stages).every(({ status }) => status === "succeeded")).toBe(true);
  });

  it.each([
    [401, { error: { message: "no" } }, /HTTP 401.*set OPENAI_API_KEY to a key this service accepts/],
    [403, { error: { message: "no access" } }, /a key that may fine-tune this model/],
    [404, { error: { message: "no such page" } }, /whether this service offers fine-tuning/],
    [
      429,
      { error: { message: "You exceeded your current quota", code: "insufficient_quota" } },
      /pay for more at the service/,
    ],
    [
      400,
      { error: { message: "model x is not available for fine-tuning" } },
      /not available for fine-tuning; change what it names/,
    ],
  ])("says what to do where the service refuses with HTTP %i, and does not ask again", async (status, body, words) => {
    await serve({ fault: (method) => (method === "POST" ? { when: "before", status, body } : undefined) });
    const error = await train().catch((cause) => cause);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error.message).toMatch(words);
    expect(at.requests).toEqual(["POST /files"]);
  });

  it("is not confused by an answer that is none, and keeps to one service", async () => {
    await serve({
      fault: (method) => (method === "POST" ? { when: "before", status: 200, body: { id: 5 } } : undefined),
    });
    await expect(train()).rejects.toThrow(/not what the API documents \(id: .*"id":5/);
    await writeFile(serviceStatePath(dir), "{");
    await expect(train()).rejects.toThrow(/service\.json is damaged; look up the jobs/);
    const other = { schema: 1, service: "https://elsewhere/v1", stages: {}, earlier: [] };
    await writeFile(serviceStatePath(dir), JSON.stringify(other));
    await expect(train()).rejects.toThrow(/jobs are at https:\/\/elsewhere\/v1: give it with --base-url/);
  });

  it("keeps the models of earlier settings on record", async () => {
    await serve();
    await train({ jobs: await jobsOf({ stages: ["sft"], roles: ["verifier"] }) });
    const state = await train({
      jobs: await jobsOf({ stages: ["sft"], roles: ["verifier"], settings: { sftEpochs: 4 } }),
    });
    expect(at.files.size).toBe(1);
    expect(state.earlier).toMatchObject([{ stage: "verifier-sft", fine_tuned_model: at.jobs[0]!.fine_tuned_model }]);
  });
});

describe("jobs of a service", () => {
  it("keep within the bounds that the API documents", async () => {
    await serve();
    await expect(jobsOf({ settings: { sftEpochs: 1.5 } })).rejects.toThrow(InputError);
    await expect(jobsOf({ settings: { sftEpochs: 51 } })).rejects.toThrow(/1 to 50 whole epochs, not 51/);
    await expect(jobsOf({ settings: { beta: 2.5 } })).rejects.toThrow(/β is at most 2, not 2.5/);
    await expect(jobsOf({ settings: { batchSize: 257 } })).rejects.toThrow(/at most 256 rows/);
    const jobs = await jobsOf({ stages: ["star"] });
    expect(serviceDoubts(jobs, 8)).toEqual([
      "verifier-star is planned with 27 steps; whole epochs make 25",
      "refiner-star is planned with 27 steps; whole epochs make 25",
    ]);
  });
});

describe("the command", () => {
  const flags = { run: "r", learningRateMultiplier: 0.1 };
  const options = { run: "r", roles: ["verifier"], stages: ["sft", "dpo"] as const, baseModel: "base-model" };
  let printed: string;
  beforeEach(() => {
    printed = "";
    for (const stream of [process.stdout, process.stderr])
      vi.spyOn(stream, "write").mockImplementation((text) => {
        printed += text;
        return true;
      });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    expect(printed).not.toContain(key);
  });
  const run = async (more: object = {}, apiKey = key) => {
    const env = { MALT_OUTPUTS: outputs, OPENAI_BASE_URL: at.baseURL, OPENAI_API_KEY: apiKey };
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    return trainByService({ ...flags, ...more }, { ...options, outputs });
  };

  it("shows what would be sent and what it costs, and sends nothing without --yes", async () => {
    await serve();
    await expect(run({ price: 3 })).rejects.toThrow("nothing was sent; give --yes");
    expect(at.requests).toEqual([]);
    expect(printed).toContain(`Run "r" would send to ${at.baseURL}: 2 files, `);
    expect(printed).toMatch(
      /verifier-dpo +dpo +model of verifier-sft +r-verifier-dpo-[0-9a-f]{12}\.jsonl +40 +10 +8 +0\.1 +0\.2/,
    );
    await expect(run({}, "")).rejects.toThrow("needs a key; set OPENAI_API_KEY");
    await expect(run({ follow: true })).rejects.toThrow('run "r" has no jobs at a service');
  });

  it("trains with --yes, finds the service again for --follow and --stop, and refuses another's key in its words", async () => {
    await serve({ states: () => ["succeeded"] });
    await run({ yes: true, price: 3 });
    expect(printed).toMatch(/verifier-dpo +ftjob-1 +succeeded +1,234 +0\.00 +ft:/);
    const { baseURL } = at;
    at.baseURL = "";
    await run({ follow: true });
    await run({ stop: true });
    expect(printed).toContain('run "r" has no job at work there');
    at.baseURL = baseURL;
    await rm(serviceStatePath(dir));
    const other = "sk-another-0123456789abc";
    await expect(run({ yes: true }, other)).rejects.toThrow(/HTTP 401 Incorrect API key provided: \*\*\*/);
  });
});

it("`malt train --on openai` is this command", async () => {
  await serve();
  const env = { ...process.env, MALT_OUTPUTS: outputs, OPENAI_BASE_URL: at.baseURL, OPENAI_API_KEY: key };
  const place: Workplace = { outputs, questions: "", env, remove: async () => {} };
  const { code, stdout, stderr } = await malt(place, ["train", "--run", "r", "--on", "openai", "--base-model", "b"])
    .ended;
  expect(code).toBe(1);
  expect(stdout).toContain("model of verifier-sft");
  expect(stderr).toContain("nothing was sent");
  expect(stdout + stderr).not.toContain(key);
});
