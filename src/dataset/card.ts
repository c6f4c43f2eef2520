/** The dataset card of a run: README.md with the YAML header that the Hugging Face Hub reads. Pure, without dates. */
import { stringify } from "yaml";
import { partitionText } from "../benchmarks/doubts.js";
import { largestWeight } from "../credit/weights.js";
import type { Manifest } from "../run/manifest.js";
import type { Split } from "../types.js";
import { visible } from "../visible.js";
import type { ExportSummary } from "./rules.js";

/**
 * Renders the card.
 * @param run the run's name
 * @param questions their number by split
 * @returns Markdown; the same arguments give the same text
 */
export function card(
  run: string,
  manifest: Manifest,
  questions: ReadonlyMap<Split, number>,
  summary: ExportSummary,
): string {
  const { config, benchmark } = manifest;
  const { options, trees, roles } = summary;
  const asked = trees.complete + trees.incomplete;
  const sft = roles.reduce((sum, role) => sum + role.sft, 0);
  const pairs = roles.reduce((sum, role) => sum + role.pairs, 0);
  // The Hub cannot load a table without rows.
  const filled = Object.entries({ sft, dpo: pairs, nodes: summary.nodes, questions: asked }).filter(
    ([, rows]) => rows > 0,
  );
  const header = stringify({
    pretty_name: `MALT trees: ${run}`,
    license: "unknown",
    task_categories: ["text-generation"],
    tags: ["malt", "multi-agent", "credit-assignment", "preference", "synthetic"],
    size_categories: [sizeCategory(Math.max(summary.nodes, sft, pairs))],
    configs: filled.map(([name], i) => ({
      config_name: name,
      data_files: `${name}.parquet`,
      ...(i === 0 && { default: true }),
    })),
  });
  const splits = [...questions].map(([split, count]) => `${count} ${split}`);
  const team = config.roles.map(({ name, branching }) => `${name} x ${branching}`).join(", ");
  const { adapters } = config;
  const round = adapters
    ? `, with the adapters of ${adapters.system} of run ${code(adapters.run)}: round ${adapters.learned.length + 1}`
    : "";
  const adapter = config.policy.adapter ? `, adapter ${code(config.policy.adapter.name)}` : "";
  const { temperature, top_p, max_tokens } = config.sampling;
  return `---
${header}---

# MALT trees: ${run}

Search trees of a multi-agent team, with credit assigned as in MALT (arXiv 2412.01928): every question is answered,
criticised and refined several times, final answers are graded, and a node's value is backed up from the leaves.

| | |
|---|---|
| model | ${code(config.policy.model)}${adapter}${round} |
| questions | ${asked} of ${code(benchmark.name)} (${splits.join(", ") || "none"})${benchmark.partition === undefined ? "" : `, of ${partitionText(benchmark.partition)}`} |
| roles and branching | ${team} |
${searchRow(config.search)}| prompts | ${code(config.prompt_set)}${config.system_message === "merged" ? ", system text in the user message" : ""}, SHA-256 ${code(manifest.prompt_set_hash.slice(0, 16))} |
| sampling | temperature ${temperature}, top_p ${top_p}, max_tokens ${max_tokens}, seed ${config.seed} |
| values | ${labelRule(summary)} |
| answers | those stated in a text${options.extraction === "flexible" ? ", else its last number, formula or letter" : ""} (${options.extraction}) |
| SFT examples | ${code(options.examples)}${weightRule(options)} |
| pairs | ${code(options.pairing)}, least gap ${options.minGap}, identical texts: ${options.identical}, deduplicated: ${options.dedupe}${options.margins ? ", with the difference of values as `margin`" : ""} |
| held out | a share of ${options.evalFraction} of the questions, in \`train/*-eval*.jsonl\`, split seed ${options.splitSeed} |

## Rows

| role | nodes | with a value | label true | SFT examples | preference pairs |
|---|--:|--:|--:|--:|--:|
${roles.map((r) => `| ${r.role} | ${r.nodes} | ${r.valued} | ${r.positive} | ${r.sft} | ${r.pairs} |`).join("\n")}

${completeness(trees, options.incomplete)}

## Files

- \`questions.parquet\`, \`nodes.parquet\`, \`sft.parquet\`, \`dpo.parquet\`; \`trees.arrow\` holds the nodes as Arrow IPC.
- \`run.duckdb\` has a view on each. Its views name the files relatively: open it from inside this folder
  (\`cd\` here, \`duckdb run.duckdb\`), or \`SET file_search_path = '<this folder>'\` first.
- \`train/<role>-sft.jsonl\` (prompt, completion) and \`train/<role>-dpo.jsonl\` (prompt, chosen, rejected) are TRL's
  conversational forms.${distilledFile(summary)}
- \`evaluation.parquet\` and \`evaluation_questions.parquet\` are there once systems were evaluated: what each said at each
  turn, one benchmark after another.
- \`run.json\` is the manifest; \`journal/\` holds every completion, and all other files derive from it.

A node's \`node_id\` is its path (\`g0.v2.r1\`: the second refinement of the third critique of the first answer). \`answer\`
and \`correct\` are the node's own answer; ${valueMeaning(options)}.

## Limits

The texts are what a language model said, wrong answers included; labels say what led to a right final answer, not what is
true. A value rests on few samples. The licence is that of the questions and of the model's output, and not set here.
`;
}

/** How credit became labels. */
function labelRule({ options, effectiveLeaves = [] }: ExportSummary): string {
  const { estimator, pooling, threshold, lambda, confidence } = options;
  if (estimator === "value") return `pooling ${code(pooling)}, label = value > ${threshold}`;
  const from = `estimator ${code(estimator)} on values with pooling ${code(pooling)}`;
  if (estimator === "posterior") {
    const leaves = effectiveLeaves.map((n) => n.toFixed(1)).join(", ");
    return `${from}, label where it is ${confidence} or more certain whether the true value is > ${threshold}; effective leaves by depth: ${leaves || "none"}`;
  }
  const how = estimator === "td" || estimator === "gae" ? `, lambda ${lambda}` : "";
  return `${from}${how}, label = credit > ${threshold}`;
}

function valueMeaning({ estimator }: ExportSummary["options"]): string {
  if (estimator === "value") return "`value` is the mean over its children, and at a leaf 1 for a right answer, else 0";
  return `\`value\` is its credit under estimator ${code(estimator)} (\`src/credit/estimators.ts\` of malt-notebooks), not its mean reward`;
}

function searchRow(search: Manifest["config"]["search"]): string {
  if (!search) return "";
  return `| search | ${search.budget} completions per question, allocated where labels at ${search.threshold} are least certain; the branching is an upper bound |\n`;
}

function weightRule({ weights, weightTemperature }: ExportSummary["options"]): string {
  if (weights === "none") return "";
  const how = weights === "value" ? "their credit" : `exp(advantage / ${weightTemperature}), at most ${largestWeight}`;
  return `, weighted by ${how} (\`weight\` in \`train/*-sft*.jsonl\`)`;
}

function distilledFile({ distilled, options }: ExportSummary): string {
  if (distilled === undefined) return "";
  const which = options.distill === "path" ? "every output on them is good" : "their last output is good";
  const most = options.distillLimit === null ? "" : `, at most ${options.distillLimit} a question`;
  return (
    `\n- \`train/distilled.jsonl\` holds ${distilled} whole trajectories as one model's reasoning (form ` +
    `${code(options.distillForm)}${most}): ${which}.`
  );
}

/** Says what part of the trees the values rest on. */
function completeness(trees: ExportSummary["trees"], incomplete: "skip" | "available"): string {
  const total = trees.complete + trees.incomplete;
  if (trees.incomplete === 0) return `All ${total} trees are complete.`;
  const rule =
    incomplete === "skip"
      ? "their nodes have no value (null) where something below is missing, and none of them is an example or in a pair"
      : "their values are means over what was there, and their nodes are among the examples and pairs";
  return `**${trees.incomplete} of ${total} trees are incomplete**: ${rule}.`;
}

/** Inline code that its content, such as a model's name, cannot leave; a bar would end a table cell. */
function code(text: string): string {
  return `\`${visible(text.replace(/[`|\s]+/g, " ").trim())}\``;
}

function sizeCategory(rows: number): string {
  const bounds: [number, string][] = [
    [1e3, "n<1K"],
    [1e4, "1K<n<10K"],
    [1e5, "10K<n<100K"],
    [1e6, "100K<n<1M"],
  ];
  return bounds.find(([bound]) => rows < bound)?.[1] ?? "1M<n<10M";
}
