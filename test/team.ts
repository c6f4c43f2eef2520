/** An instant policy for evaluations: what it says is a function of what it is asked, and it counts the asking. */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Policy } from "../src/policy/openai.js";
import type { Complete, CompletionRequest, Question } from "../src/types.js";
import { tokensOf } from "./fake-server.js";

export const heldOut: Question[] = Array.from({ length: 6 }, (_, i) => ({
  id: `test-${i}`,
  benchmark: "sums",
  split: "test",
  question: `Unseen ${i}: what is ${i} + ${12 - i}?`,
  choices: null,
  answer: "12",
}));

/** The same questions as a file for training and, in other words, one for testing; returns their paths. */
export async function questionFiles(folder: string): Promise<{ train: string; test: string }> {
  const write = async (split: string) => {
    const rows = heldOut.map(({ id, question, answer }) => ({
      ...{ id: `${split}-${id}`, split, question: `${split} ${question}`, answer },
    }));
    const path = join(folder, `${split}.jsonl`);
    await writeFile(path, rows.map((row) => JSON.stringify(row)).join("\n"));
    return path;
  };
  return { train: await write("train"), test: await write("test") };
}

/** Hashes of all adapters that systems may need. */
export const hashes = (of: (name: string) => string = (name) => name): Map<string, string> =>
  new Map(
    ["generator", "verifier", "refiner"]
      .flatMap((role) => ["sft", "dpo", "star"].map((method) => `${role}-${method}`))
      .map((name) => [name, createHash("sha256").update(of(name)).digest("hex")]),
  );

/** A policy that may be replaced in part; `asked` holds one line per completion. */
export function team(changes: { complete?: (honest: Complete) => Complete; models?: string[] } = {}) {
  const asked: string[] = [];
  const requests: CompletionRequest[] = [];
  const honest: Complete = async (request) => {
    requests.push(request);
    return Array.from({ length: request.n }, (_, i) => {
      const state = JSON.stringify([request.policy, request.messages, request.seed + i]);
      asked.push(state);
      const draw = createHash("sha256").update(state).digest().readUInt32BE(0);
      // Half of the answers are right, a tenth is none.
      const text =
        draw % 10 === 0 ? `Not sure (${draw}).` : `I draw ${draw}.\nFinal Answer: ${draw % 2 ? 12 : draw % 7}`;
      return { text, finish_reason: "stop", prompt_tokens: 9, completion_tokens: tokensOf(text), retries: 0 };
    });
  };
  const models = async () => changes.models ?? ["malt-tiny"];
  const info = async () => ({ models: await models(), owner: "fake", build: "1", adapters: new Map() });
  const complete = changes.complete?.(honest) ?? honest;
  const policy: Policy = { baseURL: "http://fake/v1", complete, models, info, load: async () => null };
  return { policy, asked, requests };
}
