import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gradeText } from "../../src/answers/index.js";
import { identicalSiblings, isContradictory } from "../../src/credit/label-noise.js";
import { pairings, preferencePairs, sftExamples, sftSelections } from "../../src/credit/pairs.js";
import { columns } from "../../src/credit/score.js";
import { backUp, poolings } from "../../src/credit/values.js";
import { type OpenRun, openRun } from "../../src/dataset/open.js";
import type { RoleCounts } from "../../src/dataset/rules.js";
import {
  type CreditSetting,
  creditOf,
  type PreparedTrees,
  paperSetting,
  prepareTrees,
  traits,
} from "../../src/explore/credit.js";
import { collectTrees, nodeIdOf, type TreeColumns } from "../../src/explore/trees.js";
import type { Node, Question } from "../../src/types.js";

let run: OpenRun;
let questions: Question[];
let nodes: Node[];
let own: Map<string, Node[]>;
let trees: PreparedTrees;
let held: TreeColumns;

beforeAll(async () => {
  run = await openRun(null);
  questions = await run.questions();
  nodes = await run.nodes();
  own = new Map(questions.map(({ id }) => [id, []]));
  for (const node of nodes) own.get(node.question_id)!.push(node);
  const collected = collectTrees("strict");
  for (const question of questions) collected.add(question, own.get(question.id) ?? []);
  held = collected.columns();
  trees = prepareTrees(held, run.roles, collected.ends);
});
afterAll(() => run.close());

/** The same counts by the functions that export a run. */
function exported(setting: CreditSetting) {
  const { value, label } = backUp(columns(nodes, run.roles).forest, setting);
  const scored = nodes.map((node, i) => ({ ...node, value: value[i]!, label: label[i] === 1 }));
  const byQuestion = new Map<string, Node[]>();
  for (const node of scored) byQuestion.set(node.question_id, [...(byQuestion.get(node.question_id) ?? []), node]);
  const all = questions.map((question) => ({
    ...{ question, nodes: byQuestion.get(question.id)!, roles: run.roles, promptSet: run.promptSet },
  }));
  const sft = all.flatMap((tree) => sftExamples(tree, setting));
  const pairs = all.flatMap((tree) => preferencePairs(tree, setting));
  return {
    scored,
    pairs,
    roles: run.roles.map(({ name }) => ({
      role: name,
      good: scored.filter(({ role, label }) => role === name && label).length,
      examples: sft.filter(({ role }) => role === name).length,
      pairs: pairs.filter(({ role }) => role === name).length,
      questions: new Set(pairs.filter(({ role }) => role === name).map(({ question_id }) => question_id)).size,
    })),
  };
}

describe("creditOf", () => {
  it("gives the counts that the recorded run was exported with", () => {
    const { roles } = run.manifest.export as { roles: RoleCounts[] };
    expect(creditOf(trees, paperSetting).roles).toMatchObject(
      roles.map(({ role, nodes, positive, sft, pairs }) => ({ role, nodes, good: positive, examples: sft, pairs })),
    );
  });

  it("gives under any setting what an export gives under it", () => {
    const one = <T>(values: readonly T[]) => fc.constantFrom(...values);
    const anySetting: fc.Arbitrary<CreditSetting> = fc.record({
      ...{
        threshold: one([0, 0.2, 1 / 3, 0.5, 0.67, 0.9, 1]),
        pooling: one(poolings),
        incomplete: one(["skip" as const]),
      },
      ...{ pairing: one(pairings), minGap: one([0, 0.3, 0.5, 1]), identical: one(["drop", "keep"] as const) },
      ...{ dedupe: fc.boolean(), examples: one(sftSelections) },
    });
    fc.assert(
      fc.property(anySetting, (setting) => {
        const expected = exported(setting);
        const credit = creditOf(trees, setting);
        expect(credit.roles).toMatchObject(expected.roles);
        expect([...credit.value]).toEqual(expected.scored.map(({ value }) => value));
        const ids = [...nodes.keys()].filter((i) => (credit.traits[i]! & traits.chosen) !== 0);
        const chosen = new Set(expected.pairs.map((pair) => `${pair.question_id} ${pair.chosen_id}`));
        expect(new Set(ids.map((i) => `${nodes[i]!.question_id} ${nodes[i]!.node_id}`))).toEqual(chosen);
        const contradicted = identicalSiblings(expected.scored).filter(isContradictory).flat().length;
        expect(credit.traits.filter((marks) => (marks & traits.contradicted) !== 0)).toHaveLength(contradicted);
      }),
      { numRuns: 6, seed: 1 },
    );
  });

  it("counts as flipped the labels that are not the dataset's", () => {
    const dataset = creditOf(trees, paperSetting).label;
    const credit = creditOf(trees, { ...paperSetting, threshold: 0.7 }, dataset);
    const expected = nodes.map(({ value, label }) => value! > 0.7 !== label);
    expect([...credit.traits].map((marks) => (marks & traits.flipped) !== 0)).toEqual(expected);
    expect(credit.roles.map(({ flipped }) => flipped)).toEqual([52, 183, 0]);
  });

  it("gives no value to a partly sampled tree, or the mean of what is there", () => {
    const collected = collectTrees("strict");
    const [question] = questions as [Question];
    const tree = own.get(question.id)!;
    collected.add(
      question,
      tree.filter(({ node_id }) => node_id !== "g1.v1.r1"),
    );
    collected.add(questions[1]!, []);
    const partly = prepareTrees(collected.columns(), run.roles, collected.ends);
    const skipped = creditOf(partly, paperSetting);
    const names = [...partly.tree.keys()].map((i) => nodeIdOf(collected.columns(), run.roles, i));
    const marked = names.filter((_, i) => (skipped.traits[i]! & traits.partial) !== 0);
    expect(marked).toEqual(["g1", "g1.v1"]);
    expect(Number.isNaN(skipped.value[names.indexOf("g1")]!)).toBe(true);
    const available = creditOf(partly, { ...paperSetting, incomplete: "available" });
    expect(Number.isNaN(available.value[names.indexOf("g1")]!)).toBe(false);
  });

  it("refuses a setting out of range", () => {
    expect(() => creditOf(trees, { ...paperSetting, threshold: 2 })).toThrow(
      "threshold is 2; give a number from 0 to 1",
    );
  });
});

describe("collectTrees", () => {
  it("holds every node: its path, verdict, tokens and text", () => {
    expect([...nodes.keys()].map((i) => nodeIdOf(held, run.roles, i))).toEqual(nodes.map(({ node_id }) => node_id));
    expect([...held.verdict].map((verdict) => [false, true, null][verdict])).toEqual(
      nodes.map(({ correct }) => correct),
    );
    expect([...held.completionTokens]).toEqual(nodes.map(({ completion_tokens }) => completion_tokens));
    const collected = collectTrees("strict");
    const packets = questions.map((question) => collected.add(question, own.get(question.id)!));
    const texts = [...nodes.keys()].map((i) => packets[trees.tree[i]!]!.texts[held.text[i]!]);
    expect(texts).toEqual(nodes.map(({ text }) => text));
    expect(packets.flatMap(({ seeds }) => seeds)).toEqual(nodes.map(({ seed }) => seed));
  });

  it("marks outputs that strict and flexible extraction, or two graders, judge differently", () => {
    const [asked] = questions as [Question];
    const question = { ...asked, answer: "38" };
    const [first] = own.get(question.id)!;
    const said = (text: string, changes: Partial<Node> = {}) => ({
      ...first!,
      text,
      ...gradeText(question, text),
      ...changes,
    });
    const collected = collectTrees("strict");
    collected.add(question, [
      said("Final Answer: 38"),
      said("I add 30 and 8.\nThen I have 38 plums, I think.\nSo many."),
      said("Final Answer: 38", { text: "Final Answer: 38.0", correct: false }),
    ]);
    expect([...collected.columns().disputed]).toEqual([0, 1, 1]);
  });
});
