/**
 * Turns a server's answer into completions: a whole JSON answer, or a stream of chunks. Strict, because a fake, a proxy
 * or a dying server may send anything with status 200. What it leaves out: HTTP (openai.ts).
 *
 * Tokens are counted per choice, because `usage` sums over choices (vLLM) or covers the first one only (llama.cpp):
 * vLLM returns each choice's token ids on request (`return_token_ids`), other servers one log-probability per token
 * (`logprobs`, part of the OpenAI API). Where neither comes back and n > 1 the count is null rather than a guess.
 */
import * as z from "zod";
import type { Completion } from "../types.js";

/** A completion whose number of attempts is not known yet. */
export type Fresh = Omit<Completion, "retries">;

/** An answer of the wrong form; it becomes a ServerError once the server's address is known. */
export class BadAnswer extends Error {}

const tokens = z.array(z.unknown()).nullish();
const counted = { token_ids: tokens, logprobs: z.object({ content: tokens }).nullish() };
type Usage = z.infer<typeof usageShape>;
const usageShape = z
  .object({
    prompt_tokens: z.number().int(),
    completion_tokens: z.number().int(),
    prompt_tokens_details: z.object({ cached_tokens: z.number().int().nullish() }).nullish(),
  })
  .nullish();
const answerShape = z.object({
  choices: z.array(
    z.object({
      index: z.number().int(),
      finish_reason: z.string(),
      message: z.object({ content: z.string().nullable() }),
      ...counted,
    }),
  ),
  usage: usageShape,
});
const chunkShape = z.object({
  choices: z.array(
    z.object({
      index: z.number().int(),
      finish_reason: z.string().nullish(),
      delta: z.object({ content: z.string().nullish() }).nullish(),
      ...counted,
    }),
  ),
  usage: usageShape,
});

/** The n completions of a whole answer in choice order. @throws BadAnswer if it is not an answer of n choices */
export function completionsOf(answer: unknown, n: number): Fresh[] {
  const parsed = answerShape.safeParse(answer);
  if (!parsed.success) throw new BadAnswer(`something that is not a completion: ${excerpt(answer)}`);
  const { choices, usage } = parsed.data;
  return Array.from({ length: n }, (_, i) => {
    const choice = choices.find(({ index }) => index === i);
    if (!choice) throw new BadAnswer(`${choices.length} choices; choice ${i} of ${n} is missing`);
    return {
      text: choice.message.content ?? "",
      finish_reason: choice.finish_reason,
      ...prompt(usage),
      completion_tokens: tokensOf(choice) ?? (n === 1 ? (usage?.completion_tokens ?? null) : null),
    };
  });
}

/**
 * Reads a stream to its end. The server reports the length of the prompt and the tokens of a choice after the choice
 * (llama.cpp: a chunk of its own with the usage of that choice) or once at the end (vLLM and others: the sum).
 * @param isWanted whether a choice still has to be reported; an earlier attempt may have finished it
 * @param onChoice called with each wanted choice as soon as it is finished and the server has moved on. The last one is
 * reported only at the end of the stream, because one of the siblings has to carry the prompt's token counts, which
 * come there
 * @throws BadAnswer if it is not a stream of n choices, or ends before all of them
 */
export async function completionsIn(
  chunks: AsyncIterable<unknown>,
  n: number,
  isWanted: (choice: number) => boolean,
  onChoice: (choice: number, completion: Fresh) => void,
): Promise<Fresh[]> {
  const said = Array.from({ length: n }, () => ({ text: "", tokens: 0, isCounted: false }));
  const finished: Fresh[] = [];
  let wanted = said.filter((_, i) => isWanted(i)).length;
  let latest: number | null = null;
  let last: number | null = null;
  let usage: Usage;
  // Where usage is sent per choice, the usage at the end belongs to the last choice.
  let isOwn = n === 1;
  const tell = () => {
    if (latest === null || latest === last) return;
    if (--wanted > 0) onChoice(latest, finished[latest]!);
    else last = latest;
  };
  for await (const chunk of chunks) {
    const parsed = chunkShape.safeParse(chunk);
    if (!parsed.success) throw new BadAnswer(`a stream with something that is not a chunk: ${excerpt(chunk)}`);
    const { choices } = parsed.data;
    usage = parsed.data.usage ?? usage;
    if (latest !== null) {
      if (choices.length === 0 && parsed.data.usage && finished.filter(Boolean).length < n) {
        isOwn = true;
        finished[latest] = { ...finished[latest]!, ...prompt(usage), completion_tokens: usage!.completion_tokens };
      }
      tell();
      latest = null;
    }
    for (const choice of choices) {
      const { index, finish_reason, delta } = choice;
      const own = said[index];
      if (!own) throw new BadAnswer(`a stream with choice ${index}, of ${n} that were asked for`);
      const more = tokensOf(choice);
      own.text += delta?.content ?? "";
      own.tokens += more ?? 0;
      own.isCounted ||= more !== null;
      if (typeof finish_reason !== "string" || finished[index]) continue;
      const completion_tokens = own.isCounted ? own.tokens : null;
      finished[index] = { text: own.text, finish_reason, ...prompt(null), completion_tokens };
      if (!isWanted(index)) continue;
      tell();
      latest = index;
    }
  }
  tell();
  const cut = said.findIndex((_, i) => !finished[i]);
  if (cut >= 0) throw new BadAnswer(`a stream that ended before choice ${cut} of ${n} was finished`);
  if (last === null) return finished;
  const { completion_tokens, ...rest } = finished[last]!;
  const own = isOwn ? (usage?.completion_tokens ?? null) : null;
  const completion: Fresh = { ...rest, ...prompt(usage), completion_tokens: own ?? completion_tokens };
  finished[last] = completion;
  onChoice(last, completion);
  return finished;
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

function prompt(usage: Usage): Pick<Fresh, "prompt_tokens" | "cached_tokens"> {
  return {
    prompt_tokens: usage?.prompt_tokens ?? null,
    cached_tokens: usage?.prompt_tokens_details?.cached_tokens ?? null,
  };
}

/** The beginning of an answer on one line, for a message. */
export const excerpt = (answer: unknown): string =>
  ((typeof answer === "string" ? answer : JSON.stringify(answer)) ?? "nothing").replace(/\s+/g, " ").slice(0, 120);
