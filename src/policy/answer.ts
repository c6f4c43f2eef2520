/**
 * Turns a server's answer into completions: a whole JSON answer, or a stream of chunks. Strict about the texts, because
 * a fake, a proxy or a dying server may send anything with status 200; lenient about everything beside them: a count
 * that cannot be read is null. A text is the message's content, or its refusal where it has no content. Thoughts and
 * tool calls that a server sends beside the content are no text. What it leaves out: HTTP (openai.ts).
 *
 * Tokens are counted per choice, because `usage` sums over choices (vLLM) or covers the first one only (llama.cpp):
 * vLLM returns each choice's token ids on request (`return_token_ids`), other servers one log-probability per token
 * (`logprobs`, part of the OpenAI API). Where neither comes back and n > 1 the count is null rather than a guess.
 */
import * as z from "zod";
import { parseJson } from "../json.js";
import type { Completion } from "../types.js";
import { serverWords } from "./words.js";

/** A completion whose number of attempts is not known yet. */
export type Fresh = Omit<Completion, "retries">;

/** The ends that the OpenAI API documents. Any other, such as vLLM's `abort` and `error`, is a failed attempt. */
export const finishReasons: readonly string[] = ["stop", "length", "content_filter", "tool_calls", "function_call"];

/** An answer that cannot be used; it becomes a ServerError once the server's address and key are known. */
export class BadAnswer extends Error {
  /**
   * @param message what the server did, such as "answered with …", in our own words
   * @param said the server's words
   * @param leaves what becomes of the choices that a stream had finished before: none of them is kept where it
   * contradicts itself, all where it breaks off
   */
  constructor(
    message: string,
    readonly said?: string,
    readonly leaves: "none" | "finished" = "none",
  ) {
    super(message);
  }
}

const most = 2 ** 31 - 1;
const count = z.number().int().nonnegative().max(most).nullish().catch(null);
const tokens = z.array(z.unknown()).nullish().catch(null);
const words = z.string().nullish();
const counted = { token_ids: tokens, logprobs: z.object({ content: tokens }).nullish().catch(null) };
type Usage = z.infer<typeof usageShape>;
const usageShape = z
  .object({
    prompt_tokens: count,
    completion_tokens: count,
    prompt_tokens_details: z.object({ cached_tokens: count }).nullish().catch(null),
  })
  .nullish()
  .catch(null);
const besides = {
  refusal: words,
  reasoning: z.unknown().optional(),
  reasoning_content: z.unknown().optional(),
  tool_calls: z.unknown().optional(),
};
const saying = z.object({ content: words, ...besides, function_call: z.unknown().optional() });
const answerShape = z.object({
  choices: z.array(
    z.object({
      index: z.number().int(),
      finish_reason: z.string(),
      message: saying.refine((message) => message.content !== undefined || speaks(message)),
      error: z.unknown().optional(),
      ...counted,
    }),
  ),
  usage: usageShape,
});
const name = z.string().nullish().catch(null);
const chunkShape = z.object({
  id: name,
  model: name,
  error: z.unknown().optional(),
  choices: z.array(
    z.object({
      index: z.number().int(),
      finish_reason: z.string().nullish(),
      delta: saying.extend({ role: name }).nullish(),
      // The forms of a whole answer and of plain completions; taken for a chunk, their text would be lost.
      message: z.null().optional(),
      text: z.null().optional(),
      error: z.unknown().optional(),
      ...counted,
    }),
  ),
  usage: usageShape,
});

/** Whether a message or a piece of one says anything. */
function speaks({ content, refusal, reasoning, reasoning_content, tool_calls, function_call }: z.infer<typeof saying>) {
  const isEmpty = (part: unknown) => part === null || part === undefined || (part as { length?: number }).length === 0;
  return ![content, refusal, reasoning, reasoning_content, tool_calls, function_call].every(isEmpty);
}

/**
 * The n completions of a whole answer in choice order.
 * @throws BadAnswer if it is not an answer of exactly n choices, each with an end that is a result
 */
export function completionsOf(text: string, n: number): Fresh[] {
  const answer = parseJson(text);
  if (answer === undefined && /^\s*[{[]/.test(text)) throw new BadAnswer("answered with broken JSON", text);
  const { error } = z.object({ error: z.unknown().optional() }).catch({ error: null }).parse(answer);
  requireNoError(error);
  const parsed = answerShape.safeParse(answer);
  if (!parsed.success) throw new BadAnswer("answered with something that is not a completion", text);
  const { choices, usage } = parsed.data;
  const completions = Array.from({ length: n }, (_, i) => {
    const choice = choices.find(({ index }) => index === i);
    if (!choice) throw new BadAnswer(`answered with ${choices.length} choices; choice ${i} of ${n} is missing`);
    requireNoError(choice.error);
    requireResult(choice.finish_reason, i, n);
    const { content, refusal } = choice.message;
    const text = content || refusal || "";
    return {
      text,
      finish_reason: choice.finish_reason,
      ...prompt(usage),
      completion_tokens: plausible(tokensOf(choice), text) ?? (n === 1 ? (usage?.completion_tokens ?? null) : null),
    };
  });
  if (choices.length > n) throw new BadAnswer(`answered with ${choices.length} choices, of ${n} that were asked for`);
  return completions;
}

/** What a stream has said of one choice. */
interface Said {
  content: string;
  refusal: string;
  tokens: number;
  isCounted: boolean;
  id: string | null;
  model: string | null;
  /** Whether its latest piece named the role of the speaker. */
  hasRole: boolean | null;
}

/**
 * Reads a stream to its end. The server reports the length of the prompt and the tokens of a choice after the choice
 * (llama.cpp: a chunk of its own with the usage of that choice) or once at the end (vLLM and others: the sum).
 * @param events the data of each event of the stream
 * @param isWanted whether a choice still has to be reported; an earlier attempt may have finished it
 * @param onChoice called with each wanted choice as soon as it is finished and the server has moved on. The last one is
 * reported only at the end of the stream, because one of the siblings has to carry the prompt's token counts, which
 * come there
 * @throws BadAnswer if it is not a stream of n choices, contradicts itself, or ends before all of them
 */
export async function completionsIn(
  events: AsyncIterable<string>,
  n: number,
  isWanted: (choice: number) => boolean,
  onChoice: (choice: number, completion: Fresh) => void,
): Promise<Fresh[]> {
  const said = Array.from(
    { length: n },
    (): Said => ({ content: "", refusal: "", tokens: 0, isCounted: false, id: null, model: null, hasRole: null }),
  );
  const finished: Fresh[] = [];
  let wanted = said.filter((_, i) => isWanted(i)).length;
  /** Finished choices that are not reported yet. */
  let held: number[] = [];
  let last: number | null = null;
  let usage: Usage;
  let isDone = false;
  // Where usage is sent per choice, the usage at the end belongs to the last choice.
  let isOwn = n === 1;
  const tell = (choice: number) => {
    if (--wanted > 0) onChoice(choice, finished[choice]!);
    else last = choice;
  };
  const unfinished = () => said.findIndex((_, i) => !finished[i]);
  for await (const event of events) {
    if (event.trim() === "") continue;
    if (isDone) throw new BadAnswer("went on after the end of its stream", event);
    if (event.trim() === "[DONE]") {
      isDone = true;
      continue;
    }
    const json = parseJson(event);
    if (json === undefined) throw new BadAnswer("answered with a stream with broken JSON", event);
    requireNoError((json as { error?: unknown } | null)?.error);
    const parsed = chunkShape.safeParse(json);
    if (!parsed.success) throw new BadAnswer("answered with a stream with something that is not a chunk", event);
    const { choices, id, model } = parsed.data;
    const news = readable(parsed.data.usage);
    usage = news ?? usage;
    const before = held;
    held = [];
    const latest = before.at(-1);
    if (latest !== undefined && choices.length === 0 && news && unfinished() >= 0) {
      isOwn = true;
      const { completion_tokens, ...rest } = finished[latest]!;
      finished[latest] = { ...rest, ...prompt(news), completion_tokens: news.completion_tokens ?? completion_tokens };
    }
    if (new Set(choices.map(({ index }) => index)).size < choices.length)
      throw new BadAnswer("answered with a stream with one choice twice in a chunk", event);
    for (const choice of choices) {
      const { index, finish_reason, delta } = choice;
      const own = said[index];
      if (!own) throw new BadAnswer(`answered with a stream with choice ${index}, of ${n} that were asked for`);
      requireNoError(choice.error);
      if (finished[index]) {
        if (finish_reason || (delta && speaks(delta)))
          throw new BadAnswer(`answered with a stream that goes on with choice ${index} after its end`, event);
        continue;
      }
      requireOneSpeaker(own, index, { id, model, role: delta?.role }, finish_reason, event);
      const more = tokensOf(choice);
      own.content += delta?.content ?? "";
      own.refusal += delta?.refusal ?? "";
      own.tokens += more ?? 0;
      own.isCounted ||= more !== null;
      if (!finish_reason) continue;
      requireResult(finish_reason, index, n);
      const text = own.content || own.refusal;
      const completion_tokens = plausible(own.isCounted ? own.tokens : null, text);
      finished[index] = { text, finish_reason, ...prompt(null), completion_tokens };
      if (isWanted(index)) held.push(index);
    }
    before.forEach(tell);
  }
  const cut = unfinished();
  // A server that says that this is all contradicts itself; a connection that was cut off does not.
  if (cut < 0 || !isDone) held.forEach(tell);
  if (cut >= 0) {
    const what = `answered with a stream that ended before choice ${cut} of ${n} was finished`;
    throw new BadAnswer(what, undefined, isDone ? "none" : "finished");
  }
  if (last === null) return finished;
  const { completion_tokens, ...rest } = finished[last]!;
  const own = isOwn ? (usage?.completion_tokens ?? null) : null;
  const completion: Fresh = { ...rest, ...prompt(usage), completion_tokens: own ?? completion_tokens };
  finished[last] = completion;
  onChoice(last, completion);
  return finished;
}

/**
 * A proxy that starts again after an error, or mixes two answers, shows in the answer's id, in its model, or in a role
 * that is named anew in the middle of a text.
 */
function requireOneSpeaker(
  own: Said,
  index: number,
  now: { id?: string | null; model?: string | null; role?: string | null | undefined },
  finish_reason: string | null | undefined,
  event: string,
): void {
  for (const field of ["id", "model"] as const) {
    own[field] ||= now[field] ?? null;
    if (now[field] && now[field] !== own[field])
      throw new BadAnswer(`answered with a stream in which the ${field} of choice ${index} changes`, event);
  }
  const hasRole = Boolean(now.role);
  if (own.hasRole === false && hasRole && !finish_reason && (own.content || own.refusal))
    throw new BadAnswer(`answered with a stream in which choice ${index} begins anew`, event);
  own.hasRole = hasRole;
}

function requireNoError(error: unknown): void {
  if (!error) return;
  throw new BadAnswer("ended its answer with an error", serverWords(JSON.stringify({ error })), "finished");
}

function requireResult(finish_reason: string, choice: number, n: number): void {
  if (finishReasons.includes(finish_reason)) return;
  const said = `finish_reason "${finish_reason}"`;
  throw new BadAnswer(`ended choice ${choice} of ${n} without a result`, said, "finished");
}

/** Tokens of a choice, or of a piece of it; null where the server does not count them. */
function tokensOf({
  token_ids,
  logprobs,
}: {
  token_ids?: unknown[] | null;
  logprobs?: { content?: unknown[] | null } | null;
}) {
  return token_ids?.length ?? logprobs?.content?.length ?? null;
}

/** An empty list of tokens beside a text counts nothing. */
const plausible = (tokens: number | null, text: string) => (tokens === 0 && text !== "" ? null : tokens);

/** A usage of which at least one count can be read. */
const readable = (usage: Usage): Usage =>
  typeof (usage?.prompt_tokens ?? usage?.completion_tokens) === "number" ? usage : null;

function prompt(usage: Usage): Pick<Fresh, "prompt_tokens" | "cached_tokens"> {
  const prompt_tokens = usage?.prompt_tokens ?? null;
  const cached = usage?.prompt_tokens_details?.cached_tokens ?? null;
  // More than the whole prompt cannot have been in the cache.
  return { prompt_tokens, cached_tokens: cached !== null && cached > (prompt_tokens ?? 0) ? null : cached };
}
