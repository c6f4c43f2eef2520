import { expect, it } from "vitest";
import { textTree } from "../../src/show/text-tree.js";
import type { Node, Question } from "../../src/types.js";

const question: Question = {
  ...{ id: "q", benchmark: "sums", split: "train", choices: null, answer: "12" },
  question: "What is\n5 + 7?\u001b[2J",
};

const node = (id: string, role: string, answer: string | null, value: number | null): Node => ({
  ...{ question_id: "q", node_id: id, parent_id: id.includes(".") ? id.slice(0, id.lastIndexOf(".")) : null, role },
  ...{ depth: id.split(".").length - 1, branch: Number(id.at(-1)), text: "", finish_reason: "stop", seed: 0 },
  ...{ prompt_tokens: null, completion_tokens: null, model: "m", answer, value, label: null },
  correct: answer === null ? null : answer === "12",
});

it("draws answers, values and the leaves' marks, and nothing that steers a terminal", () => {
  const nodes = [
    ...[node("g0", "generator", "11", 0.25), node("g1", "generator", "12\u001b]0;title\u0007", 1)],
    ...[node("g0.v0", "verifier", null, 0.5), node("g0.v1", "verifier", "12", null)],
    ...[node("g1.v0", "verifier", "12", 1)],
    ...[node("g0.v0.r0", "refiner", "12", 1), node("g0.v0.r1", "refiner", null, 0)],
    ...[node("g0.v1.r0", "refiner", "7", 0), node("g1.v0.r0", "refiner", "12", 1)],
  ];
  expect(textTree(question, nodes).split("\n")).toEqual([
    "What is 5 + 7? [2J (answer: 12)",
    "├─ generator g0 answers 11 ✗, value 0.25",
    "│  ├─ verifier g0.v0 no answer –, value 0.50   refiner ✓ –",
    "│  └─ verifier g0.v1 answers 12 ✓   refiner ✗",
    "└─ generator g1 answers 12 ]0;title ✗, value 1.00",
    "   └─ verifier g1.v0 answers 12 ✓, value 1.00   refiner ✓",
  ]);
});

it("draws a team of one role as its outputs", () => {
  expect(textTree(question, [node("g0", "generator", "12", 1)]).split("\n")[1]).toBe(
    "└─ generator g0 answers 12 ✓, value 1.00",
  );
});
