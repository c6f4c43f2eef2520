// Numbered steps on the terminal, child processes that stay visible, and their common end when the script is stopped.
// Plain Node: it runs before `npm ci`.
import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

const windows = process.platform === "win32";

/** An error the user can fix, as opposed to a bug: shown as one line, without a stack. */
export class SetupError extends Error {}

/** What the last line of a script that was stopped says. */
export const advice = { toGoOn: "run the same command again to go on" };

const numbers = { SIGHUP: 1, SIGINT: 2, SIGPIPE: 13, SIGTERM: 15 };
/** Children that have not ended. */
const children = new Set();
/** The signal that stopped this script first, and when the latest came. */
let stopped = null;
let latest = 0;

/** Stops the children, each with all that it has started; when they have ended, the script ends. */
function stop(signal) {
  // Ctrl-C comes from the terminal and once more from npm. A closed output fails again with every line.
  if (stopped && (signal === "SIGPIPE" || Date.now() - latest < 500)) return;
  stopped ??= signal;
  latest = Date.now();
  for (const child of children) {
    const passed = signal === "SIGPIPE" ? "SIGHUP" : signal;
    try {
      // A child leads a group: it gets each signal once, and what it has started gets it too.
      process.kill(windows ? child.pid : -child.pid, passed);
    } catch {
      // It has just ended.
    }
  }
  if (children.size === 0) end();
}

function end() {
  console.error(`stopped; what was done is kept, ${advice.toGoOn}`);
  process.exit(128 + numbers[stopped]);
}

/** Listens for signals, for a closed terminal or pipe, and for the end of the process that started this one. */
function listen() {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
      stop("SIGPIPE");
    });
  const abandoned = () => stopped ?? stop("SIGHUP");
  process.once("disconnect", abandoned).channel?.unref();
  // npm passes neither SIGHUP nor its own end on.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event) setInterval(() => process.ppid === parent || abandoned(), 500).unref();
}

/** Milliseconds as `8 s` or `3 min 05 s`. */
export function duration(ms) {
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
}

/**
 * Makes a `step(what, work)` that prints `[2/9] what`, runs `work` and prints how long it took. What `work` resolves
 * to, if anything, is printed as the result.
 */
export function steps(total) {
  const begin = Date.now();
  let done = 0;
  return async (what, work) => {
    const start = Date.now();
    console.log(`[${++done}/${total}] ${what}`);
    const result = await work();
    const elapsed = `${duration(Date.now() - start)}, ${duration(Date.now() - begin)} since the start`;
    console.log(`      ${result ?? "done"} (${elapsed})`);
  };
}

/**
 * Runs a program with its output passed through; resolves to its exit code. Where the output is a file or a pipe,
 * programs hide their progress bars, so a line every 15 s says that it is still running.
 *
 * @param options those of spawn; quiet: without that line; untilStopped: a signal is how this program is meant to end
 * @throws SetupError if the program cannot be started
 */
export function run(command, args, { quiet, untilStopped, ...options } = {}) {
  const start = Date.now();
  const still = () => console.log(`      … ${duration(Date.now() - start)}`);
  const heartbeat = process.stdout.isTTY || quiet ? undefined : setInterval(still, 15_000);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", detached: !windows, ...options });
    if (child.pid !== undefined) children.add(child);
    child.on("error", (error) =>
      reject(new SetupError(`${command} cannot be started (${error.code}): is it installed?`)),
    );
    child.on("close", (code, signal) => {
      children.delete(child);
      if (!stopped || untilStopped) resolve(code ?? 128 + (numbers[signal] ?? 0));
      else if (children.size === 0) end();
    });
  }).finally(() => clearInterval(heartbeat));
}

/** Like `run`, for a program that has to succeed. */
export async function mustRun(command, args, options) {
  const code = await run(command, args, options);
  if (code !== 0)
    throw new SetupError(`\`${[command, ...args].join(" ")}\` ended with exit code ${code}; see its output above`);
}

/**
 * Runs `work` if the module at `url` is the script Node was started with, not where it is imported. An error ends the
 * process with exit code 1, a SetupError without a stack.
 */
export function main(url, work) {
  if (!process.argv[1] || realpathSync(process.argv[1]) !== fileURLToPath(url)) return;
  listen();
  work().catch((error) => {
    console.error(error instanceof SetupError ? `error: ${error.message}` : error);
    process.exit(1);
  });
}
