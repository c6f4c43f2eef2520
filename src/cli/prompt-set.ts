/** How the value of --prompt-set is read: the name of a built-in set, or a file. */
import { parse as pathParts } from "node:path";
import { parsePromptSet } from "../team/prompt-file.js";
import { promptSets } from "../team/prompt-sets.js";
import type { PromptSet } from "../team/prompts.js";
import { readYaml } from "../yaml-file.js";

/** For help texts. */
export const promptSetHelp = `${Object.keys(promptSets).join(", ")}, or a JSON or YAML file`;

/**
 * A built-in prompt set by its name, else the one in a file (`./gsm8k` is a file, `gsm8k` a name).
 * @throws InputError if there is neither, or the file holds none; it names the field
 */
export async function readPromptSet(given: string): Promise<PromptSet> {
  if (Object.hasOwn(promptSets, given)) return promptSets[given]!;
  const content = await readYaml(given, "prompt set", Object.keys(promptSets));
  return parsePromptSet(content, given, pathParts(given).name);
}
