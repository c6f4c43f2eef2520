/** `malt serve`: runs the embedded server until it is interrupted. */
import type { Command } from "commander";
import { InputError, ServerError } from "../errors.js";
import { startServer } from "../server.js";

/** A whole number from the command line. @throws InputError naming the option */
function whole(option: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= least) return value;
  throw new InputError(`${option} must be a whole number of at least ${least}; got "${text}"`);
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("serve")
    .description("start the embedded OpenAI-compatible server on 127.0.0.1 and keep it running until Ctrl-C")
    .option("--profile <name>", "tiny (malt-tiny) or smollm2 (SmolLM2-135M-Instruct)", "tiny")
    .option("--port <number>", "port to listen on (default: a free one)")
    .option("--parallel <number>", "completions decoded at the same time (default: 16 for tiny, 4 for smollm2)")
    .action(async (options: { profile: string; port?: string; parallel?: string }) => {
      const server = await startServer({
        profile: options.profile,
        ...(options.port === undefined ? {} : { port: whole("--port", options.port, 0) }),
        ...(options.parallel === undefined ? {} : { parallel: whole("--parallel", options.parallel, 1) }),
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
