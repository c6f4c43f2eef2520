/** `malt serve`: runs the embedded server until it is interrupted. */
import type { Command } from "commander";
import { ServerError } from "../errors.js";
import { startServer } from "../models/embedded.js";
import { models } from "../models/table.js";
import { interruption } from "../run/interruption.js";
import { printResult, say } from "../show/terminal.js";
import { number } from "./options.js";

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("serve")
    .summary("start the embedded server and keep it running")
    .description("start the embedded OpenAI-compatible server on 127.0.0.1 and keep it running until Ctrl-C")
    .option("--profile <name>", `the model: ${served().join(", ")}`, served()[0])
    .option("--port <number>", "port to listen on (default: a free one)", number("--port", { min: 0, integer: true }))
    .option(
      "--parallel <number>",
      "completions decoded at the same time (default: by profile)",
      number("--parallel", { min: 1, integer: true }),
    )
    .action(async ({ profile, ...options }: { profile: string; port?: number; parallel?: number }) => {
      const server = await startServer({
        ...options,
        model: profile,
        onStatus: say,
      });
      printResult(
        `base URL  ${server.baseURL}\nmodel     ${server.model}\nserver    ${server.build}\nlog       ${server.log}\n\n` +
          `Use it from another terminal:\n` +
          `  npx malt sample --base-url ${server.baseURL} --model ${server.model} --questions FILE.jsonl --run NAME\n` +
          `or set OPENAI_BASE_URL=${server.baseURL}. Ctrl-C stops the server.`,
      );
      const { signal, off } = interruption();
      signal.addEventListener("abort", () => void server.stop());
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
