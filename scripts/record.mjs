// `npm run record -- RUN`: makes a finished run the recorded one. Copies its manifest, tables and card into
// data/recorded/, draws the README's figures and executes all notebooks on it in place, so that what is committed shows it.
import { appendFileSync, copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { execute, notebooks } from "./notebooks.mjs";
import { main, SetupError, steps } from "./progress.mjs";
import { root, setUp } from "./setup.mjs";

const files = ["run.json", "questions.parquet", "nodes.parquet", "sft.parquet", "dpo.parquet", "README.md"];
const note = `
## This copy

The recorded run of the notebooks: the manifest, the tables and this card of a run that \`npm start\` makes. The journal, the
trainer's files, \`run.duckdb\` and \`trees.arrow\` are left out; sampling the run again gives them. \`npm run record -- RUN\`
puts another run in its place.
`;

main(import.meta.url, async () => {
  const name = process.argv[2];
  if (!name || name.startsWith("-")) throw new SetupError("name the run to record: npm run record -- RUN");
  const outputs = resolve(root, process.env.MALT_OUTPUTS || "outputs");
  const source = /[\\/]/.test(name) ? resolve(name) : join(outputs, "runs", name);
  const missing = files.filter((file) => !existsSync(join(source, file)));
  if (missing.length > 0)
    throw new SetupError(`${source} lacks ${missing.join(", ")}: sample and export the run first`);
  await setUp();

  const target = join(root, "data", "recorded");
  const step = steps(3);
  await step(`Copy ${files.length} files of ${source} to data/recorded`, async () => {
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    for (const file of files) copyFileSync(join(source, file), join(target, file));
    appendFileSync(join(target, "README.md"), note);
  });
  await step("Draw the gallery", drawGallery);
  await step("Execute the notebooks in place", async () => {
    // The reader's own server or run must not decide what is committed.
    const env = { MALT_RUN: "", OPENAI_BASE_URL: "", OPENAI_API_KEY: "" };
    if ((await execute(notebooks(), ["--in-place"], env)) !== 0) throw new SetupError("a notebook failed; see above");
  });
});

/** The figures that the README shows. */
async function drawGallery() {
  const { critiqueFigure, mixedQuestion, openRun, saveFigure, treeFigure } = await import("malt-notebooks");
  const run = await openRun(null);
  const nodes = await run.nodes();
  const id = mixedQuestion(nodes);
  const question = (await run.questions()).find((q) => q.id === id);
  const tree = nodes.filter((node) => node.question_id === id);
  const figures = { tree: treeFigure(tree, { question }), critique: critiqueFigure(nodes) };
  for (const [name, figure] of Object.entries(figures))
    await saveFigure(figure, join(root, "outputs", "gallery", name));
  run.close();
}
