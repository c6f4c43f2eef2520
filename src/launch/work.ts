/**
 * A shard of a sampling or of an evaluation as work for a launcher: this command line with `--shard i/N`, in a folder of its
 * own, `<outputs>/jobs/<run>.<kind>-i-of-N/<kind>/`. What it leaves out: the life of the job (train/launchers/job.ts), and
 * what becomes of the shards (run.ts).
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { shardFolder } from "../evaluate/shards.js";
import { runDir } from "../run/manifest.js";
import { type Shard, shardLabel, shardName } from "../sample/shards.js";
import type { Work, WorkPlace } from "../train/launchers/launcher.js";
import { filesIn } from "../train/launchers/staging.js";

/** What is done in shards. */
export interface ShardedWork {
  kind: "sample" | "evaluate";
  run: string;
  outputs: string;
  /** The flags of the command, as given, without those that say where. */
  words: readonly string[];
  /** Which of the words are paths of files or folders here. */
  paths: ReadonlySet<string>;
  /** Evaluation: the adapters that it needs. */
  adapters: readonly { name: string; sha256: string }[];
  /** How many shards. */
  of: number;
  /** The words that run this command line here. */
  malt: readonly string[];
  place: WorkPlace;
}

/** The working folder of a shard. */
export const shardJobFolder = ({ outputs, run, kind, of }: ShardedWork, index: number): string =>
  resolve(outputs, "jobs", `${run}.${kind}-${index}-of-${of}`, kind);

/** The folder in which a shard of a sampling, or of an evaluation that was copied, leaves its result. */
export const shardResult = (work: ShardedWork, index: number): string =>
  join(shardJobFolder(work, index), resultPath(work, { index, of: work.of }));

/** Those of all shards, in order. */
export const shardResults = (work: ShardedWork): string[] =>
  Array.from({ length: work.of }, (_, i) => shardResult(work, i + 1));

/** Where a shard is written; it is copied home from there if that is another machine. */
export const shardDirs = (work: ShardedWork, index: number): string[] => [
  shardResult(work, index),
  ...(work.kind === "evaluate" ? [shardFolder(runDir(work.run, work.outputs), { index, of: work.of })] : []),
];

const resultPath = ({ kind, run }: ShardedWork, shard: Shard): string =>
  kind === "sample" ? `runs/${shardName(run, shard)}` : `runs/${run}/evaluation/${shardLabel(shard)}`;

/** One shard as a launcher takes it. */
export function shardWork(work: ShardedWork, index: number): Work {
  const { kind, run, outputs, words, paths, of, malt, place, adapters } = work;
  const folder = shardJobFolder(work, index);
  const copied = copiedNames(paths);
  const command = (isCopied: boolean) =>
    words.map((word) => (paths.has(word) ? (isCopied ? `input/${copied.get(word)}` : resolve(word)) : word));
  const result = resultPath(work, { index, of });
  const here = kind === "sample" ? folder : resolve(outputs);
  return {
    name: `${run}.${kind}-${index}-of-${of}`,
    folder,
    key: JSON.stringify([words, adapters.map(({ sha256 }) => sha256)]),
    parts: [{ name: shardLabel({ index, of }), start: null }],
    results: [result],
    place,
    outlives: true,
    keepsKey: true,
    files: () => filesOf(work, folder, result, copied),
    program: ({ malt: own }, isCopied) =>
      own === undefined && !isCopied ? [...malt, kind, ...command(false)] : [own ?? "malt", kind, ...command(isCopied)],
    args: () => ["--shard", `${index}/${of}`, "--events"],
    variables: (isCopied) => ({ MALT_OUTPUTS: isCopied ? "." : here }),
    // A job that was queued again runs alone: whoever held the lock has ended, perhaps with its node.
    before: `[ "\${SLURM_RESTART_COUNT:-0}" = 0 ] || grep -qs "\\"$(hostname)\\"" "$MALT_OUTPUTS/${result}/lock" || rm -f "$MALT_OUTPUTS/${result}/lock"`,
    needs: {
      check: ({ malt: own = "malt" }) => `${own} --help >/dev/null 2>&1 && echo "malt: ready" || echo "malt: absent"`,
      refusal: ({ malt: own = "malt" }, host) =>
        `${own} does not run on ${host}; install this package there (its folder, Node.js, \`npm run setup\`) and name its command: ` +
        "--malt malt-notebooks/node_modules/.bin/malt, or --setup 'export PATH=…'",
      install: `${place.malt ?? "malt"} --help >/dev/null || { echo 'malt is not there: name it with --malt' >&2; exit 1; }`,
    },
  };
}

/** A name for each path, different where their last names are the same. */
function copiedNames(paths: ReadonlySet<string>): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const [i, path] of [...paths].entries()) names.set(path, `${i}/${basename(path)}`);
  return names;
}

/** What a place needs that sees no files of this machine: questions, prompts, what the shard has done, the run's adapters. */
async function filesOf(
  { kind, run, outputs, paths, adapters }: ShardedWork,
  folder: string,
  result: string,
  copied: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  const add = async (from: string, to: string, isWanted: (file: string) => boolean = () => true) => {
    if (!existsSync(from)) return;
    if (!(await stat(from)).isDirectory()) files.set(to, from);
    else for (const file of await filesIn(from)) if (isWanted(file)) files.set(`${to}/${file}`, join(from, file));
  };
  const isKept = (file: string) => !/(^|\/)lock$/.test(file);
  for (const path of paths) await add(path, `${kind}/input/${copied.get(path)}`);
  if (kind === "evaluate") {
    const dir = runDir(run, outputs);
    for (const name of ["run.json", "questions.jsonl", "evaluation/journal"])
      await add(join(dir, name), `${kind}/runs/${run}/${name}`, isKept);
    for (const { name } of adapters)
      await add(
        join(dir, "train", name),
        `${kind}/runs/${run}/train/${name}`,
        (file) => !file.startsWith("checkpoint-"),
      );
  }
  await add(join(folder, result), `${kind}/${result}`, isKept);
  return files;
}
