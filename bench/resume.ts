/**
 * Resuming a run of the size of GSM8K's training set: opening the journal and reading every question's entries once, as
 * the sampler does, compared with parsing every line and keeping none, the least that any full reader must do.
 */
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { openJournal } from "../src/run/journal.js";
import { encode, readLines } from "../src/run/line.js";
import { childId, nodeKey } from "../src/sample/state.js";
import { maltRoles } from "../src/team/prompts.js";
import { type Result, timed } from "./run.js";

const completions = 300_000;
const questions = Math.floor(completions / 39);
const openTrees = 20;
const sampling = { temperature: 0.3, top_p: 1, max_tokens: 99, presence_penalty: 0, frequency_penalty: 0, extra: {} };
const policy = { model: "bench", adapter: null };

/** Node ids and roles of a tree, by depth. */
const nodes: [id: string, role: string][] = [];
let above: (string | null)[] = [null];
for (const role of maltRoles(3)) {
  above = above.flatMap((parent) => [0, 1, 2].map((branch) => childId(parent, role, branch)));
  for (const id of above) nodes.push([id as string, role.name]);
}

/** The lines, about 1 KB each, as a sampler with several open trees writes them: their lines alternate. */
function* lines(): Generator<string> {
  for (let first = 0; first < questions; first += openTrees) {
    let group = "";
    for (const [i, [node_id, role]] of nodes.entries()) {
      for (let q = first; q < Math.min(first + openTrees, questions); q++) {
        const about = { question_id: `gsm8k-train-${q}`, node_id, role, seed: i, model: "bench" };
        const key = nodeKey({
          policy,
          messages: [],
          sampling,
          seed: i,
          questionId: about.question_id,
          nodeId: node_id,
        });
        const text = `${`So ${q} and ${i} make "${q + i}".\n`.repeat(29)}Final Answer: ${q + i}`;
        const counts = { prompt_tokens: 300, completion_tokens: 250, cached_tokens: null, retries: 0 };
        group += encode({ key, ...about, text, finish_reason: "stop", ...counts });
      }
    }
    yield group;
  }
}

export async function run(): Promise<Result[]> {
  const dir = mkdtempSync(join(tmpdir(), "malt-bench-"));
  const path = join(dir, "journal", "completions.jsonl");
  try {
    mkdirSync(join(dir, "journal"));
    await pipeline(Readable.from(lines()), createWriteStream(path));
    const before = process.memoryUsage.rss();
    let peak = before;
    let opening = 0;
    const resume = async () => {
      const start = performance.now();
      const journal = await openJournal(dir);
      opening = performance.now() - start;
      let found = 0;
      for (let q = 0; q < questions; q++) {
        found += (await journal.kept(`gsm8k-train-${q}`)).length;
        if (q % 16 === 0) peak = Math.max(peak, process.memoryUsage.rss());
      }
      await journal.close();
      if (found !== questions * nodes.length) throw new Error(`found ${found} completions`);
    };
    const ms = await timed(3, resume);
    const parse = async () => {
      for await (const piece of readLines(path)) for (const { bytes } of piece) JSON.parse(bytes.toString());
    };
    const seconds = (opening / 1000).toFixed(2);
    const memory = ((peak - before) / 2 ** 20).toFixed(0);
    return [
      {
        name:
          `resume, ${questions * nodes.length} completions of ${questions} questions ` +
          `(${seconds} s of it to open, peak memory + ${memory} MiB)`,
        ms,
        peer: "JSON.parse of every line",
        peerMs: await timed(3, parse),
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
