/**
 * LoRA adapters on a server: llama.cpp takes a scale per adapter it was started with, vLLM a model name, and loads
 * adapters at run time where it is allowed to.
 */
import * as z from "zod";
import { RefusedError, UnreachableError } from "../errors.js";
import { parseJson } from "../json.js";
import type { PolicyId } from "../types.js";
import { BadAnswer } from "./answer.js";
import { checkedURL, pageBeside, plainFetch } from "./connection.js";
import { shownWithout } from "./words.js";

export type Adapter = NonNullable<PolicyId["adapter"]>;

/**
 * Name under which an adapter is loaded into vLLM: with the beginning of its hash, because under a plain name the server
 * would go on serving the weights of an earlier training.
 */
export const servedName = ({ name, sha256 }: Adapter): string => `${name}-${sha256.slice(0, 12)}`;

/**
 * Asks a vLLM server to load a LoRA adapter that lies on its disk; an adapter it already serves under that name is
 * kept.
 * @param path folder of the adapter as the server sees it
 * @throws UnreachableError, or a RefusedError (404) that says how to allow it
 */
export async function loadAdapter(baseURL: string, apiKey: string | null, name: string, path: string): Promise<void> {
  const url = `${checkedURL(baseURL)}/load_lora_adapter`;
  const headers = { "content-type": "application/json", authorization: `Bearer ${apiKey || "none"}` };
  const body = JSON.stringify({ lora_name: name, lora_path: path });
  const shown = shownWithout(apiKey);
  const response = await plainFetch(url, { method: "POST", headers, body }).catch((error) => {
    throw new UnreachableError(`no answer from ${url} (${shown(error.message)}); is the server running?`);
  });
  if (response.ok) return;
  const said = await response.words().catch((error: Error) => error.message);
  if (said.includes("has already been loaded")) return;
  throw new RefusedError(
    `${url} refused adapter "${name}" at ${path} (HTTP ${response.status}: ${shown(said)}); start vLLM with --enable-lora and ` +
      `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or with --lora-modules ${name}=${path}`,
    404,
  );
}

/**
 * llama.cpp takes a scale per loaded adapter, and applies scale 1 to any adapter that is left out. So all are named,
 * also for the base model.
 * @throws RefusedError if it has not loaded the adapter
 */
export function adapterScales(
  adapter: Adapter | null,
  loaded: ReadonlyMap<string, number>,
  baseURL: string,
): { lora?: { id: number; scale: number }[] } {
  if (adapter && !loaded.has(adapter.name)) {
    const names = [...loaded.keys()].join(", ") || "none";
    throw new RefusedError(
      `adapter "${adapter.name}" is not loaded at ${baseURL}; loaded: ${names}; start llama.cpp with --lora ${adapter.name}.gguf`,
      404,
    );
  }
  if (loaded.size === 0) return {};
  return { lora: [...loaded].map(([name, id]) => ({ id, scale: name === adapter?.name ? 1 : 0 })) };
}

/** llama.cpp lists its adapters at /lora-adapters, beside /v1. @throws BadAnswer if two have one name */
export async function loadedAdapters(baseURL: string, apiKey: string): Promise<Map<string, number>> {
  const page = await pageBeside(baseURL, "lora-adapters", apiKey);
  // Servers built before llama.cpp had adapters answer 404, and have none.
  if (page === null) return new Map();
  const list = z.array(z.object({ id: z.number().int(), path: z.string() })).safeParse(parseJson(page));
  if (!list.success) throw new BadAnswer("answered with something that is not a list of adapters; check the base URL");
  const named = list.data.map(({ id, path }) => [path.replace(/^.*[\\/]/, "").replace(/\.gguf$/, ""), id] as const);
  const map = new Map(named);
  if (map.size < named.length)
    throw new BadAnswer("answered with two adapters with one file name; give each a name of its own");
  return map;
}
