import { describe, expect, it } from "vitest";
import { endings, report } from "../../src/cli/report.js";
import { critiqueValue, summariseRoles } from "../../src/credit/summary.js";
import type { Node } from "../../src/types.js";

function node(question_id: string, node_id: string, correct: boolean | null, finish_reason = "stop"): Node {
  const path = node_id.split(".");
  const role = ["generator", "verifier", "refiner"][path.length - 1] as string;
  return {
    question_id,
    node_id,
    parent_id: path.slice(0, -1).join(".") || null,
    role,
    depth: path.length - 1,
    branch: Number(path.at(-1)?.slice(1)),
    text: "",
    finish_reason,
    prompt_tokens: 10,
    completion_tokens: 4,
    seed: 0,
    model: "m",
    answer: correct === null ? null : "1",
    correct,
    value: null,
    label: null,
  };
}

// Question a: a wrong answer, one right and one wrong critique. Question b: a right answer, a right critique.
const nodes = [
  node("a", "g0", false),
  node("a", "g0.v0", true),
  node("a", "g0.v1", false),
  node("a", "g0.v0.r0", true),
  node("a", "g0.v0.r1", true),
  node("a", "g0.v1.r0", false),
  node("a", "g0.v1.r1", null, "length"),
  node("b", "g0", true),
  node("b", "g0.v0", true),
  node("b", "g0.v0.r0", true),
];

describe("summariseRoles", () => {
  it("counts a node without an answer as wrong, and says how many answered and were cut off", () => {
    const refiner = summariseRoles(nodes)[2];
    expect(refiner).toMatchObject({ role: "refiner", answered: 0.8, truncated: 0.2, meanTokens: 4 });
    expect(refiner?.accuracy).toMatchObject({ mean: 3 / 5, n: 5, clusters: 2 });
  });

  it("keeps the order of the roles and counts questions, not pairs, with pairs", () => {
    const pair = { question_id: "a", role: "refiner" } as never;
    const roles = summariseRoles(nodes, [], [pair, pair]);
    expect(roles.map((r) => [r.role, r.pairs, r.questionsWithPairs])).toEqual([
      ["generator", 0, 0],
      ["verifier", 0, 0],
      ["refiner", 2, 0.5],
    ]);
  });
});

describe("critiqueValue", () => {
  it("separates right from wrong critiques at the same rightness of the answer", () => {
    const rows = critiqueValue(nodes).map((r) => [r.answerRight, r.critiqueRight, r.refinement.mean, r.refinement.n]);
    expect(rows).toEqual([
      [false, false, 0, 2],
      [false, true, 1, 2],
      [true, false, Number.NaN, 0],
      [true, true, 1, 1],
    ]);
  });
});

describe("malt report", () => {
  it("prints both tables, aligned, and a dash where there is nothing to say", () => {
    expect(report(nodes, [{ role: "refiner" }], []).split("\n")).toEqual([
      "role       nodes  accuracy      interval  answered  cut off  tokens  SFT  pairs  with pairs",
      // One of two questions right: variance 1/4, effective size 1, Wilson's 0.5 ± 0.445.
      "generator      2    50.0 %   5.5 to 94.5   100.0 %    0.0 %     4.0    0      0       0.0 %",
      "verifier       3    66.7 %  20.8 to 93.9   100.0 %    0.0 %     4.0    0      0       0.0 %",
      "refiner        5    60.0 %  23.1 to 88.2    80.0 %   20.0 %     4.0    1      0       0.0 %",
      "",
      "answer, critique              refinements    right  interval",
      "wrong answer, wrong critique            2    0.0 %         –",
      "wrong answer, right critique            2  100.0 %         –",
      "right answer, wrong critique            0        –         –",
      "right answer, right critique            1  100.0 %         –",
      "",
      "Intervals are 95 %, over 2 questions.",
    ]);
  });

  it("counts completions by finish reason", () => {
    const filtered = [node("q", "g0", null, "content_filter"), node("q", "g1", null, "tool_calls")];
    expect(endings([...nodes, ...filtered])).toBe("ended by: stop 9, length 1, content_filter 1, tool_calls 1");
  });

  it("has no table of critiques for a lone generator", () => {
    expect(report(nodes.slice(0, 1), [], [])).not.toContain("critique");
  });
});
