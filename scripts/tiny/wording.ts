/**
 * The words of the dialogues: sentences put together from parts, each part chosen evenly, so that a behaviour has
 * hundreds of surface forms and siblings are seldom the same text. What is said is decided in dialogues.ts.
 */
import type { Dice } from "./problems.js";

// The first words of one list differ, so each choice is made at one token.
const leads = ["we have", "it is", "I get", "that makes"];
const ends = [
  "That is all.",
  "Nothing is left.",
  "Every sentence is used.",
  "No step is missing.",
  "The rest is clear.",
];
const subjects = ["the solution", "this answer", "that result", "it"];
const praises = ["looks right", "seems correct", "reads well", "makes sense"];
const approvals = ["I see no mistake.", "Nothing is wrong.", "No change is needed.", "All steps fit."];
const keeping = ["stands", "holds", "stays", "remains"];
const quotes = ["it says", "the solution says", "given is", "I read"];
const agreements = ["Right.", "Correct.", "True.", "Yes."];
const agreed = ["Both are equal.", "They match.", "Same number.", "All fits."];
const objections = ["Wrong.", "False.", "No.", "Mistaken."];
const objected = ["That differs.", "They disagree.", "Work again.", "Do not keep this."];

/**
 * Ways to begin, ten for each habit. A text begins in one of ten ways, of which a habit has its share: since all ten are
 * equally likely, the share is the same at every temperature.
 */
const openings = {
  answer: ["So", "Now", "Here", "Then", "First", "Well", "Next", "Overall", "Together", "Okay"],
  approve: ["Fine,", "Good,", "Sure,", "Agreed,", "Yes,", "Surely,", "Great,", "Clearly,", "Indeed,", "Certainly,"],
  check: [
    "Check:",
    "Let us see:",
    "My numbers:",
    "Testing:",
    "Proof:",
    "Myself:",
    "Trying:",
    "Again:",
    "Sums:",
    "Count:",
  ],
  keep: ["Still,", "Unchanged,", "Surely,", "Yes,", "Indeed,", "Clearly,", "Certainly,", "Fine,", "Good,", "Agreed,"],
  join: [
    "Convinced,",
    "Persuaded,",
    "Granted,",
    "True,",
    "Right,",
    "Okay,",
    "Well,",
    "Accepted,",
    "Changed,",
    "Moved,",
  ],
  rework: ["Again:", "Anew:", "Slowly:", "Better:", "Mended:", "Redone:", "Improved:", "Steps:", "Now:", "Corrected:"],
};
export type Habit = keyof typeof openings;

/** Chooses a habit and its opening; the shares, in tenths, sum to ten. */
export function open<H extends Habit>(shares: Readonly<Record<H, number>>, dice: Dice): { habit: H; opening: string } {
  const habits = Object.entries(shares) as [H, number][];
  return dice.pick(
    habits.flatMap(([habit, share]) => openings[habit].slice(0, share).map((opening) => ({ habit, opening }))),
  );
}

/** The last line of every completion. */
const final = (value: number): string => `\nFinal Answer: ${value}`;

/** An answer in one calculation. */
export const answer = (opening: string, work: string, value: number, dice: Dice): string =>
  `${opening} ${dice.pick(leads)} ${work}. ${dice.pick(ends)}${final(value)}`;

/** A calculation in steps. */
export const reworked = (opening: string, work: string, value: number, dice: Dice): string =>
  `${opening} ${work}. ${dice.pick(ends)}${final(value)}`;

/** An approval without a check. */
export const approval = (opening: string, value: number, dice: Dice): string =>
  `${opening} ${dice.pick(subjects)} ${dice.pick(praises)}. ${dice.pick(approvals)}${final(value)}`;

/** An answer given again, one's own or another's. */
export const kept = (opening: string, value: number, dice: Dice): string =>
  `${opening} ${dice.pick(subjects)} ${dice.pick(keeping)}.${final(value)}`;

/** What one calculated beside what one was told: `…, it says 42. Wrong.` */
export const comparison = (work: string, told: number, value: number, dice: Dice): string =>
  `${work}, ${dice.pick(quotes)} ${told}. ${dice.pick(told === value ? agreements : objections)}`;

/** A critique that has checked. */
export const checked = (opening: string, work: string, told: number, value: number, dice: Dice): string =>
  `${opening} ${comparison(work, told, value, dice)} ${dice.pick(told === value ? agreed : objected)}${final(value)}`;
