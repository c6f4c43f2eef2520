import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InputError } from "../src/errors.js";
import { linesOf } from "../src/lines.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "malt-lines-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(content: string | Buffer): Promise<string[]> {
  const path = join(folder, "file");
  await writeFile(path, content);
  const lines: string[] = [];
  for await (const { number, text } of linesOf(path)) lines.push(`${number} ${text}`);
  return lines;
}

describe("lines of a text file", () => {
  const text = "α\n\n{β}";
  const want = ["1 α", "2 ", "3 {β}"];
  it.each([
    ["UTF-8", text],
    ["UTF-8 with a byte order mark", `\ufeff${text}`],
    ["line ends of Windows", text.replaceAll("\n", "\r\n")],
    ["UTF-16, little end first", Buffer.from(`\ufeff${text}`, "utf16le")],
    ["UTF-16, big end first", Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
    ["gzip", gzipSync(`\ufeff${text}`)],
  ])("%s: the same lines", async (_, content) => {
    expect(await read(content)).toEqual(want);
  });

  it("UTF-16 without a mark is told by its zero bytes", async () => {
    expect(await read(Buffer.from("{é}\n", "utf16le"))).toEqual(["1 {é}"]);
    expect(await read(Buffer.from("{é}\n", "utf16le").swap16())).toEqual(["1 {é}"]);
  });

  it("end at line feeds alone, and may be longer than what is read at once", async () => {
    expect(await read("a\u2028b\u0085c\rd\n")).toEqual(["1 a\u2028b\u0085c\rd"]);
    const long = "é".repeat(300_000);
    expect(await read(`x\n${long}\ny`)).toEqual(["1 x", `2 ${long}`, "3 y"]);
    expect(await read("")).toEqual([]);
  });

  it.each([
    ["Latin-1", Buffer.from("a\nb\nß\n", "latin1"), /file line 3: not valid JSON .*UTF-8/],
    ["half a gzip file", gzipSync("abc".repeat(99)).subarray(0, 15), /cannot read ".*file" \(Z_BUF_ERROR\)/],
    ["half a UTF-16 character", Buffer.from([0xff, 0xfe, 0x41]), /cannot read ".*file" \(damaged UTF-16\)/],
  ])("%s is an error", async (_, content, message) => {
    await expect(read(content)).rejects.toThrow(InputError);
    await expect(read(content)).rejects.toThrow(message);
  });

  it("a folder and a missing file are errors", async () => {
    const first = (path: string) => linesOf(path).next();
    await expect(first(folder)).rejects.toThrow(/cannot read .*EISDIR/);
    await expect(first(join(folder, "none"))).rejects.toThrow(/cannot read .*ENOENT/);
  });
});
