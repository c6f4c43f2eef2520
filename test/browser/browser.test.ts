/** What a person sees: a notebook opened in JupyterLab, and its HTML export, in a real browser. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { python, readNotebook, root, runNotebook, writeNotebook } from "../notebooks/notebook.js";
import { executablePath } from "./chromium.js";

/** A figure as the project's notebooks show it, drawn by a kernel with nothing but tslab. */
const figure = `import { display } from "tslab";
const png = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR42mNQSFgARAwQCgAdjgSBqe440QAAAABJRU5ErkJggg==";
display.png(Buffer.from(png, "base64"));
console.log("the figure is drawn");`;

const folder = mkdtempSync(join(tmpdir(), "malt-browser-"));
const errors: string[] = [];
let browser: Browser;

/** Pictures in the page's outputs: how many there are and how many have loaded with a size. */
async function pictures(page: Page, selector: string) {
  const images = await page.locator(`${selector} img`).all();
  const widths = await Promise.all(
    images.map((image) => image.evaluate((img) => (img as HTMLImageElement).naturalWidth)),
  );
  return { found: widths.length, loaded: widths.filter((width) => width > 0).length };
}

/** Executed notebooks with pictures: the project's own as they are committed, or one made here. */
function withPictures(): string[] {
  const own = readdirSync(join(root, "notebooks")).filter((name) => name.endsWith(".ipynb"));
  const paths = own.map((name) => join(root, "notebooks", name));
  const shown = (path: string) =>
    readNotebook(path).cells.some((cell) => cell.outputs?.some((output) => output.data && "image/png" in output.data));
  return [join(folder, "out", "figure.ipynb"), ...paths.filter(shown)];
}

describe.skipIf(!executablePath)("in a browser", () => {
  beforeAll(async () => {
    const path = writeNotebook(folder, "figure", [figure]);
    const { said } = await runNotebook(path, "--out", join(folder, "out"));
    expect(said).toContain("passed");
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function newPage(): Promise<Page> {
    errors.length = 0;
    const page = await browser.newPage();
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(error.message));
    return page;
  }

  // site.test.ts looks at every notebook.
  it("HTML exports show every figure, without an error in the console", async () => {
    for (const path of [withPictures()[0]!, withPictures().at(-1)!]) {
      const html = join(folder, `${basename(path, ".ipynb")}.html`);
      const made = await python("-m", "nbconvert", "--to", "html", path, "--output", html);
      expect(made.exitCode, made.all).toBe(0);
      const page = await newPage();
      // The export works without a network: what it would fetch from elsewhere is not needed for the figures.
      await page.route(/^https?:/, (route) => route.fulfill({ status: 200, body: "" }));
      await page.goto(pathToFileURL(html).href);
      const { found, loaded } = await pictures(page, ".jp-OutputArea-output");
      expect(found, path).toBeGreaterThan(0);
      expect(loaded, path).toBe(found);
      expect(errors, path).toEqual([]);
      await page.close();
    }
  });

  describe("JupyterLab, as npm run lab starts it", () => {
    const token = randomBytes(16).toString("hex");
    let lab: ChildProcess;
    let address: string;
    const shown = join("outputs", "browser-test");

    beforeAll(async () => {
      mkdirSync(join(root, shown), { recursive: true });
      for (const path of withPictures()) copyFileSync(path, join(root, shown, basename(path)));
      const probe = createServer().listen(0, "127.0.0.1");
      await once(probe, "listening");
      const { port } = probe.address() as { port: number };
      await new Promise((done) => probe.close(done));
      address = `http://127.0.0.1:${port}`;
      const options = [
        "--no-browser",
        // One that npm run lab sets itself.
        "--ip=127.0.0.1",
        `--port=${port}`,
        "--ServerApp.port_retries=0",
        `--IdentityProvider.token=${token}`,
      ];
      lab = spawn(process.execPath, ["scripts/lab.mjs", ...options], { cwd: root, stdio: "ignore", detached: true });
      for (const end = Date.now() + 60_000; Date.now() < end; await sleep(300)) {
        const answer = await fetch(`${address}/api/status?token=${token}`).catch(() => null);
        if (answer?.ok) return;
      }
      throw new Error("JupyterLab did not come up within 60 s");
    });
    afterAll(async () => {
      // The whole group: npm run lab, JupyterLab and the kernels it started.
      if (lab?.pid) process.kill(-lab.pid, "SIGTERM");
      if (lab?.exitCode === null && lab.signalCode === null) await once(lab, "exit");
      rmSync(join(root, shown), { recursive: true, force: true });
    });

    it("asks for the token", async () => {
      expect((await fetch(`${address}/api/contents`)).status).toBe(403);
    });

    it("shows a notebook with its figures and connects to the TypeScript kernel", async () => {
      const name = basename(withPictures().at(-1)!);
      const page = await newPage();
      await page.goto(`${address}/lab/tree/${shown}/${name}?token=${token}&reset`);
      await page.locator(".jp-Notebook .jp-CodeCell").first().waitFor({ timeout: 60_000 });
      const image = page.locator(".jp-OutputArea-output img").first();
      await image.scrollIntoViewIfNeeded({ timeout: 30_000 });
      const { found, loaded } = await pictures(page, ".jp-OutputArea-output");
      expect(found).toBeGreaterThan(0);
      expect(loaded).toBe(found);
      await page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').waitFor({ timeout: 30_000 });
      expect(await page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]').count()).toBe(0);
      expect(await page.locator(".jp-Dialog").count()).toBe(0);
      await page.close();
    });
  });
});
