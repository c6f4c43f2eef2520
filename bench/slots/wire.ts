/** The fake inference server's output in vLLM's format: whole answers, stream events, metrics. Pure: text out. */
import type { Said } from "./completion.js";

/** The parts of a request that determine its answer. */
export interface Asked {
  id: string;
  model: string;
  stream: boolean;
  /** `return_token_ids`: each choice's token ids. */
  tokenIds: boolean;
  /** `logprobs`: one log-probability per token. */
  logprobs: boolean;
  /** `stream_options.include_usage`. */
  usage: boolean;
  promptTokens: number;
  /** Prompt tokens taken from the prefix cache. */
  cached: number;
}

const aToken = { token: " we", logprob: -0.5, bytes: [32, 119, 101], top_logprobs: [{ token: " we", logprob: -0.5 }] };

/** Token ids or log-probabilities of so many tokens, as they are asked for. */
function counted({ tokenIds, logprobs }: Asked, tokens: number) {
  return {
    logprobs: logprobs ? { content: Array(tokens).fill(aToken) } : null,
    ...(tokenIds && { token_ids: Array(tokens).fill(12345) }),
  };
}

function usage({ promptTokens, cached }: Asked, said: readonly Said[]) {
  const completion_tokens = said.reduce((sum, { tokens }) => sum + tokens, 0);
  return {
    ...{ prompt_tokens: promptTokens, completion_tokens, total_tokens: promptTokens + completion_tokens },
    prompt_tokens_details: { cached_tokens: cached },
  };
}

/** The answer to a request that is not streamed. */
export function whole(asked: Asked, said: readonly Said[]): string {
  const { id, model } = asked;
  const choices = said.map(({ text, tokens, finish_reason }, index) => ({
    ...{ index, message: { role: "assistant", content: text }, finish_reason, stop_reason: null },
    ...counted(asked, tokens),
  }));
  return JSON.stringify({
    ...{ id, object: "chat.completion", created: 0, model, choices, usage: usage(asked, said) },
    ...(asked.tokenIds && { prompt_token_ids: Array(asked.promptTokens).fill(12345) }),
  });
}

const event = ({ id, model }: Asked, rest: object) =>
  `data: ${JSON.stringify({ id, object: "chat.completion.chunk", created: 0, model, ...rest })}\n\n`;

/** The first events of a stream: the role of each choice, and the prompt's token ids if they are asked for. */
export function roles(asked: Asked, n: number): string {
  const prompt = asked.tokenIds && { prompt_token_ids: Array(asked.promptTokens).fill(12345) };
  const delta = { role: "assistant", content: "" };
  return Array.from({ length: n }, (_, index) =>
    event(asked, { choices: [{ index, delta, logprobs: null, finish_reason: null }], ...prompt }),
  ).join("");
}

/** The event for tokens `from` … `to` − 1 of a choice; with the last one it says why the choice ended. */
export function piece(asked: Asked, index: number, said: Said, from: number, to: number): string {
  const { text, tokens } = said;
  const at = (token: number) => Math.round((text.length * token) / tokens);
  const end = to === tokens ? { finish_reason: said.finish_reason, stop_reason: null } : { finish_reason: null };
  const delta = { content: text.slice(at(from), at(to)) };
  return event(asked, { choices: [{ index, delta, ...end, ...counted(asked, to - from) }] });
}

/** The usage event that ends a stream if usage was requested; empty otherwise. */
export function usageEvent(asked: Asked, said: readonly Said[]): string {
  return asked.usage ? event(asked, { choices: [], usage: usage(asked, said) }) : "";
}

/** What a server is doing. */
export interface Load {
  owner: string;
  model: string;
  running: number;
  waiting: number;
  /** Share of the KV cache that the running choices take, 0 … 1. */
  kv: number;
}

/** Prometheus text with the gauges a client may use for control, under the names of vLLM or llama.cpp. */
export function metrics({ owner, model, running, waiting, kv }: Load): string {
  const gauge = (name: string, help: string, value: number, labels = "") =>
    `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name}${labels} ${value}\n`;
  if (owner === "llamacpp")
    return (
      gauge("llamacpp:requests_processing", "Number of requests processing.", running) +
      gauge("llamacpp:requests_deferred", "Number of requests deferred.", waiting)
    );
  const labels = `{engine="0",model_name="${model}"}`;
  return (
    gauge("vllm:num_requests_running", "Number of requests in model execution batches.", running, labels) +
    gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", waiting, labels) +
    gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", kv, labels)
  );
}
