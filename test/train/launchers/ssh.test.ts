/** A real sshd on loopback; the trainer is a stand-in, because these tests are about faults. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startJob } from "../../../src/train/launchers/job.js";
import type { Launcher } from "../../../src/train/launchers/launcher.js";
import { launcherOf } from "../../../src/train/launchers/target.js";
import { bringHome, followTraining, isTraining, startTrainer, stopTrainer } from "../../../src/train/trainer.js";
import { trainingWork } from "../../../src/train/work.js";
import { missingForSsh, type Sshd, startSshd } from "../../cluster/sshd.js";
import { step, workplace } from "./work.js";

const missing = missingForSsh();
if (missing.length > 0)
  console.warn(`skipped: ${missing.join(", ")} not installed (apt-get install openssh-server rsync)`);

/** Goes on when the file is there. */
const until = (file: string) => `while [ ! -e ${file} ]; do sleep 0.05; done`;
const saying = (line: string) => `echo '${line}'`;
const done = (stage: string) => saying(JSON.stringify({ event: "end", state: "done", stage }));

describe.skipIf(missing.length > 0)("over ssh", () => {
  let folder: string;
  let sshd: Sshd;
  const path = process.env.PATH;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "malt-sshd-"));
    sshd = await startSshd(folder);
    process.env.PATH = `${sshd.bin}${delimiter}${path}`;
  });
  // A test that failed may have left it stopped.
  beforeEach(() => sshd.start());
  afterAll(async () => {
    process.env.PATH = path;
    await sshd.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const to = (root: string, host = "gpu"): Launcher => launcherOf(`ssh:${host}:${join(root, "there")}`);

  it("a training outlives its connection, is found again, told once, and its results and nothing else come home", async () => {
    const work = await workplace("");
    const { root, dir, model } = work;
    const go = join(root, "go");
    await writeFile(
      join(root, "python3"),
      `#!/bin/sh
[ "$1" = -c ] && { echo "malt: ready"; exit; }
echo "$MALT_BASE_MODEL $*" >&2
${saying(step("verifier-sft", 1))}
mkdir -p verifier-sft/checkpoint-2; echo there >verifier-sft/done.json; echo 1 >not-ours
${until(go)}
${saying(step("verifier-dpo", 1))}
rmdir verifier-sft/checkpoint-2
${done("verifier-dpo")}
`,
    );
    const told: string[] = [];
    await mkdir(join(dir, "train", "verifier-sft", "checkpoint-1"), { recursive: true });
    await startTrainer(work, to(root), (text) => told.push(text));
    // What leaves this machine is listed, with sizes: no GGUF file, and no file of the run that is not needed.
    expect(told.join()).toMatch(/^copying to gpu, folder .*: 14 files, \d+ kB: train\/verifier-sft\.yaml 0 kB/);
    expect(existsSync(join(root, "there/r/model/model.gguf"))).toBe(false);
    expect(await isTraining(dir)).toBe(true);
    await expect(startTrainer(work, to(root))).rejects.toThrow(/the trainer of "r" is at work on gpu \(process \d+\)/);
    // Who started it may have ended before it could note that: then what is at work there is followed.
    await rm(join(dir, "train", "trainer.json"));
    await startJob(trainingWork(work), to(root), () => {}, true);

    const events: string[] = [];
    const notes: string[] = [];
    const onNote = async (text: string) => {
      notes.push(text);
      if (!/connection/.test(text)) return;
      await sshd.start();
      await writeFile(go, "");
    };
    for await (const { event, stage, step } of followTraining(dir, { onNote })) {
      events.push(`${event} ${stage} ${step}`);
      if (events.length === 1) await sshd.stop();
    }
    expect(events).toEqual(["step verifier-sft 1", "step verifier-dpo 1", "end verifier-dpo 1"]);
    expect(notes).toEqual([
      expect.stringMatching(/^following the trainer on gpu failed: ssh says .*; the work goes on there without/),
      expect.stringMatching(/^connected to gpu again after \d+ s$/),
    ]);
    expect(await readFile(join(dir, "train/verifier-sft/done.json"), "utf8")).toBe("there\n");
    // The folder of the stage is that of the other machine, and no other file came.
    for (const gone of ["verifier-sft/checkpoint-1", "verifier-sft/checkpoint-2", "not-ours"])
      expect(existsSync(join(dir, "train", gone))).toBe(false);
    expect(await readFile(join(dir, "train/trainer.log"), "utf8")).toContain(
      "../model ../python/train.py --jobs 1 verifier-sft.yaml verifier-dpo.yaml",
    );
    // Now it needs the other machine no more.
    await sshd.stop();
    const again: string[] = [];
    for await (const { event } of followTraining(dir)) again.push(event);
    expect(again).toEqual(["step", "step", "end"]);
    expect(await isTraining(dir)).toBe(false);
    await sshd.start();
    expect(model).toBe(work.baseModel);
    await rm(root, { recursive: true, force: true });
  }, 180_000);

  it("one that is killed says so, and what it had saved is brought home before the next start", async () => {
    const work = await workplace(
      `mkdir -p verifier-sft; echo half >verifier-sft/state.json; ${saying(step("verifier-sft", 2))}; kill -9 $$`,
    );
    await startTrainer(work, to(work.root));
    const statuses = [];
    for await (const status of followTraining(work.dir)) statuses.push(status);
    expect(statuses.at(-1)).toMatchObject({
      state: "failed",
      step: 2,
      error: expect.stringContaining("it was killed on gpu"),
    });
    expect(await readFile(join(work.dir, "train/verifier-sft/state.json"), "utf8")).toBe("half\n");

    // Nobody followed this one.
    await startTrainer(work, to(work.root));
    while (await isTraining(work.dir)) await sleep(100);
    await writeFile(join(work.root, "there/r/train/verifier-sft/state.json"), "further\n");
    await bringHome(work.dir);
    expect(await readFile(join(work.dir, "train/verifier-sft/state.json"), "utf8")).toBe("further\n");
    await rm(work.root, { recursive: true, force: true });
  });

  it("is stopped with SIGTERM", async () => {
    const stopped = saying(JSON.stringify({ event: "end", state: "stopped", stage: "verifier-sft" }));
    const work = await workplace(
      `trap '${stopped.replaceAll("'", `'"'"'`)}; exit' TERM\n${saying(step("verifier-sft", 1))}\n${until("never")}`,
    );
    await startTrainer(work, to(work.root));
    expect(await stopTrainer(work.dir)).toBe(true);
    expect(await isTraining(work.dir)).toBe(false);
    expect(await stopTrainer(work.dir)).toBe(false);
    await rm(work.root, { recursive: true, force: true });
  });

  it("says what is wrong and what to do: key, host, address, modules, Python, folder", async () => {
    const work = await workplace("");
    const failing = (launcher: Launcher, change: object = {}) =>
      startTrainer({ ...work, place: { ...work.place, ...change } }, launcher).then(
        () => "no error",
        (error: Error) => error.message,
      );
    expect(await failing(to(work.root, "wrong-key"))).toMatch(
      /ssh says ".*Permission denied.*; try `ssh wrong-key` by hand/,
    );
    expect(await failing(to(work.root, "down"))).toMatch(/ssh says ".*Connection refused"; check that the host is up/);
    expect(await failing(to(work.root, "nowhere.invalid"))).toMatch(
      /Could not resolve hostname.*; check the host's name/,
    );
    const bare = join(work.root, "bare");
    await writeFile(bare, '#!/bin/sh\necho "malt: modules torch trl"\n', { mode: 0o755 });
    expect(await failing(to(work.root), { python: bare })).toMatch(
      /bare on gpu lacks torch, trl; install it there \(pip install/,
    );
    expect(await failing(to(work.root), { python: "/no/python" })).toMatch(
      /\/no\/python does not run on gpu; install Python/,
    );
    expect(await failing(launcherOf("ssh:gpu:/proc/none"))).toMatch(/the folder cannot be made on gpu/);
    expect(await readFile(join(work.dir, "train", "trainer.json"), "utf8").catch(() => null)).toBeNull();
    await rm(work.root, { recursive: true, force: true });
  });
});
