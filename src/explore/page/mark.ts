/** A verdict as a sign and a word. */
export const mark = (correct: boolean | null): { sign: string; word: "right" | "wrong" | "no answer" } =>
  correct === null
    ? { sign: "–", word: "no answer" }
    : correct
      ? { sign: "✓", word: "right" }
      : { sign: "✗", word: "wrong" };
