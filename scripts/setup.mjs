// Brings a fresh clone to the point where everything runs, inside the repo's folder: node_modules/, .venv/, dist/ and
// caches in .cache/. A stamp records for which lock files and versions that was done, so the next call does nothing.
// Plain Node without dependencies: it runs before `npm ci`.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { main, mustRun, SetupError, steps } from "./progress.mjs";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const windows = process.platform === "win32";
const inRoot = (...path) => join(root, ...path);
const stampFile = inRoot(".cache", "setup.json");

/** A program of the project's Python environment. */
export const venv = (program) => inRoot(".venv", windows ? `Scripts/${program}.exe` : `bin/${program}`);

/** Environment for every child process: all caches and all of Jupyter's folders lie in .cache/, none in the home. */
export const environment = {
  ...process.env,
  npm_config_cache: inRoot(".cache", "npm"),
  PIP_CACHE_DIR: inRoot(".cache", "pip"),
  PIP_DISABLE_PIP_VERSION_CHECK: "1",
  UV_CACHE_DIR: inRoot(".cache", "uv"),
  UV_PROJECT_ENVIRONMENT: inRoot(".venv"),
  UV_PYTHON_DOWNLOADS: "never",
  JUPYTER_CONFIG_DIR: inRoot(".cache", "jupyter", "config"),
  JUPYTER_DATA_DIR: inRoot(".cache", "jupyter", "data"),
  JUPYTER_RUNTIME_DIR: inRoot(".cache", "jupyter", "runtime"),
  IPYTHONDIR: inRoot(".cache", "ipython"),
};
const options = { cwd: root, env: environment };

/** Throws a SetupError unless this is Node 20.19 or newer, the first that can `require` the ES modules tslab loads. */
export function checkNode(version = process.versions.node) {
  const [major, minor] = version.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new SetupError(`Node.js ${version} is too old: install Node.js 20.19 or newer from https://nodejs.org`);
  }
}

/**
 * The Python to make .venv with: `MALT_PYTHON` or the first of python3 and python that is 3.10 or newer and can make
 * virtual environments.
 *
 * @throws SetupError with what was found of each candidate
 */
export function findPython() {
  // For a Python in a virtual environment, use its base Python, because .venv itself may be removed and made again.
  const probe = `import importlib.util as u, json, platform, sys
ok = bool(u.find_spec("venv") and u.find_spec("ensurepip"))
print(json.dumps([platform.python_version(), ok, getattr(sys, "_base_executable", sys.executable)]))`;
  // An existing environment is checked first: MALT_PYTHON may have named its Python in an earlier set-up.
  const candidates = process.env.MALT_PYTHON ? [process.env.MALT_PYTHON] : [venv("python"), "python3", "python"];
  const found = [];
  for (const command of candidates) {
    let answer;
    try {
      answer = execFileSync(command, ["-c", probe], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    } catch {
      if (command !== venv("python")) found.push(`${command}: does not run`);
      continue;
    }
    const [version, ok, base] = JSON.parse(answer);
    const [major, minor] = version.split(".").map(Number);
    if (major < 3 || (major === 3 && minor < 10)) found.push(`${command}: ${version} is older than 3.10`);
    else if (!ok) found.push(`${command}: ${version} lacks the venv module (Debian: apt-get install python3-venv)`);
    else return { command: base, version };
  }
  throw new SetupError(
    `no usable Python (${found.join("; ")}): install Python 3.10 or newer, or name one with MALT_PYTHON=/path/to/python3`,
  );
}

/** SHA-256 over files, given from the repo's folder on or absolutely, and words: to notice a change. */
export function fingerprint(files, words) {
  const hash = createHash("sha256").update(JSON.stringify(words));
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(resolve(root, file)));
  return hash.digest("hex");
}

/** All files below a folder of the repo. */
export function sources(folder) {
  return readdirSync(inRoot(folder), { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? sources(`${folder}/${entry.name}`) : `${folder}/${entry.name}`))
    .sort();
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    return {};
  }
}

function writeStamp(change) {
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, `${JSON.stringify({ ...readStamp(), ...change })}\n`);
}

/** The npm that started this process, so that several npm versions on one machine do not mix. */
function npm(args) {
  const self = process.env.npm_execpath;
  if (self?.endsWith(".js") || self?.endsWith(".cjs")) return mustRun(process.execPath, [self, ...args], options);
  return mustRun("npm", args, { ...options, shell: windows });
}

async function makeVenv(python) {
  rmSync(inRoot(".venv"), { recursive: true, force: true });
  await mustRun(python, ["-m", "venv", inRoot(".venv")], options);
  const uv = /\[\[package\]\]\nname = "uv"\nversion = "([^"]+)"/.exec(readFileSync(inRoot("uv.lock"), "utf8"))[1];
  await mustRun(venv("python"), ["-m", "pip", "install", "--quiet", `uv==${uv}`], options);
  return `uv ${uv}`;
}

/**
 * Registers tslab as a Jupyter kernel of .venv alone. tslab also installs a JavaScript kernel, which is not used here.
 */
async function registerKernel() {
  const tslab = inRoot("node_modules", ".bin", windows ? "tslab.cmd" : "tslab");
  const args = [inRoot("node_modules/tslab/bin/tslab"), "install", "--python", venv("python"), "--sys-prefix"];
  await mustRun(process.execPath, [...args, "--binary", tslab], { ...options, stdio: ["ignore", "ignore", "inherit"] });
  rmSync(inRoot(".venv", "share", "jupyter", "kernels", "jslab"), { recursive: true, force: true });
}

/**
 * What has to be done before anything runs: an empty list, only the build, or everything. Each entry is [what, work].
 *
 * @throws SetupError if Node or Python is missing or too old
 */
export function plan({ force = false } = {}) {
  checkNode();
  const python = findPython();
  const versions = [process.version, process.arch, python.version, root];
  const install = fingerprint(["package-lock.json", "uv.lock"], versions);
  const build = fingerprint([...sources("src"), "tsconfig.json", "package-lock.json"], []);
  const stamp = readStamp();
  const present = (...paths) => paths.every((path) => existsSync(path));
  const kernel = inRoot(".venv", "share", "jupyter", "kernels", "tslab", "kernel.json");
  const installed = !force && stamp.install === install && present(venv("uv"), kernel, inRoot("node_modules", "tslab"));
  const built = installed && stamp.build === build && present(inRoot("dist", "cli.js"));

  const todo = [];
  if (!installed) {
    todo.push([`Install npm packages (Node.js ${process.versions.node})`, () => npm(["ci", "--ignore-scripts"])]);
    todo.push([`Make .venv (Python ${python.version})`, () => makeVenv(python.command)]);
    todo.push([
      "Install Python packages: JupyterLab, llama.cpp",
      () => mustRun(venv("uv"), ["sync", "--locked", "--inexact"], options),
    ]);
    todo.push(["Register the TypeScript kernel in .venv", () => registerKernel().then(() => writeStamp({ install }))]);
  }
  if (!built) {
    const compile = () => mustRun(process.execPath, [inRoot("scripts/build.mjs")], options);
    todo.push(["Build src", () => compile().then(() => writeStamp({ build }))]);
  }
  return todo;
}

/** Runs only the set-up, as far as it is needed. */
export async function setUp(settings) {
  const todo = plan(settings);
  if (todo.length === 0) return console.log("Set-up is complete: nothing to do.");
  const step = steps(todo.length);
  for (const [what, work] of todo) await step(what, work);
}

/** Adds an optional group of Python packages of pyproject.toml, such as `smollm2`, `train` or `grader`, to a set-up that is done. */
export function installExtra(name) {
  return mustRun(venv("uv"), ["sync", "--locked", "--inexact", "--extra", name], options);
}

main(import.meta.url, async () => {
  const flag = process.argv.indexOf("--extra");
  if (flag > 0 && !process.argv[flag + 1])
    throw new SetupError("--extra needs a name: smollm2, train, grader, peer or ray");
  await setUp({ force: process.argv.includes("--force") });
  if (flag > 0) await installExtra(process.argv[flag + 1]);
});
