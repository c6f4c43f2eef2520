/**
 * The data types of the project. Rows that end up in files use the files' column names (snake_case); everything else is
 * camelCase. Types only: no logic lives here.
 */

/** Which part of a benchmark a question belongs to. Splits are by question, never by row. */
export type Split = "train" | "validation" | "test";

/**
 * Which published split of MATH a question comes from: its authors' (7,500 train, 5,000 test), which is the paper's, or
 * PRM800K's (12,000 and 500), whose training set holds 4,500 of the original test questions.
 */
export type Partition = "original" | "PRM800K";

/** One benchmark question. `choices` are the texts of the options A, B, C, …; then `answer` is a letter. */
export interface Question {
  /** Unique within a benchmark. */
  id: string;
  benchmark: string;
  split: Split;
  /** Known of MATH when it is loaded; a run keeps it in run.json. */
  partition?: Partition | undefined;
  question: string;
  choices: readonly string[] | null;
  /** Reference answer in the benchmark's own notation: a number, a letter or LaTeX. */
  answer: string;
}

/** One chat message, as the OpenAI chat-completions API and TRL's conversational formats spell it. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/**
 * A role of the team as data (paper, Section 4.1). The position in the list of roles is the depth in the tree, so
 * another team (G+V, or two rounds of critique) is another list.
 */
export interface Role {
  /** Unique in the list: `generator`, `verifier`, `refiner`, `verifier-2`, … Its first letter names it in node ids. */
  name: string;
  /**
   * Which template of the prompt set it speaks from. One without a prompt of its own is shown what that template has places
   * for; and a generator is trained by SFT alone, the others by DPO too (Section 4.3).
   */
  template: "generator" | "verifier" | "refiner";
  /** Name of the earlier role whose output it sees as the answer; null for a role that sees only the question. */
  answer: string | null;
  /** Name of the earlier role whose output it sees as the critique, or of several; null where nobody criticised. */
  critique: string | readonly string[] | null;
  /**
   * What stands in the critique's place where `critique` is null: nothing (`empty`, the default; the paper's G+R ablation
   * specifies an empty verification), or the prompt set's text that there is none (`told`).
   */
  missingCritique?: "empty" | "told" | undefined;
  /**
   * What it sees of a critique: the `whole` text, the default, or the `verdict` alone, its last line that is not empty,
   * where the prompts ask for the answer that the critic believes is right.
   */
  critiqueShown?: "whole" | "verdict" | undefined;
  /**
   * A prompt of its own in place of its template's text. Placeholders: {question}, {answer} and {critique} as above, and the
   * name of any earlier role.
   */
  prompt?: string | undefined;
  /** A system message of its own in place of the prompt set's; empty for none. */
  system?: string | undefined;
  /**
   * Name of the earlier role whose adapter it speaks with, and trains together with that role; by default it has one of its
   * own. So a second round may be spoken by the roles of the first.
   */
  adapter?: string | undefined;
  /** Children per parent state, n in the paper (Section 4.2, n = 3). */
  branching: number;
}

/** The turns so far on one path, oldest first. Together with the question it is the state a role sees. */
export interface Turn {
  role: string;
  text: string;
}

/** Sampling parameters. All are always sent, so that a server's defaults never decide. */
export interface Sampling {
  /** ≥ 0; 0.3 in the paper (Section 5). */
  temperature: number;
  /** (0, 1] */
  top_p: number;
  /** ≥ 1 */
  max_tokens: number;
  presence_penalty: number;
  frequency_penalty: number;
  /** Fields beyond the OpenAI API that shape the distribution too (top_k, min_p, …), sent unchanged. */
  extra: Readonly<Record<string, unknown>>;
}

/** Where a completion comes from: a model served under a name, with an optional adapter (its name and content hash). */
export interface PolicyId {
  model: string;
  adapter: { name: string; sha256: string } | null;
}

/**
 * How the n completions of a state are asked for. Seeds and keys are the same in all three.
 * - `streamed`, the default: one request with n choices. It is streamed where children wait for its choices, and they
 *   start as soon as theirs is finished; the leaves, for which nothing waits, come as whole answers.
 * - `whole`: one request with n choices, answered when the last of them is finished.
 * - `single`: one request per completion.
 */
export type RequestMode = "streamed" | "whole" | "single";

/** A request for `n` completions of one state. Completion i has the effective seed `seed + i`, as vLLM counts. */
export interface CompletionRequest {
  policy: PolicyId;
  messages: readonly Message[];
  n: number;
  /** 31-bit unsigned integer. */
  seed: number;
  sampling: Sampling;
}

/**
 * One finished choice. Empty text and finish_reason "length" are results, not errors, as are the other ends that the
 * OpenAI API documents: "stop", "content_filter", "tool_calls", "function_call".
 */
export interface Completion {
  text: string;
  finish_reason: string;
  /**
   * Of the prompt that the choices of one request share; null where the server does not say. A streamed request gets it
   * at its end, so only the choice that finished last has it.
   */
  prompt_tokens: number | null;
  /** Prompt tokens that the server took from its prefix cache; present under the same conditions as `prompt_tokens`. */
  cached_tokens?: number | null;
  /** Tokens of this choice alone, its end token included; null where the server does not say. */
  completion_tokens: number | null;
  /** Requests that failed before this one succeeded; retries shift the sampling distribution, so they are kept. */
  retries: number;
}

/**
 * Asks the server; resolves to exactly `request.n` completions in choice order, or rejects with a MaltError. With
 * `onChoice` each choice is reported as soon as it is finished, and stands even if the request fails afterwards. A stream
 * may contradict itself after that: then its choices are withdrawn, and reported anew by the next attempt. Without
 * `onWithdrawn` they are reported only when that cannot happen any more, at the end of the stream.
 */
export type Complete = (
  request: CompletionRequest,
  signal?: AbortSignal,
  onChoice?: (choice: number, completion: Completion) => void,
  onWithdrawn?: (choice: number) => void,
) => Promise<Completion[]>;

/**
 * One line of the journal: a finished completion and where it belongs. The journal is the only source of truth of a
 * run.
 */
export interface JournalEntry extends Completion {
  /** SHA-256 over model, adapter, messages, sampling parameters, seed, question id, node id. */
  key: string;
  question_id: string;
  /** Path from the question: `g0`, `g0.v2`, `g0.v2.r1`. */
  node_id: string;
  role: string;
  seed: number;
  model: string;
}

/** A node of a tree: one row of nodes.parquet. */
export interface Node {
  question_id: string;
  node_id: string;
  /** null for the first role. */
  parent_id: string | null;
  role: string;
  /** 0, 1, 2, … */
  depth: number;
  /** 0 … n−1 */
  branch: number;
  text: string;
  finish_reason: string;
  prompt_tokens: number | null;
  completion_tokens: number | null;
  seed: number;
  model: string;
  /** Canonical form of this node's own answer; null if it gives none. */
  answer: string | null;
  /** Whether this node's own answer is right; null if it gives none. */
  correct: boolean | null;
  /**
   * Credit under the export's estimator; by default the backed-up value in [0, 1]. Null where there is none: above a
   * part of the tree that is missing, and for an only child's advantage.
   */
  value: number | null;
  /** value > θ; null where value is null, and where the estimator is not certain of it. */
  label: boolean | null;
}

/** A supervised example: one row of sft.parquet. */
export interface SftExample {
  question_id: string;
  role: string;
  node_id: string;
  value: number;
  prompt: readonly Message[];
  completion: readonly Message[];
}

/** A preference pair of siblings, so of the same prompt: one row of dpo.parquet. */
export interface PreferencePair {
  question_id: string;
  role: string;
  /** null for the first role, whose parent is the question. */
  parent_id: string | null;
  chosen_id: string;
  rejected_id: string;
  chosen_value: number;
  rejected_value: number;
  prompt: readonly Message[];
  chosen: readonly Message[];
  rejected: readonly Message[];
}

/** One turn of one pass of a system over one held-out question: one row of evaluation.parquet. */
export interface EvaluationRow {
  /** That of the questions; ids are unique only within it. */
  benchmark: string;
  /** `SA`, `MA+MV`, `MALT`, … */
  system: string;
  /** Which subset of the questions was drawn, and which sampling seeds. */
  seed: number;
  question_id: string;
  /** 0 … k−1 of the vote. */
  pass: number;
  /** The role whose answer this is: generator, verifier or refiner. */
  turn: string;
  /** What was said; of a debate the last round. Null in files that were written before texts were kept. */
  text: string | null;
  /** Canonical form of this turn's answer; null if it gives none. */
  answer: string | null;
  /** False also where there is no answer. */
  correct: boolean;
  /** The vote over the k passes at this turn. */
  voted_answer: string | null;
  voted_correct: boolean;
  /** Of this turn; null where the server does not say. */
  completion_tokens: number | null;
}

/** A completion in its slot, from when to when, ms since the first request of its variant. */
export interface SlotInterval {
  /** Who asked, and how: a panel of the figure. */
  variant: string;
  /** 0, 1, 2, … */
  slot: number;
  start_ms: number;
  end_ms: number;
  role: string;
}

/** The file that a model's weights were read from. */
export interface WeightsFile {
  /** Its path, or `hf://OWNER/NAME@COMMIT/FILE` on the Hugging Face hub, or `package NAME: FILE` in a Python package. */
  source: string;
  /** Of its bytes, 64 hexadecimal digits. */
  sha256: string;
}
