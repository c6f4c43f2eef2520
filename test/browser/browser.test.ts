/** What a person sees: a notebook opened in JupyterLab, and its HTML export, in a real browser. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type FrameLocator, type Locator, type Page } from "playwright-core";
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

/** The HTML export of a notebook, made once. */
async function exported(path: string): Promise<string> {
  const html = join(folder, `${basename(path, ".ipynb")}.html`);
  if (existsSync(html)) return html;
  const made = await python("-m", "nbconvert", "--to", "html", path, "--output", html);
  expect(made.exitCode, made.all).toBe(0);
  return html;
}

/** Notebooks with sliders, and what stands below these. */
const withSliders = ["03-value-iteration", "04-thresholds"];
const patience = { timeout: 20_000 };
const sliderNote = "Above this table θ, pooling and pairing move";

/** The static table of the sliders, settings by name: good outputs and pairs of each role. */
const fixedRows = async (scope: Page | Locator): Promise<Map<string, number[]>> => {
  const rows = scope.locator("table", { hasText: "What the run yields under a few settings" }).locator("tbody tr");
  const cells = await rows.evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent!)));
  return new Map(cells.map(([setting, ...counts]) => [setting!, counts.map(Number)]));
};
/** The same of the live form, as it is set. */
const liveRow = (frame: FrameLocator): Promise<number[]> =>
  frame
    .locator('td[data-name="good"], td[data-name="pairs"]')
    .evaluateAll((cells) => cells.map((cell) => Number(cell.firstChild!.textContent!.replaceAll(",", ""))));
/** Moves θ. A browser draws no frame that is out of sight. */
async function slide(frame: FrameLocator, theta: string): Promise<void> {
  await frame.owner().scrollIntoViewIfNeeded();
  await frame.getByRole("slider", { name: /Threshold/ }).evaluate((range, to) => {
    (range as HTMLInputElement).value = to;
    range.dispatchEvent(new Event("input"));
  }, theta);
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
      const html = await exported(path);
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

  it("HTML exports of 03 and 04 show the sliders' table where no scripts run, and move where they do", async () => {
    for (const name of withSliders) {
      const address = pathToFileURL(await exported(join(root, "notebooks", `${name}.ipynb`))).href;
      const context = await browser.newContext({ javaScriptEnabled: false, offline: true });
      const still = await context.newPage();
      await still.goto(address, { waitUntil: "domcontentloaded" });
      expect(await still.getByText(sliderNote).isVisible()).toBe(true);
      const rows = await fixedRows(still);
      expect(rows.size).toBe(10);
      await context.close();
      const page = await newPage();
      await page.route(/^https?:/, (route) => route.fulfill({ status: 200, body: "" }));
      await page.goto(address);
      const frame = page.frameLocator('iframe[title^="sliders"]');
      await expect.poll(() => liveRow(frame), patience).toEqual(rows.get("θ 0.5, mean, all (paper)"));
      await slide(frame, "0.9");
      await expect.poll(() => liveRow(frame), patience).toEqual(rows.get("θ 0.9, mean, all"));
      expect(errors).toEqual([]);
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

    it("shows the sliders' table of 03 and 04, and moves them once the notebook is trusted", async () => {
      // JupyterLab remembers by its content what was trusted before.
      for (const name of withSliders) {
        const notebook = readNotebook(join(root, "notebooks", `${name}.ipynb`));
        notebook.metadata.test = token;
        writeFileSync(join(root, shown, `${name}.ipynb`), JSON.stringify(notebook));
      }
      const page = await newPage();
      await page.goto(`${address}/lab/tree/${shown}/${withSliders[0]}.ipynb?token=${token}&reset`, { timeout: 60_000 });
      const panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)");
      for (const name of withSliders) {
        if (name !== withSliders[0]) await page.locator(".jp-DirListing-item", { hasText: name }).dblclick();
        await page.locator(".lm-TabBar-tab.lm-mod-current", { hasText: name }).first().waitFor({ timeout: 60_000 });
        await panel.locator(".jp-CodeCell").first().waitFor({ timeout: 60_000 });
        const note = panel.getByText(sliderNote);
        // Cells out of sight are not drawn.
        const scroller = panel.locator(".jp-WindowedPanel-outer");
        for (let i = 0; i < 200 && (await note.count()) === 0; i++) {
          await scroller.evaluate((element) => element.scrollBy(0, 600));
          await sleep(50);
        }
        const rows = await fixedRows(panel);
        expect(rows.size).toBe(10);
        expect(await panel.locator("iframe").count()).toBe(0);
        // While JupyterLab is still settling it may close the palette again.
        const command = page.locator(".lm-CommandPalette-item", { hasText: "Trust Notebook" }).first();
        for (let i = 0; i < 10 && !(await command.isVisible()); i++) {
          await note.click();
          await page.keyboard.press("Control+Shift+C");
          const typed = page.locator(".lm-CommandPalette-input").fill("Trust Notebook", { timeout: 2000 });
          await typed.then(() => command.waitFor({ timeout: 2000 })).catch(() => {});
        }
        await command.click();
        await page.locator(".jp-Dialog .jp-mod-accept").click();
        const frame = panel.frameLocator('iframe[title^="sliders"]');
        await expect.poll(() => liveRow(frame), patience).toEqual(rows.get("θ 0.5, mean, all (paper)"));
        await slide(frame, "0.7");
        await expect.poll(() => liveRow(frame), patience).toEqual(rows.get("θ 0.7, mean, all"));
        await frame.getByLabel("Pooling").selectOption("max");
        await slide(frame, "0.5");
        await expect.poll(() => liveRow(frame), patience).toEqual(rows.get("θ 0.5, max, all"));
      }
      await page.close();
    });
  });
});
