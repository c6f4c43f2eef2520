/** `malt merge`: merges the shards of a run, which `malt sample --shard i/N` has sampled. */
import type { Command } from "commander";
import { type MergedRun, mergeShards } from "../sample/shards.js";
import { printResult } from "../show/terminal.js";
import { endingsNote } from "./server-flags.js";

/** Adds the command to the command line. */
export function register(program: Command): void {
  program
    .command("merge")
    .summary("make one run of shards that were sampled apart")
    .description("make one run of the shards that `malt sample --shard i/N` has sampled")
    .requiredOption("--run <name>", "name of the whole run, as it was given to `malt sample`")
    .option(
      "--from <shards...>",
      "names or folders of the shards, such as copies from other machines (default: those in outputs/runs)",
    )
    .option("--incomplete", "also merge shards that are not complete; `malt sample` goes on with the merged run", false)
    .action(async (options: { run: string; from?: string[]; incomplete: boolean }) => {
      printResult(mergedSummary(await mergeShards(options)));
    });
}

/** What was merged, in a line. */
export function mergedSummary({ dir, manifest, wasMerged }: MergedRun): string {
  const { run, shards = [], benchmark, counts } = manifest;
  if (wasMerged) return `run "${run}" is merged from these ${shards.length} shards already, in ${dir}`;
  const open = counts.asked - counts.ok;
  const next = open > 0 ? `${open} requests are left: go on with \`malt sample\` without --shard; ` : "";
  return (
    `merged ${shards.length} shards into run "${run}": ${benchmark.questions} questions, ${counts.completions} ` +
    `completions, ${endingsNote(counts)}, ${counts.retries} retries; ${next}in ${dir}`
  );
}
