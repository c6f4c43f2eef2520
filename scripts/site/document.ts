/** What nbconvert made, as a part of the site: mathematics as MathML, figures as files, links that lead to pages. */
import { posix } from "node:path";
import { JSDOM } from "jsdom";
import temml from "temml";
import { resolve, type Source } from "./sources.js";

/** A picture in a file of its own. */
export interface Picture {
  /** Its file, from the site's folder on. */
  place: string;
  svg: string;
  /** What it shows, in words. */
  alt: string;
  width: number;
  height: number;
}

/** A figure of a notebook. */
export interface Figure extends Picture {
  /** The id of the cell that drew it. */
  cell: string;
}

/** A page's part that is its own. */
export interface Document {
  source: Source;
  title: string;
  /** The line below the title, if that is in italics; else "". */
  subtitle: string;
  html: string;
  figures: Figure[];
}

/**
 * Reads the HTML of a source.
 * @param places the sources that are on the site, by path
 * @throws Error naming a formula that is not LaTeX or a link whose target is not on the site
 */
export function document(source: Source, html: string, places: ReadonlyMap<string, Source>): Document {
  const { window } = new JSDOM(html);
  const { document: page } = window;
  for (const text of page.querySelectorAll(".text_cell_render, .output_markdown, .output_latex"))
    writeMath(text, source.path);
  nameHeadings(page);
  for (const link of page.querySelectorAll(".text_cell_render a[href], .text_cell_render img[src]"))
    lead(link, source, places);
  const figures = takeFigures(page, source);
  const heading = page.querySelector("h1");
  const next = heading?.nextElementSibling?.firstElementChild;
  const result: Document = {
    ...{ source, figures, title: plain(heading ?? null) || source.path },
    subtitle: next?.tagName === "EM" ? plain(next) : "",
    html: page.body.innerHTML,
  };
  window.close();
  return result;
}

const plain = (element: Element | null): string => (element?.textContent ?? "").replace(/¶|\s+/g, " ").trim();

/** `$$…$$` or `$…$`, which like Pandoc's has no blank inside the signs and no digit behind them: prices stay prices. */
const formulas = /\$\$([\s\S]+?)\$\$|\$(?![\s$])((?:\\.|[^$\\])+?)(?<!\s)\$(?!\d)/g;

function writeMath(element: Element, path: string): void {
  const walker = element.ownerDocument.createTreeWalker(element, 4);
  const texts: Node[] = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts as Text[]) {
    if (!text.data.includes("$") || text.parentElement?.closest("pre, code, math")) continue;
    const parts: (string | Node)[] = [];
    let end = 0;
    for (const { 0: all, 1: block, 2: inline, index } of text.data.matchAll(formulas)) {
      const range = element.ownerDocument.createRange();
      parts.push(text.data.slice(end, index), range.createContextualFragment(mathML(block ?? inline!, !!block, path)));
      end = index + all.length;
    }
    text.replaceWith(...parts, text.data.slice(end));
  }
}

function mathML(latex: string, displayMode: boolean, path: string): string {
  try {
    return temml.renderToString(latex, { displayMode, throwOnError: true, annotate: true });
  } catch (error) {
    throw new Error(`${path}: the formula ${latex} is not LaTeX`, { cause: error });
  }
}

/** An id as GitHub makes it from a heading; the one that JupyterLab makes gives the same. */
const slug = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");

function nameHeadings(page: globalThis.Document): void {
  const seen = new Map<string, number>();
  for (const heading of page.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    heading.querySelector(".anchor-link")?.remove();
    const name = slug(heading.textContent ?? "");
    const before = seen.get(name) ?? 0;
    seen.set(name, before + 1);
    heading.id = before === 0 ? name : `${name}-${before}`;
    const mark = page.createElement("a");
    mark.className = "anchor-link";
    mark.setAttribute("href", `#${encodeURIComponent(heading.id)}`);
    mark.setAttribute("aria-label", "Link to this section");
    mark.textContent = "¶";
    heading.append(mark);
  }
}

/** Turns a link between files of the repo into one between pages. */
function lead(element: Element, { path, place }: Source, places: ReadonlyMap<string, Source>): void {
  const name = element.tagName === "IMG" ? "src" : "href";
  const link = element.getAttribute(name)!;
  const section = /#(.*)$/.exec(link)?.[1];
  const anchor = section ? `#${encodeURIComponent(slug(decodeURIComponent(section)))}` : "";
  if (link.startsWith("#") && element.className !== "anchor-link") element.setAttribute(name, anchor);
  const target = resolve(path, link);
  if (target === undefined) return;
  const there = places.get(target);
  if (!there) throw new Error(`${path} links to ${link}, which is not on the site`);
  element.setAttribute(name, `${encodeURI(posix.relative(posix.dirname(place), there.place))}${anchor}`);
}

/** Puts the figures that are in the page as data into files of their own. */
function takeFigures(page: globalThis.Document, { place }: Source): Figure[] {
  const stem = posix.basename(place, ".html");
  const data = "data:image/svg+xml;base64,";
  return [...page.querySelectorAll(`.output_svg img[src^="${data}"]`)].map((image, i) => {
    const svg = Buffer.from(image.getAttribute("src")!.slice(data.length), "base64").toString();
    const figure = { ...picture(`figures/${stem}-${i + 1}.svg`, svg), cell: image.closest(".cell")?.id ?? "" };
    const src = posix.relative(posix.dirname(place), figure.place);
    const { alt, width, height } = figure;
    for (const [name, value] of Object.entries({ src, alt, width, height, loading: "lazy" }))
      image.setAttribute(name, String(value));
    return figure;
  });
}

/** What a figure's file says of itself in its first tag. @param place the file, from the site's folder on */
export function picture(place: string, svg: string): Picture {
  const head = JSDOM.fragment(`${/<svg[^>]*>/.exec(svg)?.[0]}</svg>`).firstElementChild;
  const size = (name: string) => Number(head?.getAttribute(name));
  return {
    place,
    svg,
    alt: head?.getAttribute("aria-label") ?? "figure",
    width: size("width"),
    height: size("height"),
  };
}
