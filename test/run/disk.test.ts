import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { RunError } from "../../src/errors.js";
import { openJournal, openJournalReader } from "../../src/run/journal.js";
import { entry, runFolder } from "./folder.js";

const mount = (...args: string[]) => execFileSync("mount", args, { stdio: "ignore" });

/** A file system of 64 KiB, or null where this process may not mount one. */
function smallDisk(): string | null {
  const dir = mkdtempSync(join(tmpdir(), "malt-disk-"));
  try {
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", dir);
    return dir;
  } catch {
    rmSync(dir, { recursive: true });
    return null;
  }
}

it("a disk that is full or read-only stops with advice, and with room again nothing that had finished is lost", async (test) => {
  const dir = smallDisk();
  if (!dir) return test.skip("this process may not mount a file system");
  onTestFinished(() => {
    // Lazily: a test that fails may leave a file of it open.
    execFileSync("umount", ["-l", dir]);
    rmSync(dir, { recursive: true });
  });
  const all = Array.from({ length: 40 }, (_, i) => entry(`k${i}`, { text: "x".repeat(3000) }));
  const finished: string[] = [];
  const journal = await openJournal(dir);
  const appended = await Promise.allSettled(
    all.map(async (e, i) => {
      for (let turn = 0; turn < i; turn++) await journal.append([]);
      await journal.append([e]);
      finished.push(e.key);
    }),
  );
  const errors = appended.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  expect(errors.length).toBeGreaterThan(0);
  for (const error of errors) {
    expect(error).toBeInstanceOf(RunError);
    expect(error.message).toMatch(/cannot write the journal in .*ENOSPC.*make room and run the same command again/);
  }
  // There may be a part of a line in the file, so nothing more is accepted, even with room again.
  mount("-o", "remount,rw,size=1m", dir);
  await expect(journal.append([entry("small")])).rejects.toThrow("ENOSPC");
  await expect(journal.discard([all[0]!])).rejects.toThrow("ENOSPC");
  await journal.close();

  mount("-o", "remount,ro", dir);
  await expect(openJournal(dir)).rejects.toThrow(
    /cannot open the journal in .*EROFS.*make it writable and run the same/,
  );
  mount("-o", "remount,rw", dir);
  const again = await openJournal(dir);
  const kept = (await again.kept("q")).map(({ key }) => key);
  expect(kept).toEqual(expect.arrayContaining(finished));
  expect(again.damaged).toBe(0);
  await again.append(all.filter(({ key }) => !kept.includes(key)));
  await again.close();
  const reader = await openJournalReader(dir);
  const byKey = (await reader.kept("q")).sort((a, b) => Number(a.key.slice(1)) - Number(b.key.slice(1)));
  await reader.close();
  expect(byKey).toEqual(all);
});

it("a folder without permission is an error that says so", async () => {
  const { dir, write } = runFolder();
  await write(entry("one"));
  // The superuser may do everything, so it steps down for a moment.
  const superuser = process.geteuid!() === 0;
  chmodSync(dir, 0o500);
  if (superuser) process.seteuid!(65534);
  const opened = openJournal(dir).finally(() => {
    if (superuser) process.seteuid!(0);
    chmodSync(dir, 0o700);
  });
  await expect(opened).rejects.toThrow(/cannot open the journal in .*EACCES.*make it writable and run the same/);
  await expect(opened).rejects.toBeInstanceOf(RunError);
  expect(await write()).toBe(0);
});

it("kill -9 while many append loses nothing that was reported as finished", async () => {
  const { dir, read, write } = runFolder();
  const program = join(dir, "append.mjs");
  writeFileSync(
    program,
    `import { openJournal } from ${JSON.stringify(pathToFileURL(join(import.meta.dirname, "../../src/run/journal.ts")).href)};
     const journal = await openJournal(${JSON.stringify(dir)});
     let i = journal.completions;
     const work = async () => {
       for (;;) {
         const key = "k" + i++;
         const about = { question_id: "q", node_id: "g0", role: "generator", seed: 1, model: "fake", finish_reason: "stop" };
         const text = key.repeat(500);
         await journal.append([{ key, ...about, text, prompt_tokens: 1, completion_tokens: 1, retries: 0 }]);
         console.log(key);
       }
     };
     await Promise.all(Array.from({ length: 32 }, work));`,
  );
  const finished: string[] = [];
  for (const kills of [100, 37]) {
    const child = spawn(process.execPath, ["--import", "tsx", program], { stdio: ["ignore", "pipe", "inherit"] });
    let acknowledged = 0;
    for await (const key of createInterface({ input: child.stdout })) {
      finished.push(key);
      if (++acknowledged === kills) child.kill("SIGKILL");
    }
    if (child.signalCode === null) await once(child, "exit");
    expect(child.signalCode).toBe("SIGKILL");
    expect(await write()).toBe(0);
  }
  const kept = new Map((await read()).map(({ key, text }) => [key, text]));
  for (const key of finished) expect(kept.get(key)).toBe(key.repeat(500));
});
