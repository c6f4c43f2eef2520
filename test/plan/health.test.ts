import { afterAll, expect, it } from "vitest";
import { type OpenRun, openRun } from "../../src/dataset/open.js";
import { type Finding, runHealth } from "../../src/plan/health.js";
import { type Manifest, readManifest } from "../../src/run/manifest.js";
import { healthOf, healthText } from "../../src/show/health.js";
import type { Node } from "../../src/types.js";
import { forest } from "../forest.js";

const recorded = new URL("../../data/recorded", import.meta.url).pathname;
const manifest = await readManifest(recorded);
const opened: OpenRun[] = [];
afterAll(() => {
  for (const run of opened) run.close();
});

const find = (findings: readonly Finding[], check: string, of = "run") =>
  findings.find((each) => each.check === check && each.of === of)!;
const nodes = forest(8).map((node, i): Node => ({ ...node, text: `${node.text}, ${i}` }));
const counts = { asked: 104, ok: 104, failed: 0, retries: 0, pending: 0, completions: 312, completion_tokens: 20_000 };
const healthy: Manifest = { ...manifest, counts: { ...manifest.counts, ...counts }, wall_seconds: 10 };
const check = (change: (node: Node, i: number) => Node, other: Partial<Manifest> = {}) =>
  runHealth({ ...healthy, ...other }, 8, nodes.map(change));

it("finds each ailment that a run is given, and says what mends it", () => {
  const cut = check((node, i) =>
    node.role === "refiner" && i % 3 === 0 ? { ...node, finish_reason: "length" } : node,
  );
  expect(find(cut, "cut off", "refiner")).toMatchObject({
    concern: "mend",
    remedy: expect.stringContaining("--max-tokens 320"),
  });
  const silent = check((node) => (node.role === "verifier" ? { ...node, answer: null, correct: null } : node));
  expect(find(silent, "no answer", "verifier")).toMatchObject({ value: "100.0 %", concern: "look" });
  const mute = check((node) => (node.role === "refiner" ? { ...node, answer: null, correct: null } : node));
  expect(find(mute, "no answer", "refiner").concern).toBe("mend");
  expect(find(mute, "questions with one outcome")).toMatchObject({
    value: "0.0 % right, 100.0 % wrong",
    concern: "mend",
  });
  const same = check((node) => ({ ...node, text: node.role === "generator" ? "as ever" : node.text }));
  expect(find(same, "identical siblings", "generator")).toMatchObject({
    ...{ value: "100.0 %", concern: "mend", remedy: expect.stringContaining("--temperature 0.7") },
  });
  expect(find(same, "states with pairs", "generator")).toMatchObject({ value: "0.0 % of 8", concern: "mend" });
  const filtered = check((node, i) => (i === 5 ? { ...node, finish_reason: "content_filter" } : node));
  expect(find(filtered, "other ends")).toMatchObject({ value: "content_filter 1", concern: "look" });
  const failing = check((node) => node, { counts: { ...healthy.counts, failed: 9, retries: 40 } });
  expect(find(failing, "requests that failed")).toMatchObject({ value: "9 of 104", concern: "mend" });
  expect(find(failing, "requests repeated").concern).toBe("look");
});

it("counts whole trees of the questions that were asked, and none where a search decided", () => {
  const partial = nodes.filter(({ question_id, depth }) => question_id !== "q0" || depth < 2);
  expect(find(runHealth(healthy, 9, partial), "complete trees")).toMatchObject({ value: "7 of 9", concern: "mend" });
  expect(find(runHealth(healthy, 8, nodes), "complete trees")).toMatchObject({ value: "8 of 8", concern: "ok" });
  const search = { kind: "adaptive" as const, budget: 9, threshold: 0.5 };
  const searched = { ...healthy, config: { ...healthy.config, search } };
  expect(find(runHealth(searched, 9, partial), "complete trees").value).toBe("not fixed, searched");
});

it("measures identical siblings by pairs of outputs, whatever the branching", () => {
  const halves = (n: number) =>
    forest(4, n).map((node): Node => ({ ...node, text: node.depth === 0 ? `${node.branch % 2}` : `${node.seed}` }));
  const of = (n: number) => find(runHealth(healthy, 4, halves(n)), "identical siblings", "generator").value;
  expect([of(2), of(4)]).toEqual(["0.0 %", "33.3 %"]);
});

it("makes sense of every recorded run: it says what every number means, and a remedy for all that is not ok", async () => {
  for (const name of ["recorded", "recorded-wide", "recorded-prompts/unstated-t1.0"]) {
    const run = await openRun(`data/${name}`);
    opened.push(run);
    const findings = await healthOf(run);
    const said = healthText(run.name, findings);
    expect(said).not.toMatch(/NaN|undefined|null|Infinity/);
    for (const { check, meaning, remedy, concern } of findings) {
      expect(said).toContain(`${check}: ${meaning}`);
      expect(said.includes(`${check}: ${remedy}`)).toBe(
        findings.some((each) => each.check === check && each.remedy === remedy && each.concern !== "ok"),
      );
      expect(["ok", "look", "mend"]).toContain(concern);
    }
    const paired = await run.query<{ role: string; states: number }>(
      `SELECT role, count(DISTINCT (question_id, parent_id)) AS states FROM (SELECT good.* FROM nodes good JOIN nodes bad
       ON good.question_id = bad.question_id AND good.depth = bad.depth AND good.text <> bad.text AND good.label
       AND NOT bad.label AND good.parent_id IS NOT DISTINCT FROM bad.parent_id) GROUP BY role`,
    );
    for (const { name: role } of run.roles) {
      const [share, all] = find(findings, "states with pairs", role).value.split(" % of ");
      const states = paired.find((row) => row.role === role)?.states ?? 0;
      expect(Number(share), `${name} ${role}`).toBeCloseTo((100 * states) / Number(all!.replace(",", "")), 0);
    }
  }
});
