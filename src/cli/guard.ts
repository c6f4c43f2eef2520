/**
 * Runs a function on untrusted input in a worker thread that is killed if it takes too long. The grader limits its own
 * work and so ends by itself; this is the second line of defence, for cases that limit misses. What it leaves out:
 * queues. One call at a time.
 */
import { once } from "node:events";
import { Worker, type WorkerOptions } from "node:worker_threads";

export interface Guard<In, Out> {
  /** The function's result; null if it threw, ran out of memory, or was killed. */
  run(input: In): Promise<Out | null>;
  close(): Promise<void>;
}

/** Memory of the worker in MiB; grading needs a tenth of it. */
const maxMemory = 512;

/** A worker whose module is TypeScript beside this file: Node 20 takes no loader for a worker's first module. */
function fromSource(module: URL, options: WorkerOptions): Worker {
  const source = JSON.stringify(module.href.replace(/\.js$/, ".ts"));
  const code = `import("tsx/esm/api").then(({ register }) => (register(), import(${source})))`;
  return new Worker(code, { ...options, eval: true });
}

/**
 * Guards a worker module that answers each message with one message, after a first message when it is ready.
 * @param module URL of the module, with the ending .js; run from sources, the .ts beside it
 * @param limit milliseconds per call, > 0; starting the worker does not count
 */
export function guarded<In, Out>(module: URL, limit = 5_000): Guard<In, Out> {
  let started: Promise<Worker> | null = null;

  const start = async (): Promise<Worker> => {
    const limits = { resourceLimits: { maxOldGenerationSizeMb: maxMemory } };
    const worker = import.meta.url.endsWith(".ts") ? fromSource(module, limits) : new Worker(module, limits);
    await once(worker, "message");
    return worker;
  };

  const stop = async (): Promise<void> => {
    const worker = started;
    started = null;
    await (await worker?.catch(() => null))?.terminate();
  };

  return {
    async run(input) {
      started ??= start();
      const worker = await started;
      const watch = new AbortController();
      const timer = setTimeout(() => watch.abort(), limit);
      try {
        worker.postMessage(input);
        const [output] = (await once(worker, "message", { signal: watch.signal })) as [Out];
        return output;
      } catch {
        // Aborted, or the worker's own error: either way this worker can no longer be used.
        await stop();
        return null;
      } finally {
        clearTimeout(timer);
      }
    },
    close: stop,
  };
}
