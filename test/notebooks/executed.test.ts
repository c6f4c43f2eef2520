/**
 * Every notebook, executed as it is committed and without the user's own run or server; in the same execution each exercise
 * is answered a second time, by the solution that stands below it.
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { type Cell, code, type Notebook, readNotebook, root, runNotebook } from "./notebook.js";

const folder = mkdtempSync(join(tmpdir(), "malt-solutions-"));
for (const name of ["MALT_RUN", "OPENAI_BASE_URL", "OPENAI_API_KEY"]) vi.stubEnv(name, "");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const textOf = (cell: Cell): string => (Array.isArray(cell.source) ? cell.source.join("") : cell.source);
const printed = (notebook: Notebook): string =>
  notebook.cells.flatMap((cell) => (cell.outputs ?? []).map((output) => output.text?.join("") ?? "")).join("\n");
const title = /^\/\/ (Exercise \d+)$/m;

/** Code of the solutions by exercise: the fenced blocks of the notebook's text that begin with its name. */
function solutionsOf(notebook: Notebook): Map<string, string> {
  const blocks = notebook.cells
    .filter((cell) => cell.cell_type === "markdown")
    .flatMap((cell) => [...textOf(cell).matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1]!));
  return new Map(blocks.flatMap((block) => (title.exec(block) ? [[title.exec(block)![1]!, block]] : [])));
}

const names = readdirSync(join(root, "notebooks")).filter((name) => name.endsWith(".ipynb"));

describe.concurrent.each(names)("%s", (name) => {
  const notebook = readNotebook(join(root, "notebooks", name));
  const exercises = notebook.cells.filter((cell) => cell.cell_type === "code" && title.test(textOf(cell)));
  const solutions = solutionsOf(notebook);

  it("has two to six exercises, each with a solution, and none answered in the committed outputs", () => {
    const labels = exercises.map((cell) => title.exec(textOf(cell))![1]!);
    expect(labels.length).toBeGreaterThanOrEqual(2);
    expect(labels.length).toBeLessThanOrEqual(6);
    expect([...solutions.keys()]).toEqual(labels);
    for (const label of labels) expect(printed(notebook)).toContain(`${label}: not answered yet`);
  });

  it("executes, and takes its solutions as right", async () => {
    const solved = structuredClone(notebook);
    // Below an exercise stands the cell that checks it.
    solved.cells = solved.cells.flatMap((cell, i, cells) => {
      const above = cells[i - 1];
      const label = above?.cell_type === "code" && title.exec(textOf(above))?.[1];
      if (!label) return [cell];
      return [cell, code(solutions.get(label)!, `solution-${i}`), code(textOf(cell), `check-${i}`)];
    });
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify(solved));
    const { green, said } = await runNotebook(path, "--cwd", "notebooks", "--out", join(folder, "out"));
    expect(said).toContain("passed");
    expect(green).toBe(true);
    const output = printed(readNotebook(join(folder, "out", name)));
    for (const label of solutions.keys()) {
      expect(output).toContain(`${label}: not answered yet`);
      expect(output).toContain(`${label}: right`);
    }
  });
});
