/**
 * The explorer of made-up runs: writing it against compressing its texts, opening it against a page of as many bytes that
 * does nothing, a step of the slider against a frame, searching all texts against unpacking them. Two sizes: the ratios
 * should not grow. MALT_BENCH_QUESTIONS=7500, the size of MATH's training set, measures that many questions instead.
 *
 * The texts are random sentences, which compress less than what a model says. Needs `npm run build` and Chromium.
 */
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { type Browser, chromium, type Page } from "playwright-core";
import prand from "pure-rand";
import { openRun } from "../src/dataset/open.js";
import { parquetFolder } from "../src/dataset/parquet.js";
import { json, questionRow } from "../src/dataset/tables.js";
import { writePage } from "../src/explore/page.js";
import { dataPath } from "../src/paths.js";
import type { Node, Question } from "../src/types.js";
import { executablePath } from "../test/browser/chromium.js";
import { middle, type Result } from "./run.js";

/** Of each output. */
const characters = 1_000;
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
  const use = { finish_reason: "stop", prompt_tokens: 400, completion_tokens: 300, model: "made up" } as const;
  let above: (string | null)[] = [null];
  for (const [depth, role] of ["generator", "verifier", "refiner"].entries()) {
    above = above.flatMap((parent_id) =>
      [0, 1, 2].map((branch) => {
        const node_id = `${parent_id === null ? "" : `${parent_id}.`}${role[0]}${branch}`;
        const correct = draw(2) === 0;
        const said = correct ? answer : answer + 1;
        nodes.push({
          ...{ question_id, node_id, parent_id, role, depth, branch, text: text(said), seed: draw(2 ** 31), ...use },
          ...{ answer: String(said), correct, value: null, label: null },
        });
        return node_id;
      }),
    );
  }
  return nodes;
}

/** Writes the run; resolves to bytes of its texts, and the time in ms to pack them and to unpack them tree by tree. */
async function writeRun(dir: string, count: number) {
  copyFileSync(dataPath("recorded", "run.json"), join(dir, "run.json"));
  const folder = await parquetFolder(dir);
  const tables = { questions: folder.table("questions"), nodes: folder.table("nodes") };
  const total = { bytes: 0, packMs: 0, unpackMs: 0 };
  for (let i = 0; i < count; i++) {
    const answer = draw(1_000);
    const question: Question = {
      ...{ id: `question-${i}`, benchmark: "made up", split: "train", question: text(0).slice(0, 250), choices: null },
      answer: String(answer),
    };
    const nodes = tree(question.id, answer);
    tables.questions.writeJson(json(questionRow(question)));
    for (const node of nodes) tables.nodes.writeJson(json(node));
    const texts = nodes.map((node) => node.text).join("");
    total.bytes += texts.length;
    const start = performance.now();
    const packed = deflateRawSync(texts);
    const half = performance.now();
    inflateRawSync(packed);
    total.packMs += half - start;
    total.unpackMs += performance.now() - half;
    await Promise.all([tables.questions.room(), tables.nodes.room()]);
  }
  await tables.questions.finish();
  await tables.nodes.finish();
  await folder.close();
  return total;
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

/** Memory of the page's program, after garbage is collected. */
async function heap(page: Page): Promise<string> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  await devtools.send("HeapProfiler.collectGarbage");
  const { metrics } = await devtools.send("Performance.getMetrics");
  return megabytes(metrics.find(({ name }) => name === "JSHeapUsedSize")!.value);
}

async function since(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

const frame = (page: Page, value: number) =>
  page.getByRole("slider", { name: /Threshold/ }).evaluate(async (range, to) => {
    (range as HTMLInputElement).value = String(to);
    const before = performance.now();
    range.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - before;
  }, value);

async function measure(dir: string, count: number, browser: Browser): Promise<Result[]> {
  const { bytes, packMs, unpackMs } = await writeRun(dir, count);
  const [path, blank] = [join(dir, "explorer.html"), join(dir, "blank.html")];
  const run = await openRun(dir);
  const ms = await since(() => writePage(run, path)).finally(run.close);
  const { size } = statSync(path);
  writeFileSync(blank, `<!doctype html><script type="text/plain">${"x".repeat(size)}</script>`);
  const peak = megabytes(process.resourceUsage().maxRSS * 1024);
  const about = `${megabytes(bytes)} of texts to ${megabytes(size)}, peak memory ${peak}`;
  const results: Result[] = [
    { name: `write, ${count} questions, ${about}`, ms, peer: "compress the texts", peerMs: packMs },
  ];

  const page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
  page.setDefaultTimeout(600_000);
  const blankMs = await since(() => page.goto(pathToFileURL(blank).href));
  const opened = await since(async () => {
    await page.goto(pathToFileURL(path).href);
    await page.locator('[role="treeitem"]').first().waitFor();
  });
  results.push({
    ...{ name: `open, ${count} questions, ${await heap(page)} in use`, ms: opened },
    ...{ peer: "a page of as many bytes", peerMs: blankMs },
  });
  const steps: number[] = [];
  for (let i = 0; i < 9; i++) steps.push(await frame(page, 0.2 + 0.06 * i));
  const step = { name: `a step of the slider, ${count} questions`, ms: middle(steps) };
  results.push({ ...step, peer: "a frame at 60 Hz", peerMs: 1000 / 60 });
  const searched = await since(async () => {
    await page.getByRole("searchbox").fill(sentences[7]!.slice(0, 20));
    await page.waitForFunction(() =>
      /^[\d,]+ outputs? in [\d,]+ of [\d,]+ questions$/.test(document.querySelector(".summary")?.textContent ?? ""),
    );
  });
  results.push({
    ...{ name: `search all texts, ${count} questions, ${await heap(page)} in use`, ms: searched },
    ...{ peer: "unpack the texts", peerMs: unpackMs },
  });
  await page.close();
  return results;
}

export async function run(): Promise<Result[]> {
  if (!executablePath) return [];
  const only = process.env.MALT_BENCH_QUESTIONS;
  const results: Result[] = [];
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    for (const count of only ? [Number(only)] : [200, 1_000]) {
      const dir = mkdtempSync(join(tmpdir(), "malt-bench-"));
      try {
        results.push(...(await measure(dir, count, browser)));
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }
  } finally {
    await browser.close();
  }
  return results;
}
