/** `malt view`: the explorer of a run, as a file or on loopback. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { openRun } from "../dataset/open.js";
import { InputError } from "../errors.js";
import { writePage } from "../explore/page.js";
import { interruption } from "../run/interruption.js";
import { progressLine } from "../show/progress.js";
import { printResult } from "../show/terminal.js";
import { number } from "./options.js";

interface Flags {
  run: string;
  out?: string;
  question?: string;
  evaluations: boolean;
  serve?: true;
  port?: number;
}

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("view")
    .summary("write the explorer of a run, one HTML file")
    .description(
      "write the explorer of a run: its trees with every text, value, label and pair under any threshold, and the passes " +
        "of its evaluations, in one HTML file that works without a network",
    )
    .requiredOption("--run <name>", "name of an exported run, or its folder, such as data/recorded")
    .option("--out <file>", "where to write it (default: explorer.html in the run's folder)")
    .option("--question <id>", "only the tree of this question, without evaluations")
    .option("--no-evaluations", "leave out the passes of the evaluations, which may be most of the file")
    .option("--serve", "also serve it on 127.0.0.1 until Ctrl-C, for a browser that may not open files")
    .option(
      "--port <number>",
      "port to serve it on (default: a free one)",
      number("--port", { min: 0, max: 65535, integer: true }),
    )
    .action(async ({ run: name, out, serve, port, ...options }: Flags) => {
      if (port !== undefined && !serve) throw new InputError("--port is only for --serve; add it, or leave --port out");
      const run = await openRun(name);
      const path = out ?? join(run.dir, "explorer.html");
      const line = progressLine("packing questions");
      const bytes = await writePage(run, path, { ...options, onProgress: line.update }).finally(() => {
        line.end();
        run.close();
      });
      const size = bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
      const written = `written to ${path} (${size}); open it in a browser: ${pathToFileURL(path)}`;
      if (!serve) return printResult(written);
      const { signal, off } = interruption();
      try {
        const { address, server } = await servePage(path, port);
        signal.addEventListener("abort", () => server.close().closeAllConnections());
        printResult(`written to ${path} (${size})\nserved at ${address}\nCtrl-C stops it.`);
        if (signal.aborted) server.close();
        else await once(server, "close");
      } finally {
        off();
      }
    });
}

/**
 * Serves one file, on loopback alone and under a path that nobody can guess, because others may use this machine too.
 * @throws InputError if the port is taken
 */
export async function servePage(path: string, port = 0): Promise<{ address: string; server: Server }> {
  const place = `/${randomBytes(16).toString("hex")}/`;
  const server = createServer((request, response) => {
    // A page elsewhere that was made to resolve to this machine would send its own name.
    const isOurs = /^(?:127\.0\.0\.1|localhost)(?::\d+)?$/.test(request.headers.host ?? "");
    if (!isOurs || request.url !== place || request.method !== "GET") {
      response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
      return;
    }
    const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
    response.writeHead(200, { ...headers, "x-content-type-options": "nosniff", "x-frame-options": "DENY" });
    createReadStream(path)
      .on("error", () => response.destroy())
      .pipe(response);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening").catch((error: Error) => {
    throw new InputError(`cannot listen on port ${port}: ${error.message}; choose another --port`, { cause: error });
  });
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}${place}`, server };
}
