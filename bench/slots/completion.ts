/**
 * The texts of the fake inference server: a function of the messages and the choice's seed alone, so that equal
 * requests get equal texts and lengths from every client. A text begins with a unique id; the ids in a prompt tell the
 * server which completion a new one depends on. Pure.
 */
import { hash } from "node:crypto";

/** How long the completions are. */
export interface Lengths {
  /** Mean of the log-normal distribution, tokens. */
  mean: number;
  /** Standard deviation of the logarithm of the length. */
  sigma: number;
  /** Longer ones are cut off with finish_reason "length". */
  max: number;
}

/** The request: the prompt as one text, and what can be read from it. */
export interface Prompt {
  digest: string;
  tokens: number;
  text: string;
  /** Id of the completion it was made from; null for a prompt without any. */
  parent: string | null;
  /** Completions in it: 0 for a generator, 1 for a verifier, 2 for a refiner. */
  depth: number;
  /** The number after the word "Question", if there is one. */
  question: number | null;
}

/** One completion to produce. */
export interface Said {
  id: string;
  text: string;
  tokens: number;
  finish_reason: "stop" | "length";
}

const charactersPerToken = 4;
const words = "then we add the two numbers and write the sum below the line before we look at the next step again ";

export function readPrompt(messages: readonly { content: string }[]): Prompt {
  const text = messages.map(({ content }) => content).join("\n");
  const ids = text.match(/\[[0-9a-f]{16}\]/g) ?? [];
  const question = /\bQuestion (\d+)/i.exec(text);
  return {
    digest: hash("sha1", text),
    tokens: Math.ceil(text.length / charactersPerToken),
    text,
    parent: ids.at(-1)?.slice(1, -1) ?? null,
    depth: ids.length,
    question: question ? Number(question[1]) : null,
  };
}

/** The completion of a prompt under a seed. Its last line is a right answer, 12, about half of the time. */
export function say(prompt: Prompt, seed: number, { mean, sigma, max }: Lengths): Said {
  const digest = hash("sha1", `${prompt.digest} ${seed}`);
  const uniform = (from: number) => (Number.parseInt(digest.slice(from, from + 8), 16) + 0.5) / 2 ** 32;
  // Box and Muller's normal draw; the mean of exp(μ + σ z) is exp(μ + σ²/2).
  const z = Math.sqrt(-2 * Math.log(uniform(16))) * Math.cos(2 * Math.PI * uniform(24));
  const drawn = Math.max(1, Math.round(mean * Math.exp(sigma * z - sigma ** 2 / 2)));
  const tokens = Math.min(drawn, max);
  const id = digest.slice(0, 16);
  const answer = tokens < drawn ? "" : `\nFinal Answer: ${uniform(32) < 0.5 ? 12 : Math.floor(uniform(32) * 10)}`;
  const room = Math.max(0, tokens * charactersPerToken - id.length - 3 - answer.length);
  const filler = words.repeat(Math.ceil(room / words.length)).slice(0, room);
  return { id, text: `[${id}] ${filler}${answer}`, tokens, finish_reason: tokens < drawn ? "length" : "stop" };
}

/** Which beginnings of prompts a server still has in its cache: blocks of 16 tokens, the least recently used go first. */
export class PrefixCache {
  readonly #blocks = new Set<number>();

  /** @param capacity in blocks */
  constructor(readonly capacity: number) {}

  /** Tokens of the prompt that were cached; they all are afterwards. */
  take({ text, tokens }: Prompt): number {
    const block = 16 * charactersPerToken;
    let [high, low] = [0x811c9dc5, 0x9747b28c];
    let known = 0;
    for (let i = 0; i < text.length; i++) {
      // Two 32-bit multiplicative hashes of all that was read so far; 53 bits of them are the block's name.
      high = Math.imul(high ^ text.charCodeAt(i), 0x01000193);
      low = Math.imul(low ^ text.charCodeAt(i), 0x85ebca6b);
      if (i % block !== block - 1) continue;
      const name = (high >>> 11) * 2 ** 32 + (low >>> 0);
      if (this.#blocks.delete(name) && known === i + 1 - block) known = i + 1;
      this.#blocks.add(name);
    }
    for (const oldest of this.#blocks) {
      if (this.#blocks.size <= this.capacity) break;
      this.#blocks.delete(oldest);
    }
    // A server always computes at least the last token again.
    return Math.min(known / charactersPerToken, tokens - 1);
  }
}
