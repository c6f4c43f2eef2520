import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { describe, expect, it, onTestFinished } from "vitest";
import { openDataset } from "../../src/dataset/export.js";
import { parquetFolder } from "../../src/dataset/parquet.js";
import { json, lineFile } from "../../src/dataset/tables.js";

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), "malt-parquet-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const questions = Array.from({ length: 12_000 }, (_, i) => ({
  ...{ question_id: `q${i}`, benchmark: "own", split: "train", question: `'é' ${"so ".repeat(i % 50)}`, choices: null },
  answer: `${i}`,
}));

async function write(dir: string, rows: readonly object[], partSize?: number): Promise<void> {
  const parquet = await parquetFolder(dir, partSize);
  try {
    const table = parquet.table("questions");
    for (const row of rows) {
      table.writeJson(json(row));
      await table.room();
    }
    await table.finish();
  } finally {
    await parquet.close();
  }
}

async function rowGroups(path: string): Promise<number[]> {
  const database = await DuckDBInstance.create(":memory:");
  const connection = await database.connect();
  const sql = `SELECT any_value(row_group_num_rows) FROM parquet_metadata('${path}') GROUP BY row_group_id ORDER BY row_group_id`;
  const rows = (await connection.runAndReadAll(sql)).getRows();
  connection.closeSync();
  database.closeSync();
  return rows.map(([n]) => Number(n));
}

describe("a table written in parts", () => {
  it("is one file with the same rows in the same order, and nothing is left of the parts", async () => {
    const [whole, parts] = [folder(), folder()];
    await write(whole, questions);
    await write(parts, questions, 200_000);
    for (const dir of [whole, parts]) {
      expect(readdirSync(dir)).toEqual(["questions.parquet"]);
      const data = await openDataset(dir);
      expect(await data.query("SELECT * FROM questions")).toEqual(questions);
      data.close();
    }
  });

  it("has row groups of about the size of a part, so that memory does not depend on how long rows are", async () => {
    const dir = folder();
    const size = questions.map((row) => json(row).length + 1).reduce((a, b) => a + b);
    await write(dir, questions, Math.ceil(size / 5));
    const groups = await rowGroups(join(dir, "questions.parquet"));
    expect(groups.length).toBeGreaterThanOrEqual(5);
    expect(Math.max(...groups)).toBeLessThan(2 * (questions.length / 5));
    await write(dir, questions);
    expect(await rowGroups(join(dir, "questions.parquet"))).toEqual([questions.length]);
  });

  it("has the same bytes each time", async () => {
    const [a, b] = [folder(), folder()];
    await write(a, questions, 300_000);
    await write(b, questions, 300_000);
    const bytes = (dir: string) => readFileSync(join(dir, "questions.parquet"));
    expect(bytes(a).equals(bytes(b))).toBe(true);
  });

  it("may hold a row longer than a part, and none at all", async () => {
    const dir = folder();
    const long = [{ ...questions[0]!, question: "€".repeat(20_000_000) }, questions[1]!];
    await write(dir, long, 1000);
    const data = await openDataset(dir);
    expect(await data.query("SELECT question_id, length(question) AS n FROM questions")).toEqual([
      { question_id: "q0", n: 20_000_000 },
      { question_id: "q1", n: questions[1]!.question.length },
    ]);
    await write(dir, []);
    expect(await data.query("SELECT * FROM questions")).toEqual([]);
    data.close();
  });

  it("says what DuckDB could not read, also when that was an earlier part", async () => {
    const parquet = await parquetFolder(folder(), 1000);
    const table = parquet.table("nodes");
    for (let i = 0; i < 20; i++) table.writeJson(`{"question_id":"q","depth":"${"deep".repeat(20)}"}`);
    await table.room();
    table.writeJson('{"question_id":"q","depth":0}');
    await expect(table.finish()).rejects.toThrow('nodes.0.ndjson", in line 1');
    await parquet.close();
  });
});

describe("a line file", () => {
  it("holds every line, whatever its length and letters", () => {
    const path = join(folder(), "lines.jsonl");
    const file = lineFile(path);
    const letters = ["a", "ü", "€", "😀"];
    const rows = Array.from({ length: 300 }, (_, i) => ({ i, text: letters[i % 4]!.repeat((i * 7919) % 5000) }));
    rows.push({ i: 300, text: "€".repeat(1_000_000) }, { i: 301, text: "" });
    for (const row of rows) file.write(row);
    file.finish();
    const text = readFileSync(path, "utf8");
    expect(text).toBe(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    expect(file.size()).toBe(text.length);
    expect(file.longest()).toBeGreaterThan(3_000_000);
  });

  it("leaves an unfinished file as it is, and may be closed again", () => {
    const path = join(folder(), "lines.jsonl");
    const file = lineFile(path);
    file.write({ a: 1 });
    file.close();
    file.close();
    expect(readFileSync(path, "utf8")).toBe("");
  });
});
