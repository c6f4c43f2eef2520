// `npm run notebooks [-- FILE.ipynb …]`: executes notebooks through the real kernel and, where every cell passed, writes
// the outputs into the notebook itself: this is how the committed outputs are produced.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { main, run } from "./progress.mjs";
import { environment, root, setUp, venv } from "./setup.mjs";

/** The project's notebooks, in reading order, as paths from the repo's folder. */
export function notebooks() {
  if (!existsSync(join(root, "notebooks"))) return [];
  return readdirSync(join(root, "notebooks"))
    .filter((name) => name.endsWith(".ipynb"))
    .sort()
    .map((name) => `notebooks/${name}`);
}

/** Executes notebooks; resolves to the runner's exit code. `options` are those of python/run_notebook.py. */
export function execute(files, options, env = {}) {
  const args = [join(root, "python", "run_notebook.py"), ...options, ...files];
  return run(venv("python"), args, { cwd: root, env: { ...environment, ...env }, quiet: true });
}

main(import.meta.url, async () => {
  await setUp();
  const given = process.argv.slice(2);
  const inPlace = given.includes("--out") ? [] : ["--in-place"];
  const files = given.some((word) => word.endsWith(".ipynb")) ? [] : notebooks();
  process.exitCode = await execute(files, [...inPlace, ...given]);
});
