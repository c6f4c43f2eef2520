import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { code, readNotebook, root, runNotebook, writeNotebook } from "./notebook.js";

const folder = mkdtempSync(join(tmpdir(), "malt-runner-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const first = "const answer = 42;";
const last = 'console.log("after");';

describe("a passing notebook", () => {
  const cells = [first, 'console.warn("UncaughtException: only a word");\nanswer / 2', "", last];

  it("is green, with outputs and execution counts, and console.warn is only output", async () => {
    const path = writeNotebook(folder, "passing", cells);
    const { green, said } = await runNotebook(path, "--out", join(folder, "out"));
    expect(said).toContain("passed");
    expect(green).toBe(true);
    const executed = readNotebook(join(folder, "out", "passing.ipynb"));
    expect(executed.cells.map((cell) => cell.execution_count)).toEqual([1, 2, null, 3]);
    expect(executed.cells[1]!.outputs).toEqual([
      { output_type: "stream", name: "stdout", text: ["21\n"] },
      { output_type: "stream", name: "stderr", text: ["UncaughtException: only a word\n"] },
    ]);
    expect(readNotebook(path).cells[0]!.execution_count).toBe(null);
  });

  it("gives the same bytes each time, in place and as a copy", async () => {
    const path = join(folder, "again.ipynb");
    copyFileSync(join(folder, "out", "passing.ipynb"), path);
    const { green } = await runNotebook(path, "--in-place");
    expect(green).toBe(true);
    expect(readFileSync(path, "utf8")).toBe(readFileSync(join(folder, "out", "passing.ipynb"), "utf8"));
  });
});

describe.concurrent("a failing cell makes the notebook red and is named", () => {
  it.each([
    ["throws", 'throw new Error("boom");', "Error: boom"],
    ["fails-an-assertion", 'import assert from "node:assert";\nassert.equal(answer, 41);', "AssertionError"],
    ["has-a-type-error", "const text: string = answer;", "Type 'number' is not assignable to type 'string'"],
    ["has-a-syntax-error", "const = ;", "expected"],
    ["awaits-a-rejection", 'await Promise.reject(new Error("awaited"));', "Error: awaited"],
    ["leaves-a-rejection", 'Promise.reject(new Error("lost"));\nconsole.log("fine");', "Error: lost"],
    ["throws-in-a-timer", 'setTimeout(() => { throw new Error("late"); }, 1);', "Error: late"],
    ["exits", "process.exit(0);", "the kernel died"],
  ])("%s", async (name, source, reason) => {
    const path = writeNotebook(folder, name, [first, source, last]);
    const { green, said } = await runNotebook(path);
    expect(green).toBe(false);
    expect(said).toContain(`FAILED ${path}, cell 2 of 3: `);
    expect(said).toContain(reason);
    expect(said).not.toContain("[3/3]");
  });

  it("waits for the last cell's timers", async () => {
    const path = writeNotebook(folder, "late", [first, 'setTimeout(() => { throw new Error("late"); }, 600);']);
    const { green, said } = await runNotebook(path);
    expect(green).toBe(false);
    expect(said).toContain("cell 2 of 2: an error was thrown outside the cell's own await");
  });

  it("runs past its time limit", async () => {
    const path = writeNotebook(folder, "endless", [first, "for (;;) {}", last]);
    const { green, said } = await runNotebook(path, "--cell-timeout", "2");
    expect(green).toBe(false);
    expect(said).toContain("cell 2 of 3: the cell ran past its limit of 2 s");
  });

  it("leaves the notebook as it was with --in-place", async () => {
    const path = writeNotebook(folder, "kept", ['throw new Error("boom");']);
    const before = readFileSync(path, "utf8");
    expect((await runNotebook(path, "--in-place")).green).toBe(false);
    expect(readFileSync(path, "utf8")).toBe(before);
  });
});

it("a file that is no notebook is red", async () => {
  const path = join(folder, "broken.ipynb");
  writeFileSync(path, '{"cells": [');
  const { green, said } = await runNotebook(path);
  expect(green).toBe(false);
  expect(said).toContain(`FAILED ${path}: not a notebook`);
});

/** The first and the last of the project's own notebooks, each with one assertion that fails before its first code cell. */
describe.concurrent("the failing twin of a notebook is red", () => {
  const notebooks = readdirSync(join(root, "notebooks")).filter((name) => name.endsWith(".ipynb"));
  it.each([notebooks[0]!, notebooks.at(-1)!])("%s", async (name) => {
    const twin = readNotebook(join(root, "notebooks", name));
    const place = twin.cells.findIndex((cell) => cell.cell_type === "code");
    const source = 'import { strictEqual } from "node:assert";\nstrictEqual("measured", "expected");';
    twin.cells.splice(place, 0, code(source, "failing-twin"));
    const path = join(folder, `twin-${basename(name)}`);
    writeFileSync(path, JSON.stringify(twin));
    const { green, said } = await runNotebook(path, "--cwd", "notebooks");
    expect(green).toBe(false);
    expect(said).toContain(`cell ${place + 1} of ${twin.cells.length}: `);
    expect(said).toContain("AssertionError");
  });
});
