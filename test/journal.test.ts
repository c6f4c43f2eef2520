import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RunError } from "../src/errors.js";
import { openJournal, readJournal } from "../src/journal.js";
import type { JournalEntry } from "../src/types.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "malt-journal-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const file = () => join(dir, "journal", "completions.jsonl");
const entry = (key: string, text = `text of ${key}`): JournalEntry => ({
  key,
  question_id: "q",
  node_id: "g0",
  role: "generator",
  seed: 1,
  model: "fake",
  text,
  finish_reason: "stop",
  prompt_tokens: 3,
  completion_tokens: null,
  retries: 0,
});
const read = async () => {
  const entries: JournalEntry[] = [];
  for await (const entry of readJournal(dir)) entries.push(entry);
  return entries;
};
const write = async (...entries: JournalEntry[]) => {
  const journal = await openJournal(dir);
  await journal.append(entries);
  await journal.close();
};

describe("the journal", () => {
  it("keeps any text, to the character", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: "binary" }), { maxLength: 8 }), async (texts) => {
        await rm(join(dir, "journal"), { recursive: true, force: true });
        const entries = ["\u2028\u2029\r\n\t\0 \ud800", ...texts].map((text, i) => entry(`k${i}`, text));
        await write(...entries);
        expect(await read()).toEqual(entries);
      }),
      { numRuns: 30 },
    );
  });

  it("is on disk when append resolves, many at once included", async () => {
    const journal = await openJournal(dir);
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        await journal.append([entry(`a${i}`), entry(`b${i}`)]);
        const text = await readFile(file(), "utf8");
        expect(text).toContain(`"key":"a${i}"`);
        expect(text).toContain(`"key":"b${i}"`);
      }),
    );
    await journal.close();
    expect(await read()).toHaveLength(100);
  });

  it("gives back what had finished before, and lets the first of a key stand", async () => {
    await write(entry("one", "first"));
    const journal = await openJournal(dir);
    expect(journal.get("one")?.text).toBe("first");
    expect(journal.get("two")).toBeUndefined();
    await journal.append([entry("one", "second"), entry("two")]);
    await journal.close();
    await appendFile(file(), `${JSON.stringify(entry("two", "again"))}\n`);
    expect((await read()).map(({ text }) => text)).toEqual(["first", "text of two"]);
  });

  it("repairs a last line that was cut off at any byte, and loses no other", async () => {
    await write(entry("one"), entry("two", "zwei Äpfel\u2028"));
    const whole = await readFile(file());
    const first = whole.indexOf(10) + 1;
    for (let size = 0; size <= whole.length; size++) {
      await writeFile(file(), whole.subarray(0, size));
      const kept = size === whole.length ? ["one", "two"] : size >= first ? ["one"] : [];
      expect((await read()).map(({ key }) => key)).toEqual(kept);
      await write(entry("new"));
      expect((await read()).map(({ key }) => key)).toEqual([...kept, "new"]);
    }
  });

  it("refuses to go on over a damaged line, naming file and line", async () => {
    await write(entry("one"), entry("two"), entry("three"));
    const lines = (await readFile(file(), "utf8")).split("\n");
    for (const damage of ["\0\0\0", '{"key":"two"}', lines[1]!.slice(0, -5)]) {
      await writeFile(file(), lines.with(1, damage).join("\n"));
      await expect(openJournal(dir)).rejects.toThrow(`${file()}, line 2 is not a journal entry`);
      await expect(read()).rejects.toBeInstanceOf(RunError);
    }
    // The failed opening holds no lock.
    await writeFile(file(), lines.join("\n"));
    await write(entry("four"));
  });

  it("reports what the file system says", async () => {
    await mkdir(file(), { recursive: true });
    await expect(openJournal(dir)).rejects.toThrow(/cannot open the journal in .*EISDIR/);
    await writeFile(join(dir, "no-folder"), "");
    await expect(openJournal(join(dir, "no-folder"))).rejects.toThrow(RunError);
  });

  it("of a run that was never sampled is an error", async () => {
    await expect(read()).rejects.toThrow(/no journal in .*; sample the run first/);
  });
});

describe("the lock", () => {
  const lockFile = () => join(dir, "lock");

  it("lets one writer in, also within one process", async () => {
    const journal = await openJournal(dir);
    await expect(openJournal(dir)).rejects.toThrow(`process ${process.pid} is writing this run`);
    await journal.close();
    await write(entry("one"));
  });

  it("of a living process is respected, of a dead one taken over", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)"]);
    await writeFile(lockFile(), JSON.stringify({ pid: child.pid, host: hostname(), started: null }));
    await expect(openJournal(dir)).rejects.toThrow(`process ${child.pid} is writing this run`);
    child.kill("SIGKILL");
    await once(child, "exit");
    await write(entry("one"));
    await expect(readFile(lockFile())).rejects.toThrow("ENOENT");
  });

  it("of an earlier process with the number of a living one is taken over", async () => {
    for (const pid of [process.pid, process.ppid]) {
      await writeFile(lockFile(), JSON.stringify({ pid, host: hostname(), started: "1" }));
      await write(entry(`by ${pid}`));
    }
    expect(await read()).toHaveLength(2);
  });

  it("of another machine is respected, since nobody here can tell", async () => {
    await writeFile(lockFile(), JSON.stringify({ pid: 1, host: "elsewhere", started: "1" }));
    await expect(openJournal(dir)).rejects.toThrow(/process 1 on elsewhere.*remove .*lock if it is gone/);
  });

  it("cut off while it was written is taken over", async () => {
    await write(entry("one"));
    await writeFile(lockFile(), '{"pid":');
    await truncate(lockFile(), 3);
    await write(entry("two"));
    expect(await read()).toHaveLength(2);
  });
});
