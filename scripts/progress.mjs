// Numbered steps on the terminal and child processes that stay visible. Plain Node: it runs before `npm ci`.
import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** An error the user can fix, as opposed to a bug: shown as one line, without a stack. */
export class SetupError extends Error {}

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
 * @throws SetupError if the program cannot be started
 */
export function run(command, args, options = {}) {
  const start = Date.now();
  const still = () => console.log(`      … ${duration(Date.now() - start)}`);
  const heartbeat = process.stdout.isTTY || options.quiet ? undefined : setInterval(still, 15_000);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", ...options });
    // Ctrl-C reaches the whole group; SIGTERM only this process, and what it started should end with it.
    const pass = () => child.kill("SIGTERM");
    process.once("SIGTERM", pass);
    child.once("close", () => process.off("SIGTERM", pass));
    child.on("error", (error) =>
      reject(new SetupError(`${command} cannot be started (${error.code}): is it installed?`)),
    );
    child.on("close", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 1)));
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
  work().catch((error) => {
    console.error(error instanceof SetupError ? `error: ${error.message}` : error);
    process.exit(1);
  });
}
