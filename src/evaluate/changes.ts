/**
 * What changed from one run to another: their samples question by question, the labels and verdicts of what both said, and
 * their evaluations system by system. Pure: rows in, numbers out. Positive differences favour the second run.
 */
import { siblingsOf } from "../credit/pairs.js";
import { holm, type PairedTest, pairedTest } from "../stats/paired.js";
import type { EvaluationRow, Node, Question } from "../types.js";
import { comparePaired, groupBy, outcomes } from "./results.js";

/** What is compared of a run. */
export interface Sample {
  questions: readonly Question[];
  nodes: readonly Node[];
}

/** A number of the first run, and of the second. */
export type Both<T = number> = readonly [first: T, second: T];

export interface SampleChanges {
  /** Questions with one id and one text in both; in one of them alone; and with one id and two texts, which are not compared. */
  questions: { shared: number; onlyFirst: number; onlySecond: number; reworded: number };
  /** Over the shared questions, by role: those of the first run, then those that only the second has. */
  roles: RoleChanges[];
  /** Texts about a shared question that both runs hold and judge differently, in the order of the first run. */
  verdicts: VerdictChange[];
}

export interface RoleChanges {
  role: string;
  outputs: Both;
  /** Share of the outputs that are right, and that are labelled good; NaN where there are none. */
  accuracy: Both;
  good: Both;
  /** Share of its states with both labels among the outputs, so of what can give pairs. */
  mixed: Both;
  /** Mean accuracy of a question, paired by question; null where only one run has the role. */
  difference: PairedTest | null;
  /**
   * Outputs that both runs hold: the same words after the same words on the same question, each counted as often as in the
   * run that has it less often. Of these the ones whose label rose and fell, and those that only one run labels.
   */
  churn: { shared: number; toGood: number; toBad: number; oneLabel: number };
}

/** How one run judged a text. */
export type Judgement = Pick<Node, "answer" | "correct">;

export interface VerdictChange {
  question_id: string;
  role: string;
  text: string;
  verdict: Both<Judgement>;
  /** How often each run holds it. */
  outputs: Both;
}

/** Compares what two runs sampled, of teams with any roles. */
export function compareSamples(first: Sample, second: Sample): SampleChanges {
  const [asked, other] = [textsOf(first), textsOf(second)];
  const inBoth = [...asked].filter(([id]) => other.has(id));
  const shared = new Set(inBoth.filter(([id, text]) => other.get(id) === text).map(([id]) => id));
  const nodes = [first, second].map((run) => run.nodes.filter(({ question_id }) => shared.has(question_id)));
  const [before, after] = nodes as [Node[], Node[]];
  const roles = [...new Set([...before, ...after].map(({ role }) => role))];
  const pairs = matched(before, after);
  return {
    questions: {
      shared: shared.size,
      onlyFirst: asked.size - inBoth.length,
      onlySecond: other.size - inBoth.length,
      reworded: inBoth.length - shared.size,
    },
    roles: roles.map((role) => roleChanges(role, before, after, pairs)),
    verdicts: verdictChanges(before, after),
  };
}

const textsOf = ({ questions }: Sample) =>
  new Map(questions.map(({ id, question, choices, answer }) => [id, JSON.stringify([question, choices, answer])]));

function roleChanges(
  role: string,
  before: readonly Node[],
  after: readonly Node[],
  matches: readonly Both<Node>[],
): RoleChanges {
  const own = [before, after].map((nodes) => nodes.filter((node) => node.role === role)) as [Node[], Node[]];
  const each = (of: (nodes: Node[]) => number): Both => [of(own[0]), of(own[1])];
  const share = (test: (node: Node) => boolean) => each((nodes) => nodes.filter(test).length / nodes.length);
  const isMixed = (state: readonly Node[]) =>
    new Set(state.map(({ label }) => label).filter((l) => l !== null)).size > 1;
  const [mine, theirs] = own.map(accuracies) as [Map<string, number>, Map<string, number>];
  const common = [...mine].filter(([id]) => theirs.has(id));
  const held = matches.filter(([node]) => node.role === role);
  const labelled = (from: boolean, to: boolean) => held.filter(([a, b]) => a.label === from && b.label === to).length;
  return {
    role,
    outputs: each((nodes) => nodes.length),
    accuracy: share(({ correct }) => correct === true),
    good: share(({ label }) => label === true),
    mixed: each((nodes) => {
      const states = siblingsOf(nodes);
      return states.filter(isMixed).length / states.length;
    }),
    difference:
      common.length === 0
        ? null
        : pairedTest(
            common.map(([id, accuracy]) => theirs.get(id)! - accuracy),
            common.map(([id]) => id),
          ),
    churn: {
      shared: held.length,
      toGood: labelled(false, true),
      toBad: labelled(true, false),
      oneLabel: held.filter(([a, b]) => (a.label === null) !== (b.label === null)).length,
    },
  };
}

/** Share of right outputs by question. */
function accuracies(nodes: readonly Node[]): Map<string, number> {
  const byQuestion = groupBy(nodes, ({ question_id }) => question_id);
  return new Map(
    [...byQuestion].map(([id, own]) => [id, own.filter(({ correct }) => correct === true).length / own.length]),
  );
}

/** Outputs with the same words after the same words, first with first, second with second, and so on. */
function matched(before: readonly Node[], after: readonly Node[]): Both<Node>[] {
  const numbers = new Map<string, number>();
  const byPath = (nodes: readonly Node[]) => {
    const paths = new Map<string, number>();
    return groupBy(nodes, ({ question_id, node_id, parent_id, role, text }) => {
      const above = parent_id === null ? question_id : paths.get(`${question_id}\n${parent_id}`);
      const key = JSON.stringify([above, role, text]);
      const number = numbers.get(key) ?? numbers.size;
      numbers.set(key, number);
      paths.set(`${question_id}\n${node_id}`, number);
      return number;
    });
  };
  const [mine, theirs] = [byPath(before), byPath(after)];
  return [...mine].flatMap(([path, nodes]) => {
    const others = theirs.get(path) ?? [];
    return others.slice(0, nodes.length).map((other, i): Both<Node> => [nodes[i]!, other]);
  });
}

function verdictChanges(before: readonly Node[], after: readonly Node[]): VerdictChange[] {
  const byText = (nodes: readonly Node[]) => groupBy(nodes, ({ question_id, text }) => `${question_id}\n${text}`);
  const theirs = byText(after);
  return [...byText(before)].flatMap(([key, nodes]) => {
    const others = theirs.get(key);
    const [node, other] = [nodes[0]!, others?.[0]];
    if (!others || !other || node.correct === other.correct) return [];
    const verdict = [node, other].map(({ answer, correct }) => ({ answer, correct })) as [Judgement, Judgement];
    const { question_id, role, text } = node;
    return [{ question_id, role, text, verdict, outputs: [nodes.length, others.length] as const }];
  });
}

/** A system that both runs evaluated on one benchmark. */
export interface SystemChanges {
  system: string;
  /** Accuracy of the vote after the last turn, over the questions and seeds that both asked. */
  accuracy: Both;
  difference: PairedTest;
  /** Its p, adjusted for all systems. */
  pHolm: number;
}

/** @param first, second rows of one benchmark; systems without a common question and seed are left out */
export function compareEvaluations(first: readonly EvaluationRow[], second: readonly EvaluationRow[]): SystemChanges[] {
  const [mine, theirs] = [first, second].map((rows) => groupBy(rows, ({ system }) => system));
  const changes = [...mine!].flatMap(([system, rows]) => {
    const [before, after] = [outcomes(rows), outcomes(theirs!.get(system) ?? [])];
    const place = ({ seed, question }: { seed: number; question: string }) => `${seed}\n${question}`;
    const asked = [before, after].map((all) => new Set(all.map(place)));
    const common = [
      before.filter((o) => asked[1]!.has(place(o))),
      after.filter((o) => asked[0]!.has(place(o))),
    ] as const;
    if (common[0].length === 0) return [];
    const accuracy = common.map((all) => all.filter(({ correct }) => correct).length / all.length);
    return [{ system, accuracy: accuracy as unknown as Both, difference: comparePaired(common[1], common[0]) }];
  });
  const adjusted = holm(changes.map(({ difference }) => difference.p));
  return changes.map((change, i) => ({ ...change, pHolm: adjusted[i]! }));
}
