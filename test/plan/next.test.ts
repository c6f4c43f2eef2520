import { afterAll, describe, expect, it } from "vitest";
import { type OpenRun, openRun } from "../../src/dataset/open.js";
import { discordanceOf, expectedYields, nextExperiment, questionsForGains } from "../../src/plan/next.js";
import { pilotRates } from "../../src/plan/pilot.js";
import { nextSections } from "../../src/show/next.js";
import { sectionsText } from "../../src/show/sections.js";
import { questionsNeeded } from "../../src/stats/power.js";
import type { Node } from "../../src/types.js";
import { forest } from "../forest.js";

const opened: OpenRun[] = [];
const open = async (name: string | null) => {
  const run = await openRun(name);
  opened.push(run);
  return run;
};
afterAll(() => {
  for (const run of opened) run.close();
});

it("expects the rows of the run itself again, for as many questions as it has", async () => {
  const run = await open(null);
  const asked = (await run.questions()).map(({ id }) => id);
  const yields = expectedYields(await run.nodes(), asked, asked.length);
  const counted = await run.query<{ role: string; sft: number; dpo: number }>(
    "SELECT role, count(*) AS sft, (SELECT count(*) FROM dpo WHERE dpo.role = sft.role) AS dpo FROM sft GROUP BY role",
  );
  for (const { role, examples, pairs } of yields) {
    const { sft, dpo } = counted.find((row) => row.role === role)!;
    expect(examples.mean).toBeCloseTo(sft, 6);
    expect(pairs.mean).toBeCloseTo(dpo, 6);
    expect(pairs.low).toBeLessThan(dpo);
    expect(pairs.high).toBeGreaterThan(dpo);
  }
});

it("gives a question without outputs no rows, and never expects fewer than none", () => {
  const nodes = forest(4);
  const ids = [...new Set(nodes.map(({ question_id }) => question_id))];
  const [with4, with8] = [ids, [...ids, "a", "b", "c", "d"]].map((asked) => expectedYields(nodes, asked, 100));
  expect(with8![2]!.examples.mean).toBeCloseTo(with4![2]!.examples.mean / 2, 9);
  for (const { examples, pairs } of with8!)
    for (const { low } of [examples, pairs]) expect(low).toBeGreaterThanOrEqual(0);
});

it("plans with the run's own settings, and counts rows from labels where the training tables were not kept", async () => {
  const run = await open("data/recorded-wide");
  const study = nextExperiment(run.manifest, { questions: 50 });
  expect(study).toMatchObject({
    profile: "tiny",
    sample: { size: 50, branching: 8, temperature: 0.3, max_tokens: 160 },
  });
  const { roles } = await pilotRates(run.dir, study);
  for (const { role, examples, pairs } of expectedYields(
    await run.nodes(),
    (await run.questions()).map(({ id }) => id),
    1,
  )) {
    expect(roles[role]!.sft).toBeCloseTo(examples.mean, 9);
    expect(roles[role]!.pairs).toBeCloseTo(pairs.mean, 9);
  }
});

it("says what is wrong with a plan", async () => {
  const run = await open(null);
  const plan = (options: object) => nextExperiment(run.manifest, { questions: 10, ...options });
  expect(() => plan({ questions: 0 })).toThrow("questions is 0; give a whole number from 1 on");
  expect(() => plan({ gpus: 1.5 })).toThrow("gpus is 1.5; give a whole number from 1 on");
  expect(() => plan({ size: 100, pool: 50 })).toThrow("size is 100, more than the pool of 50 questions");
});

describe("the disagreement of two systems", () => {
  it("is that of MALT and its nearest baseline, question by question and seed by seed", async () => {
    const run = await open(null);
    const rows = await run.evaluation();
    const [{ share }] = (await run.query<{ share: number }>(
      `SELECT avg((a.voted_correct <> b.voted_correct)::INT) AS share FROM evaluation a JOIN evaluation b
       USING (benchmark, seed, question_id) WHERE benchmark = 'arithmetic' AND a.pass = 0 AND b.pass = 0 AND a.turn = 'refiner'
       AND b.turn = 'refiner' AND a.system = 'MALT' AND b.system = 'STaR MA+MV'`,
    )) as [{ share: number }];
    const found = discordanceOf([], rows)!;
    expect(found.share).toBeCloseTo(share, 9);
    expect(found.between).toBe("MALT and STaR MA+MV, evaluated");
  });

  it("is that of an answer and its refinement, where nothing was evaluated", () => {
    const at = (node_id: string, correct: boolean) =>
      ({ question_id: "q", node_id, depth: node_id.split(".").length - 1, correct }) as Node;
    const tree = [at("g0", true), at("g1", false), at("g0.v0", true), at("g0.v0.r0", true), at("g0.v0.r1", false)];
    expect(discordanceOf([...tree, at("g1.v0.r0", true)], [])!.share).toBeCloseTo(2 / 3, 9);
    expect(discordanceOf([], [])).toBeNull();
  });

  it("fixes how many questions a gain needs, and is never below the gain", () => {
    const [small, large] = questionsForGains([0.02, 0.3], 0.1);
    expect(small!.needed).toBe(questionsNeeded({ difference: 0.02, discordance: 0.1 }));
    expect(large!.needed).toBe(questionsNeeded({ difference: 0.3, discordance: 0.3 }));
  });
});

it("tells tokens, hours and dollars, or what it lacks for them", async () => {
  const priced = sectionsText(await nextSections(await open(null), { questions: 1000, gpus: 2, dollarsPerGpuHour: 3 }));
  const [, hours, dollars] = /([\d.]+) GPU hours on 2 GPUs of the pilot's kind at \$3 an hour: \$([\d.]+)\./.exec(
    priced,
  )!;
  expect(Math.abs(Number(dollars) - 3 * Number(hours))).toBeLessThan(0.02);
  const untrained = await open("data/recorded-prompts/stated-t1.0");
  const lacking = sectionsText(await nextSections(untrained, { questions: 100 }));
  expect(lacking).toContain("GPU hours unknown, because this run was not trained: give trainingTokensPerSecond");
  const given = sectionsText(await nextSections(untrained, { questions: 100, trainingTokensPerSecond: 4000 }));
  expect(given).toMatch(/[\d.]+ GPU hours on 1 GPU of the pilot's kind; give dollarsPerGpuHour for dollars\./);
});
