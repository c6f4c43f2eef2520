/**
 * Exporting against what cannot be avoided: parsing the journal (the least any export must read) and writing the same
 * rows as plain JSON lines.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportRun, openDataset } from "../src/dataset.js";
import { maltRoles, promptSet, promptSetHash } from "../src/prompts.js";
import { hash, questionsJsonl, writeManifest } from "../src/run.js";
import { childId, nodeKey } from "../src/tree.js";
import type { JournalEntry, Question } from "../src/types.js";
import { type Result, timed } from "./run.js";

const roles = maltRoles(3);
const sampling = { temperature: 0.3, top_p: 1, max_tokens: 99, presence_penalty: 0, frequency_penalty: 0, extra: {} };
const policy = { model: "bench", adapter: null };

/** Writes a run of full trees with texts of about 400 characters; returns its number of completions. */
async function writeRun(dir: string, trees: number): Promise<number> {
  const questions = Array.from(
    { length: trees },
    (_, i): Question => ({
      ...{ id: `q${i}`, benchmark: "bench", split: "train", question: `What is ${i} + 1?`, choices: null, answer: "5" },
    }),
  );
  const journal = questions.flatMap(({ id }) => {
    let above: (string | null)[] = [null];
    return roles.flatMap((role) => {
      const level = above.flatMap((parent) => [0, 1, 2].map((branch) => childId(parent, role, branch)));
      above = level;
      return level.map((node_id, i): JournalEntry => {
        const text = `${`${id} ${node_id} and so on. `.repeat(18)}\nFinal Answer: ${(i * 7) % 3 === 0 ? 5 : 6}`;
        const key = nodeKey({ policy, messages: [], sampling, seed: i, questionId: id, nodeId: node_id });
        return {
          ...{ key, question_id: id, node_id, role: role.name, text, finish_reason: "stop", seed: i, model: "bench" },
          ...{ prompt_tokens: 100, completion_tokens: 100, retries: 0 },
        };
      });
    });
  });
  await mkdir(join(dir, "journal"), { recursive: true });
  const text = questionsJsonl(questions);
  const set = promptSet("arithmetic");
  writeFileSync(join(dir, "questions.jsonl"), text);
  writeFileSync(join(dir, "journal", "completions.jsonl"), journal.map((e) => `${JSON.stringify(e)}\n`).join(""));
  await writeManifest(dir, {
    ...{ schema: 1, run: "bench", created: "2025-01-01T00:00:00.000Z" },
    config: { base_url: "http://127.0.0.1", policy, sampling, roles, prompt_set: set.name, seed: 0, concurrency: 1 },
    benchmark: { name: "bench", source: "none", sha256: null, questions: trees, questions_sha256: hash(text) },
    ...{ prompt_set_hash: promptSetHash(set), server: { owner: null, build: null } },
    versions: { malt: "bench", node: process.version, git: null },
    counts: {
      ...{ asked: 0, ok: 0, failed: 0, pending: 0, completions: 0, truncated: 0, retries: 0, completion_tokens: 0 },
    },
    wall_seconds: 0,
  });
  return journal.length;
}

export async function run(): Promise<Result[]> {
  const dir = mkdtempSync(join(tmpdir(), "malt-bench-"));
  try {
    const completions = await writeRun(dir, 500);
    const parse = () =>
      readFileSync(join(dir, "journal", "completions.jsonl"), "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line));
    const rewrite = () =>
      writeFileSync(
        join(dir, "plain.jsonl"),
        parse()
          .map((row) => JSON.stringify(row))
          .join("\n"),
      );
    const exported = await timed(3, () => exportRun(dir));
    const data = await openDataset(dir);
    const nodes = await timed(3, () => data.nodes());
    data.close();
    return [
      {
        name: `exportRun, ${completions} completions`,
        ms: exported,
        peer: "parse the journal, write it as JSON lines",
        peerMs: await timed(3, async () => rewrite()),
      },
      {
        name: `openDataset nodes(), ${completions} rows`,
        ms: nodes,
        peer: "parse the journal's JSON",
        peerMs: await timed(3, async () => parse()),
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
