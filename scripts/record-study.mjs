// `npm run record:study -- FILE`: makes a study, or goes on with it, and makes it a recorded one: its tables, its definition and
// a card go to data/recorded-study-NAME/, which notebooks read.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { main, mustRun, SetupError, steps } from "./progress.mjs";
import { root, setUp } from "./setup.mjs";

const tables = ["study.json", "results.parquet", "outcomes.parquet"];

main(import.meta.url, async () => {
  const [file] = process.argv.slice(2);
  if (!file || file.startsWith("-"))
    throw new SetupError("name the study's file: npm run record:study -- studies/thresholds.yaml");
  await setUp();
  const step = steps(2);
  await step(`Make the study ${file}`, () => mustRun(process.execPath, [join(root, "dist", "cli.js"), "study", file]));
  await step("Record it", () => record(file));
});

/** Copies a study that is made, and writes its card. @param file its definition */
export async function record(file) {
  const { environment, openStudy } = await import("malt-notebooks");
  const definition = readFileSync(file, "utf8");
  const { name } = parse(definition);
  const source = join(resolve(root, environment().outputs), "studies", name);
  const folder = `recorded-study-${name}`;
  const target = join(root, "data", folder);
  const made = await openStudy(source);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  for (const table of tables) copyFileSync(join(source, table), join(target, table));
  writeFileSync(join(target, "study.yaml"), definition);
  writeFileSync(join(target, "README.md"), card(made, folder));
}

const points = (share) =>
  share === undefined || share === null || Number.isNaN(share) ? "–" : (100 * share).toFixed(1);
const interval = (one) => (one ? `${points(one.low)} to ${points(one.high)}` : "–");

function card({ plan, results, work }, folder) {
  const { definition, axes } = plan;
  const names = axes.map(({ name }) => name);
  const isRepeated = results.some(({ overRepeats }) => overRepeats !== null);
  const ifRepeated = (text) => (isRepeated ? [text] : []);
  const spread = ifRepeated("± over repeats");
  const measured = ["accuracy", "interval", ...spread, "better by", "interval", ...spread, "p (Holm)"];
  const head = [...names, ...measured, "examples", "pairs"];
  const rows = results.map(({ values, isReference, reason, accuracy, overRepeats, against, cost }) => [
    ...names.map((name) => `${values[name]}${isReference ? " (reference)" : ""}`),
    ...(reason === null ? [points(accuracy?.mean), interval(accuracy)] : [reason, ""]),
    ...ifRepeated(points(overRepeats)),
    ...(against
      ? [
          points(against.difference.mean),
          interval(against.difference),
          ...ifRepeated(points(against.overRepeats)),
          against.pHolm.toFixed(4),
        ]
      : ["", "", ...ifRepeated(""), ""]),
    ...[cost.sft_examples, cost.pairs].map((count) => count.toLocaleString("en-US")),
  ]);
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const { sampling, training, evaluation } = work.seconds;
  return `# Study: ${definition.name}

${definition.title ?? ""}

A study that notebooks show: \`${definition.fixed?.model ?? definition.fixed?.profile ?? "malt-tiny"}\`, trained and evaluated anew in every cell, ${definition.size} held-out questions under each of ${definition.seeds} seeds.
\`study.yaml\` defines it, and

\`\`\`sh
npm run record:study -- data/${folder}/study.yaml
\`\`\`

makes it again (on the machine that made this one ${Math.round((sampling + training + evaluation) / 60)} minutes: ${sampling} s sampling, ${training} s training, ${evaluation} s evaluating). The same
command with another file of that name, such as \`studies/${definition.name}.yaml\`, puts another size of it in its place.

${[line(head), line(head.map(() => "--:")), ...rows.map(line)].join("\n")}

Accuracy in percent, with 95 % intervals clustered by question; better by: points over the reference, on the same questions.
Examples and pairs are those of all roles together, as trained on.

| file | what |
|---|---|
| \`study.yaml\`, \`study.json\` | the definition, as written and with its defaults; cells, what was shared, seconds |
| \`results.parquet\` | a row per cell: accuracy, the paired comparison with the reference, cost |
| \`outcomes.parquet\` | a row per answer: cell, repeat, evaluation seed, question, whether it is right, completion tokens |

\`openStudy("data/${folder}")\` reads it. The runs themselves (trees, adapters, passes) are not kept.

Licence: MIT, as the rest of the project. The texts behind it were made by a model organism and say nothing about other models.
`;
}
