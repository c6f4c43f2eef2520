/**
 * How work is stopped from outside: Ctrl-C in a terminal, "interrupt kernel" in a notebook, SIGTERM from a scheduler, a
 * terminal that is closed. A signal stops the innermost work, gently; the next one the work around it.
 */
import { constants } from "node:os";
import { RunError } from "../errors.js";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** SIGPIPE stands for an output that nobody reads any more; Node.js itself never raises it. */
type Cause = (typeof signals)[number] | "SIGPIPE";

/** Ctrl-C reaches every process of a terminal, and npm passes it on once more: within this many ms it is the same one. */
const same = 500;

/** What is to be stopped, the innermost work last. */
const works: AbortController[] = [];
let latest: { cause: Cause; time: number } | null = null;

/** Stops the innermost work, as a signal does. */
export function interrupt(cause: Cause): void {
  const time = performance.now();
  // An output that is gone fails again and again, and after a signal it means nothing new.
  if (latest && (cause === "SIGPIPE" || time - latest.time < same)) return;
  latest = { cause, time };
  works.pop()?.abort(new RunError("interrupted; what had finished is kept, run the same command again to go on"));
  listen();
}

/** The exit code of a process that was interrupted, 128 + the signal's number; null if it was not. */
export const interruptedCode = (): number | null => (latest ? 128 + constants.signals[latest.cause] : null);

let isListening = false;

/** Listens for signals as long as there is work. Listening anew would lose a signal that has just come. */
function listen(): void {
  if (isListening === works.length > 0) return;
  isListening = !isListening;
  for (const signal of signals) {
    if (isListening) process.on(signal, interrupt);
    else process.off(signal, interrupt);
  }
}

/**
 * A signal that SIGINT, SIGTERM and SIGHUP abort, once. A notebook needs it too: interrupting a cell only stops waiting
 * for its promise; the work behind that promise would go on.
 *
 *     const stop = interruption();
 *     await sampleRun({ …, signal: stop.signal }).finally(stop.off);
 *
 * @returns the signal, and `off` to call when the work has ended
 */
export function interruption(): { signal: AbortSignal; off(): void } {
  const controller = new AbortController();
  works.push(controller);
  // Not at once: a notebook's kernel runs the first part of a cell, up to its first `await`, in a mode in which Node.js
  // gives SIGINT back to the system when it ends, so a listener added during that part would let SIGINT kill the
  // kernel.
  queueMicrotask(listen);
  const off = () => {
    const place = works.indexOf(controller);
    if (place >= 0) works.splice(place, 1);
    listen();
  };
  return { signal: controller.signal, off };
}

/**
 * Work that a signal ends at once, unless work inside it is to end gently first. What it leaves running ends with the
 * process, so the caller has to end that.
 */
export async function interruptible<T>(work: () => Promise<T>): Promise<T> {
  const stop = interruption();
  const stopped = new Promise<never>((_, fail) => {
    stop.signal.addEventListener("abort", () => fail(stop.signal.reason));
  });
  return Promise.race([work(), stopped]).finally(stop.off);
}
