/**
 * A server that a command starts, such as `vllm serve MODEL`, for as long as this process needs it. What it leaves out: the
 * embedded server (embedded.ts), which needs no command.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { endWithThis } from "../child.js";
import { withoutKey } from "../environment.js";
import { RunError, ServerError } from "../errors.js";

/** A server that was started. */
export interface OwnServer {
  /** `http://127.0.0.1:PORT/v1` */
  baseURL: string;
  /** Ends it; resolves when it is gone. */
  stop(): Promise<void>;
}

/** Milliseconds that it may take to end before it is killed. */
const patience = 30_000;

/**
 * Starts the command with `--host 127.0.0.1 --port` and a free port, and waits until it lists its models. It gets no key of
 * ours, and ends with this process, however that ends. What it prints goes to stderr.
 * @param command a shell's
 * @throws ServerError if it ends before that; RunError if `signal` is aborted
 */
export async function startOwnServer(command: string, signal?: AbortSignal): Promise<OwnServer> {
  const port = await freePort();
  // The shell waits for the server when it is asked to end, and asks the whole group when its stdin is closed.
  const script =
    `trap : TERM\nexec 3<&0 </dev/null\n{ trap - TERM; cat <&3 >/dev/null; kill -TERM 0; } &\nexec 3<&-\n` +
    `${command} --host 127.0.0.1 --port ${port} >&2`;
  const child = spawn("sh", ["-c", script], {
    stdio: ["pipe", "ignore", "inherit"],
    detached: true,
    env: withoutKey({}),
  });
  endWithThis(child);
  const ended = once(child, "close").catch((error: Error) => [error.message]);
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  const stop = async (): Promise<void> => {
    child.stdin!.end();
    const kill = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), patience);
    await ended;
    clearTimeout(kill);
  };
  const baseURL = `http://127.0.0.1:${port}/v1`;
  while (!(await answers(`${baseURL}/models`))) {
    if (isOver) throw new ServerError(`the server has ended before it was ready: ${command}; its own words are above`);
    if (signal?.aborted) {
      await stop();
      throw signal.reason ?? new RunError("interrupted while the server was started");
    }
    await sleep(500, undefined, { signal }).catch(() => {});
  }
  return { baseURL, stop };
}

const answers = (url: string): Promise<boolean> =>
  fetch(url, { signal: AbortSignal.timeout(5000) }).then(
    (response) => response.ok,
    () => false,
  );

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
