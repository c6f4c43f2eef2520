import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenRun, openRun } from "../../src/dataset/open.js";
import { InputError } from "../../src/errors.js";
import { dialogueText, explorerOutput } from "../../src/show/explorer.js";

let run: OpenRun;
beforeAll(async () => {
  run = await openRun(null);
});
afterAll(() => run.close());

describe("explore", () => {
  it("puts the page into a frame that can reach neither the notebook nor the network", async () => {
    const { "text/html": html } = await explorerOutput(run, { question: "arithmetic-train-44" });
    expect(html).toContain('<iframe sandbox="allow-scripts" ');
    expect(html).toContain("default-src 'none'; script-src 'sha256-");
    expect(html).not.toContain("<script");
  });

  it("has a static form, which says how to get the live one", async () => {
    const output = await explorerOutput(run, { question: "arithmetic-train-44" });
    for (const form of Object.values(output)) {
      expect(form).toContain("npx malt view --run tiny-200");
      expect(form).toContain("g2.v2 answers 135");
    }
  });

  it("names a question that is not there", async () => {
    await expect(explorerOutput(run, { question: "none" })).rejects.toThrow('run tiny-200 has no question "none"');
  });
});

describe("dialogue", () => {
  it("shows every pass of a system over a question, turn by turn", async () => {
    const shown = await dialogueText(run, "MALT", "arithmetic-test-1002");
    expect(shown.match(/^MALT, question arithmetic-test-1002, seed \d+, pass \d$/gm)).toHaveLength(3);
    expect(shown.match(/^question \(answer: 71\)$/gm)).toHaveLength(1);
    expect(shown.match(/^(?:generator|verifier|refiner) \(71, right\)$/gm)).toHaveLength(9);
  });

  it("says which systems there are where one was not asked", async () => {
    const wrong = dialogueText(run, "GPT", "arithmetic-test-1002");
    await expect(wrong).rejects.toThrow(
      /system "GPT" was not asked question "arithmetic-test-1002" of arithmetic; evaluated were: MA, /,
    );
    await expect(wrong).rejects.toBeInstanceOf(InputError);
  });
});
