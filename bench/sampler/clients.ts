/** The clients of the sampler's benchmark: this project's sampler, and Python peers that ask for exactly the same. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { execa } from "execa";
import { openJournal } from "../../src/journal.js";
import { openaiPolicy } from "../../src/policy.js";
import { maltRoles, promptSet } from "../../src/prompts.js";
import { python as ownPython, root } from "../../src/train/base.js";
import { type RequestMode, requestModes, sampleTrees } from "../../src/tree.js";
import type { Question, Sampling } from "../../src/types.js";

/** What is to be sampled, and where. */
export interface Work {
  baseURL: string;
  questions: readonly Question[];
  /** The run's seed: other texts, and other lengths. */
  seed: number;
  /** Requests of three completions (or questions, where a client counts those) in flight. */
  width: number;
}

/** What a client used. CPU of all its threads; the event loop's lag beyond what its timer takes anyway; ms. */
export interface Used {
  completions: number;
  ms: number;
  cpuMs: number;
  lag?: { p50: number; p99: number; max: number };
}

export interface Client {
  name: string;
  /** @throws Error if a request failed: then nothing that was measured counts */
  sample(work: Work): Promise<Used>;
}

const prompts = promptSet("arithmetic");
const model = "fake";
// No length is cut off: the benchmark's are log-normal.
const maxTokens = 1_000_000;
const penalties = { presence_penalty: 0, frequency_penalty: 0 };
const sampling: Sampling = { temperature: 0.3, top_p: 1, max_tokens: maxTokens, ...penalties, extra: {} };

/** Questions whose number the fake server can read. */
export function makeQuestions(count: number): Question[] {
  return Array.from({ length: count }, (_, i) => {
    const text = `Question ${i}: a baker has ${i} loaves, sells ${i % 7} and bakes ${i % 11} more. How many are there now?`;
    return { id: `q${i}`, benchmark: "arithmetic", split: "train", question: text, choices: null, answer: "12" };
  });
}

/** Requests that hold as many completions in flight as `width` requests of three. */
const placesOf = (mode: RequestMode, width: number) => (mode === "single" ? 3 * width : width);

/** This project's sampler in its three request modes, with a real journal in a temporary folder. */
export const malt: Client[] = requestModes.map((request) => ({
  name: `malt, ${request}`,
  async sample({ baseURL, questions, seed, width }) {
    const dir = await mkdtemp(join(tmpdir(), "malt-bench-"));
    const journal = await openJournal(dir);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    // The timer that looks takes its resolution even on an idle loop; only what is beyond it is lag.
    const lag = (ns: number) => Math.max(0, ns / 1e6 - 1);
    try {
      const { complete } = openaiPolicy({ baseURL, maxRetries: 0 });
      const [cpu, start] = [process.cpuUsage(), performance.now()];
      delay.enable();
      const counts = await sampleTrees({
        ...{ questions, roles: maltRoles(), promptSet: prompts, policy: { model, adapter: null }, seed, sampling },
        ...{ complete, journal, request, concurrency: placesOf(request, width) },
      });
      delay.disable();
      const [ms, { user, system }] = [performance.now() - start, process.cpuUsage(cpu)];
      if (counts.failed > 0) throw new Error(`${counts.failed} requests failed`);
      return {
        ...{ completions: counts.completions, ms, cpuMs: (user + system) / 1000 },
        lag: { p50: lag(delay.percentile(50)), p99: lag(delay.percentile(99)), max: lag(delay.max) },
      };
    } finally {
      await journal.close();
      await rm(dir, { recursive: true, force: true });
    }
  },
}));

const plans = {
  stage: "Python, all generators, then all verifiers, then all refiners",
  question: "Python, stages inside each question",
  request: "Python, each request by itself",
} as const;

/**
 * The same trees with asyncio and the openai package; null where that is not installed (`npm run setup -- --extra peer`).
 * MALT_BENCH_PYTHON names another Python that has it.
 */
export async function pythonPeers(): Promise<Client[] | null> {
  const python = process.env.MALT_BENCH_PYTHON ?? ownPython;
  const { failed } = await execa(python, ["-c", "import openai"], { reject: false });
  if (failed) return null;
  return Object.entries(plans).map(([plan, name]) => ({
    name,
    async sample({ baseURL, questions, seed, width }) {
      const { generator, verifier, refiner } = prompts;
      const job = {
        ...{ base_url: baseURL, model, plan, width, branching: 3, max_tokens: maxTokens, seed },
        templates: { generator, verifier, refiner },
        questions: questions.map(({ id, question }) => ({ id, question })),
      };
      const { stdout } = await execa(python, [join(root, "python", "peer_sampler.py")], { input: JSON.stringify(job) });
      const { completions, seconds, cpu_seconds } = JSON.parse(stdout);
      return { completions, ms: 1000 * seconds, cpuMs: 1000 * cpu_seconds };
    },
  }));
}
