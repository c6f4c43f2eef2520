import { afterAll, beforeAll, expect, it } from "vitest";
import { mixedQuestion, type OpenRun, openRun } from "../../src/dataset/open.js";
import { slidersOutput } from "../../src/show/sliders.js";

let run: OpenRun;
beforeAll(async () => {
  run = await openRun(null);
});
afterAll(() => run.close());

it("has a static form with the counts of the paper's setting, which are those of the export", async () => {
  const output = await slidersOutput(run);
  const counts = await run.query<{ good: number; pairs: number }>(
    `SELECT count(*) FILTER (label) AS good, (SELECT count(*) FROM dpo WHERE dpo.role = nodes.role) AS pairs
     FROM nodes GROUP BY role, depth ORDER BY depth`,
  );
  const words = ["θ 0.5, mean, all (paper)", ...counts.flatMap(({ good, pairs }) => [good, pairs])];
  expect(output["text/plain"].split("\n").map((line) => line.split(/ {2,}/).join("|"))).toContain(words.join("|"));
  const cells = words.map((word) => `>${word}</td>`).join('<td style="text-align:right;vertical-align:top"');
  expect(output["text/html"]).toContain(cells);
  for (const form of Object.values(output)) expect(form).toContain("npx malt view --run tiny-200");
});

it("puts the live form into a frame that holds one question's texts and all trees' columns", async () => {
  const nodes = await run.nodes();
  const { "text/html": html } = await slidersOutput(run);
  const place = (await run.questions()).findIndex(({ id }) => id === mixedQuestion(nodes));
  expect(html).toContain('<iframe sandbox="allow-scripts" ');
  expect(html).not.toContain("<script");
  expect([...html.matchAll(/ id=&quot;(q\d+)&quot;/g)].map(([, id]) => id)).toEqual([`q${place}`]);
  expect(html).toContain(" id=&quot;tree-verdict&quot;");
});

it("names a question that is not there", async () => {
  await expect(slidersOutput(run, { question: "none" })).rejects.toThrow('run tiny-200 has no question "none"');
});
