import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EmbeddedServer, startServer } from "../../src/models/embedded.js";

const outputs = mkdtempSync(join(tmpdir(), "malt-server-"));
process.env.MALT_OUTPUTS = outputs;
afterAll(() => rmSync(outputs, { recursive: true, force: true }));

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A killed process that nobody has waited for yet still has a pid.
    return process.platform !== "linux" || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function gone(pid: number, within: number): Promise<boolean> {
  for (const end = Date.now() + within; Date.now() < end; await sleep(50)) if (!alive(pid)) return true;
  return !alive(pid);
}

interface Choice {
  index: number;
  message: { content: string };
}

describe("a running server", () => {
  let server: EmbeddedServer;
  beforeAll(async () => {
    server = await startServer({ model: "tiny" });
  });
  afterAll(() => server.stop());

  /** The texts of n choices, in order of their index. */
  async function ask(seed: number, n: number, content: string): Promise<string[]> {
    const sampling = { temperature: 1, top_p: 1, max_tokens: 40, presence_penalty: 0, frequency_penalty: 0 };
    const body = { model: server.model, messages: [{ role: "user", content }], seed, n, ...sampling };
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${server.baseURL}/chat/completions`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    const { choices } = (await answer.json()) as { choices: Choice[] };
    return choices.sort((a, b) => a.index - b.index).map((choice) => choice.message.content);
  }

  it("listens on loopback under the profile's model name", async () => {
    expect(server.baseURL).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    const { data } = (await (await fetch(`${server.baseURL}/models`)).json()) as { data: { id: string }[] };
    expect(data.map((model) => model.id)).toEqual(["malt-tiny"]);
    expect(server.build).toMatch(/xllamacpp \d/);
  });

  it("gives the same seed the same text, alone and beside other requests", async () => {
    const questions = Array.from({ length: 12 }, (_, i) => `Tom has ${i + 2} pens and buys ${i + 5} more.`);
    const alone: string[][] = [];
    for (const [i, question] of questions.entries()) alone.push(await ask(100 + i, 3, question));
    const together = await Promise.all(questions.map((question, i) => ask(100 + i, 3, question)));
    // Sums in floating point depend on what else is in the batch, so once in thousands of texts a near tie falls the
    // other way; a seed that was ignored would change most of them.
    const same = together.flat().filter((text, i) => text === alone.flat()[i]).length;
    expect(same).toBeGreaterThanOrEqual(33);
    expect(new Set(alone.flat()).size).toBeGreaterThan(12);
  });

  it("samples choice i with seed + i", async () => {
    const choices = await ask(7, 3, "Tom has 4 pens and buys 5 more.");
    const single = await Promise.all([7, 8, 9].map((seed) => ask(seed, 1, "Tom has 4 pens and buys 5 more.")));
    expect(single.flat()).toEqual(choices);
  });

  it("writes its log to the outputs folder", () => {
    expect(server.log.startsWith(join(outputs, "logs"))).toBe(true);
    expect(readFileSync(server.log, "utf8")).toContain("model loaded");
  });

  it("refuses a port that is in use", async () => {
    const port = Number(new URL(server.baseURL).port);
    await expect(startServer({ model: "tiny", port })).rejects.toThrow(`port ${port} on 127.0.0.1 is in use`);
  });
});

it("listens on the port it is given and is gone after stop", async () => {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  await new Promise((done) => probe.close(done));
  const server = await startServer({ model: "tiny", port });
  expect(server.baseURL).toBe(`http://127.0.0.1:${port}/v1`);
  expect(alive(server.pid)).toBe(true);
  await server.stop();
  expect(alive(server.pid)).toBe(false);
});

it("ends when its parent is killed with SIGKILL", async () => {
  const code = `import { startServer } from ${JSON.stringify(new URL("../../src/models/embedded.ts", import.meta.url).href)};
    const server = await startServer({ model: "tiny" });
    console.log(server.pid);`;
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const failed = once(parent, "exit").then(() => Promise.reject(new Error("the parent ended before it had a server")));
  const [line] = (await Promise.race([once(createInterface({ input: parent.stdout }), "line"), failed])) as [string];
  failed.catch(() => {});
  const pid = Number(line);
  expect(alive(pid)).toBe(true);
  parent.kill("SIGKILL");
  expect(await gone(pid, 10_000)).toBe(true);
});

describe("what cannot be started", () => {
  const file = (name: string, content: string | Buffer) => {
    const path = join(outputs, name);
    writeFileSync(path, content);
    return path;
  };
  const real = () => readFileSync(new URL("../../data/malt-tiny/malt-tiny.gguf", import.meta.url));

  it.each([
    ["an unknown profile", { model: "huge" }, /unknown profile "huge"; known: tiny/],
    ["a profile without a server", { model: "vllm" }, /no embedded server; give --base-url/],
    ["a port out of range", { model: "tiny", port: 70000 }, /port must be .* got 70000/],
    ["a missing model file", { model: "tiny", gguf: "/nowhere/m.gguf" }, /m\.gguf cannot be read \(ENOENT\)/],
  ])("%s is refused", async (_, options, message) => {
    await expect(startServer(options)).rejects.toThrow(message);
  });

  it("a file that is no GGUF is refused by its first bytes", async () => {
    const gguf = file("html.gguf", "<html>404</html>");
    await expect(startServer({ model: "tiny", gguf })).rejects.toThrow('begins with "<htm", not "GGUF"');
  });

  it("an adapter that is missing or no GGUF is refused before the model is loaded", async () => {
    const adapter = file("generator-sft.gguf", "PK");
    for (const [path, words] of [
      ["/nowhere/a.gguf", "adapter file /nowhere/a.gguf cannot be read (ENOENT); train it again"],
      [adapter, 'it begins with "PK", not "GGUF"; train it again'],
    ] as const)
      await expect(startServer({ model: "tiny", adapters: [path] })).rejects.toThrow(words);
  });

  it("an empty file is refused", async () => {
    await expect(startServer({ model: "tiny", gguf: file("empty.gguf", "") })).rejects.toThrow("not a GGUF file");
  });

  it("a GGUF cut off in the middle is reported with the server's last lines", async () => {
    const gguf = file("cut.gguf", real().subarray(0, 500_000));
    const error = await startServer({ model: "tiny", gguf }).catch((reason: Error) => reason);
    expect((error as Error).message).toMatch(/did not start .*failed to load model.*whole log: /);
    expect((error as Error).message).not.toContain("\n");
  });

  it("a server that is not ready in time is stopped and reported", async () => {
    const error = await startServer({ model: "tiny", timeout: 1 }).catch((reason: Error) => reason);
    const { message } = error as Error;
    expect(message).toContain("was not ready within 0.001 s");
    const log = /whole log: (\S+)/.exec(message)![1]!;
    expect(await gone(Number(/-(\d+)\.log$/.exec(log)![1]), 10_000)).toBe(true);
    expect(existsSync(join(outputs, "logs"))).toBe(true);
  });
});
