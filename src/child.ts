/** Child processes that must not outlive this one. */
import type { ChildProcess } from "node:child_process";

/**
 * Ends a child and what it has started when this process exits. One that is killed cannot do that: the child has to
 * watch for the end of its stdin.
 * @param child started with `detached`, so that it leads a process group
 */
export function endWithThis(child: ChildProcess): void {
  const kill = () => {
    try {
      process.kill(process.platform === "win32" ? child.pid! : -child.pid!, "SIGKILL");
    } catch {
      // It has ended, or was never started.
    }
  };
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill)).stdin?.on("error", () => {});
}
