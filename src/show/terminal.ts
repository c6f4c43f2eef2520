/**
 * What commands print. Text of servers, files and models may be in it, so all of it is made visible here: it must not
 * clear the screen, set the window's title or pass for another text. progress.ts adds its own codes for redrawing.
 */
import { oneLine, visible } from "../visible.js";

/** Prints a result, of one line or several, to stdout. */
export function printResult(text: string): void {
  process.stdout.write(`${visible(text)}\n`);
}

/** Calls a listener when the output is read by nobody any more: a closed terminal, the end of a pipe. */
export function onClosed(listener: () => void): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
      listener();
    });
}

/** Prints an event for a program that reads stdout, as one line of JSON. */
export function tell(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** Prints a line about the work to stderr. */
export function say(line: string): void {
  process.stderr.write(`${oneLine(line)}\n`);
}
