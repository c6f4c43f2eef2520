import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportRun } from "../../src/dataset/export.js";
import { openRun } from "../../src/dataset/open.js";
import { RefusedError, RunError } from "../../src/errors.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { openaiPolicy } from "../../src/policy/openai.js";
import { readManifest } from "../../src/run/manifest.js";
import { type SampleRunOptions, sampleRun } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles } from "../../src/team/prompts.js";
import { findSystems } from "../../src/team/systems.js";
import type { Message, Question, SftExample } from "../../src/types.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";
import { hashes, heldOut } from "../team.js";

const questions = Array.from(
  { length: 4 },
  (_, i): Question => ({ ...heldOut[0]!, id: `q${i}`, split: "train", question: `${i} + ${12 - i}?` }),
);

/** A server whose chat template is Gemma's: it takes no system message. */
let gemma: FakeServer;
let outputs: string;
beforeAll(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-system-message-"));
  const refusal = { status: 400, body: '{"object":"error","error":{"message":"System role not supported"}}' };
  gemma = await startFakeServer({
    before: ({ body }) => (body.messages.some(({ role }) => role === "system") ? refusal : undefined),
  });
});
afterAll(async () => {
  await gemma.stop();
  await rm(outputs, { recursive: true, force: true });
});
const policy = () => openaiPolicy({ baseURL: gemma.baseURL, maxRetries: 0 });
const sample = (changes: Partial<SampleRunOptions> = {}) =>
  sampleRun({ ...{ run: "gemma", outputs, questions, policy: policy(), model: "fake", concurrency: 2 }, ...changes });
const sent = (messages: readonly Message[]) => JSON.stringify(messages);

describe("a chat template without system messages", () => {
  it("ends the run at once with its words and the flag that helps", async () => {
    const error = await sample().catch((e) => e);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error.message).toContain("System role not supported");
    expect(error.message).toContain("--system-message merged");
    expect(gemma.requests.length).toBeLessThanOrEqual(2);
  });

  it("gets the system text in the user message, in the same run, since nothing was sampled yet", async () => {
    gemma.requests.length = 0;
    const { dir, manifest } = await sample({ systemMessage: "merged", roles: maltRoles(2) });
    expect(manifest.counts).toMatchObject({ asked: 28, ok: 28, failed: 0 });
    expect((await readManifest(dir)).config.system_message).toBe("merged");
    const systems = Object.values(promptSet("gsm8k").system);
    for (const { body } of gemma.requests) {
      expect(body.messages.map(({ role }) => role)).toEqual(["user"]);
      expect(systems.some((text) => body.messages[0]!.content.startsWith(`${text}\n\n`))).toBe(true);
      expect(body.messages[0]!.content).toMatch(/^You are an? .*\.\n\n(Solve|Below)/);
    }
  });

  it("is part of the run: another way to send it is refused, and the dataset's prompts are those that were sent", async () => {
    const other = await sample({ roles: maltRoles(2) }).catch((e) => e);
    expect(other).toBeInstanceOf(RunError);
    expect(other.message).toContain('system_message: "merged" → "separate"');

    const dir = join(outputs, "runs", "gemma");
    await exportRun(dir);
    const asked = new Set(gemma.requests.map(({ body }) => sent(body.messages)));
    let examples = 0;
    for (const role of ["generator", "verifier", "refiner"]) {
      for (const line of (await readFile(join(dir, "train", `${role}-sft.jsonl`), "utf8"))
        .split("\n")
        .filter(Boolean)) {
        const { prompt } = JSON.parse(line) as SftExample;
        expect(asked).toContain(sent(prompt));
        examples++;
      }
    }
    expect(examples).toBeGreaterThan(0);
    const opened = await openRun(dir);
    expect(opened.promptSet.systemMessage).toBe("merged");
    opened.close();
    expect(await readFile(join(dir, "README.md"), "utf8")).toContain("system text in the user message");
  });

  it("is evaluated in the same way, in teams and debates, also with another prompt set", async () => {
    gemma.requests.length = 0;
    const options = {
      ...{ run: "gemma", outputs, questions: heldOut, source: { path: "test.jsonl", sha256: null }, seeds: [0] },
      ...{ policy: policy(), systems: findSystems(["MA", "debate"]), adapters: hashes(), model: "fake" },
    };
    await evaluateRun(options);
    await evaluateRun({ ...options, promptSet: promptSet("math") });
    expect(gemma.requests.length).toBeGreaterThan(0);
    for (const { body } of gemma.requests) {
      expect(body.messages.map(({ role }) => role)).not.toContain("system");
      expect(body.messages[0]!.content).toMatch(/^You are an? .*\.\n\n/);
    }
  });
});
