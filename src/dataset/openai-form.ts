/** Rows in the form of OpenAI's fine-tuning files (https://platform.openai.com/docs/api-reference/fine-tuning). Pure. */
import type { Message } from "../types.js";

type Messages = readonly Message[];

/** A supervised example: a chat that ends with the completion. */
export const openaiExample = ({ prompt, completion }: { prompt: Messages; completion: Messages }) => ({
  messages: [...prompt, ...completion],
});

/** A preference pair. */
export const openaiPair = ({
  prompt,
  chosen,
  rejected,
}: {
  prompt: Messages;
  chosen: Messages;
  rejected: Messages;
}) => ({
  input: { messages: prompt },
  preferred_output: chosen,
  non_preferred_output: rejected,
});
