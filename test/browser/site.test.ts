/** The static site, walked in a real browser below an address as GitHub Pages gives it. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildSite } from "../../scripts/site/build.js";
import { executablePath } from "./chromium.js";

const types: Record<string, string> = {
  ...{ ".html": "text/html; charset=utf-8", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" },
  ".json": "application/json",
};

describe.skipIf(!executablePath)("the site in a browser", () => {
  // MALT_SITE names a site that is there already, such as the one that is about to be published.
  const folder = process.env.MALT_SITE ?? mkdtempSync(join(tmpdir(), "malt-site-test-"));
  let server: Server;
  let browser: Browser;
  let base: string;
  const unknown: string[] = [];

  // Seconds on a quiet machine, but a busy one is no error.
  const timeout = 600_000;

  beforeAll(async () => {
    if (!process.env.MALT_SITE) await buildSite({ out: folder, repository: "owner/name" });
    server = createServer((request, response) => {
      const path = decodeURIComponent(new URL(request.url!, "http://any").pathname);
      const file = join(folder, path.replace(/^\/below\/here\//, "").replace(/(^|\/)$/, "$1index.html"));
      if (!path.startsWith("/below/here/") || !existsSync(file)) {
        if (path !== "/favicon.ico") unknown.push(path);
        response.writeHead(404).end("not found");
        return;
      }
      response.writeHead(200, { "content-type": types[extname(file)] ?? "text/plain" }).end(readFileSync(file));
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    base = `http://127.0.0.1:${(server.address() as { port: number }).port}/below/here/`;
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
  }, timeout);
  afterAll(async () => {
    await browser?.close();
    server?.close();
    if (!process.env.MALT_SITE) rmSync(folder, { recursive: true, force: true });
  });

  it(
    "has no dead link, section or picture, asks no other server, and fits a phone",
    async () => {
      const outside: string[] = [];
      const errors: string[] = [];
      const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
      page.setDefaultTimeout(timeout);
      await page.route(
        (url) => !url.href.startsWith(base) && url.protocol.startsWith("http"),
        (route) => {
          outside.push(route.request().url());
          return route.abort();
        },
      );
      page.on("console", (message) => message.type() === "error" && errors.push(`${page.url()}: ${message.text()}`));
      page.on("pageerror", (error) => errors.push(`${page.url()}: ${error.message}`));

      const seen = new Map<string, Awaited<ReturnType<typeof look>>>();
      const waiting = [base];
      for (let url = waiting.pop(); url; url = waiting.pop()) {
        if (seen.has(url)) continue;
        await page.goto(url);
        const found = await look(page);
        if (url.startsWith(`${base}explorers/`)) await page.locator('[role="treeitem"]').first().waitFor();
        seen.set(url, found);
        const inside = found.links.filter((link) => link.startsWith(base));
        waiting.push(...inside.map((link) => link.split("#")[0]!));
      }
      expect(unknown, "addresses without a file").toEqual([]);
      expect(outside).toEqual([]);
      expect(errors).toEqual([]);
      const all = [...seen];
      expect(all.flatMap(([url, { broken }]) => broken.map((image) => `${url}: ${image}`))).toEqual([]);
      expect(all.filter(([url, { tooWide }]) => tooWide && !url.includes("/explorers/")).map(([url]) => url)).toEqual(
        [],
      );

      const anchors = all.flatMap(([url, { links }]) => links.map((link) => ({ url, link })));
      const dead = anchors.filter(({ link }) => {
        const [target, section] = link.split("#");
        // What follows in an explorer's address is read by its program.
        if (!link.startsWith(base) || !section || target!.includes("/explorers/")) return false;
        return !seen.get(target!)!.ids.has(decodeURIComponent(section));
      });
      expect(dead).toEqual([]);

      // Every page can be reached from the front page.
      const { pages } = JSON.parse(readFileSync(join(folder, "site.json"), "utf8")) as { pages: string[] };
      const reached = new Set(all.map(([url]) => url.slice(base.length) || "index.html"));
      expect(pages.filter((name) => !reached.has(name))).toEqual([]);
      const images = all.reduce((sum, [, { images }]) => sum + images, 0);
      const inside = anchors.filter(({ link }) => link.startsWith(base)).length;
      console.log(`${seen.size} pages, ${inside} links inside the site, ${images} pictures`);
      expect(seen.size).toBeGreaterThan(30);
      expect(images).toBeGreaterThan(30);
      await page.close();
    },
    timeout,
  );

  it("opens a tree from the front page, by itself", async () => {
    const page = await browser.newPage();
    await page.goto(base);
    const binder = await page.getByRole("link", { name: /Binder/ }).getAttribute("href");
    expect(binder).toMatch(
      /^https:\/\/mybinder\.org\/v2\/gh\/[\w.-]+\/[\w.-]+\/HEAD\?urlpath=lab%2Ftree%2Fnotebooks%2F00/,
    );
    await page.getByRole("link", { name: "Click through a tree" }).click();
    await page.locator('[role="treeitem"]').first().waitFor();
    const id = decodeURIComponent(new URL(page.url()).hash.slice(1));
    expect(id).not.toBe("");
    expect(await page.getByRole("heading").allInnerTexts()).toContainEqual(expect.stringContaining(id));
    await page.close();
  });

  it("shows mathematics without a script, and follows the reader's choice of dark", async () => {
    const page = await browser.newPage({ colorScheme: "dark" });
    await page.goto(`${base}notebooks/13-optimal-policy.html`);
    // Hints are folded, and a formula in one has no size until it is opened.
    await page.evaluate(() => {
      for (const hint of document.querySelectorAll("details")) hint.open = true;
    });
    const formulas = await page.locator("math").all();
    expect(formulas.length).toBeGreaterThan(8);
    for (const formula of formulas) expect((await formula.boundingBox())!.height).toBeGreaterThan(5);
    const words = await page.evaluate(() => {
      for (const other of document.querySelectorAll("pre, code, math")) other.remove();
      return document.querySelector("main")!.textContent;
    });
    expect(words).not.toMatch(/[$\\]/);
    expect(await page.locator("script").count()).toBe(0);
    const [ink, paper] = await page.evaluate(() => {
      const { color, backgroundColor } = getComputedStyle(document.body);
      return [color, backgroundColor].map((value) => Number(/\d+/.exec(value)?.[0]));
    });
    expect(ink! - paper!).toBeGreaterThan(150);
    await page.close();
  });
});

/** What is on the page: links, ids, and pictures, each of which is loaded first. */
async function look(page: Page) {
  const found = await page.evaluate(async () => {
    const images = [...document.images];
    for (const image of images) image.loading = "eager";
    const loaded = await Promise.all(
      images.map((image) =>
        image.decode().then(
          () => image.naturalWidth > 0,
          () => false,
        ),
      ),
    );
    return {
      links: [...document.querySelectorAll<HTMLAnchorElement>("a[href]")].map(({ href }) => href),
      ids: [...document.querySelectorAll("[id]")].map(({ id }) => id),
      images: images.length,
      broken: images.filter((_, i) => !loaded[i]).map(({ src }) => src.slice(0, 100)),
      tooWide: document.documentElement.scrollWidth > innerWidth,
    };
  });
  return { ...found, ids: new Set(found.ids) };
}
