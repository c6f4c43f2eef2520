/**
 * Exporting against the unavoidable work: reading and parsing the journal, and writing as many bytes as the export
 * does. Two sizes: the ratio and the memory should be the same at both. MALT_BENCH_QUESTIONS=100000 exports that many
 * questions instead, once: 3.9 million completions take minutes and some 15 GB of TMPDIR.
 *
 * Each export runs in a process of its own, whose memory is then that of the export.
 */
import { execFile } from "node:child_process";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { treeSize } from "../src/credit/score.js";
import { exportRun, openDataset } from "../src/dataset/export.js";
import { journalFile } from "../src/run/files.js";
import { encode, readLines } from "../src/run/line.js";
import { writeManifest, writeQuestions } from "../src/run/manifest.js";
import { childId, nodeKey } from "../src/sample/state.js";
import { promptSet } from "../src/team/prompt-sets.js";
import { maltRoles, promptSetHash } from "../src/team/prompts.js";
import type { JournalEntry, Question } from "../src/types.js";
import { type Result, timed } from "./run.js";

const roles = maltRoles(3);
const sampling = { temperature: 0.3, top_p: 1, max_tokens: 99, presence_penalty: 0, frequency_penalty: 0, extra: {} };
const policy = { model: "bench", adapter: null };

function* questions(count: number): Generator<Question> {
  for (let i = 0; i < count; i++) {
    const text = `What is ${i} + 1?`;
    yield { id: `q${i}`, benchmark: "bench", split: "train", question: text, choices: null, answer: "5" };
  }
}

/**
 * The journal of full trees with texts of about 400 characters, every second leaf right; written one tree at a time.
 */
function* journal(count: number): Generator<string> {
  for (const { id } of questions(count)) {
    let tree = "";
    let above: (string | null)[] = [null];
    for (const role of roles) {
      above = above.flatMap((parent) => Array.from({ length: role.branching }, (_, i) => childId(parent, role, i)));
      for (const [seed, node_id] of (above as string[]).entries()) {
        const key = nodeKey({ policy, messages: [], sampling, seed, questionId: id, nodeId: node_id });
        const answer = Number.parseInt(key.slice(0, 8), 16) % 2 === 0 ? 5 : 6;
        const text = `${`${id} ${node_id} and so on. `.repeat(18)}\nFinal Answer: ${answer}`;
        tree += encode({
          ...{ key, question_id: id, node_id, role: role.name, text, finish_reason: "stop", seed, model: "bench" },
          ...{ prompt_tokens: 100, completion_tokens: 100, cached_tokens: null, retries: 0 },
        } as JournalEntry);
      }
    }
    yield tree;
  }
}

async function writeRun(dir: string, count: number): Promise<void> {
  const set = promptSet("arithmetic");
  await mkdir(join(dir, "journal"), { recursive: true });
  await pipeline(Readable.from(journal(count)), createWriteStream(journalFile(dir)));
  const written = await writeQuestions(dir, questions(count));
  await writeManifest(dir, {
    ...{ schema: 1, run: "bench", created: "2025-01-01T00:00:00.000Z" },
    config: { base_url: "http://127.0.0.1", policy, sampling, roles, prompt_set: set.name, seed: 0, concurrency: 1 },
    benchmark: { name: "bench", source: "none", sha256: null, ...written },
    ...{ prompt_set_hash: promptSetHash(set), server: { owner: null, build: null } },
    versions: { malt: "bench", node: process.version, git: null },
    counts: {
      ...{ asked: 0, ok: 0, failed: 0, pending: 0, completions: 0, truncated: 0, retries: 0, completion_tokens: 0 },
    },
    wall_seconds: 0,
  });
}

/** Half of the bound: reads every line as an entry and keeps none. */
async function parseJournal(dir: string): Promise<void> {
  for await (const lines of readLines(journalFile(dir))) for (const { bytes } of lines) JSON.parse(bytes.toString());
}

/** The other half: writes this many bytes. */
async function writeBytes(dir: string, bytes: number): Promise<void> {
  const piece = Buffer.alloc(1 << 20, "x");
  const path = join(dir, "bytes");
  const file = await open(path, "w");
  for (let left = bytes; left > 0; left -= piece.length) await file.write(piece, 0, Math.min(left, piece.length));
  await file.close();
  await rm(path);
}

/** Bytes of all files that an export writes. */
async function exported(dir: string): Promise<number> {
  const files = await readdir(dir, { recursive: true, withFileTypes: true });
  const sizes = files
    .filter((file) => file.isFile() && !file.parentPath.endsWith("journal") && file.name !== "questions.jsonl")
    .map(({ parentPath, name }) => stat(join(parentPath, name)));
  return (await Promise.all(sizes)).reduce((sum, { size }) => sum + size, 0);
}

/** What one process measured. */
interface Measured {
  ms: number;
  parseMs: number;
  writeMs: number;
  /** Bytes that the export wrote. */
  written: number;
  /** Bytes in memory before the export, and at most during it. */
  before: number;
  peak: number;
}

/** @param rounds as of {@link timed}; 0 measures once, without one to warm up */
async function measure(dir: string, rounds: number): Promise<Measured> {
  const time = rounds > 0 ? (action: () => Promise<void>) => timed(rounds, action) : once;
  const before = process.memoryUsage.rss();
  const ms = await time(async () => void (await exportRun(dir)));
  const peak = 1024 * process.resourceUsage().maxRSS;
  const written = await exported(dir);
  const parseMs = await time(() => parseJournal(dir));
  return { ms, before, peak, written, parseMs, writeMs: await time(() => writeBytes(dir, written)) };
}

async function once(action: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

/** {@link measure} in a process of its own. */
async function measureAlone(dir: string, rounds: number): Promise<Measured> {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), dir, `${rounds}`];
  return JSON.parse((await promisify(execFile)(process.execPath, args)).stdout) as Measured;
}

export async function run(): Promise<Result[]> {
  const only = process.env.MALT_BENCH_QUESTIONS;
  const results: Result[] = [];
  for (const count of only ? [Number(only)] : [500, 2_000]) {
    const dir = mkdtempSync(join(tmpdir(), "malt-bench-"));
    try {
      await writeRun(dir, count);
      const { ms, parseMs, writeMs, written, before, peak } = await measureAlone(dir, only ? 0 : 3);
      const completions = count * treeSize(roles);
      const megabytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MB`;
      const { size } = await stat(journalFile(dir));
      const about = `${megabytes(size)} to ${megabytes(written)}, peak memory ${megabytes(peak)}, ${megabytes(before)} before`;
      results.push({
        name: `exportRun, ${completions} completions, ${about}`,
        ...{ ms, peer: "parse the journal and write as many bytes", peerMs: parseMs + writeMs },
      });
      if (only) continue;
      const data = await openDataset(dir);
      const nodes = await timed(3, () => data.nodes());
      data.close();
      results.push({
        name: `openDataset nodes(), ${completions} rows`,
        ...{ ms: nodes, peer: "parse the journal", peerMs: parseMs },
      });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
  return results;
}

// Not awaited, as in run.ts.
if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [dir, rounds] = process.argv.slice(2);
  void measure(dir!, Number(rounds)).then((measured) => process.stdout.write(JSON.stringify(measured)));
}
