// `npm run record -- RUN [WIDE]`: makes a finished run the recorded one. Copies its manifest, tables and card into
// data/recorded/, writes its report, draws the README's figures and executes all notebooks on it in place, so that what is
// committed shows it.
// WIDE, a run with more than three branches, becomes the one from which notebooks 04 and 16 to 18 measure label noise.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { execute, notebooks } from "./notebooks.mjs";
import { main, SetupError, steps } from "./progress.mjs";
import { root, setUp } from "./setup.mjs";

const recorded = {
  folder: "recorded",
  files: [
    ...["run.json", "questions.parquet", "nodes.parquet", "sft.parquet", "dpo.parquet"],
    ...["evaluation.parquet", "evaluation_questions.parquet", "train/metrics.parquet"],
  ],
  note: `
The recorded run of the notebooks: the manifest, the tables, the training metrics and this card of a run that \`npm start\`
makes, evaluated on all systems (\`npx malt train --run RUN --generator-dpo\`, \`npx malt evaluate --run RUN --systems all --size 200\`), and
for notebook 21 on harder questions (\`npx malt evaluate --run RUN --systems main,debate --questions data/arithmetic/hard.jsonl\`).
The journals, the trainer's files and adapters, \`run.duckdb\` and \`trees.arrow\` are left out; making the run again gives
them. \`npm run record -- RUN\`
puts another run in its place.
`,
};
const wide = {
  folder: "recorded-wide",
  files: ["run.json", "questions.parquet", "nodes.parquet"],
  note: `
The wide run of notebooks 04 and 16 to 18: more branches per state than the recorded run's three, so that its trees hold a tree of three
branches below every answer and an independent second estimate of its values. Only manifest, questions, nodes and this
card are kept. It is sampled with

\`\`\`sh
npx malt sample --questions data/arithmetic/train.jsonl --limit 20 --branching 8 --run wide
npx malt export --run wide
\`\`\`

and \`npm run record -- RUN WIDE\` puts another one in its place.
`,
};

main(import.meta.url, async () => {
  const [name, wideName] = process.argv.slice(2);
  if (!name || name.startsWith("-")) throw new SetupError("name the run to record: npm run record -- RUN [WIDE]");
  const copies = [locate(name, recorded), ...(wideName ? [locate(wideName, wide)] : [])];
  await setUp();

  const step = steps(copies.length + 3);
  for (const [source, kind] of copies) await step(`Copy ${source} to data/${kind.folder}`, () => copyRun(source, kind));
  await step("Write its report", () => {
    const command = [join(root, "dist", "cli.js"), "report", "--run", "data/recorded"];
    writeFileSync(join(root, "data", "recorded", "report.txt"), execFileSync(process.execPath, command, { cwd: root }));
  });
  await step("Draw the gallery", drawGallery);
  await step("Execute the notebooks in place", async () => {
    // The user's own server or run must not affect what is committed.
    const env = { MALT_RUN: "", OPENAI_BASE_URL: "", OPENAI_API_KEY: "" };
    if ((await execute(notebooks(), ["--in-place"], env)) !== 0) throw new SetupError("a notebook failed; see above");
  });
});

/** The folder of a run, after a check that it has every file that is recorded. */
function locate(name, kind) {
  const outputs = resolve(root, process.env.MALT_OUTPUTS || "outputs");
  const source = /[\\/]/.test(name) ? resolve(name) : join(outputs, "runs", name);
  const missing = [...kind.files, "README.md"].filter((file) => !existsSync(join(source, file)));
  if (missing.length > 0)
    throw new SetupError(`${source} lacks ${missing.join(", ")}: sample, export, train and evaluate the run first`);
  // A run outside this folder names its base model by an absolute path, which would be published with it.
  if (readFileSync(join(source, "run.json"), "utf8").includes(JSON.stringify(join(root, "/")).slice(0, -1)))
    throw new SetupError(
      `${source}/run.json names files by this machine's paths; make the run in ${join(root, "outputs")}`,
    );
  return [source, kind];
}

function copyRun(source, { folder, files, note }) {
  const target = join(root, "data", folder);
  // The card's header names the tables that can be loaded; those that are not copied must not be listed.
  const table = / {2}- config_name: \w+\n {4}data_files: (\S+)\n(?: {4}default: true\n)?/g;
  const card = readFileSync(join(source, "README.md"), "utf8");
  const kept = card.replace(table, (entry, file) => (files.includes(file) ? entry : ""));
  rmSync(target, { recursive: true, force: true });
  for (const file of files) mkdirSync(dirname(join(target, file)), { recursive: true });
  for (const file of files) copyFileSync(join(source, file), join(target, file));
  writeFileSync(join(target, "README.md"), `${kept}\n## This copy\n${note}`);
}

/** The figures that the README shows. */
async function drawGallery() {
  const malt = await import("malt-notebooks");
  const { critiqueFigure, flipsFigure, mixedQuestion, openRun, saveFigure } = malt;
  const { summariseSystems, systemsFigure, treeFigure, turnsFigure } = malt;
  const run = await openRun(null);
  const nodes = await run.nodes();
  const id = mixedQuestion(nodes);
  const question = (await run.questions()).find((q) => q.id === id);
  const tree = nodes.filter((node) => node.question_id === id);
  const rows = await run.evaluation();
  const compared = malt.findSystems(["main", "debate"]).map(({ name }) => name);
  const figures = {
    tree: treeFigure(tree, { question }),
    critique: critiqueFigure(nodes),
    systems: systemsFigure(summariseSystems(rows.filter(({ system }) => compared.includes(system)))),
    turns: turnsFigure(rows),
    flips: flipsFigure(rows),
  };
  for (const [name, figure] of Object.entries(figures))
    await saveFigure(figure, join(root, "outputs", "gallery", name));
  run.close();
}
