/**
 * How much of an inference server's time the sampler leaves idle, and what it costs itself. The server is a fake one with
 * 64 slots and log-normal lengths (slots.ts), in a process of its own; the bound is the larger of total work / slots and the
 * longest chain of dependent completions, from the lengths that were actually served. Beside it, the same trees
 * requested with asyncio and the openai package. Then a server that answers at once: completions per second.
 *
 * About five minutes. MALT_BENCH_QUESTIONS=50 is a short try. MALT_BENCH_TIMELINES=folder measures a small case instead and
 * writes what every slot did when: see sampler/timelines.ts.
 */
import { requestModes } from "../src/sample/trees.js";
import type { Result } from "./run.js";
import { boundOf, withoutDelay } from "./sampler/bound.js";
import { type Client, makeQuestions, malt, pythonPeers, type Used } from "./sampler/clients.js";
import { writeTimelines } from "./sampler/timelines.js";
import { inVirtualTime } from "./sampler/virtual.js";
import { type SlotChild, spawnSlots } from "./slots/child.js";
import type { SlotInterval, SlotStats } from "./slots.js";

/** Lateness of the server, ms, above which its figures say more about the machine than about the client. */
const tooLate = 3;
/** The last long completions vary by chance, so the default mode is measured under several seeds. */
const seeds = [0, 1, 2];

export async function run(): Promise<Result[]> {
  const peers = await pythonPeers();
  if (!peers) process.stderr.write("sampler: the openai package is not installed: npm run setup -- --extra peer\n");
  const questions = Number(process.env.MALT_BENCH_QUESTIONS ?? 500);
  const folder = process.env.MALT_BENCH_TIMELINES;
  const clients = [...malt, ...(peers ?? [])];
  const server = await spawnSlots();
  try {
    if (folder) return await recorded(server, clients, folder);
    const all: Measured[] = [];
    for (const [i, client] of clients.entries())
      for (const seed of i === 0 ? seeds : seeds.slice(0, 1))
        all.push(await measure(server, client, { slots: 64, msPerToken: 1, questions, seed }));
    const [first, rest] = [all.slice(0, seeds.length), all.slice(seeds.length)];
    const rates = await instant(server, questions, peers?.at(-1));
    const virtual = await ordered(questions);
    return [virtual, withoutAnyDelay(first), ratio(first), ...rest.map((measured) => ratio([measured])), ...rates];
  } finally {
    await server.stop();
  }
}

interface Case {
  slots: number;
  /** 0 for a server that answers at once. */
  msPerToken: number;
  questions: number;
  seed: number;
}

interface Measured {
  client: string;
  asked: Case;
  used: Used;
  stats: SlotStats;
  intervals: SlotInterval[];
}

/** One client on a server with an empty cache, after a few questions to warm up both. */
async function measure(server: SlotChild, client: Client, asked: Case): Promise<Measured> {
  const { slots, msPerToken, seed } = asked;
  const work = { baseURL: server.baseURL, seed, width: slots };
  await server.reset({ slots, msPerToken: 0 });
  await client.sample({ ...work, questions: makeQuestions(20) });
  await server.reset({ msPerToken });
  const used = await client.sample({ ...work, questions: makeQuestions(asked.questions) });
  const [stats, intervals] = await Promise.all([server.stats(), server.intervals()]);
  if (stats.completions !== 39 * asked.questions)
    throw new Error(`${client.name}: ${stats.completions} completions, not 39 × ${asked.questions}`);
  if (stats.late_ms > tooLate)
    process.stderr.write(
      `sampler: the server was ${stats.late_ms.toFixed(1)} ms late on average: the machine is too busy to measure ${client.name}\n`,
    );
  return { client: client.name, asked, used, stats, intervals };
}

const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** The makespan of one client beside the bound; means over its seeds. */
function ratio(all: readonly Measured[]): Result {
  const { client, asked } = all[0]!;
  const bounds = all.map(({ intervals }) => boundOf(intervals, asked.slots));
  const ratios = all.map(({ stats }, i) => (stats.makespan_ms / bounds[i]!.bound).toFixed(3));
  const about = [
    `${percent(mean(bounds.map(({ idle }) => idle)))} of slot time idle while there was work`,
    `at most ${Math.max(...all.map(({ stats }) => stats.peak_waiting))} waiting`,
    `${percent(mean(all.map(({ stats }) => stats.cached_tokens / stats.prompt_tokens)))} of the prompts cached`,
    `${percent(mean(all.map(({ used, stats }) => used.cpuMs / stats.makespan_ms)))} of a core`,
    `server ${mean(all.map(({ stats }) => stats.late_ms)).toFixed(1)} ms late`,
    `ratio by seed ${ratios.join(", ")}`,
  ];
  return {
    name: `${client}: ${asked.questions} questions on ${asked.slots} slots (${about.join("; ")})`,
    ms: mean(all.map(({ stats }) => stats.makespan_ms)),
    ...{ peer: "the lower bound", peerMs: mean(bounds.map(({ bound }) => bound)) },
  };
}

/** The cost of the order of requests alone; the rest above the bound is due to chance in the last long completions. */
async function ordered(questions: number): Promise<Result> {
  const all = await inVirtualTime({ slots: 64, questions, seeds: 40 });
  const ratios = all.map(({ makespan, bound }) => makespan / bound);
  const within = ratios.filter((each) => each <= 1.02).length;
  const average = mean(ratios);
  const deviation = Math.sqrt(mean(ratios.map((each) => (each - average) ** 2)));
  return {
    name:
      `malt, streamed, in virtual time: ${questions} questions on 64 slots (${ratios.length} seeds: ratio ` +
      `${average.toFixed(4)} ± ${deviation.toFixed(4)}, at most 1.02 in ${within})`,
    ms: mean(all.map(({ makespan }) => makespan)),
    ...{ peer: "the lower bound", peerMs: mean(all.map(({ bound }) => bound)) },
  };
}

/** The least time of any client that does not know how long a completion will be. */
function withoutAnyDelay(all: readonly Measured[]): Result {
  const { slots, questions } = all[0]!.asked;
  return {
    name: `a client without any delay, computed: ${questions} questions on ${slots} slots (mean over orders of the questions)`,
    ms: mean(all.map(({ intervals }) => withoutDelay(intervals, slots))),
    ...{ peer: "the lower bound", peerMs: mean(all.map(({ intervals }) => boundOf(intervals, slots).bound)) },
  };
}

/** Milliseconds per completion with a server that takes no time. */
async function instant(server: SlotChild, questions: number, peer: Client | undefined): Promise<Result[]> {
  const each = async (client: Client, count: number) => {
    const asked = { slots: 64, msPerToken: 0, questions: Math.ceil(count), seed: 0 };
    const { used, stats } = await measure(server, client, asked);
    const ms = stats.makespan_ms / stats.completions;
    const cost = `${Math.round(1000 / ms)}/s, ${(used.cpuMs / stats.completions).toFixed(2)} ms CPU`;
    return { ms, cost, lag: used.lag };
  };
  const other = peer && (await each(peer, questions / 4));
  const results: Result[] = [];
  for (const client of malt.slice(0, requestModes.length)) {
    const { ms, cost, lag } = await each(client, questions);
    const [p50, p99, max] = [lag?.p50, lag?.p99, lag?.max].map((delay) => delay?.toFixed(1));
    results.push({
      name: `${client.name}: a completion of an instant server (${cost}; event-loop lag p50 ${p50}, p99 ${p99}, max ${max} ms)`,
      ms,
      peer: peer && other ? `${peer.name} (${other.cost})` : "1500/s",
      peerMs: other?.ms ?? 1000 / 1500,
    });
  }
  return results;
}

/** The small case of the notebook's figure: every client on 16 slots. */
async function recorded(server: SlotChild, clients: readonly Client[], folder: string): Promise<Result[]> {
  const all: Measured[] = [];
  for (const client of clients)
    all.push(await measure(server, client, { slots: 16, msPerToken: 1, questions: 24, seed: 0 }));
  await writeTimelines(
    folder,
    all.map(({ client, intervals }) => ({ variant: client, intervals })),
  );
  return all.map((measured) => ratio([measured]));
}
