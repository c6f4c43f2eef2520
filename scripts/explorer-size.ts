// How large the explorer of a large run is, and how long it takes to write and to open: `npx tsx scripts/explorer-size.ts
// [questions] [characters]`, by default 7,500 questions (MATH's training set) and outputs of 1,000 characters. The texts
// are random sentences, which compress less than what a model says. Needs Chromium (CHROMIUM_PATH); writes to outputs/.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, type Page } from "playwright-core";
import prand from "pure-rand";
import { openRun } from "../src/dataset/open.js";
import { parquetFolder } from "../src/dataset/parquet.js";
import { json, questionRow } from "../src/dataset/tables.js";
import { writePage } from "../src/explore/page.js";
import { dataPath, inPackage } from "../src/paths.js";
import type { Node, Question } from "../src/types.js";

const [questions = 7_500, characters = 1_000] = process.argv.slice(2).map(Number);
const dir = inPackage("outputs", `explorer-${questions}`);
const random = prand.xoroshiro128plus(1);
const draw = (n: number) => (random.unsafeNext() >>> 0) % n;
const word = () => Array.from({ length: 2 + draw(7) }, () => String.fromCharCode(97 + draw(26))).join("");
const words = Array.from({ length: 2_000 }, word);
const sentences = Array.from({ length: 5_000 }, () => {
  const said = Array.from({ length: 6 + draw(8) }, () => (draw(5) === 0 ? draw(1_000) : words[draw(words.length)]));
  return `${said.join(" ")}.`;
});

function text(answer: number): string {
  let said = "";
  while (said.length < characters) said += `${sentences[draw(sentences.length)]}\n`;
  return `${said}Final Answer: ${answer}`;
}

/** A complete tree of three roles with three branches. */
function tree(question_id: string, answer: number): Node[] {
  const nodes: Node[] = [];
  let above: (string | null)[] = [null];
  for (const [depth, role] of ["generator", "verifier", "refiner"].entries()) {
    above = above.flatMap((parent_id) =>
      [0, 1, 2].map((branch) => {
        const node_id = `${parent_id === null ? "" : `${parent_id}.`}${role[0]}${branch}`;
        const isRight = draw(2) === 0;
        nodes.push({
          ...{ question_id, node_id, parent_id, role, depth, branch, text: text(isRight ? answer : answer + 1) },
          ...{
            finish_reason: "stop",
            prompt_tokens: 400,
            completion_tokens: 300,
            seed: draw(2 ** 31),
            model: "made up",
          },
          ...{ answer: String(isRight ? answer : answer + 1), correct: isRight, value: null, label: null },
        });
        return node_id;
      }),
    );
  }
  return nodes;
}

const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

mkdirSync(dir, { recursive: true });
copyFileSync(dataPath("recorded", "run.json"), join(dir, "run.json"));
const folder = await parquetFolder(dir);
const tables = { questions: folder.table("questions"), nodes: folder.table("nodes") };
let size = 0;
for (let i = 0; i < questions; i++) {
  const answer = draw(1_000);
  const question: Question = {
    ...{ id: `question-${i}`, benchmark: "made up", split: "train", question: text(0).slice(0, 250), choices: null },
    answer: String(answer),
  };
  tables.questions.writeJson(json(questionRow(question)));
  for (const node of tree(question.id, answer)) {
    size += node.text.length;
    tables.nodes.writeJson(json(node));
  }
  await Promise.all([tables.questions.room(), tables.nodes.room()]);
}
await tables.questions.finish();
await tables.nodes.finish();
await folder.close();

let start = performance.now();
const run = await openRun(dir);
const path = join(dir, "explorer.html");
await writePage(run, path);
run.close();
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
console.log(`${questions} questions, ${megabytes(size)} of texts: ${megabytes(statSync(path).size)} of HTML`);
console.log(`written in ${seconds(start)}, at most ${megabytes(process.resourceUsage().maxRSS * 1024)} of memory`);

const executablePath = process.env.CHROMIUM_PATH ?? execFileSync("which", ["chromium"], { encoding: "utf8" }).trim();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
const devtools = await page.context().newCDPSession(page);
await devtools.send("Performance.enable");
/** Memory of the page's program, after garbage is collected. */
async function heap(): Promise<string> {
  await devtools.send("HeapProfiler.collectGarbage");
  const { metrics } = await devtools.send("Performance.getMetrics");
  return megabytes(metrics.find(({ name }) => name === "JSHeapUsedSize")!.value);
}
const frame = (page: Page, value: number) =>
  page.getByRole("slider", { name: /Threshold/ }).evaluate(async (range, to) => {
    (range as HTMLInputElement).value = String(to);
    const before = performance.now();
    range.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - before;
  }, value);

start = performance.now();
await page.goto(pathToFileURL(path).href, { timeout: 300_000 });
await page.locator('[role="treeitem"]').first().waitFor({ timeout: 300_000 });
console.log(`opened in ${seconds(start)}, ${await heap()} in use`);
const steps: number[] = [];
for (let i = 0; i < 9; i++) steps.push(await frame(page, 0.2 + 0.06 * i));
console.log(`a step of the slider: ${steps.sort((a, b) => a - b)[4]!.toFixed(0)} ms`);
start = performance.now();
await page.getByRole("searchbox").fill(sentences[7]!.slice(0, 20));
const summary = page.locator(".summary").first();
await page.waitForFunction(
  () => /^[\d,]+ outputs? in [\d,]+ of [\d,]+ questions$/.test(document.querySelector(".summary")?.textContent ?? ""),
  null,
  { timeout: 600_000 },
);
console.log(`searched all texts in ${seconds(start)} (${await summary.innerText()}), ${await heap()} in use`);
await browser.close();
