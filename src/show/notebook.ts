/**
 * Showing things in a notebook: figures, tables, transcripts, progress. The only file that writes HTML or talks to the
 * tslab kernel. Text of questions and completions is untrusted: it is escaped here, always.
 */

import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import type * as Plot from "@observablehq/plot";
import { MaltError } from "../errors.js";
import { type TrainingStatus, trainingLine, trainingNote } from "../train/status.js";
import { visible } from "../visible.js";
import { altText, renderPng, renderSvg } from "./svg.js";

type Bundle = Record<string, string>;
type Metadata = Record<string, Record<string, string | number>>;
type Write = (
  message: { data: Bundle; metadata: Metadata; transient: { display_id?: string } },
  update: boolean,
) => void;

/**
 * How the kernel sends a bundle of several MIME types; its public calls send one type each. Inside a kernel tslab is
 * already loaded, so it is looked up and never loaded: outside one, loading it would start a TypeScript compiler for
 * nothing.
 */
function writer(): Write {
  const require = createRequire(import.meta.url);
  const kernel = require.cache[require.resolve("tslab/dist/jupyter.js")]?.exports as
    | { lastWriteDisplayData: Write | null }
    | undefined;
  if (!kernel?.lastWriteDisplayData) {
    throw new MaltError(
      "nothing can be shown here: this is not a running tslab notebook; in a script use saveFigure, renderSvg, tableHtml",
    );
  }
  const write = kernel.lastWriteDisplayData;
  return ({ data, ...message }, update) => {
    const plain = data["text/plain"] !== undefined && { "text/plain": visible(data["text/plain"]) };
    write({ ...message, data: { ...data, ...plain } }, update);
  };
}

/** Shows one output in several forms, of which the reader's program takes the best. @throws MaltError outside a tslab kernel */
export const send = (data: Bundle, metadata: Metadata = {}): void => writer()({ data, metadata, transient: {} }, false);

/**
 * Shows a figure as PNG and SVG in one bundle: JupyterLab shows no SVG in a notebook it does not trust, and GitHub often
 * drops it, while a trusted page and nbconvert can use the sharper SVG.
 * @param options.alt text for readers who cannot see the figure; default title and subtitle
 * @throws MaltError outside a tslab kernel
 */
export function show(spec: Plot.PlotOptions, options: { alt?: string } = {}): void {
  const alt = options.alt ?? altText(spec);
  const svg = renderSvg(spec, alt);
  const png = renderPng(svg);
  // The PNG has two pixels per unit; its size is given in units (IHDR holds the pixels), so that it is not shown doubled.
  const size = { width: png.readUInt32BE(16) / 2, height: png.readUInt32BE(20) / 2 };
  const data = { "image/png": png.toString("base64"), "image/svg+xml": svg, "text/plain": alt };
  send(data, { "image/png": { ...size, alt } });
}

/**
 * Writes a figure as `<path>.png` and `<path>.svg`, making the folder. @returns the two paths
 * @param path without extension
 */
export async function saveFigure(
  spec: Plot.PlotOptions,
  path: string,
  options: { alt?: string } = {},
): Promise<string[]> {
  const svg = renderSvg(spec, options.alt);
  await mkdir(dirname(path), { recursive: true });
  await Promise.all([writeFile(`${path}.svg`, svg), writeFile(`${path}.png`, renderPng(svg))]);
  return [`${path}.png`, `${path}.svg`];
}

/**
 * Text as HTML text, safe in an element and in a quoted attribute; control characters, and those that reorder text, become
 * visible as U+FFFD.
 */
export function escapeHtml(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text
    .replace(/[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/gu, (c) => ("\t\n\r".includes(c) ? c : "\u{FFFD}"))
    .replace(/[&<>"']/g, (c) => entities[c]!);
}

export interface TableOptions {
  /** Which columns, in which order; default those of the first row. */
  columns?: readonly string[];
  /** Default 20. */
  maxRows?: number;
  /** Characters of a cell before it is cut with "…"; default 200. */
  maxLength?: number;
  caption?: string;
}

/** A value as a cell's text. Numbers that are not whole keep four significant digits. */
export function cell(value: unknown, maxLength: number): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  const plain = (_: string, v: unknown) => (typeof v === "bigint" ? v.toString() : v);
  const text = typeof value === "object" ? JSON.stringify(value, plain) : String(value);
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

/** Rows as an HTML table, every cell escaped; says how many rows it leaves out. */
export function tableHtml(rows: readonly object[], options: TableOptions = {}): string {
  const { maxRows = 20, maxLength = 200, caption } = options;
  const columns = options.columns ?? Object.keys(rows[0] ?? {});
  const shown = rows.slice(0, maxRows) as Record<string, unknown>[];
  const numeric = (value: unknown) => typeof value === "number" || typeof value === "bigint";
  const align = (right: boolean) => ` style="text-align:${right ? "right" : "left"};vertical-align:top"`;
  const right = columns.map((column) => shown.some((row) => numeric(row[column])));
  const line = (tag: string, cells: string[]) =>
    `<tr>${cells.map((text, i) => `<${tag}${align(right[i]!)}>${escapeHtml(text)}</${tag}>`).join("")}</tr>`;
  const left = rows.length - shown.length;
  const notes = [
    caption,
    rows.length === 0 ? "no rows" : left > 0 ? `first ${shown.length} of ${rows.length} rows` : "",
  ];
  const note = notes.filter((text) => text).join("; ");
  const body = shown.map((row) =>
    line(
      "td",
      columns.map((column) => cell(row[column], maxLength)),
    ),
  );
  return (
    `<table>${note && `<caption style="text-align:left">${escapeHtml(note)}</caption>`}` +
    `<thead>${line("th", [...columns])}</thead><tbody>${body.join("")}</tbody></table>`
  );
}

/** Shows rows as a table; see {@link TableOptions}. @throws MaltError outside a tslab kernel */
export function table(rows: readonly object[], options: TableOptions = {}): void {
  send({ "text/html": tableHtml(rows, options), "text/plain": `table of ${rows.length} rows` });
}

/** A transcript as HTML: monospace, long lines wrapped, nothing in it interpreted. */
export function textHtml(content: string, title = ""): string {
  const heading = title && `<div><strong>${escapeHtml(title)}</strong></div>`;
  // JupyterLab's own style breaks lines of an output in the middle of words.
  const style = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere";
  return `${heading}<pre style="${style}">${escapeHtml(content)}</pre>`;
}

/** Shows a transcript: a prompt, a completion, a file. @throws MaltError outside a tslab kernel */
export function text(content: string, options: { title?: string } = {}): void {
  const plain = [options.title, content].filter((part) => part).join("\n\n");
  send({ "text/html": textHtml(content, options.title), "text/plain": plain });
}

/** The values that {@link progressBar} shows. */
export interface ProgressState {
  label: string;
  done: number;
  total: number;
  /** What is counted, in the plural: completions, steps. */
  unit: string;
  /** Since the start. */
  seconds: number;
  note?: string;
}

/** One line of progress: share, done of total, rate, time left. The rate is the mean since the start. */
export function progressBar({ label, done, total, unit, seconds, note }: ProgressState): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const filled = Math.round(share * 24);
  const rate = seconds > 0 ? done / seconds : 0;
  const time = (s: number) => (s < 90 ? `${Math.round(s)} s` : `${Math.round(s / 60)} min`);
  const end = done >= total ? `in ${time(seconds)}` : rate > 0 ? `${time((total - done) / rate)} left` : "";
  const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: rate < 10 ? 1 : 0 });
  const parts = [
    `${number.format(done)} / ${number.format(total)} ${unit}`,
    rate > 0 ? `${number.format(rate)}/s` : "",
  ];
  const said = [...parts, end, note ?? ""].filter((part) => part !== "").join(" · ");
  return `${label} ${"█".repeat(filled)}${"░".repeat(24 - filled)} ${said}`;
}

/**
 * Text that is updated in place, at most four times a second; the last text is always shown.
 * @param text makes the text to show
 * @returns call it on every change, with true for the last one
 */
function liveText(text: () => string): (last?: boolean) => void {
  // The text stays in the cell that started the work, even when the next cell is already running.
  const write = writer();
  const transient = { display_id: randomUUID() };
  let update = false;
  let timer: NodeJS.Timeout | undefined;
  const draw = () => {
    timer = undefined;
    write({ data: { "text/plain": text() }, metadata: {}, transient }, update);
    update = true;
  };
  draw();
  return (last = false) => {
    if (last) {
      clearTimeout(timer);
      draw();
    } else timer ??= setTimeout(draw, 250).unref();
  };
}

/**
 * A line of progress that is updated in place.
 * @returns call it with how much is done, and optionally a short note
 * @throws MaltError outside a tslab kernel
 */
export function progress(
  label: string,
  total: number,
  options: { unit?: string } = {},
): (done: number, note?: string) => void {
  const start = performance.now();
  const unit = options.unit ?? "completions";
  let latest: { done: number; note?: string | undefined } = { done: 0 };
  const seconds = () => (performance.now() - start) / 1000;
  const shown = liveText(() => progressBar({ label, total, unit, seconds: seconds(), ...latest } as ProgressState));
  return (done, note) => {
    latest = { done, note };
    shown(done >= total);
  };
}

/**
 * A training while it runs, updated in place: what each stage started with and ended at, and its current step. Give it
 * to `trainRun` as `onProgress`; after a kernel restart the same cell joins the training that is still running.
 * @throws MaltError outside a tslab kernel
 */
export function trainingProgress(): (status: TrainingStatus) => void {
  const notes: string[] = [];
  let line = "the trainer is being started";
  const shown = liveText(() => [...notes, line].join("\n"));
  return (status) => {
    const note = trainingNote(status);
    if (note !== null) notes.push(note);
    line = status.event === "end" ? `training: ${status.state}` : trainingLine(status);
    shown(status.event === "end");
  };
}
