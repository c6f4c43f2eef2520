import type { Node } from "../src/types.js";

/** Trees with a seeded coin for rewards and values backed up by hand: mean of the children. */
export function forest(questions: number, n = 3): Node[] {
  let state = 7;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const roles = ["generator", "verifier", "refiner"];
  const nodes: Node[] = [];
  const grow = (question_id: string, skill: number, parent: Node | null, depth: number): number => {
    let sum = 0;
    for (let branch = 0; branch < n; branch++) {
      const step = `${roles[depth]![0]}${branch}`;
      const answered = random() < 0.96;
      const right = random() < Math.min(0.97, skill * (parent === null ? 1 : parent.correct === true ? 1.5 : 0.7));
      const node: Node = {
        question_id,
        node_id: parent === null ? step : `${parent.node_id}.${step}`,
        parent_id: parent?.node_id ?? null,
        role: roles[depth]!,
        depth,
        branch,
        text: `Final Answer: ${right ? 42 : 17}`,
        finish_reason: answered ? "stop" : "length",
        prompt_tokens: 50,
        completion_tokens: answered ? Math.round(30 + 40 * random() + 20 * depth) : 160,
        seed: nodes.length,
        model: "test",
        answer: answered ? (right ? "42" : "17") : null,
        correct: answered ? right : null,
        value: null,
        label: null,
      };
      nodes.push(node);
      node.value = depth === 2 ? Number(node.correct === true) : grow(question_id, skill, node, depth + 1);
      node.label = node.value > 0.5;
      sum += node.value;
    }
    return sum / n;
  };
  for (let q = 0; q < questions; q++) grow(`q${q}`, 0.15 + 0.7 * random(), null, 0);
  return nodes;
}
