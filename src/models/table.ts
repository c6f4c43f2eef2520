/** What the environment and the chosen profile say. Read at the rim only; nothing deeper looks at `process.env`. */
import { InputError } from "../errors.js";
import type { RequestMode } from "../sample/trees.js";

/** Settings from environment variables. The key is kept out of every file, message and log. */
export interface Environment {
  /** OPENAI_BASE_URL: an OpenAI-compatible server to use in place of the embedded one. */
  baseURL: string | null;
  /** OPENAI_API_KEY */
  apiKey: string | null;
  /** MALT_OUTPUTS: where runs are written, `outputs` by default. */
  outputs: string;
  /** MALT_RUN: the run that notebooks show, by name or folder; null for the recorded one. */
  run: string | null;
}

/** Reads the environment; an empty variable counts as unset. */
export function environment(env: NodeJS.ProcessEnv = process.env): Environment {
  return {
    baseURL: env.OPENAI_BASE_URL || null,
    apiKey: env.OPENAI_API_KEY || null,
    outputs: env.MALT_OUTPUTS || "outputs",
    run: env.MALT_RUN || null,
  };
}

/** One size of the same pipeline: which server samples, and how hard it may be driven. */
export interface Profile {
  name: string;
  about: string;
  /** Whether this project starts the server itself. */
  embedded: boolean;
  /** Requests in flight; `auto` finds out what the server can take. */
  concurrency: number | "auto";
  /**
   * How completions are asked for. A server on the same two cores as this process is busy enough with the model: on the
   * embedded one, whole answers were sampled about a fifth faster than streamed ones, and no slot waited for their children.
   */
  request: RequestMode;
  /** Longest completion, in tokens. */
  maxTokens: number;
}

/** The three sizes; `tiny` is the default. */
export const profiles = {
  tiny: {
    name: "tiny",
    about: "embedded server with malt-tiny, a model of a few million parameters trained by this project",
    embedded: true,
    concurrency: 48,
    request: "whole",
    maxTokens: 160,
  },
  smollm2: {
    name: "smollm2",
    about: "embedded server with SmolLM2-135M-Instruct",
    embedded: true,
    concurrency: 4,
    request: "whole",
    maxTokens: 256,
  },
  vllm: {
    name: "vllm",
    about: "any OpenAI-compatible server at --base-url or OPENAI_BASE_URL, such as vLLM on a GPU",
    embedded: false,
    concurrency: "auto",
    request: "streamed",
    maxTokens: 1024,
  },
} as const satisfies Record<string, Profile>;

/** Looks a profile up by name. @throws InputError that lists the known names */
export function profile(name: string): Profile {
  const found = Object.hasOwn(profiles, name) ? profiles[name as keyof typeof profiles] : undefined;
  if (!found) throw new InputError(`unknown profile "${name}"; known: ${Object.keys(profiles).join(", ")}`);
  return found;
}
