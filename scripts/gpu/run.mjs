// The whole loop on one machine with a GPU and without a network: serve a model, sample, train with `--device gpu`,
// serve it with the adapters, evaluate, report, and keep the evidence. See README.md beside this file.
import { once } from "node:events";
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { execa } from "execa";
import { advice, duration, main, SetupError } from "../progress.mjs";
import { root, venv } from "../setup.mjs";
import { servedAs, servers } from "./servers.mjs";
import { epochsFor, evaluationFor, maxTokensFor, trainingPace, treesFor } from "./sizes.mjs";

const help = `node scripts/gpu/run.mjs [options] [-- flags of malt sample, such as --system-message merged]

Serves a model on this machine's GPU, samples, trains, evaluates and reports, within a time limit and without a network.

  --model FOLDER     weights, configuration and tokenizer as transformers reads them (default: data/malt-tiny)
  --questions FILE   training questions (default: data/arithmetic/train.jsonl)
  --test FILE        held-out questions (default: data/arithmetic/test.jsonl)
  --minutes N        time for everything, 2 to 600 (default: 9); how much is sampled, trained and evaluated follows from it
  --limit N          most training questions (default: all that fit)
  --server NAME      ${Object.keys(servers).join(", ")} (default: vllm where it is installed, else transformers);
                     embedded is llama.cpp on the CPU, with data/malt-tiny alone
  --device NAME      gpu or cpu (default: gpu); cpu tries the steps where no GPU is
  --batching         let transformers sample 32 completions at a time, by which no seed holds
  --python FILE      Python that has the server (default: .venv/bin/python, which trains)
  --out FOLDER       new folder for the run and the evidence (default: outputs/gpu/<time>)
  --help`;

const options = {
  model: { type: "string", default: join(root, "data", "malt-tiny") },
  questions: { type: "string", default: join(root, "data", "arithmetic", "train.jsonl") },
  test: { type: "string", default: join(root, "data", "arithmetic", "test.jsonl") },
  minutes: { type: "string", default: "9" },
  limit: { type: "string", default: "1000000" },
  server: { type: "string" },
  device: { type: "string", default: "gpu" },
  batching: { type: "boolean", default: false },
  python: { type: "string", default: venv("python") },
  out: { type: "string" },
  help: { type: "boolean", short: "h" },
};

const systems = "SA,MA,MALT";
/** What MALT is evaluated with: each role after its last stage. */
const wanted = ["generator-sft", "verifier-dpo", "refiner-dpo"];

/** Prints the versions of what is installed, what can be imported, and the GPU, as JSON. */
const probe = `
import importlib.metadata as m, importlib.util as u, json, platform, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
names = ["torch", "transformers", "trl", "peft", "accelerate", "vllm", "fastapi", "uvicorn", "openai", "xllamacpp"]
gpu = None
if u.find_spec("torch"):
    import torch
    if torch.cuda.is_available():
        gpu = {"name": torch.cuda.get_device_name(0), "bytes": torch.cuda.get_device_properties(0).total_memory, "cuda": torch.version.cuda}
print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in names}, "gpu": gpu,
  "missing": [name for name in sys.argv[1:] if not u.find_spec(name)]}))`;

/** What happened: written at the end, whatever that is. */
const evidence = { started: new Date().toISOString(), machine: null, sizes: {}, steps: [] };

main(import.meta.url, async () => {
  const given = settings();
  if (given === null) return console.log(help);
  mkdirSync(given.out, { recursive: true });
  const note = (text) => appendFileSync(join(given.out, "log.txt"), `${text}\n`);
  const say = (text) => {
    console.log(text);
    note(text);
  };
  advice.toGoOn = `and its evidence is in ${given.out}`;
  // However this script ends.
  process.once("exit", (code) => {
    const seconds = (Date.now() - Date.parse(evidence.started)) / 1000;
    writeFileSync(join(given.out, "evidence.json"), `${JSON.stringify({ ...evidence, seconds, code }, null, 1)}\n`);
  });
  await loop(given, say, note);
  say(`\n${duration(Date.now() - Date.parse(evidence.started))} in all; the evidence is in ${given.out}`);
});

/** The options, checked; null where only help is asked for. @throws SetupError */
function settings() {
  let parsed;
  try {
    parsed = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new SetupError(`${error.message} (--help shows the options)`);
  }
  const { values, positionals } = parsed;
  if (values.help) return null;
  const [minutes, limit] = [Number(values.minutes), Number(values.limit)];
  if (!(minutes >= 2 && minutes <= 600)) throw new SetupError(`--minutes must be 2 to 600, not "${values.minutes}"`);
  if (!(Number.isInteger(limit) && limit >= 1))
    throw new SetupError(`--limit must be a whole number ≥ 1, not "${values.limit}"`);
  if (!["gpu", "cpu"].includes(values.device))
    throw new SetupError(`--device must be gpu or cpu, not "${values.device}"`);
  if (values.server !== undefined && !Object.hasOwn(servers, values.server))
    throw new SetupError(`--server must be one of ${Object.keys(servers).join(", ")}, not "${values.server}"`);
  if (values.server === "embedded" && resolve(values.model) !== resolve(options.model.default))
    throw new SetupError(`--server embedded serves data/malt-tiny alone; leave out --model or choose another server`);
  for (const file of [join(values.model, "config.json"), values.questions, values.test])
    if (!existsSync(file)) throw new SetupError(`${file} does not exist; check --model, --questions and --test`);
  if (!existsSync(venv("python")))
    throw new SetupError(
      `there is no Python environment at ${join(root, ".venv")}; run \`npm run setup -- --extra train\`, or without a ` +
        "network link one that has torch, trl and peft there: ln -s \"$(python3 -c 'import sys; print(sys.prefix)')\" .venv",
    );
  const out = resolve(values.out ?? join(root, "outputs", "gpu", evidence.started.replace(/\W/g, "-").toLowerCase()));
  if (existsSync(out)) throw new SetupError(`${out} is there already; give another --out`);
  return { ...values, minutes, limit, out, flags: positionals };
}

async function loop(given, say, note) {
  const { model: folder, questions, test, device, batching, out, flags } = given;
  const seconds = 60 * given.minutes;
  const began = Date.parse(evidence.started);
  const left = () => began / 1000 + seconds - Date.now() / 1000;
  const { server, machine } = await choose(given);
  Object.assign(evidence, { server, machine });
  say(`${server} on ${machine.gpu?.name ?? "the CPU"}; ${given.minutes} minutes; everything goes to ${out}`);

  const own = server === "embedded";
  const context = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")).max_position_embeddings ?? 2048;
  const model = { name: servedAs(folder), folder };
  const malt = process.env.MALT?.split(" ") ?? [process.execPath, join(root, "dist", "cli.js")];
  const env = { MALT_OUTPUTS: out, OPENAI_BASE_URL: "", OPENAI_API_KEY: "" };

  /** Runs one command of malt to its end, with what is left as its time limit. @throws SetupError if it fails */
  const run = async (...args) => {
    const words = args.flat().map(String);
    // Relative to this folder, where it runs, so that the evidence can be repeated elsewhere.
    const shown = `malt ${words.map((word) => quoted(word.replace(join(root, "/"), ""))).join(" ")}`;
    if (left() < 1) throw new SetupError(`no time is left for \`${shown}\`; give more --minutes, or --limit fewer`);
    say(`\n$ ${shown}`);
    const start = Date.now();
    const [program, ...before] = malt;
    const output = { stdout: ["pipe", "inherit"], stderr: ["pipe", "inherit"], all: true, reject: false };
    // The channel tells malt when this script is killed.
    const limits = { timeout: 1000 * left(), stdin: "ignore", ipc: true };
    const ended = await execa(program, [...before, ...words], { cwd: root, env, ...output, ...limits });
    const step = { command: shown, seconds: (Date.now() - start) / 1000, code: ended.exitCode ?? null };
    evidence.steps.push(step);
    note(ended.all);
    say(`(${step.seconds.toFixed(1)} s)`);
    if (ended.timedOut) throw new SetupError(`\`${shown}\` was not done when the time was over; give more --minutes`);
    if (ended.failed) throw new SetupError(`\`${shown}\` ended with exit code ${ended.exitCode}; see its output above`);
    return { ...step, stdout: ended.stdout };
  };
  const manifest = (name) => JSON.parse(readFileSync(join(out, "runs", name, "run.json"), "utf8"));
  const paceOf = (name) => {
    const { counts, wall_seconds } = manifest(name);
    return counts.completions / wall_seconds;
  };

  /** Serves the model and some adapters while something is done, which gets the flags that say where it is. */
  const serving = async (adapters, work) => {
    if (own) return work([]);
    const port = await freePort();
    const place = join(out, adapters.length > 0 ? "server-adapters" : "server");
    mkdirSync(place);
    const { args, env } = servers[server].start({ model, adapters, device, batching, port, folder: place });
    const file = `${place}.log`;
    say(`\n$ ${given.python} ${args.join(" ")}   # its output: ${file}`);
    const start = Date.now();
    const log = openSync(file, "w");
    const [program, ...words] = [...(await tied()), given.python, ...args];
    const child = execa(program, words, { env, stdin: "ignore", stdout: log, stderr: log, reject: false });
    closeSync(log);
    try {
      await ready(`http://127.0.0.1:${port}/health`, child, file, left);
      evidence.steps.push({ command: `${server} ready`, seconds: (Date.now() - start) / 1000, code: 0 });
      say(`ready after ${duration(Date.now() - start)}`);
      return await work(["--base-url", `http://127.0.0.1:${port}/v1`, "--model", model.name]);
    } finally {
      child.kill("SIGTERM");
      await child;
    }
  };

  const sample = (address, name, trees, more) => {
    const fixed = ["--max-tokens", maxTokensFor(context), ...servers[server].sample({ model, batching }), ...flags];
    return run("sample", "--run", name, "--questions", questions, "--limit", trees, more, address, fixed);
  };
  const available = Math.min(given.limit, readFileSync(questions, "utf8").trim().split("\n").length);
  await serving([], async (address) => {
    // The first answers wait for the weights, and on a GPU for its kernels.
    await sample(address, "first", 1, ["--branching", 1]);
    await sample(address, "timing", Math.min(2, available), []);
    const pace = paceOf("timing");
    const trees = treesFor(seconds, pace, available);
    evidence.sizes = { pace, trees, maxTokens: maxTokensFor(context) };
    say(`${pace.toFixed(1)} completions/s: ${trees} questions`);
    await sample(address, "gpu", trees, []);
    evidence.memory = await gpuMemory();
  });
  await run("export", "--run", "gpu");

  const dir = join(out, "runs", "gpu", "train");
  const train = (stages, roles, epochs) => {
    const base = ["--device", device, "--base-model", resolve(folder), "--held-out", test];
    return run("train", "--run", "gpu", base, "--stages", stages, "--roles", roles, "--epochs", epochs);
  };
  const timed = await train("sft", "generator", 1);
  const jsonl = (file) => readFileSync(join(dir, file), "utf8").trim().split("\n");
  const metrics = jsonl(join("generator-sft", "metrics.jsonl")).map((line) => JSON.parse(line));
  const pace = trainingPace(metrics, timed.seconds);
  const stepsOf = (method, ...roles) =>
    roles.reduce((sum, role) => sum + jsonl(`${role}-${method}.jsonl`).length / 8, 0);
  const perPass = {
    sft: stepsOf("sft", "generator", "verifier", "refiner"),
    dpo: stepsOf("dpo", "verifier", "refiner"),
  };
  const epochs = epochsFor(seconds, pace, perPass, 5);
  Object.assign(evidence.sizes, { training: pace, epochs });
  say(`${pace.step.toFixed(3)} s a step: ${epochs} passes over the data`);
  await train("sft,dpo", "generator,verifier,refiner", epochs);
  evidence.devices = wanted.map((name) => JSON.parse(readFileSync(join(dir, name, "done.json"), "utf8")).device);

  const heldOut = readFileSync(test, "utf8").trim().split("\n").length;
  const adapters = wanted.map((name) => ({ name, folder: join(dir, name) }));
  await serving(adapters, async (address) => {
    const evaluate = (size, seeds) => {
      const what = ["--questions", test, "--systems", systems, "--size", size, "--seeds", seeds];
      return run("evaluate", "--run", "gpu", what, address, servers[server].evaluate());
    };
    // The first question loads the adapters. What is sampled for the timing is part of what follows.
    await evaluate(1, 1);
    const timing = Math.min(4, heldOut);
    const pace = Math.max(1, timing - 1) / (await evaluate(timing, 1)).seconds;
    const { size, seeds } = evaluationFor(left(), pace, heldOut);
    Object.assign(evidence.sizes, { questionsPerSecond: pace, size, seeds });
    say(`${pace.toFixed(2)} questions/s: ${size} questions, ${seeds} seeds`);
    await evaluate(Math.max(size, timing), seeds);
  });
  const { stdout } = await run("report", "--run", "gpu", "--examples", 1);
  writeFileSync(join(out, "report.txt"), `${stdout}\n`);
}

/** The server to use and what the machine has. @throws SetupError that says what is missing and how to get it */
async function choose({ server, device, python }) {
  const look = async (program, modules) => {
    const { stdout, failed, shortMessage } = await execa(program, ["-c", probe, ...modules], { reject: false });
    if (failed) throw new SetupError(`${program} cannot be run (${shortMessage}); check --python`);
    return JSON.parse(stdout.trim().split("\n").at(-1));
  };
  const trainer = await look(venv("python"), ["torch", "transformers", "trl", "peft", "gguf", "yaml"]);
  if (trainer.missing.length > 0)
    throw new SetupError(
      `.venv cannot import ${trainer.missing.join(", ")}, which training needs; run \`npm run setup -- --extra train\`, or ` +
        "without a network `pip install --no-index` their wheels",
    );
  if (device === "gpu" && trainer.gpu === null)
    throw new SetupError(
      "torch sees no GPU here (torch.cuda.is_available() is false); try the steps with --device cpu",
    );
  const names = server === undefined ? ["vllm", "transformers"] : [server];
  const found = await Promise.all(names.map((name) => look(python, servers[name].modules)));
  const best = found.findIndex(({ missing }) => missing.length === 0);
  if (best < 0)
    throw new SetupError(
      `${python} has no server: ${names.map((name, i) => `${name} needs ${found[i].missing.join(", ")}`).join("; ")}; ` +
        "install vllm, or fastapi, uvicorn and openai beside transformers, or name another Python with --python",
    );
  const { missing: _, ...machine } = found[best];
  const driver = await nvidia("name,driver_version,memory.total");
  return {
    server: names[best],
    machine: { ...machine, trl: trainer.trl, peft: trainer.peft, driver, node: process.version },
  };
}

/** A word as a shell takes it; none of ours has a single quote in it. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`);

/** What nvidia-smi says, null where it is not there. */
async function nvidia(fields) {
  const { stdout, failed } = await execa("nvidia-smi", [`--query-gpu=${fields}`, "--format=csv,noheader"], {
    reject: false,
  });
  return failed ? null : stdout.trim();
}
const gpuMemory = () => nvidia("memory.used,memory.total");

/** What to put before a command so that it ends when this script is killed, where there is such a program. */
async function tied() {
  const { failed } = await execa("setpriv", ["--version"], { reject: false });
  return failed ? [] : ["setpriv", "--pdeathsig", "TERM"];
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Waits until a server answers. @throws SetupError if it ends before, or the time is over */
async function ready(url, child, file, left) {
  const ended = child.then(() => true);
  while (left() > 0) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
    if (answer?.ok) return;
    if (await Promise.race([ended, sleep(300, false)])) throw new SetupError(`the server has ended: ${tail(file)}`);
  }
  throw new SetupError(`the server was not ready when the time was over: ${tail(file)}`);
}

/** The last lines of a log, and where it is. */
const tail = (file) => `${readFileSync(file, "utf8").trim().split("\n").slice(-3).join(" | ")}; whole log: ${file}`;
