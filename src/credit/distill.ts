/**
 * Whole good trajectories as the reasoning of one model (paper, Appendix A.8.2: the team's gain without its cost at
 * inference). What every role said on a path becomes one completion to the question. Pure.
 */
import { messages } from "../team/prompts.js";
import type { Message, Node } from "../types.js";
import type { LabelledTree } from "./pairs.js";
import { checkOneOf } from "./values.js";

/**
 * Which trajectories are good.
 * - `path`: every output on it has label true. The credit says of each turn that it helps.
 * - `outcome`: the last output has label true. Holds more, and more repairs of wrong answers, but also right answers that were
 *   reached by luck.
 */
export type DistillSelection = "path" | "outcome";
export const distillSelections: readonly DistillSelection[] = ["path", "outcome"];

/**
 * How the turns are put together.
 * - `think`: all but the last inside <think> tags, as reasoning models write; such tags in the turns themselves are removed.
 * - `plain`: one after another with an empty line between, for models without such tags.
 */
export type DistillForm = "think" | "plain";
export const distillForms: readonly DistillForm[] = ["think", "plain"];

export interface DistillOptions {
  /** Default `path`. */
  distill?: DistillSelection;
  /** Default `think`. */
  distillForm?: DistillForm;
  /** At most so many of one question, those with the highest mean value on the path first; default all. */
  distillLimit?: number;
  /** Keep one of several trajectories of one question with the same text? Default false. */
  dedupe?: boolean;
}

/** A supervised example for a single model. */
export interface DistilledExample {
  question_id: string;
  /** The last output; its path names the others. */
  node_id: string;
  /** What the first role sees. */
  prompt: readonly Message[];
  completion: readonly Message[];
}

/**
 * The distilled examples of one tree, in the order of its leaves.
 * @throws InputError on an unknown option
 */
export function distilledExamples(tree: LabelledTree, options: DistillOptions = {}): DistilledExample[] {
  const { distill = "path", distillForm = "think", distillLimit = Number.POSITIVE_INFINITY, dedupe = false } = options;
  checkOneOf("distill", distill, distillSelections);
  checkOneOf("distill form", distillForm, distillForms);
  const { question, nodes, roles, promptSet } = tree;
  const byId = new Map(nodes.map((node) => [node.node_id, node]));
  const path = (node: Node): Node[] => [...(node.parent_id === null ? [] : path(byId.get(node.parent_id)!)), node];
  const seen = new Set<string>();
  const good = nodes.flatMap((leaf, place) => {
    if (leaf.depth !== roles.length - 1 || leaf.label !== true) return [];
    const turns = path(leaf);
    if (distill === "path" && turns.some(({ label }) => label !== true)) return [];
    const text = joined(turns, distillForm);
    if (dedupe && seen.has(text)) return [];
    seen.add(text);
    return [{ leaf, text, place, value: turns.reduce((sum, { value }) => sum + (value ?? 0), 0) / turns.length }];
  });
  if (good.length === 0) return [];
  const prompt = messages(promptSet, roles[0]!, question, []);
  return good
    .sort((a, b) => b.value - a.value || a.place - b.place)
    .slice(0, distillLimit)
    .sort((a, b) => a.place - b.place)
    .map(({ leaf: { question_id, node_id }, text }) => ({
      question_id,
      node_id,
      prompt,
      completion: [{ role: "assistant", content: text }],
    }));
}

function joined(turns: readonly Node[], form: DistillForm): string {
  const texts = turns.map(({ text }) => text);
  if (form === "plain" || texts.length === 1) return texts.join("\n\n");
  const clean = texts.map((text) => text.replaceAll(/<\/?think>/g, "").trim());
  return `<think>\n${clean.slice(0, -1).join("\n\n")}\n</think>\n\n${clean.at(-1)}`;
}
