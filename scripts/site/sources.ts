/** Which files of the repo the site shows, found by following links, and where each of them lies on the site. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, posix } from "node:path";
import { inPackage } from "../../src/paths.js";

/** A file or folder of the repo on the site. */
export interface Source {
  /** From the repo's folder on, with slashes. */
  path: string;
  kind: "notebook" | "markdown" | "image" | "text" | "folder";
  /** Its page or file, from the site's folder on. */
  place: string;
}

/** The project's notebooks, in reading order. */
export const notebooks = (): string[] =>
  readdirSync(inPackage("notebooks"))
    .filter((name) => name.endsWith(".ipynb"))
    .sort()
    .map((name) => `notebooks/${name}`);

/**
 * The given files and all files of the repo that they link to, directly or by way of others.
 * @throws Error naming a link whose target is not in the repo
 */
export function follow(first: readonly string[]): Source[] {
  const found = new Map(first.map((path) => [path, source(path)]));
  // A map gives what is added while it is read, too.
  for (const { path, kind } of found.values()) {
    if (kind !== "notebook" && kind !== "markdown") continue;
    const text = kind === "notebook" ? prose(path) : readFileSync(inPackage(path), "utf8");
    for (const [, link] of text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/\]\(([^)\s]+)\)/g)) {
      const target = resolve(path, link!);
      if (target === undefined) continue;
      if (!existsSync(inPackage(target))) throw new Error(`${path} links to ${link}, which is not in the repo`);
      if (!found.has(target)) found.set(target, source(target));
    }
  }
  return [...found.values()];
}

/**
 * The file of the repo that a link of another one means, a folder's README.md for the folder; undefined for a link to
 * elsewhere or inside the page.
 */
export function resolve(from: string, link: string): string | undefined {
  const [path] = link.split("#");
  if (!path || /^[a-z][a-z+.-]*:/i.test(link)) return undefined;
  const target = posix.join(posix.dirname(from), decodeURIComponent(path)).replace(/\/$/, "");
  const card = `${target}/README.md`;
  return existsSync(inPackage(card)) ? card : target;
}

function source(path: string): Source {
  const at = (kind: Source["kind"], place: string): Source => ({ path, kind, place });
  if (statSync(inPackage(path)).isDirectory()) return at("folder", `${path}/index.html`);
  if (path.endsWith(".ipynb")) return at("notebook", path.replace(/ipynb$/, "html"));
  // The page of the site's own folder is its front page.
  if (basename(path) === "README.md") return at("markdown", path === "README.md" ? "README.html" : card(path));
  if (path.endsWith(".md")) return at("markdown", path.replace(/md$/, "html"));
  if (/\.(?:png|svg|jpe?g|gif|webp)$/.test(path)) return at("image", path);
  return at("text", `${path}.html`);
}

const card = (path: string): string => join(posix.dirname(path), "index.html");

/** The Markdown of a notebook. */
function prose(path: string): string {
  const { cells } = JSON.parse(readFileSync(inPackage(path), "utf8")) as {
    cells: { cell_type: string; source: string | string[] }[];
  };
  return cells
    .filter(({ cell_type }) => cell_type === "markdown")
    .map(({ source }) => [source].flat().join(""))
    .join("\n");
}
