/**
 * Python packages beyond those of the set-up, in groups ("extras" of pyproject.toml) that are installed when something
 * first needs them. What it leaves out: what the packages are used for.
 */
import { existsSync } from "node:fs";
import { execa } from "execa";
import { RunError } from "../errors.js";
import { inPackage, python } from "../paths.js";

/** Told when something takes long, such as a download. */
export type OnStatus = (text: string) => void;

/** Whether the project's Python environment has these modules; none of them is loaded. */
export async function hasModules(...names: readonly string[]): Promise<boolean> {
  if (!existsSync(python)) return false;
  const find = `import importlib.util as u, json, sys; print(all(u.find_spec(name) for name in json.loads(sys.argv[1])))`;
  const { stdout } = await execa(python, ["-c", find, JSON.stringify(names)], { reject: false });
  return stdout?.trim() === "True";
}

/** Installs a group of packages. @throws RunError with the last lines of what was said, if that fails */
export async function installExtra(extra: string): Promise<void> {
  const install = [inPackage("scripts", "setup.mjs"), "--extra", extra];
  const result = await execa(process.execPath, install, { reject: false, all: true });
  if (!result.failed) return;
  const why = result.all?.trim().split("\n").slice(-2).join(" ") || result.shortMessage;
  throw new RunError(
    `Python packages of "${extra}" cannot be installed (${why}); try \`npm run setup -- --extra ${extra}\``,
  );
}
