import { expect, it } from "vitest";
import { compareEvaluations, compareSamples, type Sample } from "../../src/evaluate/changes.js";
import type { EvaluationRow, Node, Question } from "../../src/types.js";
import { forest } from "../forest.js";

const question = (id: string, answer = "42"): Question => ({
  ...{ id, benchmark: "own", split: "train", question: `What is ${id}?`, choices: null, answer },
});
const sample = (nodes: readonly Node[], ids = [...new Set(nodes.map(({ question_id }) => question_id))]): Sample => ({
  questions: ids.map((id) => question(id)),
  nodes,
});
const nodes = forest(6);
const role = (changes: ReturnType<typeof compareSamples>, name: string) =>
  changes.roles.find((each) => each.role === name)!;

it("finds nothing between a sample and itself", () => {
  const { questions, roles, verdicts } = compareSamples(sample(nodes), sample(nodes));
  expect(questions).toEqual({ shared: 6, onlyFirst: 0, onlySecond: 0, reworded: 0 });
  expect(roles.map(({ outputs, churn }) => [outputs, churn])).toEqual(
    [18, 54, 162].map((n) => [[n, n], { shared: n, toGood: 0, toBad: 0, oneLabel: 0 }]),
  );
  for (const { difference, accuracy } of roles) {
    expect(difference).toMatchObject({ p: 1, difference: { mean: 0, n: 6, clusters: 6 } });
    expect(accuracy[0]).toBe(accuracy[1]);
  }
  expect(verdicts).toEqual([]);
});

it("counts labels that another threshold turns, and those that are lost, on the same outputs", () => {
  const stricter = nodes.map((node, i): Node => ({ ...node, label: i === 0 ? null : node.value! > 0.7 }));
  const turned = nodes.filter(({ value, role }, i) => i > 0 && role === "verifier" && value! > 0.5 && value! <= 0.7);
  expect(turned.length).toBeGreaterThan(0);
  const changes = compareSamples(sample(nodes), sample(stricter));
  expect(role(changes, "verifier").churn).toEqual({ shared: 54, toGood: 0, toBad: turned.length, oneLabel: 0 });
  expect(role(changes, "generator").churn.oneLabel).toBe(1);
  expect(role(compareSamples(sample(stricter), sample(nodes)), "verifier").churn.toGood).toBe(turned.length);
});

it("takes outputs for the same only after the same words, and each as often as the rarer run says it", () => {
  const [g0, g1] = nodes.filter(({ question_id, depth }) => question_id === nodes[0]!.question_id && depth === 0);
  const below = (node: Node, text: string): Node => ({
    ...nodes.find(({ parent_id, question_id }) => parent_id === node.node_id && question_id === node.question_id)!,
    text,
  });
  const says = (node: Node, text: string): Node => ({ ...node, text });
  const first = [says(g0!, "a"), says(g1!, "a"), below(g0!, "yes")];
  const second = [says(g0!, "b"), says(g1!, "a"), below(g0!, "yes"), below(g1!, "yes")];
  const changes = compareSamples(sample(first), sample(second));
  expect(role(changes, "generator").churn.shared).toBe(1);
  expect(role(changes, "verifier").churn.shared).toBe(1);
  const other = compareSamples(sample(first), sample(second.slice(0, 3)));
  expect(role(other, "verifier").churn.shared).toBe(0);
});

it("lists each text whose verdict changed, with how often both say it", () => {
  const id = nodes[0]!.question_id;
  const { text, role } = nodes.find(({ question_id, correct }) => question_id === id && correct === true)!;
  const held = nodes.filter((node) => node.question_id === id && node.text === text).length;
  const regraded = nodes.map(
    (node): Node =>
      node.question_id === id && node.text === text ? { ...node, answer: "42.0", correct: false } : node,
  );
  const known = nodes.map((node): Node => (node.text === text ? { ...node, answer: "42", correct: true } : node));
  expect(
    compareSamples(sample(known), sample(regraded)).verdicts.filter(({ question_id }) => question_id === id),
  ).toEqual([
    {
      ...{ question_id: id, role, text, outputs: [held, held] },
      verdict: [
        { answer: "42", correct: true },
        { answer: "42.0", correct: false },
      ],
    },
  ]);
});

it("pairs accuracies by question, on questions with one id and one text", () => {
  const [one, two, three] = [...new Set(nodes.map(({ question_id }) => question_id))];
  const all = (correct: boolean) => (node: Node) => ({ ...node, correct });
  const of = (...ids: (string | undefined)[]) => nodes.filter(({ question_id }) => ids.includes(question_id));
  const first: Sample = { ...sample(of(one, two, three)), questions: [one!, two!, three!].map((id) => question(id)) };
  const second: Sample = {
    nodes: [...of(one).map(all(true)), ...of(two)],
    questions: [question(one!), question(two!, "43"), question("new")],
  };
  const changes = compareSamples({ ...first, nodes: [...of(one).map(all(false)), ...of(two, three)] }, second);
  expect(changes.questions).toEqual({ shared: 1, onlyFirst: 1, onlySecond: 1, reworded: 1 });
  expect(role(changes, "refiner")).toMatchObject({ outputs: [27, 27], accuracy: [0, 1] });
  expect(role(changes, "refiner").difference!.difference.mean).toBe(1);
});

it("compares systems over the questions and seeds that both asked, and counts what turned", () => {
  const vote = (system: string, seed: number, question_id: string, voted_correct: boolean) =>
    ({ system, seed, question_id, voted_correct, pass: 0, turn: "generator" }) as EvaluationRow;
  const first = [
    vote("SA", 0, "a", false),
    vote("SA", 0, "b", true),
    vote("SA", 1, "c", true),
    vote("X", 0, "a", true),
  ];
  const second = [
    vote("SA", 0, "a", true),
    vote("SA", 0, "b", true),
    vote("SA", 2, "c", false),
    vote("Y", 0, "a", true),
  ];
  const [change, ...others] = compareEvaluations(first, second);
  expect(others).toEqual([]);
  expect(change).toMatchObject({ system: "SA", accuracy: [0.5, 1], pHolm: 1 });
  expect(change!.difference).toMatchObject({ difference: { mean: 0.5, n: 2 }, mcnemar: { better: 1, worse: 0 } });
});
