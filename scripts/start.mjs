// `npm start`: the whole loop from a fresh clone: set-up, `malt reproduce` with the options given, the notebooks. Parts
// that are done are skipped: the set-up by its stamp, the rest by the journals and fingerprints of a run.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, resolve } from "node:path";
import { execute, notebooks } from "./notebooks.mjs";
import { advice, main, mustRun, SetupError, steps } from "./progress.mjs";
import { environment, fingerprint, plan, root, sources } from "./setup.mjs";

const help = `npm start [-- options]

Sets up, runs the loop (malt reproduce), executes the notebooks on the run.

  --no-notebooks     leave the notebooks out

All other options are those of malt reproduce:
`;

/** The notebooks that show a trained and evaluated run. */
const trained = /^0[6-9]-/;

main(import.meta.url, async () => {
  const given = process.argv.slice(2);
  const asksHelp = given.includes("--help") || given.includes("-h");
  if (asksHelp) console.log(help);
  const outputs = resolve(process.env.MALT_OUTPUTS || join(root, "outputs"));
  process.env.MALT_OUTPUTS = outputs;
  const env = { ...environment, MALT_OUTPUTS: outputs };

  const setup = plan();
  const step = steps(setup.length);
  if (setup.length === 0 && !asksHelp) console.log("Set-up is complete.");
  for (const [what, work] of setup) await step(what, work);

  // The channel tells malt when this process is killed.
  const settings = { cwd: root, env, quiet: true, stdio: ["inherit", "inherit", "inherit", "ipc"] };
  const malt = (...words) => mustRun(process.execPath, [join(root, "dist", "cli.js"), "reproduce", ...words], settings);
  if (asksHelp) return malt("--help");
  const { settled } = await import("../dist/cli/reproduce.js");
  const options = given.filter((word) => word !== "--no-notebooks");
  // The name is chosen once: with --fresh, a second lookup would give another one.
  const { run, train } = await settled(options);
  if (options.includes("--fresh"))
    advice.toGoOn = `run the same command with --run ${run} in place of --fresh to go on`;
  await malt(...options.filter((word) => word !== "--fresh"), "--run", run);

  const files = given.includes("--no-notebooks")
    ? []
    : notebooks().filter((file) => train || !trained.test(basename(file)));
  const executed = join(outputs, "notebooks");
  const stamp = join(executed, "stamp.txt");
  // What the notebooks show: their code, the package and the tables of the run.
  const tables = ["nodes", "sft", "dpo", "evaluation", "train/metrics"]
    .map((table) => join(outputs, "runs", run, `${table}.parquet`))
    .filter((path) => existsSync(path));
  const shown = fingerprint([...files, ...tables, ...sources("src"), "package-lock.json"], [run]);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === shown) {
    console.log("The notebooks are executed on this run already.");
  } else if (files.length > 0) {
    rmSync(stamp, { force: true });
    // Side by side, since half of a notebook's time its kernel only starts; the last one is by far the longest.
    const jobs = ["--jobs", `${Math.min(2, availableParallelism())}`, "--out", executed];
    const showRun = { MALT_OUTPUTS: outputs, MALT_RUN: run };
    await steps(1)(`Execute ${files.length} notebooks`, async () => {
      if ((await execute(files.reverse(), jobs, showRun)) !== 0)
        throw new SetupError(`a notebook failed; the executed copies are in ${executed}`);
    });
    writeFileSync(stamp, shown);
  }

  console.log(`
The run        ${join(outputs, "runs", run)}  (README.md there explains each file)`);
  if (files.length > 0) console.log(`Notebooks      ${executed}  (executed copies)`);
  console.log(`Open them      npm run lab
Another model  npm start -- --base-url http://host:8000/v1 --model NAME`);
});
