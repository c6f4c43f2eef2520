import { mkdtemp, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Plot from "@observablehq/plot";
import { JSDOM } from "jsdom";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openRun } from "../../src/dataset/open.js";
import { MaltError } from "../../src/errors.js";
import { aboutRun, aboutText, manifestTable, versions } from "../../src/show/about.js";
import {
  progress,
  progressBar,
  saveFigure,
  show,
  table,
  tableHtml,
  text,
  textHtml,
  trainingProgress,
} from "../../src/show/notebook.js";
import { renderPng, renderSvg } from "../../src/show/svg.js";
import { statusReader } from "../../src/train/status.js";

const hostile = `<script>alert("1")</script></svg></pre></td><img src=x onerror='a()'>&amp;`;
const spec: Plot.PlotOptions = {
  title: "A title",
  subtitle: "n = 3",
  caption: "A caption",
  width: 400,
  height: 200,
  color: { legend: true, label: "kind" },
  marks: [
    Plot.dot(
      [
        { x: 1, y: 2, kind: "a" },
        { x: 2, y: 3, kind: "b" },
      ],
      { x: "x", y: "y", fill: "kind" },
    ),
  ],
};
const xml = (svg: string) => new JSDOM(svg, { contentType: "image/svg+xml" }).window.document;
const html = (markup: string) => new JSDOM(markup).window.document;

describe("SVG", () => {
  it("is one well-formed document with title, subtitle, legend and caption inside", () => {
    const document = xml(renderSvg(spec));
    expect(document.documentElement.tagName).toBe("svg");
    expect(document.documentElement.getAttribute("aria-label")).toBe("A title. n = 3");
    const texts = [...document.querySelectorAll("text")].map((node) => node.textContent);
    for (const said of ["A title", "n = 3", "A caption", "kind", "a", "b"]) expect(texts).toContain(said);
  });

  it("keeps hostile text as text and replaces characters that XML forbids", () => {
    const svg = renderSvg({ ...spec, title: `${hostile}\u0000\u0008\uD800\u00a0end`, caption: hostile });
    const document = xml(svg);
    expect(document.querySelector("script, img, parsererror")).toBeNull();
    expect(document.documentElement.textContent).toContain("<script>alert");
    expect(svg).toContain("\u{FFFD}");
    expect(renderPng(svg).length).toBeGreaterThan(1000);
  });

  it("is the same for the same specification", () => {
    expect(renderSvg(spec)).toBe(renderSvg(spec));
  });

  it("wraps long lines inside the figure and breaks words that are longer than a line", () => {
    const lines = (title: string) => [...xml(renderSvg({ ...spec, title })).querySelectorAll("text[font-weight]")];
    expect(lines("many words ".repeat(20)).length).toBeGreaterThan(3);
    const broken = lines("W".repeat(100));
    expect(broken.map((line) => line.textContent).join("")).toBe("W".repeat(100));
    expect(broken.length).toBeGreaterThan(2);
  });
});

describe("PNG", () => {
  it("has twice the size of the SVG", () => {
    const svg = renderSvg(spec);
    const png = renderPng(svg);
    expect(png.subarray(1, 4).toString()).toBe("PNG");
    expect(png.readUInt32BE(16)).toBe(800);
    expect(png.readUInt32BE(20)).toBe(2 * Number(xml(svg).documentElement.getAttribute("height")));
  });

  it("shows text with the bundled font: other words, other pixels", () => {
    const blank = renderPng(renderSvg({ ...spec, title: "\u00a0" }, "same"));
    const words = renderPng(renderSvg({ ...spec, title: "A" }, "same"));
    expect(words.equals(blank)).toBe(false);
    const greek = renderPng(renderSvg({ ...spec, title: "θ" }, "same"));
    expect(greek.equals(words)).toBe(false);
    expect(greek.equals(renderPng(renderSvg({ ...spec, title: "≥" }, "same")))).toBe(false);
  });
});

it("saves both forms and makes the folder", async () => {
  const folder = await mkdtemp(join(tmpdir(), "figure-"));
  const [png, svg] = await saveFigure(spec, join(folder, "gallery", "dots"));
  expect(await readFile(svg!, "utf8")).toBe(renderSvg(spec));
  expect((await readFile(png!)).equals(renderPng(renderSvg(spec)))).toBe(true);
});

describe("table and text", () => {
  it("escapes cells, headers, captions and transcripts", () => {
    const document = html(tableHtml([{ [hostile]: hostile }], { caption: hostile }) + textHtml(hostile, hostile));
    expect(document.querySelector("script, img, svg")).toBeNull();
    expect(document.querySelector("td")!.textContent).toBe(hostile);
    expect(document.querySelector("th")!.textContent).toBe(hostile);
    expect(document.querySelector("caption")!.textContent).toBe(hostile);
    expect(document.querySelector("pre")!.textContent).toBe(hostile);
  });

  it("makes control characters visible, so that a terminal sequence cannot hide text", () => {
    expect(textHtml("a\u001b[8mb\nc")).toContain("a\u{FFFD}[8mb\nc");
  });

  it("says how many rows it leaves out, and that there are none", () => {
    const rows = Array.from({ length: 25 }, (_, i) => ({ i }));
    const document = html(tableHtml(rows, { maxRows: 10 }));
    expect(document.querySelectorAll("tbody tr")).toHaveLength(10);
    expect(document.querySelector("caption")!.textContent).toBe("first 10 of 25 rows");
    expect(tableHtml([])).toContain("no rows");
  });

  it("shows null, numbers, bigints and lists as a reader expects", () => {
    const row = {
      none: null,
      third: 1 / 3,
      whole: 7,
      big: 12n,
      list: [{ role: "user", n: 1n }],
      long: "x".repeat(300),
    };
    const cells = [...html(tableHtml([row])).querySelectorAll("td")].map((cell) => cell.textContent);
    expect(cells.slice(0, 5)).toEqual(["–", "0.3333", "7", "12", '[{"role":"user","n":"1"}]']);
    expect(cells[5]).toBe(`${"x".repeat(200)}…`);
  });
});

describe("progress line", () => {
  const state = { label: "sampling", total: 1000, unit: "completions", seconds: 10 };

  it("says share, rate and time left", () => {
    const line = progressBar({ ...state, done: 250, note: "2 failed" });
    expect(line).toBe(
      `sampling ${"█".repeat(6)}${"░".repeat(18)} 250 / 1,000 completions · 25/s · 30 s left · 2 failed`,
    );
  });

  it("knows neither rate nor time left before anything is done, and no time left in the end", () => {
    expect(progressBar({ ...state, done: 0 })).not.toMatch(/left|\/s/);
    expect(progressBar({ ...state, done: 1000 })).toContain("in 10 s");
    expect(progressBar({ ...state, done: 0, total: 0 })).toContain("█".repeat(24));
  });
});

it("outside a kernel says what to do instead", () => {
  expect(() => show(spec)).toThrow(MaltError);
  expect(() => show(spec)).toThrow(/saveFigure/);
});

describe("in a kernel", () => {
  // tslab's own module with its writer replaced: the contract tested is the one the kernel offers.
  const kernel = createRequire(import.meta.url)("tslab/dist/jupyter.js") as { lastWriteDisplayData: unknown };
  const write = vi.fn();
  beforeEach(() => {
    kernel.lastWriteDisplayData = write;
  });
  afterEach(() => {
    kernel.lastWriteDisplayData = null;
    write.mockReset();
    vi.useRealTimers();
  });

  it("shows a figure as one bundle of PNG, SVG and text, at its size", () => {
    show(spec, { alt: "two dots" });
    expect(write).toHaveBeenCalledTimes(1);
    const [{ data, metadata }, update] = write.mock.calls[0]!;
    expect(update).toBe(false);
    expect(Object.keys(data)).toEqual(["image/png", "image/svg+xml", "text/plain"]);
    expect(Buffer.from(data["image/png"], "base64").readUInt32BE(16)).toBe(800);
    expect(metadata["image/png"]).toMatchObject({ width: 400, alt: "two dots" });
    expect(data["text/plain"]).toBe("two dots");
  });

  it("shows tables and transcripts as HTML with a plain form", () => {
    table([{ a: 1 }]);
    text("<b>", { title: "prompt" });
    expect(write.mock.calls[0]![0].data["text/html"]).toContain("<td");
    expect(write.mock.calls[1]![0].data).toMatchObject({ "text/plain": "prompt\n\n<b>" });
    expect(write.mock.calls[1]![0].data["text/html"]).toContain("&lt;b&gt;");
  });

  it("updates progress in place, at most four times a second, and always shows the end", () => {
    vi.useFakeTimers();
    const step = progress("sampling", 1000);
    for (let i = 1; i <= 999; i++) step(i);
    vi.advanceTimersByTime(250);
    expect(write).toHaveBeenCalledTimes(2);
    step(1000);
    vi.advanceTimersByTime(1000);
    expect(write).toHaveBeenCalledTimes(3);
    expect(write.mock.calls.map((call) => call[1])).toEqual([false, true, true]);
    expect(new Set(write.mock.calls.map((call) => call[0].transient.display_id)).size).toBe(1);
    expect(write.mock.calls[1]![0].data["text/plain"]).toContain("999 / 1,000");
    expect(write.mock.calls[2]![0].data["text/plain"]).toContain("1,000 / 1,000");
  });

  it("shows a training in place: the line of the step it is at below what each stage started with", () => {
    vi.useFakeTimers();
    const shown = trainingProgress();
    const read = statusReader(["verifier-dpo"]);
    const step = { event: "step", stage: "verifier-dpo", steps: 9, loss: 0.5, seconds: 1, seconds_left: 4 } as const;
    shown(read({ event: "data", stage: "verifier-dpo", pairs: 379, identical_after_truncation: 2 }));
    for (let i = 1; i <= 5; i++) shown(read({ ...step, step: i }));
    vi.advanceTimersByTime(250);
    shown(read({ event: "end", stage: "verifier-dpo", state: "done" }));
    const texts = write.mock.calls.map((call) => call[0].data["text/plain"].split("\n"));
    const pairs = "verifier-dpo: 379 pairs, 2 identical after truncation";
    expect(texts.slice(1)).toEqual([
      [pairs, "[1/1] verifier-dpo 5/9, loss 0.500, 4 s left"],
      [pairs, "training: done"],
    ]);
    expect(new Set(write.mock.calls.map((call) => call[0].transient.display_id)).size).toBe(1);
  });

  it("shows versions and the manifest, a row per section", () => {
    const sha256 = "ab".repeat(32);
    const counts = { asked: 39, ok: 39 };
    const roles = [{ name: "generator", critique: null, branching: 3 }];
    manifestTable({ name: "demo", manifest: { model: "malt-tiny", sha256, counts, config: { roles } } });
    const cells = [...html(write.mock.calls[0]![0].data["text/html"]).querySelectorAll("td")].map((c) => c.textContent);
    const value = (name: string) => cells[cells.indexOf(name) + 1];
    expect(value("this notebook")).toBe(`malt-notebooks ${versions()["malt-notebooks"]}, node ${process.version}`);
    expect(versions()["malt-notebooks"]).toMatch(/^\d+\.\d+\.\d+/);
    expect(value("packages")).toContain("@observablehq/plot 0.6");
    expect(value("run")).toBe("demo");
    expect(value("run.json")).toBe("model malt-tiny, sha256 abababababab…");
    expect(value("counts")).toBe("asked 39, ok 39");
    expect(value("config.roles")).toBe("generator: critique –, branching 3");
  });

  it("about a run names model and run, what it lacks of what is needed, and folds the manifest", async () => {
    const run = await openRun("data/recorded-wide");
    aboutRun(run, "evaluation");
    const { data } = write.mock.calls[0]![0];
    const document = html(data["text/html"]);
    expect(document.querySelector("p")!.textContent).toMatch(
      /^Shown here: run wide of the model malt-tiny, a model organism: .*\.$/,
    );
    expect(document.querySelector("strong")!.textContent).toBe("Shown here: run wide of the model malt-tiny");
    expect(document.querySelector("details:not([open]) > table")!.textContent).toContain("config.sampling");
    const items = [...document.querySelectorAll("li")].map((item) => item.textContent);
    expect(items[0]).toBe(
      "Trees: 20 questions of arithmetic, in each state 8 × generator, 8 × verifier, 8 × refiner; temperature 0.3, prompts arithmetic.",
    );
    expect(items.filter((item) => item!.startsWith("Missing:"))).toEqual([
      "Missing: No system of this run is evaluated: npx malt evaluate --run wide",
    ]);
    expect(data["text/plain"]).toContain("Missing: No system of this run");
    run.close();
  });

  it("about a run tells of its training and evaluation, and shows hostile names as text", async () => {
    const run = await openRun("data/recorded");
    const { lines, missing } = aboutText(run, ["training", "evaluation", "texts"]);
    expect(lines[1]).toMatch(/^Training: generator-sft, .*verifier-dpo/);
    expect(lines[2]).toMatch(/^Evaluation: \d+ systems on [\d,]+ questions of arithmetic for each of \d seeds\.$/);
    expect(missing).toEqual([]);
    aboutRun({ ...run, name: hostile });
    const document = html(write.mock.calls[0]![0].data["text/html"]);
    expect(document.querySelector("script, img")).toBeNull();
    expect(document.querySelector("strong")!.textContent).toContain(hostile);
    run.close();
  });
});
