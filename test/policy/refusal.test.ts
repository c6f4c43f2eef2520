import { describe, expect, it } from "vitest";
import { RefusedError } from "../../src/errors.js";
import { refusalOf, statusError } from "../../src/policy/refusal.js";

describe("a refusal is told apart by status and words", () => {
  it.each<[ReturnType<typeof refusalOf>, number, string]>([
    ["key", 401, "Incorrect API key provided"],
    ["forbidden", 403, "Access denied for this key"],
    ["filter", 403, "Your input was flagged for violence"],
    ["filter", 400, "The response was filtered due to Azure OpenAI's content management policy"],
    ["payment", 402, "Insufficient credits"],
    ["address", 404, "The model `x` does not exist."],
    ["address", 405, "Method Not Allowed"],
    ["context", 400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"],
    ["context", 400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."],
    ["context", 400, "the request exceeds the available context size, try increasing it"],
    ["context", 500, "the request exceeds the available context size, try increasing it"],
    ["context", 422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"],
    ["context", 400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."],
    ["context", 400, "prompt is too long: 210000 tokens > 200000 maximum"],
    ["context", 400, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens"],
    ["context", 400, "The input token count (5000) exceeds the maximum number of tokens allowed (4096)."],
    ["context", 413, "Request Entity Too Large"],
    ["system message", 400, "System role not supported"],
    ["system message", 500, "Jinja Exception: System role not supported"],
    ["system message", 422, "Template error: invalid operation: System role not supported (in <string>:1)"],
    ["system message", 400, "Conversation roles must alternate user/assistant/user/assistant/..."],
    ["system message", 400, "Only user and assistant roles are supported!"],
    ["system message", 400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."],
    ["system message", 400, "Developer instruction is not enabled for models/gemma-3-27b-it"],
    ["system message", 422, "body.messages.0.role: Input should be 'user' or 'assistant'"],
    ["template", 400, "default chat template is no longer allowed, so you must provide a chat template"],
    ["template", 500, "Jinja Exception: unexpected end of input"],
    ["request", 400, "unknown field top_k"],
    ["request", 422, "logprobs is not supported"],
    [null, 408, "Request Timeout"],
    [null, 429, "Rate limit reached: reduce the length of your messages"],
    [null, 500, "out of memory"],
    [null, 503, "the queue of requests is too long"],
    [null, 502, "<html>Bad Gateway</html>"],
  ])("%s: HTTP %i %s", (refusal, status, words) => {
    expect(refusalOf(status, words)).toBe(refusal);
    const error = statusError(`http://host/v1 answered HTTP ${status} ${words}`, status, words);
    expect(error instanceof RefusedError ? error.refusal : null).toBe(refusal);
    expect(error.message).toContain(words);
  });

  it.each<[number, string, string]>([
    [401, "no", "set OPENAI_API_KEY"],
    [400, "context length exceeded", "a larger context, lower --max-tokens, or leave such questions out"],
    [400, "System role not supported", "--system-message merged"],
    [400, "chat template missing", "--chat-template FILE"],
    [404, "no such model", "check the base URL and the model name"],
  ])("%i %s says what helps, and never to ask again", (status, words, help) => {
    const { message } = statusError(words, status, words);
    expect(message).toContain(help);
    expect(message).not.toContain("again");
  });
});
