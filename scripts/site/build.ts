/**
 * Writes the site: notebooks and the files they link to as pages, explorers of the recorded runs, a gallery and a front
 * page. Links are relative, and styles, figures and mathematics are in the folder, so that it works below any address and
 * asks no other server for anything. `npm run site` starts this after the set-up.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { copyFile, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Command } from "commander";
import { mixedQuestion, openRun } from "../../src/dataset/open.js";
import { InputError, MaltError } from "../../src/errors.js";
import { writePage } from "../../src/explore/page.js";
import { dataPath, inPackage } from "../../src/paths.js";
import { convert } from "./convert.js";
import { type Document, document, type Picture, picture } from "./document.js";
import { documentPage, type Explorer, frontPage, galleryPage, textPage } from "./page.js";
import { follow, notebooks, type Source } from "./sources.js";

export interface SiteOptions {
  /** The folder to write. */
  out: string;
  /** `OWNER/NAME` on GitHub, for links to Binder and Codespaces; without it there are none. */
  repository?: string | undefined;
}

/** A file in every site, by which one is known that may be replaced. */
const stamp = "site.json";

/**
 * Writes the site; the folder is replaced as a whole, when all is ready.
 * @returns its files with their bytes, in the order of their names
 * @throws InputError if the folder holds something else; Error naming a dead link, or a formula that is not LaTeX
 */
export async function buildSite({ out, repository }: SiteOptions): Promise<Map<string, number>> {
  if (existsSync(out) && readdirSync(out).length > 0 && !existsSync(join(out, stamp)))
    throw new InputError(`${out} is not empty and holds no site; name another folder with --out`);
  if (repository !== undefined && !/^[\w.-]+\/[\w.-]+$/.test(repository))
    throw new InputError(`--repository has to be OWNER/NAME, received ${JSON.stringify(repository)}`);
  const draft = `${resolve(out)}.${process.pid}.part`;
  const write = async (place: string, content: string) => {
    await mkdir(dirname(join(draft, place)), { recursive: true });
    await writeFile(join(draft, place), content);
  };
  try {
    const sources = follow([...notebooks(), "notebooks/COURSE.md", "README.md"]);
    await mkdir(join(draft, "explorers"), { recursive: true });
    // Converting is the work of another process.
    const [documents, explorers] = await Promise.all([read(sources), writeExplorers(draft)]);
    const isBook = ({ source }: Document) => source.kind === "notebook";
    const books = documents.filter(isBook);
    for (const each of documents) {
      const i = books.indexOf(each);
      await write(each.source.place, documentPage(each, books[i - 1], i < 0 ? undefined : books[i + 1]));
      for (const { place, svg } of each.figures) await write(place, svg);
    }
    for (const { kind, path, place } of sources) {
      if (kind === "text") await write(place, textPage(place, path, readFileSync(inPackage(path), "utf8")));
      if (kind === "folder")
        await write(place, textPage(place, path, (await readdir(inPackage(path))).sort().join("\n")));
      if (kind === "image") await write(place, "").then(() => copyFile(inPackage(path), join(draft, place)));
    }
    const [tree, systems] = ["tree", "systems"].map((name) => {
      const place = `outputs/gallery/${name}.svg`;
      return picture(place, readFileSync(inPackage(place), "utf8"));
    }) as [Picture, Picture];
    for (const { place, svg } of [tree, systems]) await write(place, svg);
    const treePlace = `explorers/recorded.html#${encodeURIComponent(await shownTree())}`;
    await write("index.html", frontPage({ notebooks: books, explorers, tree, systems, treePlace, repository }));
    await write("gallery.html", galleryPage(books));
    await copyFile(inPackage("scripts", "site", "style.css"), join(draft, "style.css"));
    const files = await sizes(draft);
    await write(
      stamp,
      `${JSON.stringify({ pages: [...files.keys()].filter((name) => name.endsWith(".html")) }, null, 1)}\n`,
    );
    await rm(out, { recursive: true, force: true });
    await rename(draft, out);
    return files;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function read(sources: readonly Source[]): Promise<Document[]> {
  const texts = sources.filter(({ kind }) => kind === "notebook" || kind === "markdown");
  const places = new Map(sources.map((source) => [source.path, source]));
  const html = await convert(texts);
  return texts.map((source) => document(source, html.get(source.path)!, places));
}

/** Folders in data/ that hold a run; those that stand together come last. */
function recordedRuns(): string[] {
  const entries = readdirSync(dataPath(), { recursive: true, encoding: "utf8" });
  return entries
    .filter((name) => name.endsWith("run.json"))
    .map((name) => dirname(name))
    .sort((a, b) => Number(a.includes("/")) - Number(b.includes("/")) || (a < b ? -1 : 1));
}

/** Writes the explorers of the recorded runs into `site`/explorers/. */
async function writeExplorers(site: string): Promise<Explorer[]> {
  const explorers: Explorer[] = [];
  for (const folder of recordedRuns()) explorers.push(await explorer(folder, site));
  return explorers;
}

async function explorer(folder: string, site: string): Promise<Explorer> {
  const run = await openRun(dataPath(folder));
  try {
    const place = `explorers/${folder.replaceAll("/", "-")}.html`;
    await writePage(run, join(site, place));
    const { benchmark, config } = run.manifest;
    const systems = (await run.benchmarks()).length > 0 ? ", and the passes of its evaluation" : "";
    const about = `${benchmark.questions} questions of ${benchmark.name}, ${config.policy.model}${systems}`;
    return { name: folder, place, about };
  } finally {
    run.close();
  }
}

/** The question whose tree the gallery shows, as `npm run record` chooses it. */
async function shownTree(): Promise<string> {
  const run = await openRun(null);
  try {
    return mixedQuestion(await run.nodes());
  } finally {
    run.close();
  }
}

/** Every file below a folder with its bytes. */
async function sizes(folder: string): Promise<Map<string, number>> {
  const names = (await readdir(folder, { recursive: true })).sort();
  const found = await Promise.all(names.map(async (name) => [name, await stat(join(folder, name))] as const));
  return new Map(found.filter(([, file]) => file.isFile()).map(([name, { size }]) => [name, size]));
}

async function main(): Promise<void> {
  const flags = new Command("npm run site --")
    .description("write the notebooks, the explorers of the recorded runs and the figures as a static site")
    .option("--out <folder>", "where to write it", inPackage("outputs", "site"))
    .option("--repository <owner/name>", "on GitHub, for links to Binder and Codespaces")
    .parse()
    .opts<SiteOptions>();
  const files = await buildSite(flags);
  const bytes = [...files.values()].reduce((sum, size) => sum + size, 0);
  for (const [name, size] of files) if (name.endsWith(".html")) console.log(`${String(size).padStart(9)}  ${name}`);
  console.log(`${files.size} files, ${(bytes / 1e6).toFixed(1)} MB in ${flags.out}`);
  console.log(`Open it: ${pathToFileURL(join(resolve(flags.out), "index.html"))}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  main().catch((error: unknown) => {
    console.error(error instanceof MaltError ? `error: ${error.message}` : error);
    process.exitCode = 1;
  });
