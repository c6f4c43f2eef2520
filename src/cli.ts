#!/usr/bin/env node
/**
 * The command line: one command per file of cli/. A MaltError is one line on stderr and exit code 1, an interruption one
 * line and 128 + the signal's number.
 */
import { inspect } from "node:util";
import { Command } from "commander";
import { register as evaluate } from "./cli/evaluate.js";
import { register as exportRun } from "./cli/export.js";
import { register as grade } from "./cli/grade.js";
import { register as merge } from "./cli/merge.js";
import { register as plan } from "./cli/plan.js";
import { register as report } from "./cli/report.js";
import { register as reproduce } from "./cli/reproduce.js";
import { register as run } from "./cli/run.js";
import { register as sample } from "./cli/sample.js";
import { register as serve } from "./cli/serve.js";
import { register as study } from "./cli/study.js";
import { register as train } from "./cli/train.js";
import { register as view } from "./cli/view.js";
import { environment } from "./environment.js";
import { MaltError } from "./errors.js";
import { interrupt, interruptedCode, interruptible } from "./run/interruption.js";
import { onClosed, printResult, say } from "./show/terminal.js";

const program = new Command("malt")
  .description("MALT (Multi-Agent LLM Training, arXiv 2412.01928): sample trees, assign credit, train, evaluate")
  .showHelpAfterError("(malt <command> --help shows the options)")
  .configureOutput({ writeOut: (text) => printResult(text.trimEnd()), writeErr: (text) => lines(text.trimEnd()) });
for (const register of [
  reproduce,
  plan,
  run,
  serve,
  sample,
  merge,
  exportRun,
  train,
  evaluate,
  report,
  view,
  study,
  grade,
])
  register(program);

onClosed(() => interrupt("SIGPIPE"));
// The end of what started this process: a script that held the other end of a channel, or npm, which passes on neither
// SIGHUP nor its own end.
const abandoned = () => interruptedCode() ?? interrupt("SIGHUP");
process.once("disconnect", abandoned).channel?.unref();
const parent = process.ppid;
if (environment().isRunByNpm) setInterval(() => process.ppid === parent || abandoned(), 500).unref();
process.once("uncaughtException", end);
// Node.js would print a warning as it is, and a server's or a file's own words may be in it.
process.removeAllListeners("warning");
process.on("warning", (each) => lines(each.name === "MaltWarning" ? `malt: warning: ${each.message}` : inspect(each)));

checkFlags(process.argv.slice(2));
await interruptible(() => program.parseAsync()).catch(end);

/** Ends the process, and with it whatever it has started that is still at work. */
function end(error: unknown): never {
  if (error instanceof MaltError) say(`malt: ${error.message}`);
  else lines(inspect(error));
  process.exit(interruptedCode() ?? 1);
}

function lines(text: string): void {
  text.split("\n").forEach(say);
}

/** An unknown flag is reported, with the nearest known one, before a missing flag is. */
function checkFlags([name, ...words]: readonly string[]): void {
  const command = program.commands.find((each) => each.name() === name);
  const end = words.indexOf("--");
  const flags = words.slice(0, end < 0 ? words.length : end).map((word) => word.split("=")[0]!);
  const unknown = flags.find((flag) => /^--[a-z]/.test(flag) && !command?.options.some(({ long }) => long === flag));
  if (!command || unknown === undefined || unknown === "--help") return;
  // What commander itself calls for an unknown flag; its types do not list it.
  (command as unknown as { unknownOption(flag: string): void }).unknownOption(unknown);
}
