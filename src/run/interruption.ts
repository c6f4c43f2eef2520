/** How work is stopped from outside: Ctrl-C in a terminal, "interrupt kernel" in a notebook, SIGTERM from a scheduler. */
import { RunError } from "../errors.js";

/**
 * A signal that SIGINT and SIGTERM abort, once. A notebook needs it too: interrupting a cell only stops waiting for its
 * promise; the work behind that promise would go on.
 *
 *     const stop = interruption();
 *     await sampleRun({ …, signal: stop.signal }).finally(stop.off);
 *
 * @returns the signal, and `off` to call when the work has ended
 */
export function interruption(): { signal: AbortSignal; off(): void } {
  const controller = new AbortController();
  const interrupt = () =>
    controller.abort(new RunError("interrupted; what had finished is kept, run the same command again to go on"));
  // Not at once: a notebook's kernel runs the first part of a cell, up to its first `await`, in a mode in which Node.js
  // gives SIGINT back to the system when it ends, so a listener added during that part would let SIGINT kill the
  // kernel.
  let isOff = false;
  queueMicrotask(() => {
    if (!isOff) process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  });
  const off = () => {
    isOff = true;
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  };
  return { signal: controller.signal, off };
}
