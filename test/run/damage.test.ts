import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RunError } from "../../src/errors.js";
import { openJournal, openJournalReader } from "../../src/run/journal.js";
import { decode, encode, questionOf } from "../../src/run/line.js";
import type { JournalEntry } from "../../src/types.js";
import { entry, lines, oldLine, runFolder } from "./folder.js";

/** A line as an earlier version wrote it where a completion ended in no result. */
function ending(entry: JournalEntry, end: string, write: (entry: JournalEntry) => string): string {
  const line = write(entry).replace('"finish_reason":"stop"', `"finish_reason":"${end}"`);
  const json = line.replace(/,"crc":"[0-9a-f]{8}"\}\n$/, "}");
  return json === line ? line : `${json.slice(0, -1)},"crc":"${crc32(json).toString(16).padStart(8, "0")}"}\n`;
}

const trio = [entry("one"), entry("two", { text: "zwei Äpfel\u2028" }), entry("three")];

describe("a last line that was cut off", () => {
  it("at any byte is removed, and no other", async () => {
    const { file, write, keys } = runFolder();
    const whole = Buffer.from(lines(entry("one"), entry("two", { text: "zwei Äpfel\u2028" })));
    const first = whole.indexOf(10) + 1;
    for (let size = 0; size <= whole.length; size++) {
      await writeFile(file, whole.subarray(0, size)).catch(() => write().then(() => writeFile(file, "")));
      const kept = size === whole.length ? ["one", "two"] : size >= first ? ["one"] : [];
      expect(await keys()).toEqual(kept);
      expect(await write(entry("new"))).toBe(0);
      expect(await keys()).toEqual([...kept, "new"]);
    }
  });

  it("is removed from every file of a journal", async () => {
    const { write, keys, text } = runFolder({ "a.jsonl": `${lines(entry("a"))}{"key":"b` });
    await write(entry("c"));
    expect(await keys()).toEqual(["a", "c"]);
    expect(await text("a.jsonl")).toBe(lines(entry("a")));
  });
});

describe("a damaged line", () => {
  it("is recognised by any flipped bit", () => {
    const line = Buffer.from(encode(entry("two", { text: 'zwei "Äpfel"' })).trimEnd());
    expect(decode(line)).toEqual(entry("two", { text: 'zwei "Äpfel"' }));
    for (let bit = 0; bit < 8 * line.length; bit++) {
      const flipped = Buffer.from(line);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect([decode(flipped), questionOf(flipped)]).toEqual([null, null]);
    }
  });

  it("is set aside, counted and asked for again; all others stand", async () => {
    const { dir, file, put, write, keys, text } = runFolder();
    const content = lines(...trio).split("\n");
    for (const damage of ["\0\0\0", "", '{"key":"two"}', content[1]!.slice(0, -5), oldLine(trio[1]!).slice(5, -1)]) {
      put("completions.jsonl", content.with(1, damage).join("\n"));
      put("damaged.txt", "");
      const journal = await openJournal(dir);
      expect(journal).toMatchObject({ damaged: 1, completions: 2 });
      expect(await journal.kept("q")).toEqual([trio[0], trio[2]]);
      await journal.append([trio[1]!]);
      await journal.close();
      expect(await keys()).toEqual(["one", "three", "two"]);
      expect(await text("damaged.txt")).toBe(`completions.jsonl, line 2:\n${damage}\n`);
      expect(await write()).toBe(0);
      expect(await readFile(file, "utf8")).toBe(lines(trio[0]!, trio[2]!, trio[1]!));
    }
  });

  it("may be anywhere: a flipped bit costs the lines it is in, and nothing else", async () => {
    const whole = Buffer.from(lines(...trio));
    const bit = fc.integer({ min: 0, max: 8 * whole.length - 1 });
    await fc.assert(
      fc.asyncProperty(bit, async (bit) => {
        const at = bit >> 3;
        const flipped = Buffer.from(whole);
        flipped[at]! ^= 1 << (bit & 7);
        const { dir, write, read } = runFolder({ "completions.jsonl": flipped });
        // A lost newline joins two lines; that of the last line looks as if it had not been written to its end.
        const last = at === whole.length - 1;
        let end = 0;
        const hit = trio.map((e) => {
          const start = end;
          end += Buffer.byteLength(encode(e));
          return at >= start - 1 && at < end;
        });
        if (!last) await expect(read()).rejects.toThrow(RunError);
        expect((await write()) > 0).toBe(!last);
        expect(await read()).toEqual(trio.filter((_, i) => !hit[i]));
        expect(await openJournalReader(dir).then((kept) => kept.close())).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  it("stops who only reads, naming file and line and what to do", async () => {
    const shard = lines(...trio).split("\n");
    const { dir, path, read } = runFolder({
      "completions.jsonl": lines(entry("good")),
      "shard.jsonl": shard.with(1, shard[1]!.replace("zwei", "drei")).join("\n"),
    });
    const says = new RegExp(
      `^${path("shard.jsonl")}, line 2 is damaged: .*\`malt sample\` command .* asks for it again$`,
    );
    await expect(read()).rejects.toThrow(says);
    await expect(openJournalReader(dir)).rejects.toThrow(says);
    await expect(openJournalReader(dir)).rejects.toBeInstanceOf(RunError);
  });

  it.each(["abort", "error", "", "load"])(
    "is told from a line that ended in %j, which is asked again too",
    async (end) => {
      for (const write of [encode, oldLine]) {
        const bad = ending(trio[1]!, end, write);
        const {
          dir,
          path,
          read,
          write: open,
          keys,
          text,
        } = runFolder({
          "completions.jsonl": `${write(trio[0]!)}${bad}${write(trio[2]!)}`,
        });
        const says = `${path("completions.jsonl")}, line 2 ended in finish_reason "${end}", which is no result`;
        await expect(read()).rejects.toThrow(says);
        await expect(openJournalReader(dir)).rejects.toThrow(says);
        expect(await open()).toBe(1);
        expect(await keys()).toEqual([trio[0]!.key, trio[2]!.key]);
        expect(await text("damaged.txt")).toContain(bad);
      }
      expect(() => encode({ ...trio[1]!, finish_reason: end })).toThrow();
    },
  );

  it.each(["length", "content_filter", "tool_calls", "function_call"])(
    "is none of %s, nor of a text about ends",
    async (end) => {
      const other = { ...trio[1]!, finish_reason: end, text: '","finish_reason":"abort","prompt_tokens":' };
      const { read, write } = runFolder({ "completions.jsonl": lines(trio[0]!, other) });
      expect(await write()).toBe(0);
      expect(await read()).toEqual([trio[0]!, other]);
    },
  );

  it("among lines without checksums is one that has not exactly an entry's fields", async () => {
    const content = trio.map(oldLine);
    for (const damage of [
      content[1]!.replace('"retries"', '"retri3s"'),
      content[1]!.replace('"seed":1', '"seed":"1"'),
      encode(trio[1]!).replace('"crc"', '"brc"'),
    ]) {
      const { write, keys } = runFolder({ "completions.jsonl": content.with(1, damage).join("") });
      expect(await write()).toBe(1);
      expect(await keys()).toEqual(["one", "three"]);
    }
  });

  it("is lost at no moment, wherever a process dies that sets it aside", async () => {
    const bad = `${lines(trio[1]!).slice(0, -9)}\n`;
    const content = lines(trio[0]!) + bad + lines(trio[2]!);
    const report = `completions.jsonl, line 2:\n${bad}`;
    const draft = lines(trio[0]!, trio[2]!);
    const states = [
      ...[0, 10, report.length - 3, report.length].map((n) => [report.slice(0, n), draft.slice(0, n)] as const),
      [report, draft] as const,
    ];
    for (const [written, drafted] of states) {
      const { dir, write, keys, text } = runFolder({
        "completions.jsonl": content,
        "damaged.txt": written,
        "completions.jsonl.draft": drafted,
      });
      expect(await write()).toBe(1);
      expect(await keys()).toEqual(["one", "three"]);
      expect(await text("damaged.txt")).toBe(written + report);
      expect(readdirSync(`${dir}/journal`).sort()).toEqual(["completions.jsonl", "damaged.txt"]);
    }
  });
});
