// `npm start`: the whole loop from a fresh clone: set-up, sample trees, export, train the roles, compare the trained team
// with every baseline on held-out questions, execute the notebooks. Every part that is done already is not done again:
// set-up by its stamp, sampling and evaluation by their journals, training by each stage's fingerprint.
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, resolve } from "node:path";
import { execute, notebooks } from "./notebooks.mjs";
import { main, mustRun, SetupError, steps } from "./progress.mjs";
import { checkNode, environment, fetchExtra, plan, root } from "./setup.mjs";

const help = `npm start [-- options]

  --profile NAME     tiny (default), smollm2 or vllm: which model samples
  --questions N      how many questions (default: 200; smollm2: 6)
  --file PATH        question file (default: data/arithmetic/train.jsonl, the project's own benchmark)
  --base-url URL     sample from this OpenAI-compatible server, for example vLLM's http://host:8000/v1
  --model NAME       the model's name on that server
  --run NAME         name of the run (default: made from profile, file and N)
  --fresh            sample a new run in place of going on with the one of that name
  --seed N           seed of sampling, training and evaluation (default: 0)
  --test FILE        held-out questions to evaluate on (default: data/arithmetic/test.jsonl for its own benchmark)
  --train            train and evaluate also where that is not the default (profiles smollm2 and vllm)
  --no-train         stop after the export
  --no-notebooks     leave the notebooks out
  --help`;

const own = "data/arithmetic/train.jsonl";
/** The notebooks that show a trained and evaluated run. */
const trained = /^0[6-9]-/;

async function readOptions() {
  const { parseArgs } = await import("node:util");
  const text = { type: "string" };
  const flag = { type: "boolean" };
  const known = { profile: text, questions: text, file: text, "base-url": text, model: text, run: text };
  const more = { seed: text, test: text, train: flag, "no-train": flag };
  try {
    return parseArgs({ options: { ...known, ...more, fresh: flag, "no-notebooks": flag, help: flag } }).values;
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
  const seed = given.seed ?? "0";
  if (!/^\d+$/.test(seed)) throw new SetupError(`--seed must be a whole number of at least 0; got "${seed}"`);
  const file = given.file ?? own;
  // Other profiles sample too few questions by default, or from a model whose weights are elsewhere.
  const train = !given["no-train"] && (given.train || profile === "tiny");
  const subject = given.file ? `-${basename(given.file).replace(/\.[^.]*$/, "")}` : "";
  const suffix = seed === "0" ? "" : `-seed-${seed}`;
  const name = given.run ?? `${profile}${subject}-${questions}${suffix}`.toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
  return { ...given, profile, questions, file, name, seed, train };
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
  const files = options["no-notebooks"]
    ? []
    : notebooks().filter((file) => options.train || !trained.test(basename(file)));
  const step = steps(setup.length + 3 + (options.train ? 3 : 0) + (files.length > 0 ? 1 : 0));
  if (setup.length === 0) console.log("Set-up is complete.");
  for (const [what, work] of setup) await step(what, work);

  const server = ["--profile", options.profile];
  if (options["base-url"]) server.push("--base-url", options["base-url"]);
  if (options.model) server.push("--model", options.model);
  const input = ["--questions", options.file, "--limit", options.questions, "--run", name, "--seed", options.seed];
  // Three gigabytes of PyTorch come while the server already samples.
  const trainer = options.train ? fetchExtra("train") : null;
  process.once("exit", () => trainer?.stop());
  await step(`Sample ${options.questions} questions with profile ${options.profile} into run ${name}`, () =>
    malt("sample", ...input, ...server),
  );
  await step("Score the trees and export the dataset", () => malt("export", "--run", name));
  if (trainer) {
    await step("Fetch the trainer (PyTorch and TRL, 3 GB on Linux; began with the sampling)", async () => {
      const still = setInterval(() => console.log(`      … ${trainer.status()}`), 15_000);
      await trainer.finished.finally(() => clearInterval(still));
    });
    const profile = ["--profile", options.profile];
    await step("Train the roles: SFT, DPO, and the STaR baseline", () =>
      malt("train", "--run", name, "--seed", options.seed, ...profile),
    );
    // Seeds of different runs must not overlap, or their evaluations would share questions and samples.
    const first = String(4 * Number(options.seed));
    const test = options.test ? ["--questions", options.test] : [];
    await step("Compare the trained team with the baselines on held-out questions", () =>
      malt("evaluate", "--run", name, "--seed", first, "--systems", "main", ...test, ...server),
    );
  }
  await step("Report", () => malt("report", "--run", name));

  const executed = join(outputs, "notebooks");
  if (files.length > 0) {
    await step(`Execute ${files.length} notebooks`, async () => {
      // Side by side, since half of a notebook's time its kernel only starts; the last one is by far the longest.
      const how = ["--out", executed, "--jobs", `${Math.min(2, availableParallelism())}`];
      if ((await execute([...files].reverse(), how, { MALT_OUTPUTS: outputs, MALT_RUN: name })) !== 0) {
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
