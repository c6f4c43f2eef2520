/**
 * How busy a server says it is, from the Prometheus text of its /metrics page: vLLM's and llama.cpp's names. Pure.
 */

/** What the server is doing, summed over its engines. */
export interface Load {
  /** Completions being decoded. */
  running: number;
  /** Requests it has accepted and not begun. */
  waiting: number;
  /** Share of the key-value cache in use, 0 … 1, of the fullest engine; null where the server does not report it. */
  cache: number | null;
}

const names = {
  running: ["vllm:num_requests_running", "llamacpp:requests_processing"],
  waiting: ["vllm:num_requests_waiting", "llamacpp:requests_deferred"],
  cache: ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "llamacpp:kv_cache_usage_ratio"],
};

/** @returns null where the page does not report how many requests are running and waiting */
export function loadOf(page: string): Load | null {
  const found = { running: [] as number[], waiting: [] as number[], cache: [] as number[] };
  for (const [, name, value] of page.matchAll(/^([a-z_:]+)(?:\{[^\n]*\})?[ \t]+([0-9.e+-]+)/gim)) {
    for (const key of ["running", "waiting", "cache"] as const)
      if (names[key].includes(name!) && Number.isFinite(Number(value))) found[key].push(Number(value));
  }
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  if (found.running.length === 0 || found.waiting.length === 0) return null;
  const cache = found.cache.length > 0 ? Math.max(...found.cache) : null;
  return { running: sum(found.running), waiting: sum(found.waiting), cache };
}
