/** What the notebooks say holds of the run they show: as committed, and on runs that differ from the recorded one. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportRun } from "../../src/dataset/export.js";
import { openRun } from "../../src/dataset/open.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { sampleRun } from "../../src/sample/sample.js";
import { findSystems } from "../../src/team/systems.js";
import type { Complete, Question } from "../../src/types.js";
import { hashes, team } from "../team.js";
import { type Cell, type Notebook, python, readNotebook, root } from "./notebook.js";

const folder = mkdtempSync(join(tmpdir(), "malt-claims-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const names = readdirSync(join(root, "notebooks")).filter((name) => name.endsWith(".ipynb"));
const committed = (number: string) =>
  readNotebook(join(root, "notebooks", names.find((name) => name.startsWith(number))!));
const textOf = ({ source }: Cell): string => (Array.isArray(source) ? source.join("") : source);

/** Everything that a notebook's cells print or draw, as text: streams, tables, transcripts, the words of figures. */
function shown(notebook: Notebook): string {
  const data = notebook.cells.flatMap(({ outputs = [] }) =>
    outputs.flatMap((output) => [output.text ?? "", ...Object.values(output.data ?? {})]),
  );
  return data.map((part) => (Array.isArray(part) ? part.join("") : String(part))).join("\n");
}
/** The rows of a notebook's tables under a caption, as the texts of their cells. */
function tableOf(notebook: Notebook, caption: string): string[][] {
  const html = shown(notebook).match(new RegExp(`<table><caption[^>]*>[^<]*${caption}.*?</table>`, "s"))?.[0] ?? "";
  const rows = [...html.matchAll(/<tr>(.*?)<\/tr>/gs)].map((row) => row[1]!);
  return rows.map((row) => [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map((cell) => cell[1]!));
}

describe.each(names)("the text of %s", (name) => {
  const prose = readNotebook(join(root, "notebooks", name))
    .cells.filter((cell) => cell.cell_type === "markdown")
    .map((cell) => textOf(cell).replace(/```[\s\S]*?```/g, ""));

  it("says nothing twice", () => {
    const paragraphs = prose
      .flatMap((text) => text.split(/\n{2,}/))
      .filter((text) => /[a-z]/.test(text) && !/^<\/?details/.test(text));
    expect(paragraphs.filter((text, i) => paragraphs.indexOf(text) !== i)).toEqual([]);
  });

  it("states no measured number, which another run would change", () => {
    // Constants of the method and of exercises, numbers of the paper, and examples.
    const constants = new Set(
      "39, 0.05, 0.1, 0.2, 0.25, 0.28, 0.5, 0.7, 0.87, 0.8416, 1.96, 3.5, 0 %, 1 %, 2 %, 5 %, 15 %, 28 %, 80 %, 95 %, 100 %, 100".split(
        ", ",
      ),
    );
    for (const number of ["2412.01928", "7,473", "291,447"]) constants.add(number); // a tree for each question of GSM8K
    const numbers = prose.flatMap((text) => {
      const words = text
        .replace(/\]\([^)]*\)/g, "]")
        .replace(/(Section|Appendix|Table|notebook) [A\d][\d.]*|\bA\.\d[\d.]*|Qwen[\w.-]+|\b(19|20)\d\d\b/gi, "");
      return [...words.matchAll(/\d[\d,]*(?:\.\d+)?(?: ?%)?/g)].map(([number]) =>
        number.replace(/,$/, "").replace(/(\d)%/, "$1 %"),
      );
    });
    const measured = numbers.filter((number) => /[.%]|\d{3}/.test(number) && !constants.has(number));
    expect(measured).toEqual([]);
  });
});

describe("the committed outputs", () => {
  it("show harmful critiques in 05, or say that there are none", () => {
    const said = shown(committed("05"));
    expect(/None in this run: every refinement of a right answer is right/.test(said)).toBe(
      !/its critique; [1-9]\d* of \d+ refinements are wrong/.test(said),
    );
    expect(said).not.toMatch(/its critique; 0 of/);
  });

  it("show in 03 an example of each way in which value and answer disagree, or say that there is none", () => {
    const said = shown(committed("03"));
    for (const kind of ["a right output labelled bad", "a wrong output labelled good"])
      expect(new RegExp(`None in this run: ${kind}`).test(said)).toBe(
        !new RegExp(`[1-9]\\d* of \\d+ outputs: ${kind}`).test(said),
      );
  });

  it("count in 04 the siblings of the recorded run that say the same", async () => {
    const run = await openRun(null);
    const [row] = await run.query<{ groups: number; both: number }>(`
      SELECT count(*) AS groups, count(*) FILTER (labels = 2) AS both FROM (
        SELECT count(*) AS n, count(DISTINCT label) AS labels FROM nodes WHERE role = 'verifier' AND label IS NOT NULL
        GROUP BY question_id, parent_id, text) WHERE n > 1`);
    run.close();
    const rows = tableOf(committed("04"), "Labels at θ");
    expect(rows.find(([role]) => role === "verifier")?.slice(1, 3)).toEqual([String(row!.groups), String(row!.both)]);
  });

  it("have no table in 10 in which nothing changes", () => {
    const rows = tableOf(committed("10"), "From this grader to another").slice(1);
    for (const grader of new Set(rows.map(([grader]) => grader)))
      expect(
        rows.some(([name, , , ...counts]) => name === grader && counts.slice(0, 3).some((count) => Number(count) > 0)),
      ).toBe(true);
    expect(rows.length > 0 || /so nothing changes/.test(shown(committed("10")))).toBe(true);
  });

  it("set the paper's numbers beside measured ones only where they are about the same benchmark", async () => {
    const run = await openRun(null);
    run.close();
    const isPrinted = ["gsm8k", "csqa", "math", "gsm_symbolic"].includes(run.measured.benchmark);
    for (const number of ["07", "09"]) {
      expect(/published: [A-Z]/.test(shown(committed(number))), number).toBe(isPrinted);
      expect(
        shown(committed(number)).includes(`no numbers for ${run.measured.benchmark}`) ||
          shown(committed(number)).includes(`no such numbers for ${run.measured.benchmark}`),
      ).toBe(!isPrinted);
    }
  });
});

/** Makes a run of eight questions with dataset and evaluation, and executes notebooks on it. */
async function executed(run: string, complete: (honest: Complete) => Complete, books: string[]) {
  const questions: Question[] = Array.from({ length: 8 }, (_, i) => ({
    ...{ id: `q${i}`, benchmark: "gsm8k", split: "train", choices: null, answer: "12" },
    question: `Tom has ${i} pens and finds ${12 - i} more. How many?`,
  }));
  const { policy } = team({ complete });
  const { dir } = await sampleRun({ run, outputs: folder, policy, model: "malt-tiny", questions });
  await exportRun(dir);
  const held = questions.map((question) => ({
    ...question,
    id: `held-${question.id}`,
    split: "test" as const,
    question: `Now: ${question.question}`,
  }));
  const systems = findSystems(["main", "debate", "mixes", "ablations"]);
  await evaluateRun({
    run,
    outputs: folder,
    policy,
    questions: held,
    systems,
    seeds: [0, 1],
    size: 8,
    adapters: hashes(),
  });
  process.env.MALT_RUN = dir;
  const out = join(folder, run);
  try {
    const paths = books.map((number) => join(root, "notebooks", names.find((name) => name.startsWith(number))!));
    const { all, exitCode } = await python(
      "python/run_notebook.py",
      "--cwd",
      "test",
      "--jobs",
      "2",
      "--out",
      out,
      ...paths,
    );
    expect(exitCode, all).toBe(0);
  } finally {
    delete process.env.MALT_RUN;
  }
  return new Map(
    books.map((number) => [number, readNotebook(join(out, names.find((name) => name.startsWith(number))!))]),
  );
}

describe("on a run of GSM8K in which any output can be right or wrong", () => {
  let books: Map<string, Notebook>;
  beforeAll(async () => {
    books = await executed("mixed", (honest) => honest, ["03", "05", "07", "08", "09"]);
  });
  const said = (number: string) => shown(books.get(number)!);

  it("05 shows the worst critique of a right answer, with the wrong refinements that followed it", () => {
    expect(said("05")).toMatch(/[1-9]\d* critiques of right answers do harm/);
    expect(said("05")).toMatch(/its critique; [1-9]\d* of 3 refinements are wrong after it/);
  });

  it("03 shows an output of each kind whose value and answer disagree", () => {
    for (const kind of ["a right output labelled bad", "a wrong output labelled good"]) {
      expect(said("03")).toMatch(new RegExp(`[1-9]\\d* of \\d+ outputs: ${kind}`));
      expect(said("03")).toMatch(new RegExp(`${kind}: g\\d`));
    }
  });

  it("07 and 09 set the paper's numbers for GSM8K beside the measured ones, and no others in the figures", () => {
    for (const number of ["07", "09"]) {
      expect(said(number)).toContain("published: Llama-3.1-8B-Instruct, GSM8K");
      expect(said(number)).not.toMatch(/published: [^<]*(MATH|CSQA)/);
      expect(said(number)).not.toMatch(/The paper has no/);
    }
  });

  it("08 shows the paper's turns and flips on GSM8K alone", () => {
    expect(said("08")).toContain("MALT, GSM8K (paper)");
    expect(said("08")).toContain("MALT on GSM8K");
    expect(said("08")).not.toMatch(/MALT, MATH \(paper\)|MALT on (MATH|CSQA)/);
  });
});

describe("on a run in which a right answer is never lost and a wrong one never mended", () => {
  // A role says what it read last.
  const faithful: Complete = async (request) => {
    const read = request.messages.at(-1)!.content;
    const seen = [...read.matchAll(/Final Answer: (\d+)/g)].at(-1)?.[1];
    return Array.from({ length: request.n }, (_, i) => ({
      ...{ finish_reason: "stop", prompt_tokens: 9, completion_tokens: 5, retries: 0 },
      text: `Final Answer: ${seen ?? ((request.seed + i) % 2 === 0 ? 12 : 7)}`,
    }));
  };

  it("03 and 05 say that there is nothing to show", async () => {
    const books = await executed("faithful", () => faithful, ["03", "05"]);
    expect(shown(books.get("05")!)).toContain("None in this run: every refinement of a right answer is right.");
    expect(shown(books.get("05")!)).not.toMatch(/its critique; \d/);
    for (const kind of ["a right output labelled bad", "a wrong output labelled good"])
      expect(shown(books.get("03")!)).toContain(`None in this run: ${kind}`);
  });
});

describe("on a run that was neither trained nor evaluated, with few questions", () => {
  it("08 says what is missing and which command makes it, and fails nowhere", async () => {
    process.env.MALT_RUN = "data/recorded-prompts/gsm8k-t0.7";
    const path = join(root, "notebooks", names.find((name) => name.startsWith("08"))!);
    try {
      const { all, exitCode } = await python("python/run_notebook.py", "--out", join(folder, "bare"), path);
      expect(exitCode, all).toBe(0);
    } finally {
      delete process.env.MALT_RUN;
    }
    const said = shown(readNotebook(join(folder, "bare", basename(path))));
    expect(said).toContain(
      "<strong>Missing:</strong> No system of this run is evaluated: npx malt evaluate --run gsm8k-t0.7",
    );
    expect(said).toContain("no system of several turns evaluated");
  });
});
