/**
 * How much of an inference server's time the sampler leaves idle, and what it costs itself. The server is a fake one with
 * 64 slots and log-normal lengths (slots.ts), in a process of its own; the bound is the larger of total work / slots and the
 * longest chain of completions that need one another, from the lengths that were really served. Beside it the same trees
 * asked for with asyncio and the openai package. Then a server that answers at once: completions per second.
 *
 * About five minutes. MALT_BENCH_QUESTIONS=50 is a short try. MALT_BENCH_TIMELINES=folder measures a small case instead and
 * writes what every slot did when: see sampler/timelines.ts.
 */

import type { Result } from "./run.js";
import { boundOf, withoutDelay } from "./sampler/bound.js";
import { type Client, makeQuestions, malt, pythonPeers, type Used } from "./sampler/clients.js";
import { writeTimelines } from "./sampler/timelines.js";
import { type SlotChild, spawnSlots } from "./slots/child.js";
import type { SlotInterval, SlotOptions, SlotStats } from "./slots.js";

/** Requests in flight, for every client. */
const width = 64;

export async function run(): Promise<Result[]> {
  const peers = await pythonPeers();
  if (!peers) process.stderr.write("sampler: the openai package is not installed: npm run setup -- --extra peer\n");
  const questions = Number(process.env.MALT_BENCH_QUESTIONS ?? 500);
  const timelines = process.env.MALT_BENCH_TIMELINES;
  const server = await spawnSlots();
  try {
    const clients = [...malt, ...(peers ?? [])];
    if (timelines) return await recorded(server, clients, timelines);
    const ratios: Result[] = [];
    for (const client of clients) {
      const measured = await measure(server, client, { slots: 64 }, questions);
      if (ratios.length === 0) ratios.push(unaware(measured, questions));
      ratios.push(ratio(measured, questions));
    }
    return [...ratios, ...(await rates(server, malt, peers, questions))];
  } finally {
    await server.stop();
  }
}

interface Measured {
  client: string;
  slots: number;
  used: Used;
  stats: SlotStats;
  intervals: SlotInterval[];
}

/** One client on a server that has seen nothing yet, after a few questions to warm up both. */
async function measure(
  server: SlotChild,
  client: Client,
  options: Partial<SlotOptions> & { slots: number },
  count: number,
): Promise<Measured> {
  const work = { baseURL: server.baseURL, questions: makeQuestions(count), width };
  await server.reset({ ...options, msPerToken: 0 });
  await client.sample({ ...work, questions: makeQuestions(20) });
  await server.reset({ msPerToken: 1, ...options });
  const used = await client.sample(work);
  const [stats, intervals] = await Promise.all([server.stats(), server.intervals()]);
  if (stats.completions !== 39 * count)
    throw new Error(`${client.name}: ${stats.completions} completions, not 39 × ${count}`);
  return { client: client.name, slots: options.slots, used, stats, intervals };
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

function ratio({ client, slots, used, stats, intervals }: Measured, questions: number): Result {
  const { bound, idle } = boundOf(intervals, slots);
  const about = [
    `${percent(idle)} of slot time idle while there was work`,
    `at most ${stats.peak_waiting} waiting`,
    `${percent(stats.cached_tokens / stats.prompt_tokens)} of the prompts cached`,
    `${percent(used.cpuMs / used.ms)} of a core`,
  ];
  const name = `${client}: makespan of ${questions} questions on ${slots} slots (${about.join(", ")})`;
  return { name, ms: stats.makespan_ms, peer: "the lower bound", peerMs: bound };
}

/** What no client gets below without knowing how long a completion will be. */
function unaware({ slots, intervals }: Measured, questions: number): Result {
  const name = `a client without any delay: makespan of ${questions} questions on ${slots} slots (computed, mean of 10 orders)`;
  return { name, ms: withoutDelay(intervals, slots), peer: "the lower bound", peerMs: boundOf(intervals, slots).bound };
}

/** Milliseconds per completion where the server takes none. */
async function rates(
  server: SlotChild,
  own: readonly Client[],
  peers: readonly Client[] | null,
  questions: number,
): Promise<Result[]> {
  const instant = async (client: Client, count: number) => {
    const { used } = await measure(server, client, { slots: 64, msPerToken: 0 }, Math.ceil(count));
    return { each: used.ms / used.completions, cpu: used.cpuMs / used.completions, lag: used.lag };
  };
  const peer = peers?.at(-1) && (await instant(peers.at(-1)!, questions / 4));
  const results: Result[] = [];
  for (const client of own) {
    const { each, cpu, lag } = await instant(client, questions);
    const delays =
      lag && `event-loop lag p50 ${lag.p50.toFixed(1)}, p99 ${lag.p99.toFixed(1)}, max ${lag.max.toFixed(1)} ms`;
    results.push({
      name: `${client.name}: a completion of an instant server (${perSecond(each)}/s, ${cpu.toFixed(2)} ms CPU, ${delays})`,
      ms: each,
      peer: peer ? `Python's (${perSecond(peer.each)}/s, ${peer.cpu.toFixed(2)} ms CPU)` : "1500/s",
      peerMs: peer?.each ?? 1000 / 1500,
    });
  }
  return results;
}

const perSecond = (each: number) => Math.round(1000 / each);

/** The small case of the notebook's figure: every client on 16 slots. */
async function recorded(server: SlotChild, clients: readonly Client[], folder: string): Promise<Result[]> {
  const questions = 24;
  const all: Measured[] = [];
  for (const client of clients) all.push(await measure(server, client, { slots: 16 }, questions));
  await writeTimelines(
    folder,
    all.map(({ client, intervals }) => ({ variant: client, intervals })),
  );
  return all.map((measured) => ratio(measured, questions));
}
