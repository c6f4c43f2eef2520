// `npm start`: from a fresh clone to a sampled, scored and exported run and executed notebooks. Every part that is done
// already is not done again: set-up by its stamp, sampling by the run's journal.
import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { execute, notebooks } from "./notebooks.mjs";
import { main, mustRun, SetupError, steps } from "./progress.mjs";
import { checkNode, environment, plan, root } from "./setup.mjs";

const help = `npm start [-- options]

  --profile NAME     tiny (default), smollm2 or vllm: which model samples
  --questions N      how many questions (default: 200; smollm2: 6)
  --file PATH        question file (default: data/arithmetic/train.jsonl, the project's own benchmark)
  --base-url URL     sample from this OpenAI-compatible server, for example vLLM's http://host:8000/v1
  --model NAME       the model's name on that server
  --run NAME         name of the run (default: made from profile, file and N)
  --fresh            sample a new run in place of going on with the one of that name
  --no-notebooks     stop after the export
  --help`;

const own = "data/arithmetic/train.jsonl";

async function readOptions() {
  const { parseArgs } = await import("node:util");
  const text = { type: "string" };
  const flag = { type: "boolean" };
  const known = { profile: text, questions: text, file: text, "base-url": text, model: text, run: text };
  try {
    return parseArgs({ options: { ...known, fresh: flag, "no-notebooks": flag, help: flag } }).values;
  } catch (error) {
    throw new SetupError(`${error.message}; see npm start -- --help`);
  }
}

/** The options with every default put in. */
function settle(given) {
  const elsewhere = given["base-url"] ?? process.env.OPENAI_BASE_URL;
  const profile = given.profile ?? (elsewhere ? "vllm" : "tiny");
  const questions = given.questions ?? (profile === "smollm2" ? "6" : "200");
  if (!/^[1-9]\d*$/.test(questions)) {
    throw new SetupError(`--questions must be a whole number of at least 1; got "${questions}"`);
  }
  const file = given.file ?? own;
  const subject = given.file ? `-${basename(given.file).replace(/\.[^.]*$/, "")}` : "";
  const name = given.run ?? `${profile}${subject}-${questions}`.toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
  return { ...given, profile, questions, file, name };
}

/** The first of name, name-2, name-3 … that no run has yet. */
function freshName(runs, name) {
  for (let i = 1; ; i++) {
    const candidate = i === 1 ? name : `${name}-${i}`;
    if (!existsSync(join(runs, candidate))) return candidate;
  }
}

main(import.meta.url, async () => {
  checkNode();
  const given = await readOptions();
  if (given.help) return console.log(help);
  const options = settle(given);
  const outputs = resolve(process.env.MALT_OUTPUTS || join(root, "outputs"));
  const runs = join(outputs, "runs");
  const name = options.fresh ? freshName(runs, options.name) : options.name;
  const env = { ...environment, MALT_OUTPUTS: outputs };
  const malt = (...args) =>
    mustRun(process.execPath, [join(root, "dist", "cli.js"), ...args], { cwd: root, env, quiet: true });

  const setup = plan();
  const files = options["no-notebooks"] ? [] : notebooks();
  const step = steps(setup.length + (files.length > 0 ? 4 : 3));
  if (setup.length === 0) console.log("Set-up is complete.");
  for (const [what, work] of setup) await step(what, work);

  const server = ["--profile", options.profile];
  if (options["base-url"]) server.push("--base-url", options["base-url"]);
  if (options.model) server.push("--model", options.model);
  const input = ["--questions", options.file, "--limit", options.questions, "--run", name];
  await step(`Sample ${options.questions} questions with profile ${options.profile} into run ${name}`, () =>
    malt("sample", ...input, ...server),
  );
  await step("Score the trees and export the dataset", () => malt("export", "--run", name));
  await step("Report", () => malt("report", "--run", name));

  const executed = join(outputs, "notebooks");
  if (files.length > 0) {
    await step(`Execute ${files.length} notebooks`, async () => {
      if ((await execute(files, ["--out", executed], { MALT_OUTPUTS: outputs, MALT_RUN: name })) !== 0) {
        throw new SetupError(`a notebook failed; the executed copies are in ${executed}`);
      }
    });
  }

  console.log(`
The run        ${join(runs, name)}  (README.md there explains each file)`);
  if (files.length > 0) console.log(`Notebooks      ${executed}  (executed copies)`);
  console.log(`Open them      npm run lab
Another model  npm start -- --base-url http://host:8000/v1 --model NAME`);
});
