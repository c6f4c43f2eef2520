#!/usr/bin/env node
/** The command line: one command per file of cli/. A MaltError is one line on stderr and exit code 1. */
import { Command } from "commander";
import { register as evaluate } from "./cli/evaluate.js";
import { register as exportRun } from "./cli/export.js";
import { register as grade } from "./cli/grade.js";
import { register as merge } from "./cli/merge.js";
import { register as report } from "./cli/report.js";
import { register as reproduce } from "./cli/reproduce.js";
import { register as sample } from "./cli/sample.js";
import { register as serve } from "./cli/serve.js";
import { register as train } from "./cli/train.js";
import { MaltError } from "./errors.js";

const program = new Command("malt")
  .description("MALT (Multi-Agent LLM Training, arXiv 2412.01928): sample trees, assign credit, train, evaluate")
  .showHelpAfterError("(malt <command> --help shows the options)");
for (const register of [serve, sample, merge, exportRun, train, evaluate, report, reproduce, grade]) register(program);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof MaltError)) throw error;
  process.stderr.write(`malt: ${error.message.replace(/\s*\n\s*/g, " ")}\n`);
  process.exitCode = 1;
}
