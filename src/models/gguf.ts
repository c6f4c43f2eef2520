/** What can be told of a GGUF file before llama.cpp reads it, whose one error for all of them says little. */
import { open } from "node:fs/promises";
import { InputError, ServerError } from "../errors.js";

/** Whether a file's name is that of one part of a model that was split, as llama-gguf-split names them. */
export const isPart = (name: string): boolean => /-\d{5}-of-(?!00001)\d{5}\.gguf$/i.test(name);

/**
 * @param what what the file is, for the message; and what to do if it is not one
 * @throws ServerError if the file is missing or does not begin as a GGUF file does; InputError for one part of a model
 */
export async function checkGguf(path: string, what: "model" | "adapter", advice: string): Promise<void> {
  const unread = (error: NodeJS.ErrnoException) =>
    new ServerError(`${what} file ${path} cannot be read (${error.code}); ${advice}`);
  if (what === "model" && isPart(path))
    throw new InputError(
      `model file ${path} is one part of a model; join its parts with llama-gguf-split --merge, and give the whole`,
    );
  const file = await open(path).catch((error) => {
    throw unread(error);
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0).catch((error) => {
      throw unread(error);
    });
    const magic = buffer.toString("latin1", 0, bytesRead);
    if (magic !== "GGUF") {
      throw new ServerError(
        `${what} file ${path} is not a GGUF file: it begins with ${JSON.stringify(magic)}, not "GGUF"; ${advice}`,
      );
    }
  } finally {
    await file.close();
  }
}
