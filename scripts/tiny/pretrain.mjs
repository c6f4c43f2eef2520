// `npm run pretrain [-- options of python/pretrain.py]`: makes malt-tiny from nothing: set-up, the trainer's packages
// (a large download), the corpus, the weights in data/malt-tiny/.
import { join } from "node:path";
import { main, mustRun, steps } from "../progress.mjs";
import { environment, installExtra, plan, root, venv } from "../setup.mjs";

main(import.meta.url, async () => {
  const settings = { cwd: root, env: environment };
  const setup = plan();
  const step = steps(setup.length + 3);
  for (const [what, work] of setup) await step(what, work);
  await step("Install the trainer: PyTorch, transformers", () => installExtra("train"));
  const corpus = ["--import", "tsx", join(root, "scripts/tiny/corpus.ts")];
  await step("Write the benchmark and the corpus", () => mustRun(process.execPath, corpus, settings));
  const trainer = [join(root, "python/pretrain.py"), ...process.argv.slice(2)];
  await step("Train", () => mustRun(venv("python"), trainer, { ...settings, quiet: true }));
});
