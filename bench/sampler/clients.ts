/**
 * The clients of the sampler's benchmark: this project's sampler, and Python peers that make exactly the same requests.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { execa } from "execa";
import { python as ownPython, pythonScript } from "../../src/paths.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { requestModes } from "../../src/sample/trees.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import type { Question, RequestMode } from "../../src/types.js";

/** What to sample, and from which server. */
export interface Work {
  baseURL: string;
  questions: readonly Question[];
  /** The run's seed: other texts, and other lengths. */
  seed: number;
  /** Requests of three completions (or questions, where a client counts those) in flight. */
  width: number;
}

/** What a client used, ms. CPU of all its threads; the event loop's lag beyond what its timer takes anyway. */
export interface Used {
  cpuMs: number;
  lag?: { p50: number; p99: number; max: number };
}

export interface Client {
  name: string;
  /** @throws Error if a request failed: then the measurements are not valid */
  sample(work: Work): Promise<Used>;
}

const prompts = promptSet("arithmetic");
const model = "fake";
// No length is cut off: the benchmark's are log-normal.
const maxTokens = 1_000_000;
const sampling = { temperature: 0.3, max_tokens: maxTokens };
const branching = 3;

/** Questions whose number the fake server can read. */
export function makeQuestions(count: number): Question[] {
  return Array.from({ length: count }, (_, i) => {
    const text = `Question ${i}: a baker has ${i} loaves, sells ${i % 7} and bakes ${i % 11} more. How many are there now?`;
    return { id: `q${i}`, benchmark: "arithmetic", split: "train", question: text, choices: null, answer: "12" };
  });
}

/** `malt sample` in its three request modes, and with automatic concurrency. */
export const malt: Client[] = [
  ...requestModes.map((mode) =>
    sampler(`malt, ${mode}`, mode, (width) => (mode === "single" ? branching * width : width)),
  ),
  sampler("malt, streamed, concurrency auto", "streamed", () => "auto"),
];

function sampler(name: string, request: RequestMode, concurrency: (width: number) => number | "auto"): Client {
  const sample = async ({ baseURL, questions, seed, width }: Work): Promise<Used> => {
    const outputs = await mkdtemp(join(tmpdir(), "malt-bench-"));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    // The timer that measures lag is late by its resolution even on an idle loop; only the excess is lag.
    const lag = (ns: number) => Math.max(0, ns / 1e6 - 1);
    const policy = openaiPolicy({ baseURL, maxRetries: 0 });
    const cpu = process.cpuUsage();
    delay.enable();
    try {
      const { manifest } = await sampleRun({
        ...{ run: "bench", outputs, questions, source: { path: "bench", sha256: null }, policy, model, seed },
        ...{ sampling, roles: maltRoles(branching), promptSet: prompts, request, concurrency: concurrency(width) },
      });
      const { user, system } = process.cpuUsage(cpu);
      if (manifest.counts.failed > 0) throw new Error(`${name}: ${manifest.counts.failed} requests failed`);
      const at = (share: number) => lag(delay.percentile(share));
      return { cpuMs: (user + system) / 1000, lag: { p50: at(50), p99: at(99), max: lag(delay.max) } };
    } finally {
      delay.disable();
      await rm(outputs, { recursive: true, force: true });
    }
  };
  return { name, sample };
}

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
        ...{ base_url: baseURL, model, plan, width, branching, max_tokens: maxTokens, seed },
        templates: { generator, verifier, refiner },
        questions: questions.map(({ id, question }) => ({ id, question })),
      };
      const { stdout } = await execa(python, [pythonScript("peer_sampler.py")], { input: JSON.stringify(job) });
      return { cpuMs: 1000 * JSON.parse(stdout).cpu_seconds };
    },
  }));
}
