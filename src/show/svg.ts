/**
 * Draws a Plot specification as one self-contained SVG document (title, subtitle, legends and caption inside it,
 * where Plot itself would write HTML around it) and as a PNG with the bundled font.
 */
import { createRequire } from "node:module";
import * as Plot from "@observablehq/plot";
import { dataPath } from "../paths.js";

const require = createRequire(import.meta.url);
/** The document that figures are drawn in; jsdom is loaded with the first figure. */
let opened: import("jsdom").DOMWindow | undefined;
const page = (): import("jsdom").DOMWindow => {
  opened ??= new (require("jsdom") as typeof import("jsdom")).JSDOM("").window;
  return opened;
};
const fontFiles = ["Regular", "SemiBold"].map((weight) => dataPath("fonts", `IBMPlexSans-${weight}.ttf`));
const family = "IBM Plex Sans";
const margin = 16;

const element = (
  name: string,
  attributes: Record<string, string | number>,
  ...children: (Node | string)[]
): Element => {
  const node = page().document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
};

/** Width in em of a character of the bundled font by kind, rounded up: there is no text layout here to ask. */
function characterWidth(character: string): number {
  if (/[ijl.,:;'|!()[\]ftr ]/.test(character)) return 0.34;
  if (/[\p{Lu}\p{Nd}mw%]/u.test(character)) return 0.66;
  return character >= "\u{2E80}" ? 1 : 0.57;
}

const textWidth = (text: string, size: number): number =>
  [...text].reduce((width, character) => width + size * characterWidth(character), 0);

/** Breaks text into lines between words, and inside a word only where it is longer than a line. */
function wrap(text: string, size: number, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  const add = (piece: string, separator: string) => {
    if (line !== "" && textWidth(line + separator + piece, size) > width) {
      lines.push(line);
      line = piece;
    } else line = line === "" ? piece : line + separator + piece;
  };
  for (const word of text.split(/\s+/).filter((w) => w !== "")) {
    if (textWidth(word, size) <= width) add(word, " ");
    else for (const [i, character] of [...word].entries()) add(character, i === 0 ? " " : "");
  }
  return line === "" ? lines : [...lines, line];
}

/** Colour and symbol legends of a plot as one row, drawn by Plot like everything else; null if none is asked for. */
function legend(plot: Plot.Plot, spec: Plot.PlotOptions): SVGSVGElement | HTMLElement | null {
  const color = spec.color?.legend === true ? plot.scale("color") : undefined;
  const symbol = plot.scale("symbol");
  const own = spec.symbol?.legend === true ? symbol : undefined;
  const marks: Plot.Markish[] = [];
  let x = margin;
  const put = (text: string, size = 12, fill = "#222222") => {
    const mark = Plot.text([text], { x: [x], y: [10], textAnchor: "start", fontSize: size, fill });
    x += textWidth(text, size);
    return mark;
  };
  const name = (label: unknown) => {
    if (typeof label !== "string") return;
    marks.push(put(label, 12, "#6b6b6b"));
    x += 12;
  };
  const keys = (
    label: unknown,
    scale: Plot.Scale,
    fill: (key: string) => string,
    shape: (key: string) => Plot.SymbolType,
  ) => {
    name(label);
    for (const key of (scale.domain ?? []) as string[]) {
      const at = { x: [x + 6], y: [10], r: 5, stroke: "#222222", strokeWidth: 0.8 };
      marks.push(Plot.dot([key], { ...at, fill: fill(key), symbol: shape(key) }));
      x += 16;
      marks.push(put(key));
      x += 14;
    }
  };
  if (color && (color.type === "ordinal" || color.type === "categorical")) {
    const same = String(symbol?.domain) === String(color.domain) ? symbol : undefined;
    keys(
      spec.color?.label,
      color,
      (key) => color.apply(key) as string,
      (key) => (same ? same.apply(key) : "circle") as Plot.SymbolType,
    );
  } else if (color) {
    name(spec.color?.label);
    const domain = (color.domain ?? []) as number[];
    const [low, high] = [Math.min(...domain), Math.max(...domain)];
    const steps = 40;
    const cell = 3;
    marks.push(put(String(low)));
    x += 5;
    const start = x;
    marks.push(
      Plot.rect(
        Array.from({ length: steps }, (_, i) => i),
        {
          x1: (i: number) => start + i * cell,
          x2: (i: number) => start + (i + 1) * cell + 0.5,
          y1: () => 4,
          y2: () => 16,
          fill: { value: (i: number) => color.apply(low + ((i + 0.5) / steps) * (high - low)) as string, scale: null },
        },
      ),
    );
    x += steps * cell + 5;
    marks.push(put(String(high)));
    x += 24;
  }
  if (own)
    keys(
      spec.symbol?.label,
      own,
      () => "#bbbbbb",
      (key) => own.apply(key) as Plot.SymbolType,
    );
  if (marks.length === 0) return null;
  const identity = { type: "identity", axis: null } as const;
  return Plot.plot({
    width: spec.width ?? 640,
    height: 20,
    margin: 0,
    x: identity,
    y: identity,
    document: page().document,
    marks,
  });
}

/**
 * A complete SVG document, well-formed whatever the text in it: markup is escaped, and characters that XML forbids
 * become U+FFFD.
 * @param alt what a screen reader says
 */
export function renderSvg(spec: Plot.PlotOptions, alt = altText(spec)): string {
  const { title, subtitle, caption, color, symbol, ...rest } = spec;
  const quiet = { ...rest, color: { ...color, legend: false }, symbol: { ...symbol, legend: false } };
  const plot = Plot.plot({ ...quiet, figure: false, document: page().document } as Plot.PlotOptions) as (
    | SVGElement
    | HTMLElement
  ) &
    Plot.Plot;
  const width = Number(plot.getAttribute("width"));
  const parts: Element[] = [];
  let y = 12;
  const write = (text: string, size: number, attributes: Record<string, string | number>) => {
    // Room for a wider font, which a reader without the bundled one sees in the SVG.
    for (const line of wrap(text, size, 0.87 * (width - 2 * margin))) {
      y += size * 1.35;
      parts.push(element("text", { x: margin, y: round(y), "font-size": size, ...attributes }, line));
    }
  };
  const draw = (drawing: Element) => {
    const group = element("g", { transform: `translate(0,${round(y)})` });
    for (const key of ["fill", "font-size", "text-anchor", "style"]) {
      const value = drawing.getAttribute(key);
      if (value !== null) group.setAttribute(key, value);
    }
    // Plot's own style sheet is for a page; inside one document it would only compete with the attributes above.
    group.append(...[...drawing.children].filter((child) => child.tagName !== "style"));
    parts.push(group);
    y += Number(drawing.getAttribute("height"));
  };
  if (typeof title === "string") write(title, 17, { "font-weight": 600 });
  if (typeof subtitle === "string") write(subtitle, 13, { fill: "#444444" });
  const key = legend(plot, spec);
  y += 8;
  if (key) {
    draw(key);
    y += 4;
  }
  draw(plot);
  if (typeof caption === "string") write(caption, 12, { fill: "#6b6b6b" });
  y += 14;
  const height = Math.ceil(y);
  const attributes = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt };
  const font = { "font-family": `${family}, system-ui, sans-serif`, color: "#222222", fill: "#222222" };
  const background = element("rect", { width, height, fill: "white" });
  const svg = element("svg", { ...attributes, ...font, style: "white-space: pre" }, background, ...parts);
  const forbidden = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu;
  return new (page().XMLSerializer)().serializeToString(svg).replace(forbidden, "\u{FFFD}");
}

const round = (n: number): number => Math.round(n * 100) / 100;

/** Title and subtitle of a specification: the text for readers who cannot see the figure. */
export function altText(spec: Plot.PlotOptions): string {
  return [spec.title, spec.subtitle].filter((part) => typeof part === "string").join(". ") || "figure";
}

/** Rasterises an SVG of {@link renderSvg} on white, at `scale` pixels per unit, with the bundled font alone. */
export function renderPng(svg: string, scale = 2): Buffer {
  const font = { fontFiles, loadSystemFonts: false, defaultFontFamily: family, sansSerifFamily: family };
  const { Resvg } = require("@resvg/resvg-js") as typeof import("@resvg/resvg-js");
  return new Resvg(svg, { fitTo: { mode: "zoom", value: scale }, background: "white", font }).render().asPng();
}
