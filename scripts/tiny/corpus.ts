/**
 * Writes what malt-tiny is made from: the benchmarks (data/arithmetic/*.jsonl) and the pretraining corpus
 * (.cache/tiny/corpus.jsonl, one {"prompt": messages, "completion": text} per line, in exactly the prompts that are sent).
 * The corpus is read once, in its order. Same seed, same bytes.
 */
import { once } from "node:events";
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { finished } from "node:stream/promises";
import { parseArgs } from "node:util";
import { benchmarkFiles, diceOf, jsonl } from "./benchmark.js";
import { example } from "./dialogues.js";

const { values } = parseArgs({
  options: {
    dialogues: { type: "string", default: "240000" },
    seed: { type: "string", default: "0" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log("usage: tsx scripts/tiny/corpus.ts [--dialogues 240000] [--seed 0]");
  process.exit(0);
}
const [count, seed] = [Number(values.dialogues), Number(values.seed)];

mkdirSync("data/arithmetic", { recursive: true });
for (const [name, rows] of benchmarkFiles(seed)) writeFileSync(`data/arithmetic/${name}.jsonl`, jsonl(rows));

const dice = diceOf(seed, 3);
mkdirSync(".cache/tiny", { recursive: true });
const out = createWriteStream(".cache/tiny/corpus.jsonl");
for (let i = 0; i < count; i++)
  if (!out.write(`${JSON.stringify(example(dice, i / count))}\n`)) await once(out, "drain");
out.end();
await finished(out);
