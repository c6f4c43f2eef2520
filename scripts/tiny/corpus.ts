/**
 * Writes the data that malt-tiny is trained on: the benchmark (data/arithmetic/*.jsonl) and the pretraining corpus
 * (.cache/tiny/corpus.jsonl, one {"prompt": messages, "completion": text} per line, in exactly the prompts the
 * sampler sends). Same seed, same bytes.
 */
import { once } from "node:events";
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { finished } from "node:stream/promises";
import { parseArgs } from "node:util";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, messages } from "../../src/team/prompts.js";
import type { Message, Question, Split } from "../../src/types.js";
import { dialogue, drill } from "./dialogues.js";
import { Dice, makeProblem, type Problem, partOf } from "./problems.js";

const { values } = parseArgs({
  options: {
    dialogues: { type: "string", default: "400000" },
    train: { type: "string", default: "2000" },
    test: { type: "string", default: "1500" },
    seed: { type: "string", default: "0" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log("usage: tsx scripts/tiny/corpus.ts [--dialogues 400000] [--train 2000] [--test 1500] [--seed 0]");
  process.exit(0);
}

const seed = Number(values.seed);
const asQuestion = (problem: Problem, id: string, split: Split): Question => ({
  id,
  benchmark: "arithmetic",
  split,
  question: problem.question,
  choices: null,
  answer: String(problem.answer),
});

mkdirSync("data/arithmetic", { recursive: true });
for (const split of ["train", "test"] as const) {
  const dice = new Dice(seed * 3 + (split === "train" ? 1 : 2));
  const seen = new Set<string>();
  const rows: string[] = [];
  while (rows.length < Number(values[split])) {
    const problem = makeProblem(dice, (template) => partOf(template) === split);
    if (seen.has(problem.question)) continue;
    seen.add(problem.question);
    const { question, template, answer } = problem;
    const id = `arithmetic-${split}-${rows.length}`;
    rows.push(JSON.stringify({ id, benchmark: "arithmetic", question, answer: String(answer), split, template }));
  }
  writeFileSync(`data/arithmetic/${split}.jsonl`, `${rows.join("\n")}\n`);
}

mkdirSync(".cache/tiny", { recursive: true });
const out = createWriteStream(".cache/tiny/corpus.jsonl");
const dice = new Dice(seed * 3 + 3);
const roles = maltRoles();
const set = promptSet("arithmetic");
// Nearly a third are drills: a small model takes long to learn the sums in them.
const order = "verifier refiner generator drill generator verifier refiner drill generator drill".split(" ");
const makeOne = () => makeProblem(dice, (template) => partOf(template) === "pretrain");
for (let i = 0; i < Number(values.dialogues); i++) {
  const name = order[i % order.length];
  const role = roles.find((r) => r.name === name);
  let line: { prompt: Message[]; completion: string };
  if (role) {
    const problem = makeOne();
    const turns = dialogue(problem, role.template, dice);
    const prompt = messages(set, role, asQuestion(problem, "", "train"), turns.slice(0, -1));
    line = { prompt, completion: turns.at(-1)?.text ?? "" };
  } else {
    const prompt: Message[] = [{ role: "user", content: "Drill." }];
    line = { prompt, completion: drill(Array.from({ length: 5 }, makeOne), dice) };
  }
  if (!out.write(`${JSON.stringify(line)}\n`)) await once(out, "drain");
}
out.end();
await finished(out);
