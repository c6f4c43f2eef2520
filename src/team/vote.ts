/** How several answers to one question become one. Pure. */

/** Answers that are the same, in the order in which they were given. */
interface Group {
  answers: string[];
  votes: number;
}

/** Answers in more different notations than this are compared as texts only, which bounds the work. */
const maxNotations = 64;

/**
 * The answers in groups, in the order in which each was first given. Equality of notations need not be transitive (28 %
 * is 28, and is 0.28), so an answer joins the first group all of whose answers it equals: no group holds two that differ.
 */
function groupsOf(answers: readonly (string | null)[], same: (a: string, b: string) => boolean): Group[] {
  const groups: Group[] = [];
  const homes = new Map<string, Group>();
  for (const answer of answers) {
    if (answer === null) continue;
    let home = homes.get(answer);
    if (!home) {
      const isEqual = ({ answers: others }: Group) => others.every((other) => same(other, answer));
      home = homes.size < maxNotations ? groups.find(isEqual) : undefined;
      if (!home) {
        home = { answers: [], votes: 0 };
        groups.push(home);
      }
      home.answers.push(answer);
      homes.set(answer, home);
    }
    home.votes++;
  }
  return groups;
}

/** What a vote decided. */
export interface Vote {
  /** The first given of the answers that won; null if no pass gave an answer. */
  answer: string | null;
  /** Whether more than half of the passes with an answer gave it. Without a majority the rule for ties may have decided. */
  majority: boolean;
}

/**
 * The answer that most passes gave (self-consistency, Wang et al. 2022). Passes without an answer do not vote. Of
 * answers with equally many votes the one that was given first wins: passes are exchangeable, so that is a fair choice
 * among them, and it needs no further randomness.
 * @param answers in the order of the passes
 * @param same whether two answers are equal, symmetric; by default whether their texts are
 */
export function vote(
  answers: readonly (string | null)[],
  same: (a: string, b: string) => boolean = (a, b) => a === b,
): Vote {
  const groups = groupsOf(answers, same);
  const most = Math.max(0, ...groups.map(({ votes }) => votes));
  const cast = groups.reduce((sum, { votes }) => sum + votes, 0);
  const winner = groups.find(({ votes }) => votes === most);
  return { answer: winner?.answers[0] ?? null, majority: 2 * most > cast };
}

/** The answer that {@link vote} decides for; null if no pass gave an answer. */
export const majorityVote = (
  answers: readonly (string | null)[],
  same?: (a: string, b: string) => boolean,
): string | null => vote(answers, same).answer;
