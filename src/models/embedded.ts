/**
 * The embedded server: llama.cpp's OpenAI-compatible server on loopback, as a child process that cannot outlive this
 * one. Scope: find Python and the model file, start python/serve.py, wait until it answers, stop it. Requests to the
 * server are made in policy/, the models are listed in table.ts, and their files are found in weights.ts.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:net";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { endWithThis } from "../child.js";
import { environment } from "../environment.js";
import { InputError, ServerError } from "../errors.js";
import { python, pythonScript, root } from "../paths.js";
import type { WeightsFile } from "../types.js";
import { visible } from "../visible.js";
import { chosenModel, type ModelChoice, nameOfFile, withChosenFile } from "./choose.js";
import { checkGguf } from "./gguf.js";
import type { FetchHooks } from "./hub-copies.js";
import type { Model } from "./table.js";
import { servedWeights } from "./weights.js";

/** Options of `startServer`. */
export interface ServerOptions extends FetchHooks {
  /**
   * The model to serve: a row of the table of models, or the name of one (`tiny`, `smollm2`), or a file: `{ modelFile: PATH }`,
   * `{ hf: "OWNER/NAME[@REVISION][:FILE]" }`.
   */
  model: Model | ModelChoice | string;
  /** 1 … 65535; by default a free one is picked. */
  port?: number;
  /** Completions decoded at the same time, ≥ 1; by default as many as the model's row says. */
  parallel?: number;
  /** Another model file of the same name, such as one trained further. */
  gguf?: string;
  /** LoRA adapters to load beside the model, as GGUF files; requests choose one by its file name without the ending. */
  adapters?: readonly string[];
  /** Longest wait for the model to be loaded, in milliseconds; by default 60 s, and 20 s more for each gigabyte of it. */
  timeout?: number;
}

/** A running embedded server. */
export interface EmbeddedServer {
  /** Base URL of the OpenAI API, ending in `/v1`. */
  baseURL: string;
  /** The model's name, as /v1/models gives it. */
  model: string;
  /** Name and version of the server program, for the manifest. */
  build: string;
  /** The model's file, for the manifest. */
  weights: WeightsFile;
  /** File of the server's own log. */
  log: string;
  pid: number;
  /** Resolves when the process has ended, for whatever reason. */
  exited: Promise<void>;
  /** Stops the server; resolves when the process is gone. */
  stop(): Promise<void>;
}

/**
 * Starts a model on 127.0.0.1 and waits until the server answers. The caller has to `stop()` it; if this process ends
 * first, the server ends with it.
 *
 * @throws InputError for an unknown profile, an impossible port, or another file than the model's row names
 * @throws ServerError if Python, the wheel or the model file is missing, cannot be downloaded or is no GGUF, the port is in
 * use, or the server does not come up in time; RunError if a download cannot be written
 */
export async function startServer(options: ServerOptions): Promise<EmbeddedServer> {
  const { port = 0 } = options;
  const given = typeof options.model === "string" ? { profile: options.model } : options.model;
  const model = "weights" in given ? given : chosenModel(given);
  const { embedded, profile } = model;
  if (!embedded)
    throw new InputError(`profile "${profile}" has no embedded server; give --base-url or set OPENAI_BASE_URL`);
  if (!existsSync(python)) {
    throw new ServerError(`no Python environment at ${python}; run \`npm run setup\` in ${root} first`);
  }
  await checkPort(port);
  const { adapters = [], gguf } = options;
  for (const path of adapters) await checkGguf(path, "adapter", "train it again");
  const { path, ...weights } = await servedWeights(withChosenFile(model, { modelFile: gguf }), options);
  const name = model.name ?? nameOfFile(path);
  const { size } = await stat(path);
  const timeout = options.timeout ?? 60_000 + size / 50_000;

  const logs = logFolder();
  const slots = options.parallel ?? embedded.slots;
  // More threads than cores make llama.cpp several times slower; a small model gains nothing beyond two threads, and a
  // large one little once they read its weights as fast as the memory gives them.
  const threads = Math.min(size < 2e8 ? 2 : 8, availableParallelism());
  const args = ["--model", path, "--alias", name, "--port", port, "--parallel", slots];
  const more = ["--context", `${embedded.context}`, "--threads", `${threads}`];
  const child = spawn(
    python,
    [pythonScript("serve.py"), ...args.map(String), ...more, ...adapters.flatMap((path) => ["--lora", path])],
    // A process group of its own: Ctrl-C then reaches only this process, which may still wait for its open requests.
    { stdio: ["pipe", "pipe", "pipe"], detached: process.platform !== "win32" },
  );
  const log = join(logs, `server-${name}-${child.pid}.log`);
  const tail = keepLog(child, log);
  const exited = new Promise<void>((done) => child.once("close", () => done()));
  endWithThis(child);
  try {
    const { url, version } = await ready(child, timeout, tail, log);
    return {
      baseURL: `${url}/v1`,
      model: name,
      build: `llama.cpp of xllamacpp ${version}`,
      weights,
      log,
      pid: child.pid!,
      exited,
      stop: () => stop(child, exited),
    };
  } catch (error) {
    await stop(child, exited);
    throw error;
  }
}

/** Closes the server's stdin, which makes it exit; kills it if it does not. */
async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.stdin?.end();
  const kill = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await exited;
  clearTimeout(kill);
}

/** @throws ServerError if the folder of logs cannot be made */
function logFolder(): string {
  const folder = resolve(environment().outputs, "logs");
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ServerError(`folder ${folder} cannot be made (${code}); name a writable one with MALT_OUTPUTS`);
  }
  return folder;
}

/** Sends stderr to the log file; returns a function that gives its last lines. */
function keepLog(child: ChildProcess, path: string): () => string {
  const file = createWriteStream(path);
  // A full disk must not stop the server; losing its log matters less.
  file.on("error", () => {});
  const lines: string[] = [];
  const input = createInterface({ input: child.stderr! }).on("line", (line) => {
    // What a model's file says about itself is in it.
    file.write(`${visible(line)}\n`);
    lines.push(line.trim());
    if (lines.length > 4) lines.shift();
  });
  input.once("close", () => file.end());
  return () => lines.join(" | ");
}

/** Waits for the one line that serve.py prints. */
function ready(child: ChildProcess, timeout: number, tail: () => string, log: string) {
  return new Promise<{ url: string; version: string }>((done, fail) => {
    const failed = (what: string) =>
      fail(new ServerError(`the embedded server ${what}; its last lines: ${tail() || "none"}; whole log: ${log}`));
    const timer = setTimeout(() => failed(`was not ready within ${timeout / 1000} s`), timeout);
    let reason: string | null = null;
    createInterface({ input: child.stdout! }).on("line", (line) => {
      if (!line.startsWith("{")) return;
      const said = JSON.parse(line) as { url: string; version: string } | { error: string };
      // It ends now. Its log may say more, and may be read a little later than this line.
      if ("error" in said) reason = said.error;
      else {
        clearTimeout(timer);
        done(said);
      }
    });
    child.once("error", (error) => failed(`cannot be run (${error.message})`));
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      failed(
        reason === null ? `ended with ${signal ?? `exit code ${code}`} while starting` : `did not start (${reason})`,
      );
    });
  });
}

/** @throws InputError for an impossible port, ServerError for one that another program holds */
async function checkPort(port: number): Promise<void> {
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new InputError(`port must be a whole number from 1 to 65535, or 0 for a free one; got ${port}`);
  }
  if (port === 0) return;
  // llama.cpp gives the same error for a port in use and for a broken model, so the port is tried first.
  const probe = createServer();
  await new Promise<void>((done, fail) => {
    probe.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "is in use by another program" : `cannot be opened (${error.code})`;
      fail(new ServerError(`port ${port} on 127.0.0.1 ${why}; choose another one or leave --port out`));
    });
    probe.listen(port, "127.0.0.1", () => probe.close(() => done()));
  });
}
