/** One sampled tree as lines of a terminal. Pure. */
import type { Node, Question } from "../types.js";

/**
 * Draws a tree, from the question down: what each output answers, whether that is right, and its value. The outputs of
 * the last role are marks behind the output they follow: ✓ for a right answer, ✗ for a wrong one, – for none.
 * @param nodes of one question, parents before children
 */
export function textTree({ question, answer }: Question, nodes: readonly Node[]): string {
  const last = Math.max(...nodes.map(({ depth }) => depth));
  const below = (id: string | null) => nodes.filter(({ parent_id }) => parent_id === id);
  const draw = (id: string | null, indent: string): string[] => {
    const siblings = below(id).filter(({ depth }) => depth < last || last === 0);
    return siblings.flatMap((node, i) => {
      const isLast = i === siblings.length - 1;
      const leaves = below(node.node_id).filter(({ depth }) => depth === last);
      const marks = leaves.length > 0 ? `   ${shown(leaves[0]!.role)} ${leaves.map(mark).join(" ")}` : "";
      const line = `${indent}${isLast ? "└─" : "├─"} ${described(node)}${marks}`;
      return [line, ...draw(node.node_id, `${indent}${isLast ? "   " : "│  "}`)];
    });
  };
  return [`${shown(question)} (answer: ${shown(answer)})`, ...draw(null, "")].join("\n");
}

const mark = ({ correct }: Node): string => (correct === null ? "–" : correct ? "✓" : "✗");

function described(node: Node): string {
  const answer = node.answer === null ? "no answer" : `answers ${[...shown(node.answer)].slice(0, 24).join("")}`;
  const value = node.value === null ? "" : `, value ${node.value.toFixed(2)}`;
  return `${shown(node.role)} ${shown(node.node_id)} ${answer} ${mark(node)}${value}`;
}

/** A text on one line, without what would steer a terminal. */
const shown = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim();
