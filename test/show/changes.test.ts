import { afterAll, expect, it } from "vitest";
import { type OpenRun, openRun } from "../../src/dataset/open.js";
import { runChanges } from "../../src/show/changes.js";
import { sectionsText } from "../../src/show/sections.js";
import type { Node } from "../../src/types.js";

const opened: OpenRun[] = [];
const open = async (name: string) => {
  const run = await openRun(`data/recorded-prompts/${name}`);
  opened.push(run);
  return run;
};
afterAll(() => {
  for (const run of opened) run.close();
});

it("names each setting that differs, of a prompt the words that do, and pairs the accuracies by question", async () => {
  const [stated, unstated] = [await open("stated-t0.7"), await open("unstated-t0.7")];
  const [settings, samples] = await runChanges(stated, unstated);
  const of = (name: string) => settings!.rows.find(({ setting }) => setting === name)!;
  expect(of("prompt_set")).toMatchObject({ "stated-t0.7": '"gsm8k-stated"', "unstated-t0.7": '"gsm8k-unstated"' });
  expect(of("prompts.verifier")["unstated-t0.7"]).toContain("Verdict: ");
  expect(settings!.rows.map(({ setting }) => setting)).not.toContain("sampling.temperature");
  const right = async (run: OpenRun) =>
    (await run.nodes()).filter(({ role, correct }) => role === "refiner" && correct === true).length;
  const refiner = samples!.rows.find(({ role }) => role === "refiner")!;
  const [before, after] = [await right(stated), await right(unstated)];
  expect(refiner).toMatchObject({ outputs: "48 → 48" });
  expect(refiner.change).toBe(`${after < before ? "−" : "+"}${((100 * Math.abs(after - before)) / 48).toFixed(1)}`);
});

it("finds nothing between a run and itself, and shows every text whose verdict a regrading changed", async () => {
  const run = await open("stated-t0.7");
  const same = sectionsText(await runChanges(run, run));
  expect(same).toContain("Both have the same settings.");
  expect(same).toContain("Both judge alike what both said.");
  const harsh = async (): Promise<Node[]> =>
    (await run.nodes()).map((node): Node => (node.correct === true ? { ...node, correct: false } : node));
  const texts = new Set((await run.nodes()).flatMap((n) => (n.correct === true ? [`${n.question_id} ${n.text}`] : [])));
  const sections = await runChanges(run, { ...run, nodes: harsh }, { texts: 2 });
  const verdicts = sections.find(({ title }) => title.startsWith("Texts whose verdict changed"))!;
  expect(verdicts.title).toBe(`Texts whose verdict changed: ${texts.size}, the first 2`);
  expect(verdicts.rows).toHaveLength(2);
  for (const row of verdicts.rows) expect([row.first, row.second].join()).toMatch(/^\S+, right,\S+, wrong$/);
});
