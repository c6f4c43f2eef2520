/** `local`: the program as a process of this machine, in a session of its own, that may outlive the one that started it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readlink, realpath } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { endWithThis } from "../../child.js";
import { withKey, withoutKey } from "../../environment.js";
import { InputError, RunError } from "../../errors.js";
import { parseEvent } from "../status.js";
import { type Job, jobFiles, type Launcher, type Work } from "./launcher.js";
import { tail } from "./tail.js";

/** Milliseconds between two reads of the files. */
const every = 250;

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

/** Starts the program so that neither Ctrl-C nor a kernel's end reaches it. @throws RunError if it cannot be started */
async function submit(work: Work): Promise<Job> {
  const { folder, outlives, place, parts } = work;
  if (place.setup !== undefined || place.jobFlags.length > 0)
    throw new InputError("--setup and --job-flags are for targets such as slurm; --on local takes neither");
  await mkdir(folder, { recursive: true });
  const { events, log } = jobFiles(folder);
  const [out, err] = await Promise.all([events, log].map((name) => open(join(folder, name), "w")));
  try {
    const env = (work.keepsKey ? withKey : withoutKey)(work.variables(false));
    const [file, ...words] = work.program(place, false);
    const names = parts.map(({ name }) => name);
    const args = [...words, ...(outlives ? [] : ["--tied"]), ...work.args(place, names, `${folder}/`)];
    // Its stdin closes with this process, however that ends.
    const stdin = outlives ? "ignore" : "pipe";
    const stdio = [stdin, out!.fd, err!.fd] as const;
    const child = spawn(file!, args, { cwd: folder, detached: true, stdio: [...stdio], env });
    await once(child, "spawn").catch((error: Error) => {
      throw new RunError(
        `the ${jobFiles(folder).stem} cannot be started (${error.message}); run \`npm run setup\` first`,
        { cause: error },
      );
    });
    child.unref();
    if (!outlives) endWithThis(child);
    return { pid: child.pid!, host: hostname() };
  } finally {
    await Promise.all([out!.close(), err!.close()]);
  }
}

/** @throws RunError if it was started on another machine, whose processes cannot be seen from here, and has not ended */
async function alive(folder: string, { pid, host }: Job): Promise<boolean> {
  if (host !== hostname()) {
    const lines = await tail(join(folder, jobFiles(folder).events))();
    if (parseEvent(lines.at(-1) ?? "")?.event === "end") return false;
    throw new RunError(
      `${folder} is at work on ${host} (process ${pid}); wait for it, or remove ${join(folder, jobFiles(folder).record)} if it is gone`,
    );
  }
  // Where there is /proc it also tells our program from a later process of the same number, and from a zombie, which works
  // nowhere.
  if (existsSync("/proc/self")) {
    const [cwd, own] = await Promise.all(
      [readlink(`/proc/${pid}/cwd`), realpath(folder)].map((p) => p.catch(() => null)),
    );
    return cwd !== null && cwd === own;
  }
  try {
    process.kill(pid as number, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function* follow(folder: string, job: Job, signal?: AbortSignal) {
  const news = tail(join(folder, jobFiles(folder).events));
  for (;;) {
    // Checked before reading: then everything it wrote before it ended is in the file.
    const working = await alive(folder, job);
    for (const line of await news()) yield { line };
    if (!working || signal?.aborted) return "it was killed (by hand, or for want of memory)";
    await sleep(every, undefined, { signal }).catch(() => {});
  }
}
