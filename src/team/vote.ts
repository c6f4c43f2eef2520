/** How several answers to one question become one. Pure. */

/**
 * The answer that most passes gave (self-consistency, Wang et al. 2022). Passes without an answer do not vote. Of
 * answers with equally many votes the one that was given first wins: passes are exchangeable, so that is a fair choice
 * among them, and it needs no further randomness.
 * @param answers canonical answers in the order of the passes
 * @returns null if no pass gave an answer
 */
export function majorityVote(answers: readonly (string | null)[]): string | null {
  const votes = new Map<string, number>();
  for (const answer of answers) if (answer !== null) votes.set(answer, (votes.get(answer) ?? 0) + 1);
  let winner: string | null = null;
  for (const [answer, count] of votes) if (winner === null || count > votes.get(winner)!) winner = answer;
  return winner;
}
