/** A small run whose every text tries to be something else: a script, markup, a link, other letters, control characters. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportRun } from "../../src/dataset/export.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { sampleRun } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { findSystems } from "../../src/team/systems.js";
import type { Complete, Question } from "../../src/types.js";
import { team } from "../team.js";

/** Each would be noticed by a browser: it runs, asks the network for something, or draws over other text. */
export const hostileTexts: readonly string[] = [
  '<script>window.ran = "script"</script>',
  '</script><script>window.ran = "closed"</script>',
  '<img src="http://attacker.test/a.png" onerror="window.ran = 1">',
  '"><svg onload="window.ran = 2"><style>@import "http://attacker.test/b.css"</style>',
  '<a href="javascript:window.ran = 3">click</a> <iframe src="http://attacker.test/c"></iframe>',
  "<!--<script> ]]> {question} {{window.ran = 4}} &lt;b&gt; &#60;i&#62;",
  "\u202e reversed \u2066 isolated \u200b\u0000\u0007\u001b[31m\u009b red \ud800 half \u{e0041}",
  "# Markdown ![x](http://attacker.test/d.png) $\\href{javascript:1}{x}$ \\boxed{<b>}",
];

const pick = (i: number) => hostileTexts[i % hostileTexts.length]!;

const question = (i: number, split: Question["split"]): Question => ({
  ...{
    id: `${split} ${pick(i)}`,
    benchmark: "<b>own</b> \u202e/?#:",
    split,
    question: `${split} ${pick(i)} ${pick(i + 1)}`,
  },
  ...{ choices: i % 2 === 0 ? null : [pick(i), pick(i + 2)], answer: i % 2 === 0 ? pick(i + 3) : "A" },
});

/** Writes the run. @returns its folder, and its name among the runs of `outputs` */
export async function hostileRun(): Promise<{ dir: string; outputs: string; questions: Question[] }> {
  const outputs = mkdtempSync(join(tmpdir(), "malt-hostile-"));
  const run = "hostile";
  const model = `model ${pick(0)}`;
  let said = 0;
  const complete: Complete = async ({ n }) =>
    Array.from({ length: n }, () => ({
      text: `${pick(said)}\nFinal Answer: ${said++ % 3 === 0 ? "A" : pick(said)}`,
      ...{ finish_reason: said % 5 === 0 ? "length" : "stop", prompt_tokens: 3, completion_tokens: 4, retries: 0 },
    }));
  const { policy } = team({ complete: () => complete, models: [model] });
  const questions = Array.from({ length: hostileTexts.length }, (_, i) => question(i, "train"));
  const prompts = {
    ...promptSet("csqa"),
    name: pick(2),
    generator: `${pick(3)} {question}`,
    verifier: `${pick(4)} {answer}`,
  };
  const { dir } = await sampleRun({ run, outputs, questions, policy, model, promptSet: prompts });
  await exportRun(dir);
  const held = Array.from({ length: 4 }, (_, i) => question(i, "test"));
  const source = { path: "test.jsonl", sha256: null };
  await evaluateRun({
    run,
    outputs,
    questions: held,
    source,
    systems: findSystems(["MA+MV"]),
    seeds: [0],
    size: 4,
    policy,
  });
  return { dir, outputs, questions };
}
