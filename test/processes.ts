/** The processes that a test has started, whoever their parents are now. Needs /proc, as on Linux. */
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Marks processes by a variable of their environment, which every process hands down. */
export function marked() {
  const mark = randomUUID();
  /** The command lines of those that are alive; a zombie has none. */
  const alive = (): string[] =>
    readdirSync("/proc").flatMap((pid) => {
      try {
        if (!/^\d+$/.test(pid) || !readFileSync(`/proc/${pid}/environ`, "latin1").includes(mark)) return [];
        const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
        return command ? [command] : [];
      } catch {
        return [];
      }
    });
  const until = async (done: () => boolean, seconds: number): Promise<boolean> => {
    for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(50)) if (done()) return true;
    return done();
  };
  return {
    env: { MALT_TEST_MARK: mark },
    alive,
    /** Waits until a process whose command line matches is there. */
    begun: (command: RegExp, seconds = 60) => until(() => alive().some((line) => command.test(line)), seconds),
    /** Those that are still there after some time. */
    left: async (seconds = 10): Promise<string[]> => {
      await until(() => alive().length === 0, seconds);
      return alive();
    },
  };
}
