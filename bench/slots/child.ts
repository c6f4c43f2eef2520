/** The fake inference server in a process of its own, so that its work is not the client's. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { SlotInterval, SlotOptions, SlotStats } from "../slots.js";

export interface SlotChild {
  /** `http://127.0.0.1:PORT/v1` */
  baseURL: string;
  stats(): Promise<SlotStats>;
  /** Every completion in its slot, in the order in which they ended. */
  intervals(): Promise<SlotInterval[]>;
  /** Clears everything; the given options replace the earlier ones. */
  reset(options?: Partial<SlotOptions>): Promise<void>;
  stop(): Promise<void>;
}

export async function spawnSlots(options: Partial<SlotOptions> = {}): Promise<SlotChild> {
  const script = fileURLToPath(new URL("../slots.ts", import.meta.url));
  // It ends when its standard input does, so it never outlives this process.
  const child = execa(process.execPath, ["--import", "tsx", script, JSON.stringify(options)], {
    ...{ stdin: "pipe", stdout: "pipe", stderr: "inherit", buffer: false, reject: false },
  });
  const [line] = await once(createInterface(child.stdout), "line");
  const origin = `http://127.0.0.1:${JSON.parse(line).port}`;
  const page = async <T>(name: string, body?: object): Promise<T> => {
    const response = await fetch(`${origin}/${name}`, body && { method: "POST", body: JSON.stringify(body) });
    return response.json() as Promise<T>;
  };
  return {
    baseURL: `${origin}/v1`,
    stats: () => page("stats"),
    intervals: () => page("intervals"),
    reset: (next = {}) => page("reset", next),
    async stop() {
      child.stdin.end();
      await child;
    },
  };
}
