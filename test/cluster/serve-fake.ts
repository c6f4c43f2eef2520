/** The fake server as a program, where a server must be one: `serve-fake.ts --port 8000 [--delay MS]`; other flags are ignored. */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startFakeServer } from "../fake-server.js";

const text = { type: "string" } as const;
const { values } = parseArgs({ strict: false, options: { port: text, delay: text } });
const { baseURL } = await startFakeServer({
  port: Number(values.port ?? 0),
  before: async () => {
    if (values.delay) await sleep(Number(values.delay));
    return undefined;
  },
  pages: { "/health": () => ({ json: {} }) },
});
process.stdout.write(`${baseURL}\n`);
