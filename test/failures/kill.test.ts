import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { exportRun } from "../../src/dataset/export.js";
import type { JournalEntry } from "../../src/types.js";
import { type FakeServer, startFakeServer } from "../fake-server.js";
import { folder, journal, malt, manifest, sample, type Workplace, workplace } from "./malt.js";

// Each test starts several processes; on a busy machine one takes seconds to load.
vi.setConfig({ testTimeout: 180_000 });

const cleanUp: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

async function place(questions?: number): Promise<Workplace> {
  const made = await workplace(questions);
  cleanUp.push(made.remove);
  return made;
}

let state = 20;
/** Uniform in [0, 1), the same sequence in every run of the tests. */
const draw = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};

/** Entries but for what a stream says once, with whichever choice ends last. */
const said = (entries: JournalEntry[]) => entries.map(({ prompt_tokens, cached_tokens, ...rest }) => rest);

const dataset = async (at: Workplace, file: string) => {
  await exportRun(folder(at));
  return readFile(join(folder(at), file));
};

it("20 kills and 5 interruptions at random moments, then the same command: the same bytes, and only what was cut off comes again", async () => {
  const questions = 24;
  const unbroken = await place(questions);
  const fake = await startFakeServer();
  cleanUp.push(fake.stop);
  expect(await sample(unbroken, fake.baseURL).ended).toMatchObject({ code: 0, errors: [] });
  expect(fake.requests).toHaveLength(13 * questions);
  expect(Math.max(...fake.asked.values())).toBe(1);

  const broken = await place(questions);
  let strike: (ordinal: number) => NodeJS.Signals | null = () => null;
  let child: ReturnType<typeof sample>["child"] | undefined;
  const watched: FakeServer = await startFakeServer({
    // The process dies while it waits, while it reads an answer, while it writes it down or while it goes on.
    before: ({ ordinal }) => {
      const signal = strike(ordinal);
      if (signal) setTimeout(() => child!.kill(signal), draw() * 12);
      return undefined;
    },
    // Choices end in any order, so that some are in the journal when their request is cut off.
    beforeChoice: () => new Promise((resolve) => setTimeout(resolve, draw() * 8)),
  });
  cleanUp.push(watched.stop);

  const signals: NodeJS.Signals[] = Array.from({ length: 25 }, (_, i) => (i % 5 === 4 ? "SIGINT" : "SIGKILL"));
  let finished: JournalEntry[] = [];
  for (const planned of [...signals, null]) {
    const start = watched.requests.length;
    const wait = Math.floor(draw() * 16);
    strike = (ordinal) => (ordinal === start + wait ? planned : null);
    const started = sample(broken, watched.baseURL);
    child = started.child;
    const { signal, code, errors } = await started.ended;
    if (planned === "SIGKILL") expect([signal, errors]).toEqual(["SIGKILL", []]);
    if (planned === "SIGINT") expect([code, errors]).toEqual([130, [expect.stringMatching(/^malt: interrupted; /)]]);
    if (planned === null) expect([code, errors]).toEqual([0, []]);

    const kept = new Set(finished.map(({ seed }) => seed));
    for (const { body } of watched.requests.slice(start)) {
      const seeds = Array.from({ length: body.n }, (_, i) => body.seed + i);
      expect(seeds.some((seed) => !kept.has(seed))).toBe(true);
    }
    const now = new Map((await journal(broken)).map((entry) => [entry.key, entry]));
    for (const entry of finished) expect(now.get(entry.key)).toEqual(entry);
    finished = [...now.values()];
  }

  const repeats = [...watched.asked.values()].reduce((sum, times) => sum + times - 1, 0);
  expect(repeats).toBeGreaterThan(0);
  expect(repeats).toBeLessThanOrEqual(signals.length * 4 * 3);
  expect(said(finished)).toEqual(said(await journal(unbroken)));
  expect((await manifest(broken)).counts).toEqual((await manifest(unbroken)).counts);
  for (const file of ["nodes.parquet", "sft.parquet", "dpo.parquet", "trees.arrow"])
    expect((await dataset(broken, file)).equals(await dataset(unbroken, file))).toBe(true);
});

it("a complete run says so and asks nothing, even of a server that is gone", async () => {
  const at = await place();
  const fake = await startFakeServer();
  cleanUp.push(fake.stop);
  await sample(at, fake.baseURL, ["--model", "fake"]).ended;
  const before = await journal(at);
  await fake.stop();
  const again = await sample(at, fake.baseURL, ["--model", "fake"]).ended;
  expect(again).toMatchObject({ code: 0, errors: [] });
  expect(again.stdout).toContain('run "r" is complete, nothing was asked: 3 questions, 117 completions, 0 failed');
  expect(await journal(at)).toEqual(before);
});

it("a damaged journal line is set aside, and only its request is asked again; the dataset is the same", async () => {
  const at = await place();
  const fake = await startFakeServer();
  cleanUp.push(fake.stop);
  await sample(at, fake.baseURL).ended;
  const [before, bytes] = [await journal(at), await dataset(at, "nodes.parquet")];
  const path = join(folder(at), "journal", "completions.jsonl");
  const lines = (await readFile(path, "utf8")).split("\n");
  const hit = lines.findIndex((line) => line.includes('"node_id":"g1"'));
  lines[hit] = lines[hit]!.replace('"text":"', '"text":"Fatal ');
  await writeFile(path, lines.join("\n"));
  await expect(exportRun(folder(at))).rejects.toThrow(`line ${hit + 1} is damaged`);

  const { code, stdout } = await sample(at, fake.baseURL).ended;
  expect(code).toBe(0);
  expect(stdout).toContain("1 damaged journal line set aside in journal/damaged.txt and asked for again");
  expect(fake.requests).toHaveLength(39 + 1);
  expect(await readFile(join(folder(at), "journal", "damaged.txt"), "utf8")).toContain(lines[hit]!);
  expect(said(await journal(at))).toEqual(said(before));
  expect((await dataset(at, "nodes.parquet")).equals(bytes)).toBe(true);
});

it("Ctrl-C ends with one line, and the same command goes on", async () => {
  const at = await place();
  let child: ReturnType<typeof sample>["child"] | undefined;
  const fake = await startFakeServer({
    before: ({ ordinal }) => {
      if (ordinal === 9) child!.kill("SIGINT");
      return undefined;
    },
  });
  cleanUp.push(fake.stop);
  const started = sample(at, fake.baseURL);
  child = started.child;
  const { code, errors } = await started.ended;
  expect(code).toBe(130);
  expect(errors).toEqual(["malt: interrupted; what had finished is kept, run the same command again to go on"]);
  const { counts } = await manifest(at);
  expect(counts.ok).toBeGreaterThan(0);
  expect(counts.ok + counts.failed + counts.pending).toBe(counts.asked);
  expect(await sample(at, fake.baseURL).ended).toMatchObject({ code: 0 });
  expect(await journal(at)).toHaveLength(117);
});

it("a second writer is refused while the first is at work", async () => {
  const at = await place();
  let second: ReturnType<typeof sample>["ended"] | undefined;
  const fake = await startFakeServer({
    before: async ({ ordinal }) => {
      if (ordinal === 3) second = sample(at, fake.baseURL).ended;
      if (ordinal === 3) await second;
      return undefined;
    },
  });
  cleanUp.push(fake.stop);
  const first = sample(at, fake.baseURL);
  expect(await first.ended).toMatchObject({ code: 0, errors: [] });
  const refused = await second!;
  expect(refused.code).toBe(1);
  expect(refused.errors).toEqual([expect.stringContaining(`process ${first.child.pid} is writing this run`)]);
  expect(fake.requests).toHaveLength(39);
});

it("a full disk stops the run with one line; with room again, the same command ends in the same content", async () => {
  const [full, free] = [await place(), await place()];
  const fake = await startFakeServer();
  cleanUp.push(fake.stop);
  await sample(free, fake.baseURL).ended;
  // A limit on the size of a file needs no privileges, and like a full disk it lets a part of the last write through.
  const { code, errors } = await sample(full, fake.baseURL, [], "ulimit -f 16").ended;
  expect(code).toBe(1);
  expect(errors).toEqual([
    expect.stringMatching(/^malt: cannot write the journal in .*EFBIG.*make room and run the same/),
  ]);
  const text = await readFile(join(folder(full), "journal", "completions.jsonl"), "utf8");
  expect(text.length).toBeGreaterThan(0);
  expect(text.endsWith("\n")).toBe(false);
  const kept = await journal(full);
  expect(await sample(full, fake.baseURL).ended).toMatchObject({ code: 0, errors: [] });
  expect(await journal(full)).toEqual(await journal(free));
  for (const entry of kept) expect(await journal(full)).toContainEqual(entry);
});

it("other parameters are refused with the difference, and nothing is touched", async () => {
  const at = await place();
  const fake = await startFakeServer();
  cleanUp.push(fake.stop);
  await sample(at, fake.baseURL).ended;
  const before = await journal(at);
  const { code, errors } = await sample(at, fake.baseURL, ["--temperature", "0.7", "--branching", "2"]).ended;
  expect(code).toBe(1);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toContain("sampling.temperature: 0.3 → 0.7; roles.0.branching: 3 → 2");
  expect(await journal(at)).toEqual(before);
  expect(await malt(at, ["sample", "--help"]).ended).toMatchObject({ code: 0 });
});
