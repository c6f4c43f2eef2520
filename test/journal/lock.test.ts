import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openJournal } from "../../src/journal.js";
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
