/** What is left of a command that is stopped: no process, and a line that says how to go on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { inPackage, root } from "../../src/paths.js";
import { startFakeServer } from "../fake-server.js";
import { marked } from "../processes.js";
import { trainingRun } from "../train/run.js";
import { malt, manifest, sample, type Workplace, workplace } from "./malt.js";

// Each test starts several processes; on a busy machine one takes seconds to load.
vi.setConfig({ testTimeout: 180_000 });

const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
const signals = Object.keys(codes) as (keyof typeof codes)[];
const goOn = "malt: interrupted; what had finished is kept, run the same command again to go on";

let place: Workplace;
let processes: ReturnType<typeof marked>;
const cleanUp: (() => Promise<void>)[] = [];
beforeEach(async () => {
  place = await workplace();
  processes = marked();
  Object.assign(place.env, processes.env);
});
afterEach(async () => {
  for (const step of cleanUp.splice(0)) await step();
  await place.remove();
});

type Started = ReturnType<typeof malt>;
/** Waits until the process has said something. */
const said = ({ child }: Pick<Started, "child">, words: string) =>
  new Promise<void>((done, fail) => {
    let all = "";
    child.stderr!.on("data", (chunk) => {
      all += chunk;
      if (all.includes(words)) done();
    });
    child.once("close", () => fail(new Error(`it never said "${words}" but ${all}`)));
  });
/** Rejects if the process ends, which it should not do by itself. */
const failed = async ({ ended }: Started) => {
  throw new Error(`it ended by itself: ${(await ended).stderr}`);
};
const lastLine = (stderr: string) => stderr.trim().split("\n").at(-1);

/** A server that answers nothing, so that what asks it works until it is stopped. */
async function silentServer() {
  let hear = () => {};
  const heard = new Promise<void>((resolve) => {
    hear = resolve;
  });
  const before = () => {
    hear();
    return new Promise<undefined>(() => {});
  };
  const { baseURL, stop } = await startFakeServer({ models: ["malt-tiny"], before });
  cleanUp.push(stop);
  return { baseURL, heard };
}

/** `malt reproduce` with the embedded server, of questions for longer than a test. */
const reproduce = (more: string[] = []) =>
  malt(place, ["reproduce", "--profile", "tiny", "--no-train", "--run", "r", ...more]);

describe.skipIf(process.platform !== "linux")("nothing is left of", () => {
  it.each(signals)("malt reproduce, sampling, after %s; the same command would go on", async (signal) => {
    const started = reproduce();
    await said(started, "sampling requests");
    expect(processes.alive().join("\n")).toContain("serve.py");
    started.child.kill(signal);
    const { code, stderr } = await started.ended;
    expect([code, lastLine(stderr)]).toEqual([codes[signal], goOn]);
    expect(await processes.left()).toEqual([]);
    const { counts } = await manifest(place);
    expect(counts.ok + counts.failed + counts.pending).toBe(counts.asked);
  });

  it.each(signals)("malt evaluate after %s", async (signal) => {
    await trainingRun(place.outputs, "r");
    const { baseURL, heard } = await silentServer();
    const what = ["--run", "r", "--systems", "SA", "--questions", place.questions, "--size", "1"];
    const started = malt(place, ["evaluate", ...what, "--base-url", baseURL]);
    await Promise.race([heard, failed(started)]);
    started.child.kill(signal);
    const { code, stderr } = await started.ended;
    expect([code, lastLine(stderr)]).toEqual([codes[signal], goOn]);
    expect(await processes.left()).toEqual([]);
  });

  it.each(signals)("malt serve after %s", async (signal) => {
    const started = malt(place, ["serve"]);
    await once(started.child.stdout!, "data");
    started.child.kill(signal);
    const { code, stderr } = await started.ended;
    expect([code, lastLine(stderr)]).toEqual([
      codes[signal],
      "malt: the server is stopped; run the same command again to start it",
    ]);
    expect(await processes.left()).toEqual([]);
  });

  it("a server that is only being loaded", async () => {
    const started = reproduce();
    expect(await processes.begun(/serve\.py/)).toBe(true);
    started.child.kill("SIGTERM");
    const { code, stderr } = await started.ended;
    expect([code, lastLine(stderr)]).toEqual([143, goOn]);
    expect(await processes.left()).toEqual([]);
  });

  it("malt reproduce that is killed with SIGKILL", async () => {
    const started = reproduce();
    await said(started, "sampling requests");
    started.child.kill("SIGKILL");
    expect((await started.ended).signal).toBe("SIGKILL");
    expect(await processes.left()).toEqual([]);
  });

  it("malt reproduce whose output nobody reads any more", async () => {
    // Its own pipe is closed, as by the end of `| less`; progress of a log comes every ten seconds.
    const started = reproduce();
    await said(started, "sampling requests");
    started.ended.catch(() => {});
    started.child.stderr!.destroy();
    const [code] = await once(started.child, "exit");
    expect(code).toBe(141);
    expect(await processes.left()).toEqual([]);
  });

  it.each([...signals, "SIGKILL"] as const)("a script that npm has started, after %s to npm", async (signal) => {
    const progress = JSON.stringify(join(root, "scripts", "progress.mjs"));
    const command = ["--import", "tsx", inPackage("src", "cli.ts"), "reproduce", "--no-train", "--run", "r"];
    const stdio = '["inherit", "inherit", "inherit", "ipc"]';
    await writeFile(
      join(place.outputs, "start.mjs"),
      `import { main, mustRun } from ${progress};
       const options = { cwd: ${JSON.stringify(root)}, stdio: ${stdio}, quiet: true };
       main(import.meta.url, () => mustRun(process.execPath, ${JSON.stringify(command)}, options));`,
    );
    await writeFile(join(place.outputs, "package.json"), '{"scripts":{"start":"exec node start.mjs"}}');
    const options = { cwd: place.outputs, env: place.env, stdio: ["ignore", "pipe", "pipe"] as const };
    const child = spawn("npm", ["start"], { ...options, stdio: ["ignore", "pipe", "pipe"] });
    const stderr = text(child.stderr);
    await said({ child }, "sampling requests");
    child.kill(signal);
    if (signal === "SIGINT") child.kill(signal);
    await once(child, "exit");
    expect(await processes.left()).toEqual([]);
    const lines = (await stderr).trim().split("\n");
    expect(lines).toContain(goOn);
    expect(lines).toContain("stopped; what was done is kept, run the same command again to go on");
    if (signal === "SIGINT" || signal === "SIGTERM") expect(child.exitCode).toBe(codes[signal]);
  });
});

it.skipIf(process.platform !== "linux")(
  "the second Ctrl-C ends it at once, the same one passed on again does not",
  async () => {
    const { baseURL, heard } = await silentServer();
    const started = sample(place, baseURL);
    await Promise.race([heard, failed(started)]);
    // Both at the same time: as from a terminal and from npm.
    started.child.kill("SIGINT");
    started.child.kill("SIGINT");
    expect(await started.ended).toMatchObject({ code: 130, errors: [goOn] });

    // The server that is asked to end has stopped itself, so that ending takes long.
    const serving = malt(place, ["serve"]);
    await once(serving.child.stdout!, "data");
    const [pid] = /\d+/.exec((await readdir(join(place.outputs, "logs")))[0]!)!;
    process.kill(Number(pid), "SIGSTOP");
    // A process at work on another core stops a little later.
    const state = async () => (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]![0];
    while ((await state()) !== "T") await sleep(10);
    serving.child.kill("SIGINT");
    await sleep(700);
    expect(serving.child.exitCode).toBeNull();
    serving.child.kill("SIGINT");
    expect(await serving.ended).toMatchObject({ code: 130, errors: [goOn] });
    expect(await processes.left()).toEqual([]);
  },
);

it("a new run goes on by its name, not with --fresh", async () => {
  const { baseURL, heard } = await silentServer();
  const args = ["reproduce", "--fresh", "--no-train", "--base-url", baseURL, "--questions", place.questions];
  const started = malt(place, args);
  await Promise.race([heard, failed(started)]);
  started.child.kill("SIGINT");
  const { code, stderr } = await started.ended;
  expect(code).toBe(130);
  expect(lastLine(stderr)).toBe(`${goOn}; with --run vllm-questions-200 in place of --fresh`);
});
