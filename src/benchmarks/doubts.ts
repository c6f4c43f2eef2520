/**
 * What may be wrong with questions that can be asked all the same, as one message per kind. Pure. What it leaves out:
 * what no question may be (forms.ts, load.ts).
 */
import { createHash } from "node:crypto";
import type { Partition, Question, Split } from "../types.js";
import { isAnswerRead, shown } from "./forms.js";
import { normalised } from "./held-out.js";
import { type Place, placeText } from "./rows.js";

/** The published splits of MATH, for messages. */
const partitions: Readonly<Record<Partition, string>> = {
  original: "the original split of 7,500 training and 5,000 test questions, the paper's",
  PRM800K:
    "PRM800K's split of 12,000 training and 500 test questions (MATH-500), not the paper's; the 12,000 hold 4,500 of " +
    "the original 5,000 test questions",
};

/** What run.json says of the split, for cards and reports: one of MATH's, or both with "+" between them. */
export const partitionText = (partition: string): string =>
  partition
    .split("+")
    .map((name) => (Object.hasOwn(partitions, name) ? partitions[name as Partition] : name))
    .join(", and ");

/** Training questions of MATH's original split. */
const originalTrain = 7_500;

/** A kind of doubt: how many questions it is about, and the first of them. */
interface Doubt {
  count: number;
  first: string;
  /** Of them, those that are worse. */
  worse: number;
}

/** Collects what is doubtful about questions, one after another. */
export function doubtsAbout() {
  const doubts = new Map<"words" | "options" | "texts" | "tested", Doubt>();
  const texts = new Map<string, { at: Place; answer: string }>();
  const splits = new Map<Split, number>();
  const note = (kind: "words" | "options" | "texts" | "tested", first: () => string, isWorse = false) => {
    const doubt = doubts.get(kind) ?? { count: 0, first: first(), worse: 0 };
    doubts.set(kind, { ...doubt, count: doubt.count + 1, worse: doubt.worse + (isWorse ? 1 : 0) });
  };
  let original = 0;
  return {
    add(question: Question, at: Place): void {
      const { id, split, choices, answer, partition } = question;
      splits.set(split, (splits.get(split) ?? 0) + 1);
      if (!isAnswerRead(question)) note("words", () => `${placeText(at)} (${shown(answer)})`);
      const right = choices?.[answer.charCodeAt(0) - 65];
      if (choices && new Set(choices).size < choices.length)
        note("options", () => placeText(at), choices.filter((option) => option === right).length > 1);
      // A digest, since there may be millions.
      const key = createHash("sha1")
        .update(JSON.stringify([normalised(question.question), choices]))
        .digest("base64");
      const earlier = texts.get(key);
      if (earlier) note("texts", () => `${placeText(at)}, as at ${placeText(earlier.at)}`, earlier.answer !== answer);
      else texts.set(key, { at, answer });
      if (split === "train" && partition === "PRM800K" && id.startsWith("test/")) note("tested", () => placeText(at));
      if (split === "train" && partition === "original") original++;
    },
    messages(): string[] {
      const says = (kind: Parameters<typeof note>[0], text: (doubt: Doubt) => string): string[] => {
        const doubt = doubts.get(kind);
        return doubt ? [text(doubt)] : [];
      };
      const all = [...splits.values()].reduce((sum, count) => sum + count, 0);
      const mixed = [...splits].map(([split, count]) => `${count} of split "${split}"`).join(" and ");
      return [
        ...(splits.size > 1 ? [`the questions are ${mixed}; give --split, or a file of one`] : []),
        ...says(
          "words",
          ({ count, first }) =>
            `${count} of ${all} answers are not read as mathematics, so only the same words are right, the first at ` +
            `${first}; give a number, an expression or options where there are any`,
        ),
        ...says(
          "options",
          ({ count, worse, first }) =>
            `${count} of ${all} questions have the same option twice, the first at ${first}; in ${worse} of them it is ` +
            "the right one, and only its one letter counts",
        ),
        ...says(
          "texts",
          ({ count, worse, first }) =>
            `${count} of ${all} questions repeat an earlier one, ${worse} of them with another answer, the first at ${first}`,
        ),
        ...says(
          "tested",
          ({ count }) =>
            `${count} of these ${all} questions are for training here and for testing in MATH's original split: this is ` +
            `${partitions.PRM800K}; evaluate on MATH-500 alone, or train on the original 7,500`,
        ),
        ...(original > originalTrain
          ? [
              `MATH's original split has 7,500 training questions, these are ${original}: test questions are among them; ` +
                "load the folders train and test, or set the split of each row",
            ]
          : []),
      ];
    },
  };
}
