/**
 * What a server's HTTP error means and what helps against it, in one place. Servers agree on no code for a prompt that
 * is too long or a template that cannot take a message, so their words are read too. Pure.
 */
import { type Refusal, RefusedError, ServerError } from "../errors.js";

/** What helps, by kind of refusal: the end of the error's message. */
const help: Readonly<Record<Refusal, string>> = {
  key: "set OPENAI_API_KEY to a key this server accepts",
  payment: "pay for more at the provider, or ask for less with --max-tokens",
  address: "check the base URL and the model name",
  "system message":
    "the model's chat template takes no system message; put its text into the user message with --system-message merged",
  template: "start the server with a chat template that fits the model, such as vLLM's --chat-template FILE",
  forbidden:
    "set OPENAI_API_KEY to a key that may use this model; if other questions are answered, leave the refused ones out",
  context: "serve the model with a larger context, lower --max-tokens, or leave such questions out",
  filter: "leave such questions out, or use a server that does not filter them",
  request: "change what it names, or leave such questions out if others are answered",
};

const systemMessage =
  /\b(system|developer)\W{0,3}(role|message|prompt|instruction)s?\b.{0,30}\b(not|un)\W?(supported|allowed|enabled|available|accepted)|does\W?n[o']t support\W+(the |a )?(system|developer)\b|not support\W+(the |a )?(system|developer)\b|roles must alternate|only user\b.{0,30}\broles? (is|are) (supported|allowed)|\b(unsupported|unknown|invalid|unexpected) (message )?role\W+system\b|unexpected message role|should be 'user' or 'assistant'/i;
const template = /chat[ _-]?template|\bjinja|template error/i;
const context =
  /context[ _-]?(length|size|window)|context_length|maximum (model|sequence|input|prompt) length|\bmax_(model_len|new_tokens|total_tokens)|(prompt|input|request|messages?|query)\b.{0,60}\btoo (long|large)|max_(completion_)?tokens\b.{0,60}\btoo large|longer than the (model|maximum|context)|too many (input |prompt )?tokens|maximum number of (input |prompt )?tokens|reduce the (length|size) of/i;
const filter =
  /content[ _-]?(filter|management|policy)|\bflagged\b|moderat|safety|usage polic|prohibited content|responsible ai/i;

/**
 * The kind of refusal, or null where the fault may pass and the request is worth asking again.
 * @param status the HTTP status, ≥ 400
 * @param words the server's own
 */
export function refusalOf(status: number, words: string): Refusal | null {
  if (status === 401) return "key";
  if (status === 408 || status === 409 || status === 429) return null;
  // Some servers report an error of the template, or a prompt that is too long, as one of their own (HTTP 500).
  if (systemMessage.test(words)) return "system message";
  if (template.test(words)) return "template";
  if (status === 413 || context.test(words)) return status >= 500 && !/context/i.test(words) ? null : "context";
  if (status >= 500) return null;
  if (filter.test(words)) return "filter";
  if (status === 402) return "payment";
  if (status === 403) return "forbidden";
  return [404, 405, 410].includes(status) ? "address" : "request";
}

/**
 * The error for an answer with an HTTP error status.
 * @param answered who answered what, for the message: `http://host/v1 answered HTTP 400 …`
 */
export function statusError(answered: string, status: number, words: string): ServerError {
  const refusal = refusalOf(status, words);
  if (refusal === null) return new ServerError(answered);
  return new RefusedError(`${answered}; ${help[refusal]}`, status, { refusal });
}
