/** `malt serve`: runs the embedded server until it is interrupted. */
import type { Command } from "commander";
import { ServerError } from "../errors.js";
import { chosenModel, type ModelChoice } from "../models/choose.js";
import { models } from "../models/table.js";
import { interruption } from "../run/interruption.js";
import { printResult } from "../show/terminal.js";
import { number } from "./options.js";
import { startEmbedded, withModelFlags } from "./server-flags.js";

/** Adds the command to the command line. */
export function register(program: Command): void {
  const command = program
    .command("serve")
    .summary("start the embedded server and keep it running")
    .description("start the embedded OpenAI-compatible server on 127.0.0.1 and keep it running until Ctrl-C");
  withModelFlags(command, served(), served()[0]!)
    .option("--port <number>", "port to listen on (default: a free one)", number("--port", { min: 0, integer: true }))
    .action(async ({ port, ...choice }: ModelChoice & { port?: number }) => {
      const server = await startEmbedded(chosenModel(choice), { ...(port !== undefined && { port }) });
      // Before it says so: whoever reads that may stop it at once.
      const { signal, off } = interruption();
      signal.addEventListener("abort", () => void server.stop());
      printResult(
        `base URL  ${server.baseURL}\nmodel     ${server.model}\nfile      ${server.weights.source}\n` +
          `SHA-256   ${server.weights.sha256}\nserver    ${server.build}\nlog       ${server.log}\n\n` +
          `Use it from another terminal:\n` +
          `  npx malt sample --base-url ${server.baseURL} --model ${server.model} --questions FILE.jsonl --run NAME\n` +
          `or set OPENAI_BASE_URL=${server.baseURL}. Ctrl-C stops the server.`,
      );
      await server.exited.finally(off);
      throw new ServerError(
        signal.aborted
          ? "the server is stopped; run the same command again to start it"
          : `the embedded server ended by itself; see its log ${server.log}`,
      );
    });
}

/** Profiles that this project serves itself. */
const served = () => models.filter(({ embedded }) => embedded).map(({ profile }) => profile);
