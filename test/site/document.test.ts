import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildSite } from "../../scripts/site/build.js";
import { document } from "../../scripts/site/document.js";
import { follow, notebooks, resolve } from "../../scripts/site/sources.js";

const path = "notebooks/03-value-iteration.ipynb";
const sources = follow([path, "README.md"]);
const places = new Map(sources.map((source) => [source.path, source]));
const read = (html: string) =>
  document(places.get(path)!, `<div class="cell"><div class="text_cell_render">${html}</div></div>`, places).html;

describe("the site's pages", () => {
  it("hold every notebook, what it links to and what those link to", () => {
    expect(sources.map((source) => source.path)).toEqual(expect.arrayContaining(notebooks()));
    expect(places.get("data/published/README.md")).toMatchObject({
      ...{ kind: "markdown", place: "data/published/index.html" },
    });
    expect(new Set(sources.map(({ place }) => place)).size).toBe(sources.length);
  });

  it("write mathematics as MathML, and leave prices, code and text alone", () => {
    const html = read("<p>So $a_1 &lt; b$ costs $5 to $6 \\$, <code>$c$</code>, and</p><p>$$\\frac{1}{2}$$</p>");
    expect(html.match(/<math/g)).toHaveLength(2);
    expect(html).toContain("<msub><mi>a</mi><mn>1</mn></msub>");
    expect(html).toContain("costs $5 to $6");
    expect(html).toContain("<code>$c$</code>");
    expect(html).toMatch(/<math display="block".*<mfrac>/);
    expect(() => read("<p>$\\frac{1$</p>")).toThrow(`${path}: the formula \\frac{1 is not LaTeX`);
  });

  it("lead from page to page and to sections, as the files do from file to file", () => {
    expect(read('<a href="04-thresholds.ipynb">')).toContain('href="04-thresholds.html"');
    expect(read('<a href="../data/published">')).toContain('href="../data/published/index.html"');
    expect(read('<a href="../README.md#Where-things-are?">')).toContain('href="../README.html#where-things-are"');
    expect(read('<h2>Where, θ?</h2><a href="#Where,-θ?">')).toMatch(/id="where-θ".*href="#where-%CE%B8"/);
    expect(read("<h2>One</h2><h2>One</h2>")).toMatch(/id="one".*id="one-1"/);
    expect(read('<a href="https://arxiv.org/abs/1">')).toContain('href="https://arxiv.org/abs/1"');
    expect(() => read('<a href="../package.json">')).toThrow(
      `${path} links to ../package.json, which is not on the site`,
    );
    expect(resolve("notebooks/COURSE.md", "../data/published/")).toBe("data/published/README.md");
  });

  it("replace a site, and no other folder", async () => {
    const out = mkdtempSync(join(tmpdir(), "malt-other-"));
    writeFileSync(join(out, "thesis.txt"), "");
    await expect(buildSite({ out })).rejects.toThrow(`${out} is not empty and holds no site; name another folder`);
    await expect(buildSite({ out: join(out, "site"), repository: "x" })).rejects.toThrow("OWNER/NAME");
  });
});
