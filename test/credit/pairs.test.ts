import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LabelledTree } from "../../src/credit/pairs.js";
import { pairings, pairSiblings, preferencePairs, sftExamples, siblingsOf, splitOf } from "../../src/credit/pairs.js";
import { InputError } from "../../src/errors.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, messages } from "../../src/team/prompts.js";
import type { Node, Question } from "../../src/types.js";

const question: Question = {
  id: "q1",
  benchmark: "own",
  split: "train",
  question: "What is 2 + 3?",
  choices: null,
  answer: "5",
};
const set = promptSet("arithmetic");

function node(node_id: string, value: number | null, text = `text of ${node_id}`, threshold = 0.5): Node {
  const path = node_id.split(".");
  return {
    question_id: question.id,
    node_id,
    parent_id: path.length > 1 ? path.slice(0, -1).join(".") : null,
    role: ["generator", "verifier", "refiner"][path.length - 1]!,
    depth: path.length - 1,
    branch: Number(path.at(-1)!.slice(1)),
    text,
    finish_reason: "stop",
    prompt_tokens: 1,
    completion_tokens: 1,
    seed: 0,
    model: "m",
    answer: null,
    correct: null,
    value,
    label: value === null ? null : value > threshold,
  };
}

const tree: LabelledTree = {
  question,
  roles: maltRoles(2),
  promptSet: set,
  nodes: [
    node("g0", 3 / 4),
    node("g1", 0),
    node("g0.v0", 1),
    node("g0.v1", 1 / 2),
    node("g1.v0", 0),
    node("g1.v1", 0),
    node("g0.v0.r0", 1),
    node("g0.v0.r1", 1),
    node("g0.v1.r0", 0),
    node("g0.v1.r1", 1),
  ],
};

describe("sftExamples", () => {
  it("keeps the positive outputs, each under the messages its role saw", () => {
    const examples = sftExamples(tree);
    expect(examples.map((e) => e.node_id)).toEqual(["g0", "g0.v0", "g0.v0.r0", "g0.v0.r1", "g0.v1.r1"]);
    expect(examples[0]!.prompt).toEqual(messages(set, tree.roles[0]!, question, []));
    expect(examples[4]!.prompt[0]!.content).toContain("Solution:\ntext of g0\nCritique:\ntext of g0.v1");
    expect(examples[4]!.completion).toEqual([{ role: "assistant", content: "text of g0.v1.r1" }]);
  });

  it("keeps repeated outputs unless told otherwise, and never across states", () => {
    const nodes = [node("g0", 1, "same"), node("g1", 1, "same"), node("g0.v0", 1, "same"), node("g1.v0", 1, "same")];
    expect(sftExamples({ ...tree, nodes })).toHaveLength(4);
    expect(sftExamples({ ...tree, nodes }, { dedupe: true }).map((e) => e.node_id)).toEqual(["g0", "g0.v0", "g1.v0"]);
  });

  it("paired: only positives that have a negative sibling, as the words of Section 4.3 can be read", () => {
    const ids = sftExamples(tree, { examples: "paired" }).map((e) => e.node_id);
    const pairs = preferencePairs(tree, { identical: "keep" });
    expect(ids).toEqual([...new Set(pairs.map((p) => p.chosen_id))]);
    expect(ids.length).toBeLessThan(sftExamples(tree).length);
  });

  it("names a missing ancestor", () => {
    expect(() => sftExamples({ ...tree, nodes: [node("g0.v0", 1)] })).toThrow('question "q1" has no node g0');
  });
});

describe("preferencePairs", () => {
  it("pairs generators of a question, verifiers of an answer, refiners of a critique", () => {
    const pairs = preferencePairs(tree);
    expect(pairs.map((p) => [p.role, p.parent_id, p.chosen_id, p.rejected_id])).toEqual([
      ["generator", null, "g0", "g1"],
      ["verifier", "g0", "g0.v0", "g0.v1"],
      ["refiner", "g0.v1", "g0.v1.r1", "g0.v1.r0"],
    ]);
    expect(pairs[1]).toMatchObject({ chosen_value: 1, rejected_value: 0.5 });
    expect(pairs[1]!.prompt).toEqual(
      messages(set, tree.roles[1]!, question, [{ role: "generator", text: "text of g0" }]),
    );
  });

  it("makes none from outputs whose value is unknown", () => {
    expect(preferencePairs({ ...tree, nodes: [node("g0", 1), node("g1", null)] })).toEqual([]);
  });
});

it("siblingsOf keeps the states of two questions apart", () => {
  const [a, b] = [node("g0", 1), node("g1", 0)];
  const below = node("g0.v0", 1);
  const [c, d] = [a, below].map((row) => ({ ...row, question_id: "q2" }));
  expect(siblingsOf([a, c!, b, below, d!])).toEqual([[a, b], [c], [below], [d]]);
});

describe("pairSiblings", () => {
  const siblings = [
    { value: 0.6, label: true, text: "a" },
    { value: 1, label: true, text: "b" },
    { value: 0.4, label: false, text: "c" },
    { value: 0, label: false, text: "b" },
    { value: 0.1, label: false, text: "c" },
  ];
  const texts = (options: Parameters<typeof pairSiblings>[1]) =>
    pairSiblings(siblings, options).map(([c, r]) => `${c.value}>${r.value}`);

  it("all: the cross product without identical texts", () => {
    expect(texts({})).toEqual(["0.6>0.4", "0.6>0", "0.6>0.1", "1>0.4", "1>0.1"]);
    expect(texts({ identical: "keep" })).toContain("1>0");
  });
  it("one-per-state: the widest gap", () => expect(texts({ pairing: "one-per-state" })).toEqual(["1>0.1"]));
  it("balanced: each output once", () => expect(texts({ pairing: "balanced" })).toEqual(["1>0.1", "0.6>0"]));
  it("minGap", () => expect(texts({ minGap: 0.6 })).toEqual(["0.6>0", "1>0.4", "1>0.1"]));
  it("dedupe: one pair of the same two texts", () => {
    expect(texts({ dedupe: true })).toEqual(["0.6>0.4", "0.6>0", "1>0.4"]);
  });
  it("refuses unknown rules and gaps", () => {
    expect(() => pairSiblings([], { minGap: 2 })).toThrow(InputError);
    expect(() => pairSiblings([], { pairing: "random" as "all" })).toThrow(
      "choose one of: all, one-per-state, balanced",
    );
  });
});

describe("properties", () => {
  const value = fc.option(fc.integer({ min: 0, max: 9 }).map((k) => k / 9));
  const text = fc.constantFrom("a", "b", "c", "d");
  const nodes = fc
    .array(fc.array(fc.tuple(value, text), { minLength: 1, maxLength: 4 }), { maxLength: 4 })
    .map((rows) =>
      rows.flatMap((children, g) => [
        node(`g${g}`, children[0]![0], children[0]![1]),
        ...children.map(([v, t], i) => node(`g${g}.v${i}`, v, t)),
      ]),
    );
  const options = fc.record({
    pairing: fc.constantFrom(...pairings),
    minGap: fc.constantFrom(0, 0.3),
    dedupe: fc.boolean(),
  });

  it("the sides of a pair share the prompt and differ in label and text", () => {
    fc.assert(
      fc.property(nodes, options, (nodes, options) => {
        const byId = new Map(nodes.map((n) => [n.node_id, n]));
        const prompts = new Map<string | null, unknown>();
        for (const pair of preferencePairs({ ...tree, nodes }, options)) {
          const [chosen, rejected] = [byId.get(pair.chosen_id)!, byId.get(pair.rejected_id)!];
          expect([chosen.label, rejected.label]).toEqual([true, false]);
          expect(chosen.text).not.toBe(rejected.text);
          expect([pair.chosen[0]!.content, pair.rejected[0]!.content]).toEqual([chosen.text, rejected.text]);
          expect([chosen.parent_id, rejected.parent_id]).toEqual([pair.parent_id, pair.parent_id]);
          expect(pair.chosen_value - pair.rejected_value).toBeGreaterThanOrEqual(options.minGap);
          expect(prompts.get(pair.parent_id) ?? pair.prompt).toEqual(pair.prompt);
          prompts.set(pair.parent_id, pair.prompt);
        }
      }),
    );
  });

  it("no state has more pairs than positives x negatives; balanced uses an output once", () => {
    fc.assert(
      fc.property(nodes, options, (nodes, options) => {
        const pairs = preferencePairs({ ...tree, nodes }, options);
        const all = preferencePairs({ ...tree, nodes }, { ...options, pairing: "all" });
        expect(pairs.length).toBeLessThanOrEqual(all.length);
        expect(new Set(pairs.map((p) => p.parent_id))).toEqual(new Set(all.map((p) => p.parent_id)));
        if (options.pairing !== "balanced") return;
        const ids = pairs.flatMap((p) => [p.chosen_id, p.rejected_id]);
        expect(new Set(ids).size).toBe(ids.length);
      }),
    );
  });
});

describe("splitOf", () => {
  it("holds out about the asked share, and other questions under another seed", () => {
    const ids = Array.from({ length: 2000 }, (_, i) => `q${i}`);
    const held = (splitSeed: number) => ids.filter((id) => splitOf(id, { evalFraction: 0.2, splitSeed }) === "eval");
    expect(held(0).length).toBeGreaterThan(340);
    expect(held(0).length).toBeLessThan(460);
    expect(held(0)).not.toEqual(held(1));
    expect(ids.every((id) => splitOf(id) === "train")).toBe(true);
    expect(ids.every((id) => splitOf(id, { evalFraction: 1 }) === "eval")).toBe(true);
  });

  it("is nested: a larger fraction holds out a superset", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), (id, splitSeed) => {
        const side = splitOf(id, { evalFraction: 0.1, splitSeed });
        if (side === "eval") expect(splitOf(id, { evalFraction: 0.3, splitSeed })).toBe("eval");
        expect(splitOf(id, { evalFraction: 0.1, splitSeed })).toBe(side);
      }),
    );
  });

  it("refuses a fraction outside [0, 1]", () => {
    expect(() => splitOf("q", { evalFraction: 1.5 })).toThrow("eval fraction is 1.5");
  });
});
