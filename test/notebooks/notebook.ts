/** Makes notebooks for tests and runs them through python/run_notebook.py. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Cell {
  cell_type: "code" | "markdown";
  source: string | string[];
  execution_count?: number | null;
  outputs?: { output_type: string; name?: string; text?: string[]; data?: Record<string, unknown> }[];
  [field: string]: unknown;
}

export interface Notebook {
  cells: Cell[];
  metadata: Record<string, unknown>;
  nbformat: number;
  nbformat_minor: number;
}

/** A code cell as it is before its first execution. */
export function code(source: string, id: string): Cell {
  return { cell_type: "code", id, metadata: {}, execution_count: null, outputs: [], source };
}

export function readNotebook(path: string): Notebook {
  return JSON.parse(readFileSync(path, "utf8")) as Notebook;
}

/** Writes a notebook of code cells to `folder`; returns its path. */
export function writeNotebook(folder: string, name: string, cells: string[]): string {
  const kernelspec = { display_name: "TypeScript", language: "typescript", name: "tslab" };
  const notebook = { cells: cells.map((source, i) => code(source, `cell-${i}`)), metadata: { kernelspec } };
  const path = join(folder, `${name}.ipynb`);
  writeFileSync(path, JSON.stringify({ ...notebook, nbformat: 4, nbformat_minor: 5 }));
  return path;
}

/** Runs a program of .venv at the repo's folder, where imports of the project resolve. */
export function python(...args: string[]) {
  return execa(join(root, ".venv", process.platform === "win32" ? "Scripts/python.exe" : "bin/python"), args, {
    cwd: root,
    reject: false,
    all: true,
    timeout: 110_000,
  });
}

/** Runs a notebook, in test/ unless the options name another folder: exit code 0 is green, 1 red. */
export async function runNotebook(path: string, ...options: string[]): Promise<{ green: boolean; said: string }> {
  const result = await python("python/run_notebook.py", "--cwd", "test", ...options, path);
  if (result.exitCode !== 0 && result.exitCode !== 1) throw new Error(`the runner itself failed:\n${result.all}`);
  return { green: result.exitCode === 0, said: result.all };
}
