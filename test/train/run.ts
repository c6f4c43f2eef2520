/** A run folder with training files, made without sampling: little sums, with right and wrong critiques of them. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { questionsJsonl } from "../../src/benchmarks/list.js";
import { hash, writeManifest, writeQuestions } from "../../src/run/manifest.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, promptSetHash } from "../../src/team/prompts.js";
import type { Question } from "../../src/types.js";

export const questions: Question[] = Array.from({ length: 40 }, (_, i) => ({
  id: `sum-${i}`,
  benchmark: "sums",
  split: "train",
  question: `Item ${i}: what is ${i % 9} + ${i % 7}?`,
  choices: null,
  answer: `${(i % 9) + (i % 7)}`,
}));

const says = (role: "user" | "assistant", content: string) => [{ role, content }];

/** Writes `<outputs>/runs/<run>/`: run.json, questions.jsonl, and the training files of all roles. */
export async function trainingRun(
  outputs: string,
  run: string,
  asked: readonly Question[] = questions,
): Promise<string> {
  const dir = join(outputs, "runs", run);
  await mkdir(join(dir, "train"), { recursive: true });
  await writeQuestions(dir, asked);
  await writeManifest(dir, {
    schema: 1,
    run,
    created: "2026-01-01T00:00:00.000Z",
    config: {
      base_url: "http://localhost:8000/v1",
      policy: { model: "malt-tiny", adapter: null },
      sampling: defaultSampling,
      roles: maltRoles(),
      prompt_set: "gsm8k",
      seed: 0,
      concurrency: 16,
    },
    benchmark: {
      name: "sums",
      source: "made up",
      sha256: null,
      questions: asked.length,
      questions_sha256: hash(questionsJsonl(asked)),
    },
    prompt_set_hash: promptSetHash(promptSet("gsm8k")),
    server: { owner: null, build: null },
    versions: { malt: "0.1.0", node: "20.20.2", git: null },
    counts: { asked: 0, ok: 0, failed: 0, pending: 0, completions: 0, truncated: 0, retries: 0, completion_tokens: 0 },
    wall_seconds: 0,
  });
  for (const role of ["generator", "verifier", "refiner"]) {
    const rows = asked.map(({ question, answer }) => {
      const prompt = says("user", `${question} You are the ${role}.`);
      const [chosen, rejected] = [says("assistant", `It is ${answer}.`), says("assistant", `No, ${answer} of them.`)];
      return { sft: { prompt, completion: chosen }, dpo: { prompt, chosen, rejected } };
    });
    for (const kind of ["sft", "dpo"] as const) {
      const text = rows.map((row) => `${JSON.stringify(row[kind])}\n`).join("");
      await writeFile(join(dir, "train", `${role}-${kind}.jsonl`), text);
    }
  }
  return dir;
}
