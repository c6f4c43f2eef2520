import { afterEach, describe, expect, it } from "vitest";
import { type Guard, guarded } from "../../src/cli/guard.js";

const module = new URL("./obedient-worker.js", import.meta.url);
let guard: Guard<string, string>;
afterEach(() => guard.close());

describe("guarded", () => {
  it("gives results, kills a worker that hangs, and goes on with a new one", async () => {
    guard = guarded(module, 300);
    expect(await guard.run("a")).toBe("A");
    expect(await guard.run("hang")).toBeNull();
    expect(await guard.run("b")).toBe("B");
  });

  it("survives a worker that throws or takes all memory", async () => {
    guard = guarded(module, 30_000);
    expect(await guard.run("throw")).toBeNull();
    expect(await guard.run("eat")).toBeNull();
    expect(await guard.run("c")).toBe("C");
  });
});
