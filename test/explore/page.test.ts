import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openRun } from "../../src/dataset/open.js";
import { InputError, RunError } from "../../src/errors.js";
import type { About } from "../../src/explore/about.js";
import { writePage } from "../../src/explore/page.js";
import type { PassPacket } from "../../src/explore/passes.js";
import type { EvaluationRow } from "../../src/types.js";
import { hostileRun, hostileTexts } from "./hostile.js";

const folder = mkdtempSync(join(tmpdir(), "malt-explorer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "explorer.html");

/** A part of a page, as the page reads it. */
function read<T>(html: string, id: string): T {
  const [, packed] = new RegExp(`<script type="application/octet-stream" id="${id}">([A-Za-z0-9+/=]*)</script>`).exec(
    html,
  )!;
  return JSON.parse(inflateRawSync(Buffer.from(packed!, "base64")).toString()) as T;
}

describe("writePage", () => {
  it("packs one tree alone", async () => {
    const run = await openRun(null);
    await writePage(run, path, { question: "arithmetic-train-44" });
    run.close();
    const about = read<About>(readFileSync(path, "utf8"), "about");
    expect(about.questions.map(([id]) => id)).toEqual(["arithmetic-train-44"]);
    expect(about.evaluations).toEqual([]);
  });

  it("says what is wrong with a question or a place", async () => {
    const run = await openRun(null);
    const wrong = writePage(run, path, { question: "no-such" });
    await expect(wrong).rejects.toThrow('run tiny-200 has no question "no-such"; its first is "arithmetic-train-0"');
    await expect(wrong).rejects.toBeInstanceOf(InputError);
    const nowhere = writePage(run, join(folder, "no", "such", "folder.html"), { question: "arithmetic-train-44" });
    await expect(nowhere).rejects.toThrow(/cannot write .*folder\.html: ENOENT.*; name another file with --out/);
    await expect(nowhere).rejects.toBeInstanceOf(RunError);
    run.close();
  });

  describe("of a run with hostile texts", () => {
    let html: string;
    let rows: Partial<EvaluationRow>[];
    let question: string;

    beforeAll(async () => {
      const { dir, outputs } = await hostileRun();
      const run = await openRun(dir);
      await writePage(run, path);
      const [benchmark] = await run.benchmarks();
      const all = await run.evaluation(benchmark);
      question = all.at(-1)!.question_id;
      rows = all
        .filter(({ question_id }) => question_id === question)
        .map(({ question_id: _, benchmark: __, ...row }) => row);
      run.close();
      rmSync(outputs, { recursive: true });
      html = readFileSync(path, "utf8");
    }, 60_000);

    it("lets none of them into the markup", () => {
      const [head, ...scripts] = html.split("<script");
      const markup = [head, ...scripts.map((script) => script.slice(script.indexOf("</script>")))].join("");
      for (const text of hostileTexts) expect(markup).not.toContain(text.slice(0, 12));
      expect(html).not.toContain("attacker.test");
      expect(scripts.filter((script) => !script.startsWith(' type="application/octet-stream"'))).toHaveLength(1);
      expect(read<About>(html, "about").questions[0]![0]).toContain(hostileTexts[0]);
    });

    it("holds every pass of an evaluation and its votes", () => {
      const [evaluation] = read<About>(html, "about").evaluations;
      const [system] = evaluation!.systems;
      expect(evaluation!.systems).toEqual([{ name: "MA+MV", turns: ["generator", "verifier", "refiner"] }]);
      const place = evaluation!.questions.findIndex(([id]) => id === question);
      const packet = read<PassPacket>(html, `e0-${place}`);
      const held = packet.system.map(
        (_, i): Partial<EvaluationRow> => ({
          ...{ system: system!.name, seed: packet.seed[i]!, pass: packet.pass[i]! },
          turn: system!.turns[packet.turn[i]!]!,
          text: packet.texts[packet.text[i]!]!,
          answer: packet.answers[packet.answer[i]!] ?? null,
          correct: packet.right[i] === 1,
          voted_answer: packet.answers[packet.votedAnswer[i]!] ?? null,
          ...{ voted_correct: packet.votedRight[i] === 1, completion_tokens: packet.tokens[i]! },
        }),
      );
      expect(held).toHaveLength(9);
      expect(held).toEqual(rows);
    });
  });
});
