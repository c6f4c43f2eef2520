import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openRun } from "../../src/dataset/open.js";
import { tables } from "../../src/dataset/tables.js";
import { inPackage } from "../../src/paths.js";

const folder = mkdtempSync(join(tmpdir(), "malt-lacking-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("what a run lacks", () => {
  it("is nothing of the recorded run", async () => {
    const run = await openRun("data/recorded");
    expect([...run.lacks]).toEqual([]);
    run.close();
  });

  it("is said with the command that makes it, and its tables are empty", async () => {
    const run = await openRun("data/recorded-wide");
    expect([...run.lacks.keys()]).toEqual(["examples", "training", "evaluation"]);
    for (const [part, command] of [
      ["examples", "export"],
      ["training", "train"],
      ["evaluation", "evaluate"],
    ] as const)
      expect(run.lacks.get(part)).toContain(`npx malt ${command} --run wide`);
    for (const [name, columns] of Object.entries(tables).filter(([name]) => !["questions", "nodes"].includes(name))) {
      const found = await run.query<{ column_name: string }>(`DESCRIBE ${name}`);
      expect(found.map(({ column_name }) => column_name)).toEqual(Object.keys(columns));
      expect(await run.query(`SELECT * FROM ${name}`)).toEqual([]);
    }
    await expect(run.evaluation()).rejects.toThrow("npx malt evaluate");
    run.close();
  });

  it("is its texts where an evaluation was recorded without them, and its pairs where there is none", async () => {
    const dir = join(folder, "silent");
    cpSync(inPackage("data", "recorded"), dir, { recursive: true });
    const source = await openRun("data/recorded");
    await source.query(
      `COPY (SELECT * REPLACE (NULL::VARCHAR AS text) FROM evaluation LIMIT 10) TO '${join(dir, "evaluation.parquet")}'`,
    );
    await source.query(`COPY (SELECT * FROM dpo LIMIT 0) TO '${join(dir, "dpo.parquet")}'`);
    source.close();
    const run = await openRun(dir);
    expect([...run.lacks.keys()]).toEqual(["pairs", "texts"]);
    run.close();
  });
});
