/** How the value of --prompt-set is read: the name of a built-in set, or a file. */
import { readFile } from "node:fs/promises";
import { parse as pathParts } from "node:path";
import { parse } from "yaml";
import { InputError } from "../errors.js";
import { parsePromptSet } from "../team/prompt-file.js";
import { type PromptSet, promptSets } from "../team/prompts.js";

/** For help texts. */
export const promptSetHelp = `${Object.keys(promptSets).join(", ")}, or a JSON or YAML file`;

/**
 * A built-in prompt set by its name, else the one in a file (`./gsm8k` is a file, `gsm8k` a name).
 * @throws InputError if there is neither, or the file holds none; it names the field
 */
export async function readPromptSet(given: string): Promise<PromptSet> {
  if (Object.hasOwn(promptSets, given)) return promptSets[given]!;
  const bytes = await readFile(given).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw new InputError(`cannot read prompt set "${given}": ${error.message}`);
    const known = Object.keys(promptSets).join(", ");
    throw new InputError(`unknown prompt set "${given}"; known: ${known}; nor is there a file of that name`);
  });
  let content: unknown;
  try {
    // The decoder drops a byte order mark. JSON is YAML too; a key that is given twice is an error.
    content = parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    throw new InputError(`prompt set ${given} is neither JSON nor YAML (${why}); mend the file`);
  }
  return parsePromptSet(content, given, pathParts(given).name);
}
