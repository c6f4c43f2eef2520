import { describe, expect, it } from "vitest";
import { distilledExamples } from "../../src/credit/distill.js";
import { columns } from "../../src/credit/score.js";
import { backUp } from "../../src/credit/values.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, messages } from "../../src/team/prompts.js";
import type { Node } from "../../src/types.js";
import { forest } from "../forest.js";

const set = promptSet("arithmetic");
const question = {
  ...{ id: "q0", benchmark: "own", split: "train" as const, question: "How many?", choices: null, answer: "42" },
};
const nodes = forest(30);
const tree = (id: string) => ({
  ...{ question: { ...question, id }, roles: maltRoles(), promptSet: set },
  nodes: nodes.filter(({ question_id }) => question_id === id),
});
const ids = [...new Set(nodes.map(({ question_id }) => question_id))];
const label = (own: readonly Node[], id: string) => own.find(({ node_id }) => node_id === id)!.label;

describe("distilled examples", () => {
  it("are the paths on which every output is good, or whose last one is", () => {
    let [paths, outcomes] = [0, 0];
    for (const id of ids) {
      const whole = tree(id);
      const leaves = whole.nodes.filter(({ depth }) => depth === 2).map(({ node_id }) => node_id);
      const good = leaves.filter((leaf) => label(whole.nodes, leaf));
      const onGoodPath = good.filter((leaf) => {
        const [g, v] = leaf.split(".");
        return label(whole.nodes, g!) && label(whole.nodes, `${g}.${v}`);
      });
      expect(distilledExamples(whole).map(({ node_id }) => node_id)).toEqual(onGoodPath);
      expect(distilledExamples(whole, { distill: "outcome" }).map(({ node_id }) => node_id)).toEqual(good);
      paths += onGoodPath.length;
      outcomes += good.length;
    }
    expect(outcomes).toBeGreaterThan(paths);
    expect(paths).toBeGreaterThan(0);
  });

  it("answer the first role's prompt with all turns, the last one after the reasoning", () => {
    const roles = maltRoles(1);
    const said = ["Sum: 40.", "<think>Check</think> 40 is wrong.", "It is 42.\nFinal Answer: 42"];
    const rows = said.map((text, depth): Node => {
      const node_id = ["g0", "g0.v0", "g0.v0.r0"][depth]!;
      return {
        ...nodes[0]!,
        question_id: "q0",
        node_id,
        parent_id: ["g0", "g0.v0"][depth - 1] ?? null,
        depth,
        text,
        label: true,
      };
    });
    const one = { question, nodes: rows, roles, promptSet: set };
    const content = (options: Parameters<typeof distilledExamples>[1]) =>
      distilledExamples(one, options)[0]!.completion[0]!.content;
    expect(content({})).toBe("<think>\nSum: 40.\n\nCheck 40 is wrong.\n</think>\n\nIt is 42.\nFinal Answer: 42");
    expect(content({ distillForm: "plain" })).toBe(said.join("\n\n"));
    expect(distilledExamples(one)[0]!.prompt).toEqual(messages(set, roles[0]!, question, []));
    expect(() => distilledExamples(one, { distillForm: "xml" as "think" })).toThrow('distill form is "xml"');
  });

  it("can be limited to the best of a question, and to different texts", () => {
    const whole = tree(ids.find((id) => distilledExamples(tree(id)).length > 5)!);
    const all = distilledExamples(whole);
    const some = distilledExamples(whole, { distillLimit: 3 });
    expect(some).toHaveLength(3);
    const { value } = backUp(columns(whole.nodes, whole.roles).forest);
    const mean = ({ node_id }: { node_id: string }) => {
      const path = whole.nodes.flatMap((node, i) => (`${node_id}.`.startsWith(`${node.node_id}.`) ? [value[i]!] : []));
      return path.reduce((a, b) => a + b, 0) / path.length;
    };
    const left = all.filter(({ node_id }) => !some.some((each) => each.node_id === node_id));
    expect(Math.min(...some.map(mean))).toBeGreaterThanOrEqual(Math.max(...left.map(mean)) - 1e-12);
    const texts = distilledExamples(whole, { dedupe: true }).map(({ completion }) => completion[0]!.content);
    expect(texts).toEqual([...new Set(all.map(({ completion }) => completion[0]!.content))]);
  });
});
