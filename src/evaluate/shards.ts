/**
 * One evaluation on several machines: a shard samples the passes of every N-th held-out question into a journal of its own,
 * `evaluation/shard-i-of-N/`. An evaluation without a shard then takes over what they hold and asks for nothing that is there.
 * So its rows are those of an evaluation on one machine. What it leaves out: sampling (evaluate.ts), starting the machines.
 */
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { RunError } from "../errors.js";
import { parseJson } from "../json.js";
import { failing, journalFolder } from "../run/files.js";
import { type Journal, openJournal, openJournalReader } from "../run/journal.js";
import { serverShape } from "../run/manifest.js";
import { type Shard, shardLabel } from "../sample/shards.js";
import type { Question } from "../types.js";

/** The folder of a shard, in the run's folder. */
export const shardFolder = (dir: string, shard: Shard): string => join(dir, "evaluation", shardLabel(shard));

/** The journal of a shard; what the whole evaluation holds already counts as kept. @throws as openJournal */
export async function openShard(dir: string, shard: Shard): Promise<Journal> {
  const whole = join(dir, "evaluation");
  const before = existsSync(journalFolder(whole)) ? await openJournalReader(whole) : null;
  const journal = await openJournal(shardFolder(dir, shard)).catch(async (error) => {
    await before?.close();
    throw error;
  });
  return {
    ...journal,
    kept: async (id) => [...((await before?.kept(id)) ?? []), ...(await journal.kept(id))],
    async close() {
      await before?.close();
      await journal.close();
    },
  };
}

const about = z.object({ server: serverShape, seconds: z.number() });
export type ShardRecord = z.infer<typeof about>;

/** Notes which server a shard asked, and for how long over all its starts. */
export async function recordShard(dir: string, shard: Shard, { server, seconds }: ShardRecord): Promise<void> {
  const path = join(shardFolder(dir, shard), "shard.json");
  const before = await readRecord(path);
  const record = { server, seconds: seconds + (before?.seconds ?? 0) };
  await failing(`write ${path}`, () => writeFile(path, `${JSON.stringify(record)}\n`));
}

async function readRecord(path: string): Promise<ShardRecord | null> {
  const text = await readFile(path, "utf8").catch(() => "null");
  return about.safeParse(parseJson(text)).data ?? null;
}

/** Folders of all shards that a run's evaluation has; further ones may lie elsewhere, where they were brought home. */
export async function shardFolders(dir: string): Promise<string[]> {
  const whole = join(dir, "evaluation");
  const names = await readdir(whole).catch(() => []);
  return names
    .filter((name) => /^shard-\d+-of-\d+$/.test(name))
    .sort()
    .map((name) => join(whole, name));
}

/**
 * Takes over what shards hold of some questions and the journal does not.
 * @returns how many completions, and what is on record of the shards
 * @throws RunError if a shard is being written, or cannot be read
 */
export async function takeOver(
  journal: Pick<Journal, "kept" | "append">,
  folders: readonly string[],
  questions: readonly Question[],
): Promise<{ taken: number; records: ShardRecord[] }> {
  let taken = 0;
  const records: ShardRecord[] = [];
  for (const folder of folders) {
    if (!existsSync(journalFolder(folder))) continue;
    const shard = await openJournalReader(folder).catch(async (error) => {
      if (!(error instanceof RunError)) throw error;
      // Damaged lines are set aside, as when the shard itself goes on.
      await (await openJournal(folder)).close();
      return openJournalReader(folder);
    });
    try {
      for (const { id } of questions) {
        const theirs = await shard.kept(id);
        if (theirs.length === 0) continue;
        const own = new Set((await journal.kept(id)).map(({ key }) => key));
        const fresh = theirs.filter(({ key }) => !own.has(key));
        if (fresh.length > 0) await journal.append(fresh);
        taken += fresh.length;
      }
    } finally {
      await shard.close();
    }
    const record = await readRecord(join(folder, "shard.json"));
    if (record) records.push(record);
  }
  return { taken, records };
}
