/**
 * From labelled trees to training examples: supervised examples (the good outputs of each role) and preference pairs
 * (a good and a bad sibling, so one prompt) — paper, Section 4.3. Pure. Every rule that could be argued is an option,
 * with the paper's choice as its default.
 */
import { createHash } from "node:crypto";
import { InputError } from "../errors.js";
import { messages, type PromptSet } from "../team/prompts.js";
import type { Message, Node, PreferencePair, Question, Role, SftExample, Turn } from "../types.js";
import { checkOneOf } from "./values.js";

/**
 * Which siblings are paired.
 * - `all`: every positive with every negative. The default: the paper's preference set holds (state, chosen, rejected)
 *   for outputs of one state with different labels, without picking among them.
 * - `one-per-state`: the pair with the largest gap, so that states with many mixed siblings do not dominate.
 * - `balanced`: largest gap first, each output at most once, so that no text is seen more often than another.
 */
export type Pairing = "all" | "one-per-state" | "balanced";
export const pairings: readonly Pairing[] = ["all", "one-per-state", "balanced"];

export interface PairOptions {
  pairing?: Pairing;
  /** Least difference of values, in [0, 1]. Default 0: the paper compares labels only. */
  minGap?: number;
  /**
   * Pair a positive with a byte-identical negative? Equal texts get different values when their continuations differ by
   * chance. Default `drop`: such a pair has no gradient under DPO. `keep` is the literal reading of the paper.
   */
  identical?: "drop" | "keep";
  /**
   * Keep one of several pairs of one state with the same two texts? Default false: a text that the policy says twice
   * counts twice, as in an expectation over its samples.
   */
  dedupe?: boolean;
}

/**
 * Which outputs are SFT examples.
 * - `positives`: all with label true. The default: lines 22 to 25 of Algorithm 1 fine-tune on the outputs labelled 1.
 * - `paired`: of those only the ones with a sibling of label false. Section 4.3 says "positive samples in" the sets of
 *   pairs, which read literally hold no output of a state where all siblings agree.
 * - `all`: every output that has a credit, whatever its label; for weights that tell good from bad.
 */
export type SftSelection = "positives" | "paired" | "all";
export const sftSelections: readonly SftSelection[] = ["positives", "paired", "all"];

export interface SftOptions {
  examples?: SftSelection;
  /** Keep one of several byte-identical outputs of one state? Default false, for the reason given at pairs. */
  dedupe?: boolean;
}

/** What pairing needs to know of an output; a row of nodes.parquet has it. */
export interface Sibling {
  /** null where unknown; such an output is never paired. */
  value: number | null;
  label: boolean | null;
  /** The text, or a number that stands for it. */
  text: string | number;
}

/**
 * Pairs the outputs of one state.
 * @returns [chosen, rejected], chosen label true and rejected label false; ordered by chosen, then rejected, as given;
 * `one-per-state` and `balanced` order by falling gap
 * @throws InputError on an unknown option or a gap outside [0, 1]
 */
export function pairSiblings<T extends Sibling>(siblings: readonly T[], options: PairOptions = {}): [T, T][] {
  const { pairing = "all", minGap = 0, identical = "drop", dedupe = false } = options;
  checkPairOptions(options);
  const negatives = siblings.filter((s) => s.label === false && s.value !== null);
  const pairs: [T, T][] = [];
  for (const chosen of siblings) {
    if (chosen.label !== true || chosen.value === null) continue;
    for (const rejected of negatives) {
      if (chosen.value - rejected.value! < minGap) continue;
      if (identical === "drop" && chosen.text === rejected.text) continue;
      if (dedupe && pairs.some(([c, r]) => c.text === chosen.text && r.text === rejected.text)) continue;
      pairs.push([chosen, rejected]);
    }
  }
  if (pairing === "all") return pairs;
  // Array sort is stable, so equal gaps keep the order of the siblings.
  const gap = ([chosen, rejected]: [T, T]) => chosen.value! - rejected.value!;
  pairs.sort((a, b) => gap(b) - gap(a));
  if (pairing === "one-per-state") return pairs.slice(0, 1);
  const used = new Set<T>();
  return pairs.filter(([chosen, rejected]) => {
    if (used.has(chosen) || used.has(rejected)) return false;
    used.add(chosen).add(rejected);
    return true;
  });
}

/** @throws InputError on an unknown pairing rule or a gap outside [0, 1] */
export function checkPairOptions({ pairing = "all", minGap = 0, identical = "drop" }: PairOptions): void {
  checkOneOf("pairing", pairing, pairings);
  checkOneOf("identical", identical, ["drop", "keep"]);
  if (!(minGap >= 0 && minGap <= 1)) throw new InputError(`minGap is ${minGap}; give a number from 0 to 1`);
}

/**
 * The outputs of one state that are supervised examples, in the order given.
 * @throws InputError on an unknown option
 */
export function exampleSiblings<T extends Sibling>(siblings: readonly T[], options: SftOptions = {}): T[] {
  const { examples = "positives", dedupe = false } = options;
  checkOneOf("examples", examples, sftSelections);
  if (examples === "paired" && !siblings.some(({ label }) => label === false)) return [];
  const seen = new Set<string | number>();
  return siblings.filter(({ label, value, text }) => {
    if (value === null || (examples !== "all" && label !== true) || (dedupe && seen.has(text))) return false;
    seen.add(text);
    return true;
  });
}

/** One question with its nodes, parents before children, and the team that spoke. */
export interface LabelledTree {
  question: Question;
  nodes: readonly Node[];
  roles: readonly Role[];
  promptSet: PromptSet;
}

/**
 * The supervised examples of one tree (paper, Section 4.3): by default the outputs with label true, each with exactly the messages that
 * its role saw. In the order of the nodes.
 * @throws InputError on an unknown option
 */
export function sftExamples(tree: LabelledTree, options: SftOptions = {}): SftExample[] {
  const prompt = prompts(tree);
  const chosen = new Set(siblingsOf(tree.nodes).flatMap((state) => exampleSiblings(state, options)));
  return tree.nodes
    .filter((node) => chosen.has(node))
    .map((node) => {
      const { question_id, role, node_id, value, text } = node;
      return { question_id, role, node_id, value: value!, prompt: prompt(node), completion: said(text) };
    });
}

/**
 * The preference pairs of one tree (paper, Section 4.3): generators under the same question, verifiers under the same
 * answer, refiners under the same critique. States in the order of their first node.
 * @throws InputError on an unknown option
 */
export function preferencePairs(tree: LabelledTree, options: PairOptions = {}): PreferencePair[] {
  const prompt = prompts(tree);
  return siblingsOf(tree.nodes).flatMap((state) =>
    pairSiblings(state, options).map(([chosen, rejected]) => ({
      question_id: chosen.question_id,
      role: chosen.role,
      parent_id: chosen.parent_id,
      chosen_id: chosen.node_id,
      rejected_id: rejected.node_id,
      chosen_value: chosen.value!,
      rejected_value: rejected.value!,
      prompt: prompt(chosen),
      chosen: said(chosen.text),
      rejected: said(rejected.text),
    })),
  );
}

/** Nodes of one or more trees, those that saw the same prompt together. States in the order of their first node. */
export function siblingsOf(nodes: readonly Node[]): Node[][] {
  const states = new Map<string, Node[]>();
  for (const node of nodes) {
    const key = `${node.question_id}\n${node.parent_id ?? ""}`;
    const state = states.get(key);
    if (state) state.push(node);
    else states.set(key, [node]);
  }
  return [...states.values()];
}

const said = (content: string): Message[] => [{ role: "assistant", content }];

/** Renders the prompt of any node of a tree, once per state. */
function prompts({ question, nodes, roles, promptSet }: LabelledTree): (node: Node) => Message[] {
  const byId = new Map(nodes.map((node) => [node.node_id, node]));
  const rendered = new Map<string | null, Message[]>();
  const turns = (id: string | null): Turn[] => {
    if (id === null) return [];
    const node = byId.get(id);
    if (!node) throw new InputError(`question "${question.id}" has no node ${id}; give all ancestors of a node`);
    return [...turns(node.parent_id), { role: node.role, text: node.text }];
  };
  return ({ parent_id, depth }) => {
    const prompt = rendered.get(parent_id) ?? messages(promptSet, roles[depth]!, question, turns(parent_id));
    rendered.set(parent_id, prompt);
    return prompt;
  };
}

/** How questions are divided between training and evaluation examples. */
export interface SplitOptions {
  /** Share of the questions held out, in [0, 1]. Default 0. */
  evalFraction?: number;
  /** Another seed holds out other questions. Default 0. */
  splitSeed?: number;
}

/**
 * The side a question falls on, from a hash of its id: the same in every run, whatever other questions there are, and
 * never a row apart from its question.
 * @throws InputError if the fraction is outside [0, 1]
 */
export function splitOf(questionId: string, options: SplitOptions = {}): "train" | "eval" {
  const { evalFraction = 0, splitSeed = 0 } = options;
  if (!(evalFraction >= 0 && evalFraction <= 1)) {
    throw new InputError(`eval fraction is ${evalFraction}; give a number from 0 to 1`);
  }
  const hash = createHash("sha256").update(`${splitSeed}\n${questionId}`).digest();
  return hash.readUIntBE(0, 6) / 2 ** 48 < evalFraction ? "eval" : "train";
}
