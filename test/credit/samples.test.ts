import { describe, expect, it } from "vitest";
import { summariseSample } from "../../src/credit/samples.js";
import { sampleTable } from "../../src/show/samples.js";
import type { Node } from "../../src/types.js";

/** A node of the path `node_id`; its answer is right if it is "42". */
function node(question_id: string, node_id: string, answer: string | null, text = "", finish_reason = "stop"): Node {
  const path = node_id.split(".");
  return {
    question_id,
    node_id,
    parent_id: path.slice(0, -1).join(".") || null,
    role: ["generator", "verifier", "refiner"][path.length - 1]!,
    depth: path.length - 1,
    branch: Number(path.at(-1)!.slice(1)),
    text,
    finish_reason,
    prompt_tokens: 10,
    completion_tokens: 4 * path.length,
    seed: 0,
    model: "m",
    answer,
    correct: answer === null ? null : answer === "42",
    value: null,
    label: null,
  };
}

const nodes = [
  // A wrong answer: one critique states it too, one approves it in words, one says another, one corrects it.
  node("a", "g0", "17"),
  node("a", "g0.v0", "17"),
  node("a", "g0.v1", null, "The solution is correct."),
  node("a", "g0.v2", "18", "The solution is correct."),
  node("a", "g0.v3", "42"),
  node("a", "g0.v0.r0", "17"),
  node("a", "g0.v1.r0", "42"),
  node("a", "g0.v2.r0", null, "", "length"),
  node("a", "g0.v3.r0", "42"),
  node("a", "g0.v3.r1", "17"),
  // A right answer of another question, whose critique agrees: that counts nowhere.
  node("b", "g0", "42"),
  node("b", "g0.v0", "42"),
  node("b", "g0.v0.r0", "42"),
];
const pairs = [
  { question_id: "a", role: "verifier", parent_id: "g0" },
  { question_id: "a", role: "refiner", parent_id: "g0.v3" },
  { question_id: "a", role: "refiner", parent_id: "g0.v3" },
];

describe("summariseSample", () => {
  const sample = summariseSample(nodes, pairs);

  it("says how often a role is right, how much it says and how often it is cut off", () => {
    expect(
      sample.roles.map(({ role, accuracy, tokens, truncated }) => [role, accuracy.mean, tokens, truncated]),
    ).toEqual([
      ["generator", 1 / 2, 4, 0],
      ["verifier", 2 / 5, 8, 0],
      ["refiner", 3 / 6, 12, 1 / 6],
    ]);
  });

  it("counts as agreement with a wrong answer the same answer, or an approval that states none", () => {
    expect(sample.agreesWithWrong).toMatchObject({ mean: 2 / 4, n: 4 });
  });

  it("compares the refinements of wrong answers below right critiques and below all others", () => {
    expect(sample.repaired.rightCritique).toMatchObject({ mean: 1 / 2, n: 2 });
    expect(sample.repaired.otherCritique).toMatchObject({ mean: 1 / 3, n: 3 });
  });

  it("counts states with pairs, not pairs, over all questions and over those that the generator got wrong", () => {
    expect(sample.pairs.map(({ role, all, doubtful }) => [role, all.mean, all.n, doubtful.mean, doubtful.n])).toEqual([
      ["generator", 0, 2, 0, 1],
      ["verifier", 1 / 2, 2, 1, 1],
      ["refiner", 1 / 5, 5, 1 / 4, 4],
    ]);
  });

  it("has no number where there was no case", () => {
    const right = summariseSample(nodes.slice(-3), []);
    expect([right.agreesWithWrong.n, right.repaired.rightCritique.n, right.pairs[1]!.doubtful.n]).toEqual([0, 0, 0]);
  });
});

describe("the table of several runs", () => {
  const row = (prompts: string, of: readonly Node[]) => ({
    ...{ model: "m", prompts, temperature: 0.3 },
    sample: summariseSample(of, pairs),
  });

  it("has a row for each run, counts beside shares, and a dash where there was no case", () => {
    const [about, table] = sampleTable([row("one", nodes), row("two", nodes.slice(-3))]).split("\n\n");
    expect(about).toBe("Untrained m, 2 or 1 questions for each row; shares in percent.");
    const cells = table!.split("\n").map((line) => line.split(/ {2,}/));
    expect(cells[1]).toEqual([
      "one",
      "0.3",
      "50",
      "40",
      "50",
      "4",
      "8",
      "12",
      "17",
      "50 of 4",
      "50 of 2",
      "33 of 3",
      "100 of 1",
      "25 of 4",
    ]);
    expect(cells[2]!.slice(-5)).toEqual(["–", "–", "–", "–", "–"]);
  });
});
