// `npm test`: all checks, from a fresh clone on: set-up, lint, types, unit tests, every notebook through
// the real kernel, the runner's own tests and the browser. Ends with one line of counts; exit code 1 if anything failed.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { notebooks } from "./notebooks.mjs";
import { main, run, steps } from "./progress.mjs";
import { environment, installExtra, plan, root } from "./setup.mjs";

const reports = join(root, ".cache", "test");
const counts = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const options = { cwd: root, env: environment };

function count(name, ok) {
  counts[ok ? "passed" : "failed"]++;
  if (!ok) failures.push(name);
  return ok ? "passed" : "FAILED";
}

/** One program that passes or fails as a whole. */
const check = async (name, ...args) => count(name, (await run(process.execPath, args, options)) === 0);

/** One vitest run, counted test by test. */
async function vitest(name, ...args) {
  const report = join(reports, `${name}.json`);
  rmSync(report, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const code = await run(process.execPath, ["node_modules/vitest/vitest.mjs", "run", ...args, ...reporters], options);
  let result;
  try {
    result = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    return count(`${name} (vitest wrote no report)`, false);
  }
  const failed = result.testResults.flatMap((file) => {
    const tests = file.assertionResults.filter((test) => test.status === "failed").map((test) => test.fullName);
    // If loading a file or a beforeAll failed, no single test is reported as failed.
    return tests.length > 0 || file.status === "passed" ? tests : [`${file.name} (as a whole)`];
  });
  // An error outside every test, such as an unhandled rejection.
  if (code !== 0 && failed.length === 0) failed.push(`${name} (vitest ended with exit code ${code})`);
  const skipped = result.numPendingTests + result.numTodoTests;
  counts.passed += result.numPassedTests;
  counts.skipped += skipped;
  counts.failed += failed.length;
  failures.push(...failed);
  return `${result.numPassedTests} passed, ${failed.length} failed, ${skipped} skipped`;
}

main(import.meta.url, async () => {
  const setup = plan();
  mkdirSync(reports, { recursive: true });
  const tsc = ["node_modules/typescript/bin/tsc", "--noEmit", "-p", "tsconfig.test.json"];
  const checks = [
    ["Lint and format", () => check("lint", "node_modules/@biomejs/biome/bin/biome", "check", ".")],
    ["Types of src and tests", () => check("types", ...tsc)],
    ["Types of the notebooks", () => check("types of the notebooks", "scripts/typecheck-notebooks.mjs")],
    ["Unit tests", () => vitest("unit")],
    [
      `Execute ${notebooks().length} notebooks, their runner, browser`,
      () => vitest("kernel", "--config", "test/kernel.config.ts"),
    ],
  ];
  // The trainer's own tests train: without PyTorch they could only be skipped.
  const trainer = ["Fetch the trainer (PyTorch and TRL, 3 GB on Linux the first time)", () => installExtra("train")];
  const all = [...setup, trainer, ...checks];
  const step = steps(all.length);
  for (const [what, work] of all) await step(what, work);

  for (const name of failures) console.log(`failed: ${name}`);
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
});
