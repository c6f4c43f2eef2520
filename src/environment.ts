/** Settings from the environment. The only file that reads `process.env`; only the outermost callers use it. */

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
  /** npm_lifecycle_event: whether npm or npx started this process. */
  isRunByNpm: boolean;
}

/** Reads the environment; an empty variable counts as unset. */
export function environment(env: NodeJS.ProcessEnv = process.env): Environment {
  return {
    baseURL: env.OPENAI_BASE_URL || null,
    apiKey: env.OPENAI_API_KEY || null,
    outputs: env.MALT_OUTPUTS || "outputs",
    run: env.MALT_RUN || null,
    isRunByNpm: Boolean(env.npm_lifecycle_event),
  };
}

/** The environment of a program that needs no key, with some changes: a key must not reach its files or logs. */
export function withoutKey(changes: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { OPENAI_API_KEY: _, ...rest } = process.env;
  return { ...rest, ...changes };
}
