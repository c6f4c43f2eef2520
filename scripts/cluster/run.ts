/**
 * Tries `malt run --on` for real: a tiny study (a few questions, SFT, three systems) here and unbroken, and then at each place in
 * two shards, in which a shard of the sampling is killed with -9, and then the command itself, and the same command goes on. The
 * dataset, the adapters and the rows of the evaluation must be those of the unbroken run.
 *
 *     npx tsx scripts/cluster/run.ts [--untrained] [local ssh slurm ray]
 *
 * What is not installed is skipped, and said; places.ts says what each needs. A canary key must be in no file afterwards.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse, stringify } from "yaml";
import { arithmetic, inPackage, python } from "../../src/paths.js";
import { hash } from "../../src/run/manifest.js";
import { endAll, finish, killWhere, newPlace, prepare, say, targetsHere, threads } from "./places.js";

prepare();
const place = await newPlace();

const study = parse(readFileSync(inPackage("studies/paper-tiny.yaml"), "utf8"));
study.sample.size = 4;
const isTrained = !process.argv.includes("--untrained");
study.train.stages = isTrained ? ["sft"] : [];
Object.assign(study.evaluate, { systems: ["SA", "MA", ...(isTrained ? ["SFT MA"] : [])], size: 6, seeds: 2 });
for (const part of [study.sample, study.evaluate])
  part.questions = part === study.sample ? arithmetic.train : arithmetic.test;
const file = join(place, "study.yaml");
await writeFile(file, stringify(study));

const built = inPackage("dist/cli.js");
const source = existsSync(built)
  ? [process.execPath, built]
  : [process.execPath, "--import", import.meta.resolve("tsx"), inPackage("src/cli.ts")];
const malt = join(place, "malt");
await writeFile(malt, `#!/bin/sh\nexec ${source.join(" ")} "$@"\n`);
await chmod(malt, 0o755);

/** Runs the command until it ends; `watch` sees it at work. @returns its exit code */
async function command(outputs: string, flags: string[], watch?: (child: ChildProcess) => Promise<void>) {
  const env = { ...process.env, MALT_OUTPUTS: outputs };
  const child = spawn(malt, ["run", file, "--until", "evaluate", ...flags], {
    cwd: inPackage(),
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    for (const line of text.split("\n")) if (/again|shard \d|malt:|rror/.test(line)) say(`  ${line.slice(0, 300)}`);
  });
  const closed = once(child, "close");
  await watch?.(child);
  await closed;
  return child.exitCode ?? child.signalCode;
}

/** What the run is made of, by file. */
function result(outputs: string): Map<string, string> {
  const dir = join(outputs, "runs", study.study);
  const files = ["questions", "nodes", "sft", "dpo", "evaluation", "evaluation_questions"].map(
    (name) => `${name}.parquet`,
  );
  const adapters = isTrained
    ? ["generator", "verifier", "refiner"].map((role) => `train/${role}-sft/adapter_model.safetensors`)
    : [];
  return new Map(
    [...files, ...adapters].map((name) => {
      const path = join(dir, name);
      return [name, existsSync(path) ? hash(readFileSync(path)).slice(0, 16) : "missing"];
    }),
  );
}

/** Kills a shard of the sampling, then the command, once each has got on. */
async function killBoth(child: ChildProcess): Promise<void> {
  const until = async (what: () => boolean) => {
    for (; !what(); await sleep(200))
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} before`);
  };
  await until(() => killWhere((words, cwd) => / sample .*--shard 2\/2 /.test(`${words} `) && hasGotOn(cwd)) > 0);
  say("  kill -9 of shard 2's sampler");
  const evaluating = () =>
    execFileSync("sh", ["-c", "ps -eo args"], { encoding: "utf8" }).includes("--shard 1/2 --events");
  await until(() => existsSync(join(outputsOf.current, "runs", study.study, "dpo.parquet")) && evaluating());
  say("  kill -9 of the command itself, while the evaluation's shards are at work");
  child.kill("SIGKILL");
}
const hasGotOn = (cwd: string): boolean => {
  const journal = join(cwd, "runs", `${study.study}.shard-2-of-2`, "journal/completions.jsonl");
  return existsSync(journal) && readFileSync(journal, "utf8").split("\n").length > 15;
};
const outputsOf = { current: "" };

const wanted = process.argv.slice(2).filter((word) => !word.startsWith("--"));
try {
  const unbroken = join(place, "unbroken");
  say(`in ${place}: ${study.sample.size} questions, unbroken, in one process`);
  if ((await command(unbroken, [])) !== 0) throw new Error("the unbroken run failed");
  const expected = result(unbroken);
  say([...expected].map(([name, sha]) => `${name} ${sha}`).join(", "));
  for (const [name, start] of Object.entries(targetsHere)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    say(`${name}:`);
    const target = await start(place);
    if (target.startsWith("skipped")) {
      say(`${name}: ${target}`);
      continue;
    }
    const outputs = join(place, `at-${name}`);
    outputsOf.current = outputs;
    const there =
      name === "local" ? [] : ["--setup", threads, "--malt", malt, ...(name === "slurm" ? [] : ["--python", python])];
    const flags = ["--on", target, "--shards", "2", ...there];
    say(`  ended with ${await command(outputs, flags, killBoth)}; the same command again`);
    const code = await command(outputs, flags);
    const made = result(outputs);
    const other = [...expected.keys()].filter((key) => made.get(key) !== expected.get(key));
    say(`${name}: exit code ${code}, ${other.length === 0 ? "every file the same" : `OTHER: ${other.join(", ")}`}`);
    if (code !== 0 || other.length > 0) process.exitCode = 1;
  }
} finally {
  await endAll();
}
await finish(place);
