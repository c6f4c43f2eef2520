/** Notebooks and Markdown files as HTML, by nbconvert: only what goes into a page, without a style, script or font. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { inPackage, python } from "../../src/paths.js";
import type { Source } from "./sources.js";

/**
 * The HTML of each source, by path. One process converts all; a Markdown file is given to it as a notebook of one cell.
 * @param sources notebooks and Markdown files
 * @throws Error with what nbconvert said, if it failed
 */
export async function convert(sources: readonly Source[]): Promise<Map<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), "malt-site-"));
  try {
    const books = sources.map((_, i) => join(folder, `${i}.ipynb`));
    for (const [i, { kind, path }] of sources.entries()) {
      if (kind === "notebook") await copyFile(inPackage(path), books[i]!);
      else await writeFile(books[i]!, notebook(await readFile(inPackage(path), "utf8")));
    }
    const form = ["--template=template", `--TemplateExporter.extra_template_basedirs=${import.meta.dirname}`];
    const args = ["-m", "nbconvert", "--log-level=ERROR", "--to=html", ...form, ...books];
    const { exitCode, all } = await execa(python, args, { all: true, reject: false });
    if (exitCode !== 0) throw new Error(`nbconvert failed; run \`npm run setup\` first\n${all}`);
    const converted = sources.map(
      async ({ path }, i) => [path, await readFile(join(folder, `${i}.html`), "utf8")] as const,
    );
    return new Map(await Promise.all(converted));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function notebook(markdown: string): string {
  // A dataset card begins with a header for the hub.
  const text = markdown.replace(/^---\n[\s\S]*?\n---\n/, "");
  const cells = [{ cell_type: "markdown", id: "text", metadata: {}, source: text }];
  return JSON.stringify({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 });
}
