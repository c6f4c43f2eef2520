// `node scripts/try-containers.mjs [docker devcontainer binder]`: takes the very steps of the Dockerfile, of .devcontainer/
// and of binder/ in a clean clone of what is committed, with an empty home, and asks the JupyterLab that they start for
// the TypeScript kernel and for the result of a cell. It stands in for building the images where there is no Docker; run
// it in a bare Debian 12 with Node.js and the packages of the Dockerfile's first stage, not as root. Each takes minutes.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const root = dirname(import.meta.dirname);
const read = (folder, path) => readFileSync(join(folder, path), "utf8");

/** How each sets up and starts JupyterLab: shell commands, the last of which stays. */
const ways = {
  docker(folder) {
    const lines = read(folder, "Dockerfile").replace(/\\\n/g, " ").split("\n");
    const stage = lines.slice(lines.findLastIndex((line) => line.startsWith("FROM ")));
    const run = stage.filter((line) => line.startsWith("RUN ") && !line.includes("chown")).map((line) => line.slice(4));
    const command = JSON.parse(stage.find((line) => line.startsWith("CMD ")).slice(4));
    return { steps: [...run, `exec ${command.join(" ")}`] };
  },
  devcontainer(folder) {
    const { onCreateCommand, postAttachCommand } = JSON.parse(read(folder, ".devcontainer/devcontainer.json"));
    return { steps: [onCreateCommand, `exec ${postAttachCommand}`], path: join(folder, ".venv", "bin") };
  },
  binder(folder, home) {
    // Binder has a JupyterLab of its own, in an environment that is not the project's.
    const hub = join(home, "hub");
    const own = [`python3 -m venv ${hub}`, `${hub}/bin/pip install --quiet --no-cache-dir jupyterlab`];
    const lab = "binder/start jupyter lab --ip=127.0.0.1 --port=8888 --no-browser";
    return { steps: [...own, "binder/postBuild", `exec ${lab}`], path: join(hub, "bin"), env: { REPO_DIR: folder } };
  },
};

async function attempt(name) {
  const place = mkdtempSync(join(tmpdir(), `malt-${name}-`));
  const [folder, home] = [join(place, "malt-notebooks"), join(place, "home")];
  mkdirSync(home);
  execFileSync("git", ["clone", "--quiet", "--no-hardlinks", root, folder]);
  const { steps, path, env } = ways[name](folder, home);
  // Only how this machine reaches the package registries is passed on.
  const network = Object.entries(process.env).filter(([key]) => /proxy|cert|ca_bundle/i.test(key));
  const PATH = [path, dirname(process.execPath), "/usr/bin:/bin"].filter(Boolean).join(":");
  const options = { cwd: folder, env: { ...Object.fromEntries(network), HOME: home, PATH, LANG: "C.UTF-8", ...env } };
  for (const step of steps.slice(0, -1)) {
    console.log(`${name}: ${step}`);
    execFileSync("sh", ["-c", step], { ...options, stdio: ["ignore", "inherit", "inherit"] });
  }
  console.log(`${name}: ${steps.at(-1)}`);
  const stdio = ["ignore", "pipe", "pipe"];
  const lab = spawn("sh", ["-c", steps.at(-1)], { ...options, stdio, detached: true });
  const ended = once(lab, "exit");
  try {
    const url = await address(lab);
    console.log(`${name}: ${await ask(url, folder)}`);
  } finally {
    if (lab.exitCode === null) process.kill(-lab.pid, "SIGTERM");
    await ended;
    rmSync(place, { recursive: true, force: true });
  }
}

/** The link that JupyterLab prints for the user. */
function address(lab) {
  let said = "";
  return new Promise((found, fail) => {
    const look = (text) => {
      said += text;
      const link = /http:\/\/127\.0\.0\.1:\d+\/\S*token=\w+/.exec(said);
      if (link) found(new URL(link[0]));
    };
    for (const output of [lab.stdout, lab.stderr]) output.setEncoding("utf8").on("data", look);
    lab.on("close", () => fail(new Error(`JupyterLab has ended:\n${said}`)));
  });
}

/** Which kernels JupyterLab offers, and what a cell that uses the package prints. */
async function ask({ origin, searchParams }, folder) {
  const token = searchParams.get("token");
  const headers = { authorization: `token ${token}` };
  const get = async (path, init = {}) => (await fetch(`${origin}/api/${path}`, { headers, ...init })).json();
  const page = await fetch(`${origin}/lab/tree/notebooks/00-quickstart.ipynb?token=${token}`);
  if (!page.ok) throw new Error(`JupyterLab's page answered with ${page.status}`);
  const { kernelspecs } = await get("kernelspecs");
  const kernel = await get("kernels", { method: "POST", body: JSON.stringify({ name: "tslab", path: "notebooks" }) });
  if (!kernel.id) throw new Error(`no TypeScript kernel among ${Object.keys(kernelspecs)}: ${JSON.stringify(kernel)}`);
  const { WebSocket } = await import(pathToFileURL(join(folder, "node_modules/undici/index.js")).href);
  const socket = new WebSocket(`${origin.replace("http", "ws")}/api/kernels/${kernel.id}/channels?token=${token}`);
  await once(socket, "open");
  const code = `import { openRun } from "malt-notebooks";
const run = await openRun(null);
console.log((await run.nodes()).length, "outputs of", run.manifest.config.policy.model);`;
  const header = { msg_id: "1", username: "", session: "1", msg_type: "execute_request", version: "5.3", date: "" };
  const content = { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false };
  const request = { header, content, channel: "shell", parent_header: {}, metadata: {}, buffers: [] };
  const said = new Promise((done, fail) => {
    socket.addEventListener("message", ({ data }) => {
      const { msg_type, content } = JSON.parse(data);
      if (msg_type === "stream") (content.name === "stdout" ? done : fail)(content.text.trim());
    });
  });
  socket.send(JSON.stringify(request));
  const printed = await said;
  socket.close();
  return `JupyterLab has the kernels ${Object.keys(kernelspecs).sort().join(", ")}; a cell printed: ${printed}`;
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(ways);
const unknown = wanted.filter((name) => !(name in ways));
if (unknown.length > 0)
  throw new Error(`no way named ${unknown.join(", ")}; there are ${Object.keys(ways).join(", ")}`);
for (const name of wanted) await attempt(name);
