/**
 * The embedded server with malt-tiny, with requests like the sampler's: how much faster are 4 and 16 requests at a time
 * than one after another? A ratio of 0.25 at 4 would mean that concurrency is free.
 */
import { loadQuestions } from "../src/benchmarks/load.js";
import { startServer } from "../src/models/embedded.js";
import { openaiPolicy } from "../src/policy/openai.js";
import { defaultSampling } from "../src/sample/sample.js";
import { promptSet } from "../src/team/prompt-sets.js";
import { maltRoles, messages } from "../src/team/prompts.js";
import type { Completion, CompletionRequest } from "../src/types.js";
import type { Result } from "./run.js";

export async function run(): Promise<Result[]> {
  const questions = await loadQuestions("data/arithmetic/test.jsonl", { limit: 96 });
  const server = await startServer({ model: "tiny" });
  try {
    const { complete } = openaiPolicy({ baseURL: server.baseURL });
    const requests = questions.map(
      (question, seed): CompletionRequest => ({
        policy: { model: server.model, adapter: null },
        messages: messages(promptSet("arithmetic"), maltRoles()[0]!, question, []),
        n: 1,
        seed,
        sampling: { ...defaultSampling, max_tokens: 160 },
      }),
    );
    /** Sends all requests with `width` in flight; milliseconds and completion tokens. */
    const sample = async (width: number) => {
      const queue = [...requests];
      const done: Completion[] = [];
      const start = performance.now();
      const worker = async () => {
        for (let next = queue.shift(); next; next = queue.shift()) done.push(...(await complete(next)));
      };
      await Promise.all(Array.from({ length: width }, worker));
      return { ms: performance.now() - start, tokens: done.reduce((sum, c) => sum + (c.completion_tokens ?? 0), 0) };
    };
    await sample(16);
    const alone = await sample(1);
    const rate = ({ ms, tokens }: { ms: number; tokens: number }) => Math.round((1000 * tokens) / ms);
    const results: Result[] = [];
    for (const width of [4, 16]) {
      const together = await sample(width);
      const name = `${questions.length} answers, ${width} at a time (${rate(together)} tokens/s)`;
      results.push({ name, ms: together.ms, peer: `one at a time (${rate(alone)} tokens/s)`, peerMs: alone.ms });
    }
    return results;
  } finally {
    await server.stop();
  }
}
