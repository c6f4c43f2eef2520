/** `malt serve`: runs the embedded server until it is interrupted. */
import type { Command } from "commander";
import { ServerError } from "../errors.js";
import { startServer } from "../models/embedded.js";
import { number } from "./options.js";

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("serve")
    .description("start the embedded OpenAI-compatible server on 127.0.0.1 and keep it running until Ctrl-C")
    .option("--profile <name>", "tiny (malt-tiny) or smollm2 (SmolLM2-135M-Instruct)", "tiny")
    .option("--port <number>", "port to listen on (default: a free one)", number("--port", { min: 0, integer: true }))
    .option(
      "--parallel <number>",
      "completions decoded at the same time (default: 16 for tiny, 4 for smollm2)",
      number("--parallel", { min: 1, integer: true }),
    )
    .action(async (options: { profile: string; port?: number; parallel?: number }) => {
      const server = await startServer({
        ...options,
        onStatus: (text) => process.stderr.write(`${text}\n`),
      });
      process.stdout.write(
        `base URL  ${server.baseURL}\nmodel     ${server.model}\nserver    ${server.build}\nlog       ${server.log}\n\n` +
          `Use it from another terminal:\n` +
          `  npx malt sample --base-url ${server.baseURL} --model ${server.model} --questions FILE.jsonl --run NAME\n` +
          `or set OPENAI_BASE_URL=${server.baseURL}. Ctrl-C stops the server.\n`,
      );
      let asked = false;
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
        process.once(signal, () => {
          asked = true;
          void server.stop();
        });
      }
      await server.exited;
      if (!asked) throw new ServerError(`the embedded server ended by itself; see its log ${server.log}`);
    });
}
