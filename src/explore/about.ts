/** What the explorer's page is about, and the names of its parts: the contract between who writes it and the page. */
import type { ExtractionMode } from "../answers/index.js";
import type { PromptSet } from "../team/prompts.js";
import type { Role } from "../types.js";
import type { CreditSetting } from "./credit.js";
import type { EvaluatedSystem } from "./passes.js";

/** The first part of a page. */
export interface About {
  run: string;
  /** One line: model, temperature, seed, benchmark. */
  subtitle: string;
  roles: readonly Role[];
  promptSet: PromptSet;
  /** Which answers of a text count in the dataset. */
  extraction: ExtractionMode;
  /** The setting that the dataset was exported with. */
  setting: CreditSetting;
  ends: readonly string[];
  models: readonly string[];
  /** Of the trees' questions, in order. */
  questions: readonly Heading[];
  /** The question to open with, where it is the only one that can be read. */
  opens?: string;
  evaluations: readonly EvaluationAbout[];
}

/** A question in a list: its id, and the beginning of its text. */
export type Heading = readonly [id: string, beginning: string];

/** The evaluation on one benchmark. */
export interface EvaluationAbout {
  benchmark: string;
  model: string;
  systems: readonly EvaluatedSystem[];
  questions: readonly Heading[];
}

/**
 * The id of the element that holds a part: deflated and in base64, so that nothing in it can be taken for HTML.
 * `q…` and `e…` are packets of one question each; the rest is read when the page opens.
 */
export const part = {
  about: "about",
  treeColumn: (name: string) => `tree-${name}`,
  voteColumn: (evaluation: number, name: string) => `vote-${evaluation}-${name}`,
  question: (index: number) => `q${index}`,
  passes: (evaluation: number, index: number) => `e${evaluation}-${index}`,
};
