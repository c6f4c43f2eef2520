// Type-checks every notebook against the built package, as strictly as src: jupytext turns each into one TypeScript
// module under .cache/, and the compiler's errors are reported by notebook and cell.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { notebooks } from "./notebooks.mjs";
import { main, SetupError } from "./progress.mjs";
import { environment, root, venv } from "./setup.mjs";

const folder = join(root, ".cache", "typecheck");
const config = {
  extends: "../../tsconfig.json",
  // A notebook is a module even where it imports nothing; its cells are run in order, so top-level await is right.
  compilerOptions: { rootDir: ".", noEmit: true, moduleDetection: "force" },
  include: ["*.ts"],
};

/** `00.ts(33,7): error …` as `notebooks/00.ipynb cell 5 line 2: error …`. */
function locate(message) {
  const match = /^(.*\.ts)\((\d+),\d+\): (.*)$/.exec(message);
  if (!match) return message;
  const [, file, line, what] = match;
  const above = readFileSync(join(folder, basename(file)), "utf8")
    .split("\n")
    .slice(0, Number(line));
  const cells = above.flatMap((text, i) => (text.startsWith("// %%") ? [i + 1] : []));
  return `notebooks/${basename(file, ".ts")}.ipynb cell ${cells.length} line ${Number(line) - cells.at(-1)}: ${what}`;
}

main(import.meta.url, async () => {
  const files = process.argv.length > 2 ? process.argv.slice(2) : notebooks();
  if (files.length === 0) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const options = { cwd: root, env: environment, encoding: "utf8" };
  for (const file of files) {
    const to = ["--to", "ts:percent", "--output", join(folder, basename(file).replace(/\.ipynb$/, ".ts"))];
    const converted = spawnSync(venv("jupytext"), ["--quiet", ...to, file], options);
    if (converted.status !== 0) throw new SetupError(`${file} cannot be converted: ${converted.stderr.trim()}`);
  }
  const tsc = ["node_modules/typescript/bin/tsc", "--pretty", "false", "-p", folder];
  const result = spawnSync(process.execPath, tsc, options);
  if (result.status === 0) return console.log(`${files.length} notebooks are well typed`);
  for (const message of result.stdout.trim().split("\n")) console.error(locate(message));
  process.exitCode = 1;
});
