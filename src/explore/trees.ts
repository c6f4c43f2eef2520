/**
 * The trees of a run as the explorer's page holds them: what is counted and filtered in columns, one entry per node, and
 * what is only read in one packet per question. Pure.
 */
import { type ExtractionMode, gradeText } from "../answers/index.js";
import type { Node, Question, Role } from "../types.js";

/** The type of each column. Entry i belongs to node i; nodes lie in the dataset's order. */
export const treeColumnTypes = {
  /** Per question the index of its first node, and at the end the number of nodes. */
  start: Int32Array,
  /** Index of the parent; −1 for a node of the first role. */
  parent: Int32Array,
  branch: Uint16Array,
  /** Of the node's own answer, see {@link verdicts}. */
  verdict: Uint8Array,
  /** Index among the different texts of its question, so that byte-identical texts share a number. */
  text: Uint32Array,
  /** Index in `ends`, the run's finish reasons. */
  end: Uint16Array,
  /** Index in `models`. */
  model: Uint16Array,
  /** −1 where the server did not say. */
  promptTokens: Int32Array,
  completionTokens: Int32Array,
  /** 1 where strict and flexible extraction, or the dataset and this version's grader, disagree about the verdict. */
  disputed: Uint8Array,
} as const;

export type TreeColumns = { [K in keyof typeof treeColumnTypes]: InstanceType<(typeof treeColumnTypes)[K]> };

/** The verdicts on an answer; their positions are the numbers in the column. */
export const verdicts = ["wrong", "right", "none"] as const;

/** What one question holds to read. */
export interface QuestionPacket {
  question: Question;
  /** Every text that its outputs say, once. */
  texts: string[];
  /** The canonical answer of each text, null where it states none. */
  answers: (string | null)[];
  /** The seed of each node. */
  seeds: number[];
}

/** Texts, each once, and what stands for them. */
export function numbering<T>(): { of(item: T): number; items: T[] } {
  const numbers = new Map<T, number>();
  const items: T[] = [];
  return {
    items,
    of(item) {
      const known = numbers.get(item) ?? items.length;
      if (known === items.length) {
        numbers.set(item, known);
        items.push(item);
      }
      return known;
    },
  };
}

/**
 * Collects a run's trees, question by question.
 * @param mode which answers of a text count in the dataset
 */
export function collectTrees(mode: ExtractionMode) {
  const rows: { [K in keyof typeof treeColumnTypes]: number[] } = {
    start: [0],
    ...{ parent: [], branch: [], verdict: [], text: [], end: [], model: [] },
    ...{ promptTokens: [], completionTokens: [], disputed: [] },
  };
  const ends = numbering<string>();
  const models = numbering<string>();

  return {
    ends: ends.items,
    models: models.items,
    /** @param nodes of this question, in the dataset's order; none if it was not sampled */
    add(question: Question, nodes: readonly Node[]): QuestionPacket {
      const texts = numbering<string>();
      const answers: (string | null)[] = [];
      const isDisputed: boolean[] = [];
      const first = rows.parent.length;
      const index = new Map(nodes.map(({ node_id }, i) => [node_id, first + i]));
      for (const node of nodes) {
        const text = texts.of(node.text);
        if (text === answers.length) {
          answers.push(node.answer);
          isDisputed.push(disputed(question, node, mode));
        }
        rows.parent.push(node.parent_id === null ? -1 : index.get(node.parent_id)!);
        rows.branch.push(node.branch);
        rows.verdict.push(node.correct === null ? 2 : Number(node.correct));
        rows.text.push(text);
        rows.end.push(ends.of(node.finish_reason));
        rows.model.push(models.of(node.model));
        rows.promptTokens.push(node.prompt_tokens ?? -1);
        rows.completionTokens.push(node.completion_tokens ?? -1);
        rows.disputed.push(Number(isDisputed[text]));
      }
      rows.start.push(rows.parent.length);
      return { question, texts: texts.items, answers, seeds: nodes.map(({ seed }) => seed) };
    },
    columns: (): TreeColumns =>
      Object.fromEntries(
        Object.entries(treeColumnTypes).map(([name, type]) => [name, type.from(rows[name as keyof typeof rows])]),
      ) as unknown as TreeColumns,
  };
}

/** Whether a grader or a mode of extraction gives another verdict than the dataset. */
function disputed(question: Question, { text, correct }: Node, mode: ExtractionMode): boolean {
  const again = gradeText(question, text, mode).correct === true;
  const other = gradeText(question, text, mode === "strict" ? "flexible" : "strict").correct === true;
  return again !== (correct === true) || other !== again;
}

/** The node's path from the question: `g0.v2.r1`. */
export function nodeIdOf(
  { parent, branch }: Pick<TreeColumns, "parent" | "branch">,
  roles: readonly Role[],
  i: number,
) {
  const steps: number[] = [];
  for (let at = i; at >= 0; at = parent[at]!) steps.unshift(branch[at]!);
  return steps.map((step, depth) => `${roles[depth]!.name[0]}${step}`).join(".");
}
