/** The explorer of a run, as a person uses it: written as a file, opened in a real browser. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { servePage } from "../../src/cli/view.js";
import { type Pairing, preferencePairs } from "../../src/credit/pairs.js";
import { columns } from "../../src/credit/score.js";
import { backUp, type Pooling } from "../../src/credit/values.js";
import { type OpenRun, openRun } from "../../src/dataset/open.js";
import { writePage } from "../../src/explore/page.js";
import { explorerOutput } from "../../src/show/explorer.js";
import { slidersOutput } from "../../src/show/sliders.js";
import type { Node, Question } from "../../src/types.js";
import { hostileRun, hostileTexts } from "../explore/hostile.js";
import { executablePath } from "./chromium.js";

const folder = mkdtempSync(join(tmpdir(), "malt-explorer-"));
const file = (name: string) => join(folder, `${name}.html`);
const address = (name: string, hash = "") => `${pathToFileURL(file(name))}${hash}`;
/** The question whose tree disagrees with itself in all three roles. */
const mixed = "arithmetic-train-44";

describe.skipIf(!executablePath)("the explorer in a browser", () => {
  let browser: Browser;
  let page: Page;
  let run: OpenRun;
  let nodes: Node[];
  let questions: Question[];
  const errors: string[] = [];
  const requests: string[] = [];

  beforeAll(async () => {
    run = await openRun(null);
    await writePage(run, file("recorded"), { evaluations: false });
    [nodes, questions] = [await run.nodes(), await run.questions()];
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
    page = await open("recorded", `#${mixed}`);
  });
  afterAll(async () => {
    await browser?.close();
    run.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A page that has loaded, whatever it says and asks for being kept. */
  async function open(name: string, hash = "", options: Parameters<Browser["newPage"]>[0] = {}): Promise<Page> {
    const opened = await browser.newPage({ viewport: { width: 1500, height: 950 }, ...options });
    opened.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    opened.on("pageerror", (error) => errors.push(error.message));
    opened.on("request", (sent) => requests.push(sent.url().replace(/#.*/, "")));
    opened.on("dialog", (dialog) => void dialog.dismiss().finally(() => errors.push("a dialog was shown")));
    await opened.goto(address(name, hash));
    await opened.locator("h1").waitFor();
    return opened;
  }

  const item = (id: string) => page.locator(`[role="treeitem"][data-node="${id}"]`);
  const filter = (name: string) => page.getByRole("combobox", { name, exact: true });
  const box = (name: string) => page.getByRole("checkbox", { name });
  const listed = () => page.getByRole("navigation", { name: "questions" }).getByRole("status").innerText();
  /** Moves a slider as a script of the page's own would see it: its value, then its event. */
  const slide = (label: RegExp, value: number) =>
    page.getByRole("slider", { name: label }).evaluate((range, to) => {
      (range as HTMLInputElement).value = String(to);
      range.dispatchEvent(new Event("input"));
    }, value);
  /** What the table says of a role: [good, examples, pairs, questions with pairs, flipped]. */
  const yields = (role: string) =>
    page
      .locator(`tr[data-role="${role}"] td`)
      .evaluateAll((cells) => cells.slice(1).map((cell) => Number(cell.firstChild!.textContent!.replaceAll(",", ""))));
  /** The page as it opens, without filters. */
  const reset = async () => {
    await page.goto("about:blank");
    await page.goto(address("recorded", `#${mixed}`));
    await item("g0").waitFor();
  };

  /** The same by the functions that export a run. */
  function expected(role: string, threshold: number, pooling: Pooling = "mean", pairing: Pairing = "all") {
    const { value, label } = backUp(columns(nodes, run.roles).forest, { threshold, pooling });
    const scored = nodes.map((node, i): Node => ({ ...node, value: value[i]!, label: label[i] === 1 }));
    const byId = new Map<string, Node[]>(questions.map(({ id }) => [id, []]));
    for (const node of scored) byId.get(node.question_id)!.push(node);
    const pairs = questions
      .flatMap((question) =>
        preferencePairs(
          { question, nodes: byId.get(question.id)!, roles: run.roles, promptSet: run.promptSet },
          { pairing },
        ),
      )
      .filter((pair) => pair.role === role);
    const own = scored.filter((node) => node.role === role);
    const good = own.filter((node) => node.label).length;
    const flipped = own.filter(
      (node) =>
        node.label !==
        nodes.find(
          (same) => same.seed === node.seed && same.node_id === node.node_id && same.question_id === node.question_id,
        )!.label,
    );
    return [good, good, pairs.length, new Set(pairs.map(({ question_id }) => question_id)).size, flipped.length];
  }

  it("shows a node that was clicked: its words, how they were read, its siblings, its pairs and its path", async () => {
    await item("g2.v2.r1").click();
    const output = page.getByRole("region", { name: "output", exact: true });
    const node = nodes.find(({ question_id, node_id }) => question_id === mixed && node_id === "g2.v2.r1")!;
    expect(await output.locator("pre").first().innerText()).toBe(node.text);
    expect(await output.locator("mark").first().innerText()).toBe("179");
    expect(await output.innerText()).toContain("Read as 179 by rule: the last “Final Answer: …”.");
    expect(await output.innerText()).toContain('Graded right; number: both are "179".');
    expect(await output.innerText()).toContain(`seed\n${node.seed}`);
    expect(await output.locator(".pairs li").allInnerTexts()).toEqual(["▲ chosen over g2.v2.r0 (gap 1.00)"]);
    expect(await output.locator(".sibling").count()).toBe(3);
    expect(await output.locator(".sibling").first().locator("ins").allInnerTexts()).toContain("135");
    expect(await output.locator(".sibling").last().innerText()).toContain("The same text, byte for byte");
    await output.getByText("What it saw").click();
    const saw = await output.locator("details", { hasText: "What it saw" }).locator("pre").allInnerTexts();
    const [generator, verifier] = ["g2", "g2.v2"].map(
      (id) => nodes.find(({ question_id, node_id }) => question_id === mixed && node_id === id)!.text,
    );
    expect(saw).toHaveLength(1);
    for (const part of [
      "Improve the solution with the critique",
      questions.find(({ id }) => id === mixed)!.question,
      generator!,
      verifier!,
    ])
      expect(saw[0]).toContain(part);
    await output.getByText("The path as a dialogue").click();
    expect(await output.locator(".turn header b").allInnerTexts()).toEqual([
      "question",
      "generator",
      "verifier",
      "refiner",
    ]);
    expect(new URL(page.url()).hash).toBe(`#${mixed}/g2.v2.r1`);
  });

  it("opens a link to a node, and says what there is not", async () => {
    await page.goto(address("recorded", "#arithmetic-train-3/g1.v2"));
    await expect.poll(() => item("g1.v2").getAttribute("aria-selected")).toBe("true");
    expect(await page.getByRole("heading", { name: "g1 › g1.v2 · verifier" }).count()).toBe(1);
    await page.goto(address("recorded", "#arithmetic-train-3/g7"));
    await page.getByText("This tree has no output “g7”.").waitFor();
    await page.goto(address("recorded", "#%3Cb%3E"));
    await page.getByText("There is no question “<b>” in this run.").waitFor();
  });

  it("recolours nodes and counts examples and pairs as backUp and the export do, while θ moves", async () => {
    await reset();
    await expect.poll(() => yields("verifier")).toEqual(expected("verifier", 0.5));
    expect(await item("g2.v2").getAttribute("data-label")).toBe("good");
    const before = await item("g2.v2").evaluate((node) => getComputedStyle(node).backgroundColor);
    await slide(/Threshold/, 0.7);
    for (const role of ["generator", "verifier", "refiner"])
      await expect.poll(() => yields(role), { message: role }).toEqual(expected(role, 0.7));
    await expect.poll(() => item("g2.v2").getAttribute("data-label")).toBe("not good");
    expect(await item("g2.v2").evaluate((node) => getComputedStyle(node).backgroundColor)).not.toBe(before);
    expect(await item("g2.v2").getAttribute("aria-label")).toBe(
      "g2.v2, verifier, answers 135, wrong, value 0.67, not good, label flipped",
    );
    expect(new URL(page.url()).hash).toBe(`#${mixed}?theta=0.7`);
    await page.getByLabel("Pooling").selectOption("local");
    await page.getByLabel("Pairing").selectOption("balanced");
    await expect.poll(() => yields("generator")).toEqual(expected("generator", 0.7, "local", "balanced"));
    await expect.poll(() => yields("refiner")).toEqual(expected("refiner", 0.7, "local", "balanced"));
    expect(await page.getByLabel("Pooling").locator("option").allInnerTexts()).toContain(
      "mean of the children (paper)",
    );
    await page.getByRole("button", { name: "Paper’s setting" }).click();
    await expect.poll(() => yields("generator")).toEqual(expected("generator", 0.5));
  });

  it("finds outputs by role, answer, mixed siblings, contradictions and flipped labels", async () => {
    await reset();
    await filter("Role").selectOption("verifier");
    await filter("Answer").selectOption("wrong");
    await box("mixed siblings").check();
    const states = new Map<string, Set<boolean | null>>();
    const state = ({ question_id, parent_id }: Node) => `${question_id} ${parent_id}`;
    for (const node of nodes) states.set(state(node), (states.get(state(node)) ?? new Set()).add(node.label));
    const found = nodes.filter(
      (node) => node.role === "verifier" && node.correct === false && states.get(state(node))!.size > 1,
    );
    const inQuestions = new Set(found.map(({ question_id }) => question_id)).size;
    await expect.poll(listed).toBe(`${found.length} outputs in ${inQuestions} of 200 questions`);
    await box("mixed siblings").uncheck();
    await filter("Role").selectOption("any role");
    await filter("Answer").selectOption("any answer");
    await box("label flipped").check();
    await expect.poll(listed).toBe("0 outputs in 0 of 200 questions");
    await slide(/Threshold/, 0.7);
    await expect.poll(listed).toContain("235 outputs in ");
    await box("label flipped").uncheck();
    await box("identical, labels differ").check();
    const [{ n }] = (await run.query<{ n: number }>(
      `SELECT count(*) AS n FROM (SELECT count(*) OVER same AS of, count(DISTINCT value > 0.7) OVER same AS sides
       FROM nodes WINDOW same AS (PARTITION BY question_id, parent_id, text)) WHERE of > 1 AND sides > 1`,
    )) as [{ n: number }];
    await expect.poll(listed).toContain(`${n} outputs in `);
    await box("identical, labels differ").uncheck();
    await expect.poll(listed).toBe("200 questions, 7,800 outputs");
  });

  it("searches all texts and sorts by value", async () => {
    await reset();
    const words = "the solution STANDS";
    await page.getByRole("searchbox").fill(words);
    const found = nodes.filter(({ text }) => text.toLowerCase().includes(words.toLowerCase()));
    const inQuestions = new Set(found.map(({ question_id }) => question_id)).size;
    await expect
      .poll(listed, { timeout: 20_000 })
      .toBe(`${found.length.toLocaleString("en-US")} outputs in ${inQuestions} of 200 questions`);
    await page.getByRole("searchbox").fill("");
    await expect.poll(listed).toBe("200 questions, 7,800 outputs");
    await filter("Order").selectOption("lowest value first");
    const list = page.getByRole("listbox");
    await list.evaluate((element) => element.scrollTo(0, 0));
    await expect.poll(() => list.getByRole("option").first().getAttribute("aria-label")).toContain("value 0.00");
    await filter("Order").selectOption("as in the run");
  });

  it("is used by keys alone", async () => {
    await reset();
    // Keys belong to the control that has the focus, if one has.
    await page.getByRole("heading", { level: 1 }).click();
    await page.keyboard.press("t");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    expect(new URL(page.url()).hash).toBe(`#${mixed}/g0.v1.r1`);
    expect(await item("g0.v1.r1").evaluate((node) => node === document.activeElement)).toBe(true);
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    expect(new URL(page.url()).hash).toBe(`#${mixed}/g0`);
    await page.keyboard.press("]");
    await expect.poll(() => new URL(page.url()).hash).toBe("#arithmetic-train-45");
    await page.getByRole("listbox").focus();
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowUp");
    await expect.poll(() => new URL(page.url()).hash).toBe("#arithmetic-train-43");
    const active = await page.getByRole("listbox").getAttribute("aria-activedescendant");
    expect(await page.locator(`[id="${active}"]`).getAttribute("aria-label")).toContain("arithmetic-train-43, value");
    await page.keyboard.press("/");
    expect(await page.getByRole("searchbox").evaluate((field) => field === document.activeElement)).toBe(true);
    await page.goBack();
    await expect.poll(() => new URL(page.url()).hash).toBe(`#${mixed}`);
  });

  it("names every control, and fits a narrow window in the dark", async () => {
    const nameless = await page
      .locator("button, input, select, a, summary, [role=treeitem], [role=option], [role=listbox], [role=tree]")
      .evaluateAll(
        (controls) =>
          controls.filter((control) => {
            const labels = (control as HTMLInputElement).labels ?? [];
            const named = control.getAttribute("aria-label") ?? (control.textContent || labels[0]?.textContent);
            return !named?.trim();
          }).length,
      );
    expect(nameless).toBe(0);
    const narrow = await open("recorded", `#${mixed}/g0.v0`, {
      viewport: { width: 390, height: 844 },
      colorScheme: "dark",
    });
    await narrow.locator(".facts").waitFor();
    expect(await narrow.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    const dark = await narrow.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(dark.match(/\d+/g)!.every((part) => Number(part) < 60)).toBe(true);
    // Also beside the marks of a pair and a value, an answer is whole.
    const cut = await narrow
      .locator(".node .answer")
      .evaluateAll((answers) => answers.filter((answer) => answer.scrollWidth > answer.clientWidth).length);
    expect(cut).toBe(0);
    await narrow.close();
  });

  it("fetched nothing but its own file, and reported no error", () => {
    expect(new Set(requests)).toEqual(new Set([address("recorded")]));
    expect(errors).toEqual([]);
  });

  describe("of a run whose every text is hostile", () => {
    let hostile: Page;
    let rows: Locator;

    beforeAll(async () => {
      const { dir, outputs } = await hostileRun();
      const other = await openRun(dir);
      await writePage(other, file("hostile"));
      const { "text/html": sliders } = await slidersOutput(other);
      writeFileSync(file("hostile-sliders"), `<!doctype html><meta charset="utf-8"><body>${sliders}`);
      other.close();
      rmSync(outputs, { recursive: true });
      for (const list of [errors, requests]) list.splice(0);
      hostile = await open("hostile");
      rows = hostile.getByRole("listbox", { name: "questions" }).getByRole("option");
    });

    /** Elements that only markup in a text could have made, and what it would have set. */
    const effects = async () => ({
      made: await hostile
        .locator("img, iframe, object, embed, link, form, video, #app script, #app style, a[href^=javascript]")
        .count(),
      ran: await hostile.evaluate(() => (window as unknown as { ran?: unknown }).ran ?? null),
      scripts: await hostile.locator('script:not([type="application/octet-stream"])').count(),
    });
    const none = { made: 0, ran: null, scripts: 1 };

    it("runs nothing and fetches nothing, whatever is opened", async () => {
      expect(await rows.count()).toBe(hostileTexts.length);
      for (let i = 0; i < hostileTexts.length; i++) {
        await rows.nth(i).click();
        for (const id of ["g0", "g1.v1", "g2.v2.r2"]) {
          await hostile.locator(`[role="treeitem"][data-node="${id}"]`).click();
          await hostile.locator(".siblings").waitFor();
        }
        const closed = hostile.locator(".output details:not([open]) > summary");
        while ((await closed.count()) > 0) await closed.first().click();
        expect(await effects()).toEqual(none);
      }
      expect(await hostile.locator(".asked h2").innerText()).toBe(`train ${hostileTexts.at(-1)}`);
    });

    it("shows what would hide or reorder text, as it is escaped", async () => {
      await rows.nth(6).click();
      await expect
        .poll(() => hostile.locator(".asked pre").first().innerText())
        .toContain("\\u202e reversed \\u2066 isolated \\u200b\\u0000\\u0007\\u001b[31m\\u009b red");
    });

    it("shows the passes of an evaluation with their votes, and one as a dialogue", async () => {
      await hostile.getByRole("link", { name: /Evaluation on <b>own/ }).click();
      await hostile.getByText("MA+MV, seed 0").waitFor();
      expect(await hostile.locator(".seed tbody th").allInnerTexts()).toEqual(["pass 1", "pass 2", "pass 3", "vote"]);
      await hostile.getByRole("link", { name: "pass 2" }).click();
      await expect
        .poll(() => hostile.locator(".dialogue header b").allInnerTexts())
        .toEqual(["question", "generator", "verifier", "refiner"]);
      await hostile.getByLabel("Outcome").selectOption("vote wrong");
      expect(await effects()).toEqual(none);
      await hostile.getByRole("link", { name: "Trees" }).click();
      await hostile.locator('[role="treeitem"]').first().waitFor();
    });

    it("reported no error and asked for nothing", () => {
      expect(new Set(requests)).toEqual(new Set([address("hostile")]));
      expect(errors).toEqual([]);
    });

    it("is harmless in the sliders of a notebook, too", async () => {
      const notebook = await browser.newPage({ viewport: { width: 1000, height: 950 } });
      notebook.on("request", (sent) => requests.push(sent.url()));
      notebook.on("pageerror", (error) => errors.push(error.message));
      requests.splice(0);
      await notebook.goto(address("hostile-sliders"));
      const frame = notebook.frameLocator("iframe");
      for (const id of ["g0", "g1.v1", "g2.v2.r2"]) {
        await frame.locator(`[role="treeitem"][data-node="${id}"]`).click();
        await frame.getByRole("heading", { name: `${id} · ` }).waitFor();
      }
      expect(await frame.locator("img, iframe, object, embed, link, form, #app script, #app style").count()).toBe(0);
      for (const part of notebook.frames())
        expect(await part.evaluate(() => (window as unknown as { ran?: unknown }).ran ?? null)).toBeNull();
      expect(new Set(requests)).toEqual(new Set([address("hostile-sliders")]));
      expect(errors).toEqual([]);
      await notebook.close();
    });
  });

  it("works inside a notebook's page, in its frame, and leaves the static form where frames are removed", async () => {
    const { "text/html": html } = await explorerOutput(run, { question: mixed });
    writeFileSync(file("notebook"), `<!doctype html><meta charset="utf-8"><body>${html}`);
    for (const list of [errors, requests]) list.splice(0);
    const notebook = await browser.newPage({ viewport: { width: 1500, height: 950 } });
    notebook.on("pageerror", (error) => errors.push(error.message));
    await notebook.goto(address("notebook"));
    const frame = notebook.frameLocator("iframe");
    await frame.locator('[role="treeitem"][data-node="g2.v2.r1"]').click();
    await frame.getByText("Read as 179 by rule").waitFor();
    await frame.locator(".pairs a").click();
    await frame.getByRole("heading", { name: "g2.v2.r0" }).waitFor();
    expect(errors).toEqual([]);
    await notebook.locator("iframe").evaluate((element) => element.remove());
    expect(await notebook.locator("body").innerText()).toContain("npx malt view --run tiny-200");
    await notebook.close();
  });

  it("moves θ, pooling and pairing in a notebook's page: nodes, the tree's pairs and the run's counts follow", async () => {
    const { "text/html": html } = await slidersOutput(run, { question: mixed });
    writeFileSync(file("sliders"), `<!doctype html><meta charset="utf-8"><body>${html}`);
    for (const list of [errors, requests]) list.splice(0);
    const notebook = await browser.newPage({ viewport: { width: 1000, height: 950 } });
    notebook.on("pageerror", (error) => errors.push(error.message));
    notebook.on("request", (sent) => requests.push(sent.url()));
    await notebook.goto(address("sliders"));
    const frame = notebook.frameLocator("iframe");
    const counts = (role: string) =>
      frame
        .locator(`tr[data-role="${role}"] td`)
        .evaluateAll((cells) =>
          cells.slice(1).map((cell) => Number(cell.firstChild!.textContent!.replaceAll(",", ""))),
        );
    const inTree = async (role: string, threshold: number, pairing: Pairing) => {
      const own = nodes.filter((node) => node.question_id === mixed);
      const { value, label } = backUp(columns(own, run.roles).forest, { threshold });
      const scored = own.map((node, i): Node => ({ ...node, value: value[i]!, label: label[i] === 1 }));
      const question = questions.find(({ id }) => id === mixed)!;
      const tree = { question, nodes: scored, roles: run.roles, promptSet: run.promptSet };
      const pairs = preferencePairs(tree, { pairing }).filter((pair) => pair.role === role).length;
      const good = scored.filter((node) => node.role === role && node.label).length;
      const all = scored.filter((node) => node.role === role).length;
      return `${role}: ${good} of ${all} good, ${pairs} pair${pairs === 1 ? "" : "s"}`;
    };
    const node = frame.locator('[role="treeitem"][data-node="g2.v2"]');
    await expect.poll(() => counts("verifier")).toEqual(expected("verifier", 0.5));
    expect(await frame.locator('[data-tree-role="refiner"]').innerText()).toBe(await inTree("refiner", 0.5, "all"));
    await node.click();
    await frame.getByText("Mean of its children: (0.00 + 1.00 + 1.00) / 3. 0.67 > θ = 0.50: good.").waitFor();
    const before = await node.evaluate((element) => getComputedStyle(element).backgroundColor);
    await frame.getByRole("slider", { name: /Threshold/ }).evaluate((range) => {
      (range as HTMLInputElement).value = "0.7";
      range.dispatchEvent(new Event("input"));
    });
    await frame.getByText("0.67 ≤ θ = 0.70: not good.").waitFor();
    expect(await node.evaluate((element) => getComputedStyle(element).backgroundColor)).not.toBe(before);
    for (const role of ["generator", "verifier", "refiner"]) expect(await counts(role)).toEqual(expected(role, 0.7));
    await frame.getByLabel("Pairing").selectOption("one-per-state");
    await expect.poll(() => counts("refiner")).toEqual(expected("refiner", 0.7, "mean", "one-per-state"));
    expect(await frame.locator('[data-tree-role="refiner"]').innerText()).toBe(
      await inTree("refiner", 0.7, "one-per-state"),
    );
    await frame.getByLabel("Pooling").selectOption("local");
    await frame.getByText("Good ones among its children: 2 of 3.").waitFor();
    await frame.getByRole("button", { name: "Paper’s setting" }).click();
    await expect.poll(() => counts("generator")).toEqual(expected("generator", 0.5));
    expect(errors).toEqual([]);
    expect(new Set(requests)).toEqual(new Set([address("sliders")]));
    await notebook.close();
  });

  it("is served on loopback under a secret path, to this machine alone", async () => {
    const { address: served, server } = await servePage(file("recorded"));
    const status = (url: string, host?: string) =>
      new Promise<number>((done, fail) =>
        request(url, host === undefined ? {} : { headers: { host } }, (response) => done(response.resume().statusCode!))
          .on("error", fail)
          .end(),
      );
    try {
      expect(new URL(served).hostname).toBe("127.0.0.1");
      expect(await status(served)).toBe(200);
      expect(await status(new URL("/", served).href)).toBe(404);
      expect(await status(served, "attacker.test")).toBe(404);
      const page = await browser.newPage();
      await page.goto(`${served}#${mixed}/g0`);
      await page.locator(".facts").waitFor();
      await page.close();
      expect(await (await fetch(served)).text()).toBe(readFileSync(file("recorded"), "utf8"));
      const { port } = new URL(served);
      await expect(servePage(file("recorded"), Number(port))).rejects.toThrow(
        /cannot listen on port \d+: .*EADDRINUSE.*; choose another --port/,
      );
    } finally {
      server.close().closeAllConnections();
    }
  });
});
