/**
 * What malt-tiny does before any training, printed as tables: its roles, its wordings, and the untrained systems on
 * both files of test questions. `npx tsx scripts/tiny/check.ts [--gguf FILE --questions 200]`, some minutes on 2 cores.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { loadQuestions } from "../../src/benchmarks/load.js";
import { report } from "../../src/cli/report.js";
import { identicalNoise } from "../../src/credit/label-noise.js";
import { exportRun, openDataset } from "../../src/dataset/export.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { summariseSystems } from "../../src/evaluate/results.js";
import { percent } from "../../src/format.js";
import { startServer } from "../../src/models/embedded.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { sampleRun } from "../../src/sample/sample.js";
import { ablationSystems, findSystems } from "../../src/team/systems.js";

const { values } = parseArgs({
  options: { gguf: { type: "string" }, questions: { type: "string", default: "200" } },
});
const size = Number(values.questions);
const outputs = mkdtempSync(".cache/tiny-check-");
const server = await startServer({ model: "tiny", ...(values.gguf !== undefined && { gguf: values.gguf }) });
const policy = openaiPolicy(server);
const common = { run: "check", outputs, policy, model: server.model, concurrency: 48, sampling: { max_tokens: 160 } };
try {
  const train = await loadQuestions("data/arithmetic/train.jsonl", { limit: size });
  const { dir } = await sampleRun({ ...common, questions: train });
  await exportRun(dir);
  const data = await openDataset(dir);
  const nodes = await data.nodes();
  const sft = await data.query<{ role: string }>("SELECT role FROM sft");
  const pairs = await data.query<{ question_id: string; role: string }>("SELECT question_id, role FROM dpo");
  console.log(`${report(nodes, sft, pairs)}\n\nSiblings with the same text:`);
  console.table(identicalNoise(nodes));
  for (const role of ["generator", "verifier", "refiner"]) {
    const texts = nodes.filter((node) => node.role === role).map(({ text }) => text);
    const wordings = texts.map((text) => text.replace(/[\d()+*/=-]+/g, "#"));
    console.log(
      `${role}: ${texts.length} texts, ${new Set(texts).size} different, in ${new Set(wordings).size} wordings`,
    );
  }
  data.close();

  const untrained = ablationSystems
    .filter(({ name }) => name.startsWith("ablation G+"))
    .map((system) => ({ ...system, name: system.name.replace("ablation", "untrained"), adapters: {} }));
  const systems = [...findSystems(["SA", "SA+MV", "MA", "MA+MV", "debate"]), ...untrained];
  for (const file of ["test", "hard"]) {
    const questions = await loadQuestions(`data/arithmetic/${file}.jsonl`);
    const { rows, benchmark } = await evaluateRun({ ...common, questions, systems, seeds: [0], size });
    const table = summariseSystems(rows).map(({ system, accuracy, tokens }) => ({
      [benchmark]: system,
      right: percent(accuracy.mean),
      interval: `${(100 * accuracy.low).toFixed(1)} to ${(100 * accuracy.high).toFixed(1)}`,
      tokens: Math.round(tokens ?? 0),
    }));
    console.table(table);
  }
} finally {
  await server.stop();
  rmSync(outputs, { recursive: true, force: true });
}
