/** How a JSON or YAML file of a user's is read: a prompt set, a team, a study. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { InputError } from "./errors.js";

/**
 * What a file holds.
 * @param what it should be, for errors: "prompt set"
 * @param known names that may be given in place of a file, for errors
 * @throws InputError if it cannot be read or is neither JSON nor YAML
 */
export async function readYaml(path: string, what: string, known: readonly string[] = []): Promise<unknown> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT" || known.length === 0)
      throw new InputError(`cannot read ${what} "${path}": ${error.message}`);
    throw new InputError(`unknown ${what} "${path}"; known: ${known.join(", ")}; nor is there a file of that name`);
  });
  try {
    // The decoder drops a byte order mark. JSON is YAML too; a key that is given twice is an error.
    return parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    throw new InputError(`${what} ${path} is neither JSON nor YAML (${why}); mend the file`);
  }
}
