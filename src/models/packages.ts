/**
 * Python packages beyond those of the set-up, in groups ("extras" of pyproject.toml) that are installed when something
 * first needs them. What it leaves out: what the packages are used for.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { execa } from "execa";
import { RunError } from "../errors.js";
import { cachePath, inPackage, python } from "../paths.js";

/** Called with a message when something takes long, such as a download. */
export type OnStatus = (text: string) => void;

/** Whether the project's Python environment has these modules; none of them is loaded. */
export async function hasModules(...names: readonly string[]): Promise<boolean> {
  if (!existsSync(python)) return false;
  const find = `import importlib.util as u, json, sys; print(all(u.find_spec(name) for name in json.loads(sys.argv[1])))`;
  const { stdout } = await execa(python, ["-c", find, JSON.stringify(names)], { reject: false });
  return stdout?.trim() === "True";
}

/**
 * Installs a group of packages, with the installer's output in `.cache/extra-<name>.log`. A file, because a pipe to a busy
 * process fills up, and uv ends with an error when it cannot print.
 * @throws RunError with the last lines of its output, if that fails
 */
export async function installExtra(extra: string): Promise<void> {
  const install = [inPackage("scripts", "setup.mjs"), "--extra", extra];
  await mkdir(cachePath(), { recursive: true });
  const path = cachePath(`extra-${extra}.log`);
  const log = await open(path, "w");
  try {
    // The channel tells the installer when this process has ended: then it ends too.
    const child = spawn(process.execPath, install, { stdio: ["ignore", log.fd, log.fd, "ipc"] });
    const [code] = (await once(child, "close")) as [number | null];
    if (code === 0) return;
    const said = (await readFile(path, "utf8")).trim().split("\n").slice(-2).join(" ");
    throw new RunError(
      `Python packages of "${extra}" cannot be installed (${said || `exit code ${code}`}); ` +
        `try \`npm run setup -- --extra ${extra}\``,
    );
  } finally {
    await log.close();
  }
}
