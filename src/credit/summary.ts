/**
 * What a sampled run shows before any training: accuracy by role, what a right critique is worth, and how many
 * questions yield something to learn from. Pure: rows in, numbers out.
 */
import { clusterMean, type Estimate } from "../stats/means.js";
import type { Node, PreferencePair, SftExample } from "../types.js";

/** What counting pairs needs to know of one. */
export type PairKey = Pick<PreferencePair, "question_id" | "role">;

/** Accuracy of the answers a role states; a node that states none counts as wrong. */
export interface RoleSummary {
  role: string;
  accuracy: Estimate;
  /** Share of nodes that state an answer. */
  answered: number;
  /** Share of nodes cut off by max_tokens. */
  truncated: number;
  /** Nodes by `finish_reason`, the most frequent first. */
  finishReasons: ReadonlyMap<string, number>;
  meanTokens: number | null;
  sftExamples: number;
  pairs: number;
  /** Share of the run's questions with at least one preference pair for this role. */
  questionsWithPairs: number;
}

/** Accuracy of a role's children by what came before them. */
export interface CritiqueSummary {
  /** Whether the answer under critique was right. */
  answerRight: boolean;
  /** Whether the critique was right: the answer the critic itself states is the reference answer. */
  critiqueRight: boolean;
  /** Accuracy of the refinements below such critiques. */
  refinement: Estimate;
}

/** Summaries in the order the roles appear in `nodes`. */
export function summariseRoles(
  nodes: readonly Node[],
  sft: readonly Pick<SftExample, "role">[] = [],
  pairs: readonly PairKey[] = [],
): RoleSummary[] {
  const questions = new Set(nodes.map((n) => n.question_id)).size;
  return [...new Set(nodes.map((n) => n.role))].map((name) => {
    const rows = nodes.filter((n) => n.role === name);
    const own = pairs.filter((p) => p.role === name);
    const share = (test: (n: Node) => boolean) => rows.filter(test).length / rows.length;
    const counted = rows.every((n) => n.completion_tokens !== null);
    return {
      role: name,
      accuracy: clusterMean(
        rows.map((n) => n.correct === true),
        rows.map((n) => n.question_id),
      ),
      answered: share((n) => n.answer !== null),
      truncated: share((n) => n.finish_reason === "length"),
      finishReasons: countsOf(rows.map((n) => n.finish_reason)),
      meanTokens: counted ? rows.reduce((t, n) => t + (n.completion_tokens ?? 0), 0) / rows.length : null,
      sftExamples: sft.filter((e) => e.role === name).length,
      pairs: own.length,
      questionsWithPairs: new Set(own.map((p) => p.question_id)).size / questions,
    };
  });
}

/** How often each value is there, the most frequent first. */
function countsOf(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return new Map([...counts].sort(([, a], [, b]) => b - a));
}

/**
 * Does the critique matter? Accuracy of the refinements under right and under wrong critiques, separately for right and
 * wrong answers: pooled, the comparison would mostly show which questions are easy.
 * @returns four rows (answer wrong/right × critique wrong/right); `refinement.n` may be 0
 */
export function critiqueValue(
  nodes: readonly Node[],
  roles: { answer: string; critique: string; refinement: string } = {
    answer: "generator",
    critique: "verifier",
    refinement: "refiner",
  },
): CritiqueSummary[] {
  const byId = new Map(nodes.map((n) => [`${n.question_id}\n${n.node_id}`, n]));
  const parent = (n: Node | undefined) => (n ? byId.get(`${n.question_id}\n${n.parent_id}`) : undefined);
  const leaves = nodes.flatMap((leaf) => {
    if (leaf.role !== roles.refinement) return [];
    const critique = parent(leaf);
    const answer = parent(critique);
    if (critique?.role !== roles.critique || answer?.role !== roles.answer) return [];
    return [{ leaf, critiqueRight: critique.correct === true, answerRight: answer.correct === true }];
  });
  return [false, true].flatMap((answerRight) =>
    [false, true].map((critiqueRight) => {
      const rows = leaves.filter((l) => l.answerRight === answerRight && l.critiqueRight === critiqueRight);
      return {
        answerRight,
        critiqueRight,
        refinement: clusterMean(
          rows.map((l) => l.leaf.correct === true),
          rows.map((l) => l.leaf.question_id),
        ),
      };
    }),
  );
}
