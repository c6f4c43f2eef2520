import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { openJournal } from "../../src/run/journal.js";
import { entry, runFolder } from "./folder.js";

describe("the lock", () => {
  const setUp = () => {
    const run = runFolder();
    return { ...run, lockFile: join(run.dir, "lock") };
  };

  it("lets one writer in, also within one process", async () => {
    const { dir, write } = setUp();
    const journal = await openJournal(dir);
    await expect(openJournal(dir)).rejects.toThrow(`process ${process.pid} is writing this run`);
    await journal.close();
    await write(entry("one"));
  });

  it("of a living process is respected, of a dead one taken over", async () => {
    const { dir, write, lockFile } = setUp();
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)"]);
    await writeFile(lockFile, JSON.stringify({ pid: child.pid, host: hostname(), started: null }));
    await expect(openJournal(dir)).rejects.toThrow(`process ${child.pid} is writing this run`);
    child.kill("SIGKILL");
    await once(child, "exit");
    await write(entry("one"));
    await expect(readFile(lockFile)).rejects.toThrow("ENOENT");
  });

  it("of an earlier process with the number of a living one is taken over", async () => {
    const { write, read, lockFile } = setUp();
    for (const pid of [process.pid, process.ppid]) {
      await writeFile(lockFile, JSON.stringify({ pid, host: hostname(), started: "1" }));
      await write(entry(`by ${pid}`));
    }
    expect(await read()).toHaveLength(2);
  });

  it.runIf(existsSync("/proc/self/stat"))("of a killed process that nobody has waited for is taken over", async () => {
    const { write, lockFile } = setUp();
    // The shell becomes a program that never waits for the child it has started.
    const parent = spawn("sh", ["-c", "sleep 1000 & echo $!; exec sleep 1000"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const pid = Number(await once(parent.stdout, "data"));
    const stat = async () => (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
    const started = (await stat())[19];
    await writeFile(lockFile, JSON.stringify({ pid, host: hostname(), started }));
    await expect(write(entry("one"))).rejects.toThrow(`process ${pid} is writing this run`);
    process.kill(pid, "SIGKILL");
    while ((await stat())[0] !== "Z") await setImmediate();
    await write(entry("one"));
    parent.kill("SIGKILL");
  });

  it("of another machine is respected, since nobody here can tell", async () => {
    const { dir, lockFile } = setUp();
    await writeFile(lockFile, JSON.stringify({ pid: 1, host: "elsewhere", started: "1" }));
    await expect(openJournal(dir)).rejects.toThrow(/process 1 on elsewhere.*remove .*lock if it is gone/);
  });

  it("cut off while it was written is taken over", async () => {
    const { write, read, lockFile } = setUp();
    await write(entry("one"));
    await writeFile(lockFile, '{"p');
    await write(entry("two"));
    expect(await read()).toHaveLength(2);
  });
});
