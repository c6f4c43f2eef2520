import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openaiPolicy } from "../../src/policy/openai.js";
import { readJournal } from "../../src/run/journal.js";
import { sampleRun } from "../../src/sample/sample.js";
import type { JournalEntry, Question } from "../../src/types.js";
import { startFakeServer } from "../fake-server.js";
import { python } from "./notebook.js";

const outputs = mkdtempSync(join(tmpdir(), "malt-interrupt-"));
afterAll(() => rmSync(outputs, { recursive: true, force: true }));

it("interrupting a cell that samples stops its requests and keeps what had finished; run again, it goes on", async () => {
  let held = 0;
  const hold = new Promise<undefined>(() => {});
  const fake = await startFakeServer({
    // Half of a tree is answered, then the server is silent.
    before: ({ ordinal }) => {
      if (ordinal < 6) return undefined;
      held++;
      return hold;
    },
    pages: {
      "/interrupt": () => ({ fault: { status: 200, type: "text/plain", body: held === 4 ? "now" : "not yet" } }),
    },
  });
  const question: Question = {
    ...{ id: "q", benchmark: "own", split: "train", question: "5 + 7?", choices: null, answer: "12" },
  };
  const about = { run: "r", outputs, questions: [question], source: { path: "here", sha256: null }, model: "fake" };
  const cell = `
    import { interruption, openaiPolicy, sampleRun } from "malt-notebooks";
    const stop = interruption();
    const baseURL = ${JSON.stringify(fake.baseURL)};
    const about = ${JSON.stringify(about)} as any;
    await sampleRun({ ...about, policy: openaiPolicy({ baseURL }), concurrency: 4, signal: stop.signal }).finally(stop.off);
  `;
  try {
    const url = fake.baseURL.replace("/v1", "/interrupt");
    const { stdout, exitCode, all } = await python("test/notebooks/interrupt.py", cell, url);
    expect(exitCode, all).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ stopped: "error", alive: "ok" });
    // Four were in flight when it was interrupted, and their ends let no further one begin.
    expect(fake.requests).toHaveLength(10);

    const kept: JournalEntry[] = [];
    for await (const entry of readJournal(join(outputs, "runs", "r"))) kept.push(entry);
    expect(kept.length).toBeGreaterThanOrEqual(6 * 3);
    const other = await startFakeServer();
    const again = { ...about, policy: openaiPolicy({ baseURL: other.baseURL }) };
    const { manifest, session } = await sampleRun(again);
    await other.stop();
    expect(manifest.counts).toMatchObject({ asked: 13, ok: 13, completions: 39 });
    expect(session.completions).toBe(39 - kept.length);
  } finally {
    await fake.stop();
  }
});
