/**
 * Following work over a connection that may break: for an hour, or because this machine slept. What it leaves out:
 * what is run to connect.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { RunError } from "../../errors.js";
import { duration } from "../../format.js";
import { parseEvent } from "../status.js";
import type { News } from "./launcher.js";
import { programEnvironment } from "./program.js";

/** How a connection ended: the work has ended too, and why where that is known; or it is lost, for good or not. */
export type ConnectionEnd = { ended: string | null } | { lost: string; forGood?: boolean };

/** Seconds before another try to connect: the first one, and the longest. */
const waits = { first: 2, longest: 60 };

/**
 * The events of a job, each once.
 * @param place in words
 * @param connect tells every line from the first one on, each time it is called
 * @returns why it ended, where that is known
 * @throws RunError where the first connection fails for good
 */
export async function* reconnecting(
  place: string,
  connect: () => AsyncGenerator<string, ConnectionEnd>,
  signal?: AbortSignal,
): AsyncGenerator<News, string | null> {
  let seen = 0;
  let wait = waits.first;
  let lost: number | null = null;
  for (;;) {
    let passed = 0;
    const lines = connect();
    let next = await lines.next();
    for (; !next.done; next = await lines.next()) {
      if (lost !== null) yield { note: `connected to ${place} again after ${duration((Date.now() - lost) / 1000)}` };
      lost = null;
      wait = waits.first;
      if (parseEvent(next.value) === null || ++passed <= seen) continue;
      seen = passed;
      yield { line: next.value };
    }
    const outcome = next.value;
    if ("ended" in outcome) return outcome.ended;
    if (signal?.aborted) return null;
    if (outcome.forGood && seen === 0) throw new RunError(outcome.lost);
    if (lost === null)
      yield { note: `${outcome.lost}; the work goes on there without this connection, which is tried again` };
    lost ??= Date.now();
    await sleep(1000 * wait, undefined, { signal }).catch(() => {});
    wait = Math.min(waits.longest, 2 * wait);
  }
}

/**
 * The lines that a program prints, as they come.
 * @returns its last words on stderr, at most 2,000 characters
 */
export async function* linesOfProgram(
  [file, ...args]: readonly [string, ...string[]],
  input: string,
  signal?: AbortSignal,
): AsyncGenerator<string, string> {
  const child = spawn(file, args, { env: programEnvironment() });
  let said = "";
  child.once("error", (error) => {
    said += error.message;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-2000);
  });
  child.stdin.on("error", () => {}).end(input);
  const stop = () => child.kill();
  signal?.addEventListener("abort", stop);
  const closed = once(child, "close").catch(() => {});
  try {
    yield* createInterface(child.stdout);
    await closed;
    return said;
  } finally {
    signal?.removeEventListener("abort", stop);
    child.kill();
  }
}
