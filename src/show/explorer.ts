/** The explorer of a run inside a notebook, and passes of its evaluations as dialogues. */
import type { OpenRun } from "../dataset/open.js";
import { InputError } from "../errors.js";
import { type PageOptions, pageParts } from "../explore/page.js";
import type { EvaluationRow, Node } from "../types.js";
import { exampleText } from "./examples.js";
import { escapeHtml, send, text } from "./notebook.js";
import { textTree } from "./text-tree.js";

export interface ExploreOptions {
  /** Id of the one question to show; by default all of the run's. */
  question?: string;
  /** Of the frame, in pixels. */
  height?: number;
}

/**
 * Shows the explorer of a run, or of one question's tree: click, filter, move θ. Where a notebook is not trusted, on GitHub
 * and in a terminal, a static form says how to get the live one.
 * @throws InputError if there is no such question; RunError if the explorer has not been built; MaltError outside a tslab
 * kernel
 */
export async function explore(run: OpenRun, options: ExploreOptions = {}): Promise<void> {
  send(await explorerOutput(run, options));
}

/** The forms of that output. */
export async function explorerOutput(
  run: OpenRun,
  { question, height = 820 }: ExploreOptions = {},
): Promise<{ "text/html": string; "text/plain": string }> {
  const live =
    `If no explorer is shown below, this notebook is not trusted or its page runs no scripts: run this cell, choose Trust ` +
    `Notebook in the command palette (Ctrl+Shift+C), or write it as a file with: npx malt view --run ${run.name}`;
  const tree = question === undefined ? "" : await treeText(run, question);
  const only = question === undefined ? {} : { question };
  const frame = await framedPage(run, { ...only, evaluations: false }, `explorer of run ${run.name}`, height);
  const fixed = tree && `<details><summary>as text</summary><pre>${escapeHtml(tree)}</pre></details>`;
  return {
    "text/html": `<p><small>${escapeHtml(live)}</small></p>${fixed}${frame}`,
    "text/plain": [tree, `The explorer of run ${run.name} is a web page: npx malt view --run ${run.name}`]
      .filter((part) => part)
      .join("\n\n"),
  };
}

/**
 * A page of a run in a frame of its own origin: it can reach neither the notebook nor the network.
 * @param height in pixels
 * @throws as pageParts
 */
export async function framedPage(run: OpenRun, options: PageOptions, title: string, height: number): Promise<string> {
  const parts: string[] = [];
  for await (const part of pageParts(run, options)) parts.push(part);
  return (
    `<iframe sandbox="allow-scripts" title="${escapeHtml(title)}" ` +
    `style="width:100%;height:${Math.round(height)}px;border:1px solid #8888" srcdoc="${attribute(parts.join(""))}"></iframe>`
  );
}

/** HTML as the value of an attribute: nothing in it may change, because the page's own policy names its script by hash. */
const attribute = (html: string): string =>
  html.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");

async function treeText(run: OpenRun, id: string): Promise<string> {
  const question = (await run.questions()).find((each) => each.id === id)!;
  const nodes = await run.query<Node>("SELECT * FROM nodes WHERE question_id = $1", [id]);
  return nodes.length === 0 ? "" : textTree(question, nodes);
}

export interface DialogueOptions {
  /** By default the first that systems were evaluated on. */
  benchmark?: string;
  /** By default the first under which the question was drawn. */
  seed?: number;
}

/**
 * Shows what a system said about one held-out question: every pass, turn by turn, with its answers (paper, Appendix A.4).
 * @throws InputError if the system was not asked this question; RunError if there is no evaluation; MaltError outside a
 * tslab kernel
 */
export async function dialogue(
  run: OpenRun,
  system: string,
  question: string,
  options: DialogueOptions = {},
): Promise<void> {
  const title = `${system} on ${question}`;
  text(await dialogueText(run, system, question, options), { title });
}

/** The same as text. */
export async function dialogueText(
  run: OpenRun,
  system: string,
  question: string,
  { benchmark, seed }: DialogueOptions = {},
): Promise<string> {
  const name = benchmark ?? (await run.benchmarks())[0];
  // Says what to do where there is no evaluation at all.
  if (name === undefined) await run.evaluation();
  const asked = await run.query<EvaluationRow>(
    "SELECT * FROM evaluation WHERE benchmark = $1 AND system = $2 AND question_id = $3",
    [name!, system, question],
  );
  const chosen = seed ?? asked[0]?.seed;
  const rows = asked.filter((row) => row.seed === chosen);
  if (rows.length === 0) {
    const under = seed === undefined ? "" : ` under seed ${seed}`;
    const systems = await run.query<{ system: string }>("SELECT DISTINCT system FROM evaluation ORDER BY system");
    throw new InputError(
      `system "${system}" was not asked question "${question}" of ${name}${under}; ` +
        `evaluated were: ${systems.map((row) => row.system).join(", ")}`,
    );
  }
  const held = (await run.evaluationQuestions(name!)).find(({ id }) => id === question);
  const passes = [...new Set(rows.map(({ pass }) => pass))];
  return passes
    .map((pass) =>
      exampleText(
        rows.filter((row) => row.pass === pass),
        pass === passes[0] ? held : undefined,
      ),
    )
    .join("\n\n");
}
