/**
 * `npm run bench` runs every benchmark, `npm run bench -- values` one. Machines differ, so each figure is a ratio to a
 * bound or a peer that was measured in the same run; the times only help to judge the noise.
 */
import { readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** One measurement beside what it is compared with. Medians, in milliseconds. */
export interface Result {
  name: string;
  ms: number;
  /** The bound or the peer. */
  peer: string;
  peerMs: number;
}

/** Median wall time of `rounds` calls after one to warm up, in ms. */
export async function timed(rounds: number, action: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i <= rounds; i++) {
    const start = performance.now();
    await action();
    times.push(performance.now() - start);
  }
  return middle(times.slice(1));
}

/** The same for a synchronous action, without the cost of a promise. */
export function timedSync(rounds: number, action: () => unknown): number {
  const times = Array.from({ length: rounds + 1 }, () => {
    const start = performance.now();
    action();
    return performance.now() - start;
  });
  return middle(times.slice(1));
}

/** The median, the upper of two. */
export const middle = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[times.length >> 1]!;

const shown = (ms: number): string => (ms < 1 ? ms.toPrecision(2) : ms.toFixed(1));

async function main(wanted: readonly string[]): Promise<void> {
  const known = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith(".ts") && !["run.ts", "slots.ts"].includes(name))
    .map((name) => name.slice(0, -3))
    .sort();
  const unknown = wanted.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    process.stderr.write(`no benchmark "${unknown.join('", "')}"; there are: ${known.join(", ")}\n`);
    process.exitCode = 1;
    return;
  }
  for (const name of wanted.length > 0 ? wanted : known) {
    const { run } = (await import(`./${name}.ts`)) as { run: () => Result[] | Promise<Result[]> };
    for (const { name: what, ms, peer, peerMs } of await run()) {
      const ratio = ms / peerMs < 0.1 ? (ms / peerMs).toPrecision(2) : (ms / peerMs).toFixed(2);
      process.stdout.write(`${name}: ${what}: ${ratio} x ${peer} (${shown(ms)} / ${shown(peerMs)} ms)\n`);
    }
  }
}

// Not awaited: the benchmarks import this file, and would wait for it while it waits for them.
if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) void main(process.argv.slice(2));
