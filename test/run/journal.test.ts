import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RunError } from "../../src/errors.js";
import { type Journal, openJournal, openJournalReader } from "../../src/run/journal.js";
import { encode } from "../../src/run/line.js";
import { collectOffsets, offsetsOf } from "../../src/run/offsets.js";
import { scan } from "../../src/run/reader.js";
import type { JournalEntry } from "../../src/types.js";
import { entry, lines, oldLine, runFolder } from "./folder.js";

/** Texts and ids that JSON lines could trip over. */
const nasty = ["\u2028\u2029\r\n\t\0 \ud800", '","question_id":"x","crc":"00000000"}', "\\", "ä", ""];

async function withJournal(dir: string, action: (journal: Journal) => Promise<unknown>): Promise<void> {
  const journal = await openJournal(dir);
  try {
    await action(journal);
  } finally {
    await journal.close();
  }
}

describe("the journal", () => {
  it("keeps any text, to the character", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: "binary" }), { maxLength: 8 }), async (texts) => {
        const { dir, read, write } = runFolder();
        const entries = [...nasty, ...texts].map((text, i) => entry(`k${i}`, { text, question_id: text }));
        await write(...entries);
        expect(await read()).toEqual(entries);
        await withJournal(dir, async (journal) => {
          for (const { question_id } of entries)
            expect(await journal.kept(question_id)).toEqual(entries.filter((e) => e.question_id === question_id));
        });
      }),
      { numRuns: 30 },
    );
  });

  it("is on disk when append resolves, many at once included", async () => {
    const { dir, file, read } = runFolder();
    await withJournal(dir, (journal) =>
      Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          await journal.append([entry(`a${i}`), entry(`b${i}`)]);
          const text = await readFile(file, "utf8");
          expect(text).toContain(`"key":"a${i}"`);
          expect(text).toContain(`"key":"b${i}"`);
        }),
      ),
    );
    expect(await read()).toHaveLength(100);
  });

  it("gives back what had finished before, and not what was appended since", async () => {
    const { dir, write, keys } = runFolder();
    await write(entry("one"), entry("other", { question_id: "r" }));
    await withJournal(dir, async (journal) => {
      await journal.append([entry("two")]);
      expect(await journal.kept("q")).toEqual([entry("one")]);
      expect(await journal.kept("nobody's")).toEqual([]);
      expect(journal).toMatchObject({ completions: 2, damaged: 0 });
    });
    expect(await keys()).toEqual(["one", "other", "two"]);
  });

  it("lets the first of a key stand", async () => {
    const { dir, file, write } = runFolder();
    await write(entry("one", { text: "first" }));
    await appendFile(file, lines(entry("one", { text: "second" })));
    await withJournal(dir, async (journal) =>
      expect((await journal.kept("q")).map(({ text }) => text)).toEqual(["first"]),
    );
  });

  it("ends each line with a checksum over the rest, which anybody can check", async () => {
    const { write, text } = runFolder();
    await write(entry("one", { text: "ä\u2028" }));
    const line = (await text("completions.jsonl")).slice(0, -1);
    const { crc, ...rest } = JSON.parse(line) as JournalEntry & { crc: string };
    expect(line).toBe(`${JSON.stringify(rest).slice(0, -1)},"crc":"${crc}"}`);
    expect(Number.parseInt(crc, 16)).toBe(crc32(JSON.stringify(rest)));
  });

  it("reads and goes on with a journal from before there were checksums", async () => {
    const old = [entry("one", { text: nasty[0]! }), entry("two", { question_id: "ä" })];
    const { write, read } = runFolder({ "completions.jsonl": old.map(oldLine).join("") });
    expect(await read()).toEqual(old);
    expect(await write(entry("three"))).toBe(0);
    expect(await read()).toEqual([...old, entry("three")]);
  });

  it("reads lines longer than what it reads at a time", async () => {
    const long = [3_000_000, 70_000, 1, 200_000].map((n, i) => entry(`k${i}`, { text: "ab".repeat(n) }));
    const { dir, write, read } = runFolder();
    await write(...long);
    expect(await read()).toEqual(long);
    await withJournal(dir, async (journal) => expect(await journal.kept("q")).toEqual(long));
  });

  it("may consist of several files, read by name; only completions.jsonl is added to", async () => {
    const shards = { "a.jsonl": lines(entry("a")), "z.jsonl": lines(entry("z"), entry("y", { question_id: "r" })) };
    const { dir, write, keys, text } = runFolder({ ...shards, "b.txt": "no line of the journal" });
    await write(entry("m"));
    expect(await keys()).toEqual(["a", "m", "z", "y"]);
    await withJournal(dir, async (journal) => {
      expect((await journal.kept("q")).map(({ key }) => key)).toEqual(["a", "m", "z"]);
      expect((await journal.kept("r")).map(({ key }) => key)).toEqual(["y"]);
    });
    for (const [name, content] of Object.entries(shards)) expect(await text(name)).toBe(content);
  });

  it("of a run that was never sampled is an error", async () => {
    const { dir, read } = runFolder();
    await expect(read()).rejects.toThrow(/no journal in .*; sample the run first/);
    await expect(openJournalReader(dir)).rejects.toThrow(/no journal in .*; sample the run first/);
  });

  it("reports what the file system says", async () => {
    const { dir, file } = runFolder();
    await mkdir(file, { recursive: true });
    await expect(openJournal(dir)).rejects.toThrow(/cannot open the journal in .*EISDIR/);
    await expect(openJournalReader(dir)).rejects.toThrow(/cannot read the journal in .*EISDIR/);
    await writeFile(join(dir, "no-folder"), "");
    await expect(openJournal(join(dir, "no-folder"))).rejects.toThrow(RunError);
  });
});

describe("entries of one question", () => {
  const ids = fc.constantFrom("q1", "q2", 'q"\\3', "ä4", "q 5");
  const written = fc.record({
    entry: fc
      .record({ key: fc.nat({ max: 30 }), question_id: ids, text: fc.string({ unit: "binary" }) })
      .map(({ key, ...rest }) => entry(`${key} ${rest.question_id}`, rest)),
    file: fc.constantFrom("a.jsonl", "completions.jsonl", "x.jsonl"),
    old: fc.boolean(),
  });

  it("are those that a plain filter of the whole journal finds, whatever was discarded", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(written, { maxLength: 40 }), fc.infiniteStream(fc.boolean()), async (all, coins) => {
        const { dir, put, read } = runFolder();
        const content: Record<string, string> = { "completions.jsonl": "" };
        for (const { entry, file, old } of all)
          content[file] = (content[file] ?? "") + (old ? oldLine(entry) : encode(entry));
        for (const [name, text] of Object.entries(content)) put(name, text);
        const plain = async (id: string) => {
          const first = new Map<string, JournalEntry>();
          for (const e of await read()) if (e.question_id === id && !first.has(e.key)) first.set(e.key, e);
          return [...first.values()];
        };
        const asked = [...new Set(all.map(({ entry }) => entry.question_id))];
        const discarded = (await read()).filter(() => coins.next().value);
        await withJournal(dir, async (journal) => {
          for (const id of asked) expect(await journal.kept(id)).toEqual(await plain(id));
          await journal.discard(discarded);
          expect(await read()).toHaveLength(all.length - discarded.length);
          for (const id of asked) expect(await journal.kept(id)).toEqual(await plain(id));
        });
        const reader = await openJournalReader(dir);
        for (const id of asked) expect(await reader.kept(id)).toEqual(await plain(id));
        await reader.close();
      }),
      { numRuns: 60 },
    );
  });

  it("are told from those of a question with the same hash", async () => {
    const seen = new Map<number, string>();
    let twins: string[] = [];
    for (let i = 0; twins.length === 0; i++) {
      // Ids that differ in few bits have different checksums.
      const id = `${i} ${i * 2654435761}`;
      const hash = crc32(id) >>> 8;
      if (seen.has(hash)) twins = [seen.get(hash)!, id];
      seen.set(hash, id);
    }
    const { dir, write } = runFolder();
    await write(...["a", "b", "c"].flatMap((key) => twins.map((id) => entry(key + id, { question_id: id }))));
    const reader = await openJournalReader(dir);
    for (const id of twins)
      expect((await reader.kept(id)).map(({ key }) => key)).toEqual(["a", "b", "c"].map((key) => key + id));
    await reader.close();
  });

  it("are found by an index of 8 bytes for each, however long they are", async () => {
    const { file, put } = runFolder();
    const all = Array.from({ length: 3000 }, (_, i) =>
      entry(`k${i}`, { question_id: `q${i % 77}`, text: "x".repeat(i) }),
    );
    put("completions.jsonl", lines(...all));
    const { offsets } = await scan(file, () => {});
    expect(offsets.buffer.byteLength).toBe(8 * all.length);
  });

  it("are found in a file of any size up to a terabyte", () => {
    const collected = collectOffsets();
    const places = [0, 5, 2 ** 32, 2 ** 39 + 1, 2 ** 40 - 1];
    for (const at of places.toReversed()) {
      collected.add("q", at);
      collected.add("r", at);
    }
    const offsets = collected.sorted();
    for (const id of ["q", "r"]) expect(offsetsOf(offsets, id)).toEqual(places);
    expect(offsetsOf(offsets, "s")).toEqual([]);
  });
});

describe("a discarded entry", () => {
  it("is skipped by every reader from then on, and stays in the file", async () => {
    const { dir, write, keys, text } = runFolder();
    await write(entry("one"), entry("two"), entry("three"));
    await withJournal(dir, async (journal) => {
      await journal.discard([entry("two")]);
      expect((await journal.kept("q")).map(({ key }) => key)).toEqual(["one", "three"]);
      expect(await keys()).toEqual(["one", "three"]);
    });
    await withJournal(dir, async (journal) => expect(journal.completions).toBe(2));
    expect(await keys()).toEqual(["one", "three"]);
    expect(await text("completions.jsonl")).toBe(lines(entry("one"), entry("two"), entry("three")));
    expect(await text("discarded.txt")).toBe("two\n");
  });

  it("may be sampled again, and then stands", async () => {
    const { dir, read } = runFolder();
    for (const text of ["first", "second", "third"]) {
      await withJournal(dir, async (journal) => {
        await journal.discard(await journal.kept("q"));
        await journal.append([entry("one", { text })]);
      });
      expect((await read()).map((e) => e.text)).toEqual([text]);
    }
  });

  it("whose key was cut off in mid-write still stands, and spoils no later key", async () => {
    const { dir, put, write, keys } = runFolder();
    await write(entry("one"), entry("two"), entry("three"));
    put("discarded.txt", "one\ntw");
    expect(await keys()).toEqual(["two", "three"]);
    await withJournal(dir, (journal) => journal.discard([entry("three")]));
    expect(await keys()).toEqual(["two"]);
  });

  it("is none of the files' lines, so a journal without discards has no file for them", async () => {
    const { dir, write, text } = runFolder();
    await write(entry("one"));
    await withJournal(dir, (journal) => journal.discard([]));
    await expect(text("discarded.txt")).rejects.toThrow("ENOENT");
  });
});
