/** `local`: the trainer as a process of this machine, in a session of its own, that may outlive the one that started it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { endWithThis } from "../../child.js";
import { withoutKey } from "../../environment.js";
import { InputError, RunError } from "../../errors.js";
import { cachePath, python, pythonScript } from "../../paths.js";
import { parseEvent } from "../status.js";
import { eventFile, type Job, type Launcher, logFile, trainerArguments, type Work } from "./launcher.js";
import { tail } from "./tail.js";

/** Milliseconds between two reads of the files. */
const every = 250;

const trainDir = (dir: string) => join(dir, "train");

export const local: Launcher = {
  target: "local",
  place: "this machine",
  stageIn: null,
  collect: null,
  submit,
  isWorking: alive,
  follow,
  async cancel(_, { pid }) {
    try {
      process.kill(pid as number, "SIGTERM");
    } catch (error) {
      // It has just ended by itself.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  },
  killCommand: ({ pid }) => `kill -9 ${pid}`,
};

/** Starts python/train.py so that neither Ctrl-C nor a kernel's end reaches it. @throws RunError if Python cannot be started */
async function submit(work: Work): Promise<Job> {
  const { dir, outlives, baseModel, place } = work;
  if (place.setup !== undefined || place.jobFlags.length > 0)
    throw new InputError("--setup and --job-flags are for targets such as slurm; --on local takes neither");
  await mkdir(trainDir(dir), { recursive: true });
  const [out, err] = await Promise.all([eventFile, logFile].map((name) => open(join(trainDir(dir), name), "w")));
  try {
    const env = withoutKey(
      // A base model in a folder needs no hub, and without a network a request to one would only delay the start.
      existsSync(baseModel) ? { HF_HUB_OFFLINE: "1", HF_HOME: cachePath("huggingface") } : {},
    );
    const files = trainerArguments(work, `${trainDir(dir)}/`);
    const args = [pythonScript("train.py"), ...(outlives ? [] : ["--tied"]), ...files];
    // Its stdin closes with this process, however that ends.
    const stdin = outlives ? "ignore" : "pipe";
    const stdio = [stdin, out!.fd, err!.fd] as const;
    const child = spawn(place.python ?? python, args, { cwd: trainDir(dir), detached: true, stdio: [...stdio], env });
    await once(child, "spawn").catch((error: Error) => {
      throw new RunError(`the trainer cannot be started (${error.message}); run \`npm run setup\` first`, {
        cause: error,
      });
    });
    child.unref();
    if (!outlives) endWithThis(child);
    return { pid: child.pid!, host: hostname() };
  } finally {
    await Promise.all([out!.close(), err!.close()]);
  }
}

/** @throws RunError if it was started on another machine, whose processes cannot be seen from here, and has not ended */
async function alive(dir: string, { pid, host }: Job): Promise<boolean> {
  if (host !== hostname()) {
    const lines = await tail(join(trainDir(dir), eventFile))();
    if (parseEvent(lines.at(-1) ?? "")?.event === "end") return false;
    throw new RunError(
      `${dir} is being trained on ${host} (process ${pid}); wait for it, or remove ${join(trainDir(dir), "trainer.json")} ` +
        "if it is gone",
    );
  }
  // Where there is /proc it also tells our trainer from a later process of the same number, and from a zombie, which
  // has no command line.
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => null);
  if (command !== null) return command.includes("train.py") && command.includes(trainDir(dir));
  if (existsSync("/proc/self")) return false;
  try {
    process.kill(pid as number, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function* follow(dir: string, job: Job, signal?: AbortSignal) {
  const news = tail(join(trainDir(dir), eventFile));
  for (;;) {
    // Checked before reading: then everything it wrote before it ended is in the file.
    const working = await alive(dir, job);
    for (const line of await news()) yield { line };
    if (!working || signal?.aborted) return "it was killed (by hand, or for want of memory)";
    await sleep(every, undefined, { signal }).catch(() => {});
  }
}
