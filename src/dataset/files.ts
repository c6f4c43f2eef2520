/** The files of an export that hold rows: the four tables, the nodes as Arrow, the trainer's JSONL. */
import { join } from "node:path";
import { distilledExamples } from "../credit/distill.js";
import { preferencePairs, sftExamples, splitOf } from "../credit/pairs.js";
import type { ScoredTree } from "../credit/score.js";
import { exampleWeights } from "../credit/weights.js";
import { InputError } from "../errors.js";
import type { PromptSet } from "../team/prompts.js";
import { speaksAs } from "../team/teams.js";
import type { Message, Question, Role } from "../types.js";
import { arrowFile } from "./arrow.js";
import { openaiExample, openaiPair } from "./openai-form.js";
import { parquetFolder } from "./parquet.js";
import type { ExportSummary } from "./rules.js";
import { json, type LineFile, lineFile, questionRow } from "./tables.js";

/** Takes one scored tree after another. */
export interface TreeFiles {
  /** Adds the rows of a tree; resolves when there is room for the next. */
  write(question: Question, tree: ScoredTree): Promise<void>;
  /** Resolves to the rows by role, and the trajectories if they are written, when all files are whole. */
  finish(): Promise<Pick<ExportSummary, "roles" | "distilled">>;
  /** Closes the files, finished or not. */
  close(): Promise<void>;
}

/**
 * Creates the files in a folder that has a folder `train`.
 * @throws InputError on a role name that cannot name a file
 */
export async function treeFiles(
  folder: string,
  roles: readonly Role[],
  promptSet: PromptSet,
  rules: ExportSummary["options"],
): Promise<TreeFiles> {
  for (const { name } of roles) {
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(name))
      throw new InputError(`role name ${JSON.stringify(name)} cannot name a file; use 1 to 32 of a-z, 0-9 and "-"`);
  }
  const counts = new Map(
    roles.map(({ name }) => [name, { role: name, nodes: 0, valued: 0, positive: 0, sft: 0, pairs: 0 }]),
  );
  const parquet = await parquetFolder(folder);
  const [questions, nodes] = [parquet.table("questions"), parquet.table("nodes")];
  const [sft, dpo] = [parquet.table("sft"), parquet.table("dpo")];
  const arrow = arrowFile(join(folder, "trees.arrow"));
  // Roles that share an adapter share its files. A role without examples gets empty ones, so that the set of files does not
  // depend on chance.
  const files = new Map(roles.map((role) => [role.name, speaksAs(role)]));
  const lines = new Map<string, LineFile>();
  const kinds = [...new Set(files.values())].flatMap((name) => [`${name}-sft`, `${name}-dpo`]);
  for (const kind of rules.distill === null ? kinds : [...kinds, "distilled"]) {
    for (const side of rules.evalFraction > 0 ? ["", "-eval"] : [""]) {
      for (const form of rules.openai ? ["", "-openai"] : [""]) {
        const file = `${kind}${side}${form}`;
        lines.set(file, lineFile(join(folder, "train", `${file}.jsonl`)));
      }
    }
  }
  let distilled = 0;

  return {
    async write(question, tree) {
      const { id } = question;
      questions.writeJson(json(questionRow(question)));
      arrow.write(tree.nodes);
      for (const node of tree.nodes) {
        nodes.writeJson(json(node));
        const count = counts.get(node.role)!;
        count.nodes += 1;
        if (node.value !== null) count.valued += 1;
        if (node.label) count.positive += 1;
      }
      if (tree.complete || rules.incomplete === "available") {
        const whole = { question, nodes: tree.nodes, roles, promptSet };
        const side = splitOf(id, rules) === "eval" ? "-eval" : "";
        const chats = chatJson();
        const weights = rules.weights === "none" ? null : exampleWeights(tree.nodes, rules.estimator, rules);
        for (const { prompt, completion, ...row } of sftExamples(whole, rules)) {
          const said = chats({ prompt, completion });
          const weight = weights?.get(row.node_id);
          // An example that does not count would only cost time.
          if (weight === 0) continue;
          sft.writeJson(joined(json(row), said));
          lines.get(`${files.get(row.role)}-sft${side}`)!.writeJson(weight ? joined(said, json({ weight })) : said);
          lines.get(`${files.get(row.role)}-sft${side}-openai`)?.write(openaiExample({ prompt, completion }));
          counts.get(row.role)!.sft += 1;
        }
        for (const { prompt, chosen, rejected, ...row } of preferencePairs(whole, rules)) {
          const said = chats({ prompt, chosen, rejected });
          dpo.writeJson(joined(json(row), said));
          const margin = row.chosen_value - row.rejected_value;
          lines
            .get(`${files.get(row.role)}-dpo${side}`)!
            .writeJson(rules.margins ? joined(said, json({ margin })) : said);
          lines.get(`${files.get(row.role)}-dpo${side}-openai`)?.write(openaiPair({ prompt, chosen, rejected }));
          counts.get(row.role)!.pairs += 1;
        }
        const { distill, distillForm, distillLimit, dedupe } = rules;
        const limit = distillLimit === null ? {} : { distillLimit };
        for (const example of distill === null
          ? []
          : distilledExamples(whole, { distill, distillForm, dedupe, ...limit })) {
          const { prompt, completion } = example;
          lines.get(`distilled${side}`)!.writeJson(chats({ prompt, completion }));
          lines.get(`distilled${side}-openai`)?.write(openaiExample({ prompt, completion }));
          distilled += 1;
        }
      }
      for (const table of [questions, nodes, sft, dpo]) await table.room();
    },
    async finish() {
      arrow.finish();
      for (const file of lines.values()) file.finish();
      for (const table of [questions, nodes, sft, dpo]) await table.finish();
      return { roles: [...counts.values()], ...(rules.distill !== null && { distilled }) };
    },
    async close() {
      arrow.close();
      for (const file of lines.values()) file.close();
      await parquet.close();
    },
  };
}

/** JSON of named message lists. The same messages are in many rows of a tree, so their JSON is made once. */
function chatJson(): (chats: Record<string, readonly Message[]>) => string {
  const texts = new Map<string, string>();
  const text = (content: string): string => {
    const known = texts.get(content) ?? json(content);
    texts.set(content, known);
    return known;
  };
  const list = (messages: readonly Message[]) =>
    messages.map(({ role, content }) => `{"role":"${role}","content":${text(content)}}`).join(",");
  return (chats) =>
    `{${Object.entries(chats)
      .map(([name, messages]) => `"${name}":[${list(messages)}]`)
      .join(",")}}`;
}

/** One JSON object with the fields of both. */
const joined = (a: string, b: string): string => `${a.slice(0, -1)},${b.slice(1)}`;
