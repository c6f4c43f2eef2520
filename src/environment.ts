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

/** How the Hugging Face hub is reached, in the variables that its own programs know. */
export interface HubSettings {
  /** HF_ENDPOINT, without a slash at its end; a mirror's address may have a path. */
  endpoint: string;
  /** HF_TOKEN; like an API key kept out of every file, message and log. */
  token: string | null;
  /** HF_HUB_OFFLINE: nothing is asked of the hub. */
  isOffline: boolean;
}

/** Reads the variables of the hub; an empty one counts as unset. */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  return {
    endpoint: (env.HF_ENDPOINT?.trim() || "https://huggingface.co").replace(/\/+$/, ""),
    token: env.HF_TOKEN?.trim() || null,
    isOffline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE?.trim() ?? ""),
  };
}

/** The environment of a program that needs no key, with some changes: a key must not reach its files or logs. */
export function withoutKey(changes: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { OPENAI_API_KEY: _, ...rest } = process.env;
  return { ...rest, ...changes };
}

/** The environment of a program that asks a server for this one, with some changes. */
export const withKey = (changes: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ ...process.env, ...changes });

/** Whether the name of a variable says that its value is a secret. */
const isSecret = (name: string): boolean => /KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|JWT|AUTH/i.test(name);

/** Names of the variables that may be kept in files of others, such as a queue's record of a job: no secrets among them. */
export function publicVariables(env: NodeJS.ProcessEnv = process.env): string[] {
  return Object.keys(env).filter((name) => /^\w+$/.test(name) && !isSecret(name));
}
