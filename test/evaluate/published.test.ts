import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { register as evaluateCommand } from "../../src/cli/evaluate.js";
import { register as exportCommand } from "../../src/cli/export.js";
import { register as trainCommand } from "../../src/cli/train.js";
import { InputError } from "../../src/errors.js";
import {
  type PublishedRow,
  publishedFlips,
  publishedFor,
  publishedGeneratorDpo,
  publishedTable,
  publishedTurns,
  readPublished,
} from "../../src/evaluate/published.js";
import { dataPath } from "../../src/paths.js";
import { plusMinus } from "../../src/stats/means.js";

const llama = "Llama-3.1-8B-Instruct";
const cell = (rows: readonly PublishedRow[], benchmark: string, system: string, model = llama): PublishedRow =>
  rows.find((row) => row.benchmark === benchmark && row.system === system && row.model === model)!;

/**
 * Whether four whole numbers of right answers out of 100 can have this mean and standard deviation, both in percent.
 * @param divisor 4 or 3
 */
function attainable(mean: number, std: number, divisor: number): boolean {
  const sum = Math.round(4 * mean);
  const floor = Math.floor(mean);
  for (let a = floor - 15; a <= floor + 15; a++) {
    for (let b = a; b <= floor + 15; b++) {
      for (let c = b; c <= floor + 15; c++) {
        const d = sum - a - b - c;
        const squares = [a, b, c, d].reduce((all, x) => all + (x - sum / 4) ** 2, 0);
        if (Math.abs(Math.sqrt(squares / divisor) - std) <= 0.005 + 1e-9) return true;
      }
    }
  }
  return false;
}

describe("the published tables", () => {
  it("give the improvements that the abstract and Section 5.2 state", async () => {
    const table = await publishedTable(1);
    const gain = (benchmark: string, model?: string) =>
      cell(table, benchmark, "MALT", model).accuracy! / cell(table, benchmark, "SA", model).accuracy! - 1;
    expect(gain("MATH")).toBeCloseTo(0.1566, 4);
    expect(gain("GSM8K")).toBeCloseTo(0.0742, 4);
    expect(gain("CSQA")).toBeCloseTo(0.094, 4);
    expect(gain("GSM8K", "Qwen-2.5-1.5B-Base")).toBeCloseTo(0.2065, 4);
    expect(plusMinus(cell(table, "MATH", "MALT").accuracy, cell(table, "MATH", "MALT").std)).toBe("57.25 ± 1.48");
    expect(table).toHaveLength(40);
  });

  it("hold no mistyped mean or deviation: four runs of 100 questions can have all but one", async () => {
    const rows = [...(await publishedTable(1)), ...(await publishedTable(3))];
    const impossible = rows.filter((row) => {
      const [mean, std] = [row.accuracy! * 100, row.std! * 100];
      expect(4 * mean).toBeCloseTo(Math.round(4 * mean), 9);
      return !attainable(mean, std, 4) && !attainable(mean, std, 3);
    });
    // √7.5 = 2.7386 was printed as 2.73.
    expect(impossible).toEqual([cell(rows, "MATH", "STaR SA+MV")]);
    const byN = rows.filter((row) => attainable(row.accuracy! * 100, row.std! * 100, 4));
    expect(new Set(byN.map((row) => row.model))).toEqual(new Set([llama, "Llama-3.1-70B-Instruct"]));
    expect(byN).toHaveLength(29 + 5);
  });

  it("agree with one another wherever they give the same number", async () => {
    const main = await publishedTable(1);
    for (const number of [2, 4, 5, 7]) {
      for (const row of await publishedTable(number)) {
        if (row.system !== "SA" && row.system !== "MALT") continue;
        expect(row.accuracy, `Table ${number}, ${row.benchmark}`).toBe(
          cell(main, row.benchmark, row.system, row.model).accuracy,
        );
      }
    }
    expect(await publishedTable(6)).toEqual(await publishedTable(3));
    const numbers = (rows: PublishedRow[]) => rows.map(({ printed, ...row }) => row);
    expect(numbers(await publishedTable(7))).toEqual(numbers(await publishedTable(2)));
    for (const flips of await publishedFlips()) {
      const right = flips.corrected! + flips.kept_right!;
      expect(Math.abs(right - cell(main, flips.benchmark, "MALT").accuracy!)).toBeLessThan(0.0011);
      expect(Math.abs(right + flips.kept_wrong! + flips.broken! - 1)).toBeLessThan(0.0025);
    }
    // Section 5.3 names the untrained generator's row.
    expect(cell(await publishedTable(4), "MATH", "mix VR").accuracy).toBe(0.5425);
    for (const row of (await publishedTable(5)).filter(({ system }) => system === "ablation G"))
      expect(row.accuracy).toBe(cell(main, row.benchmark, "STaR SA+MV").accuracy);
    const dpo = await publishedGeneratorDpo();
    expect(cell(dpo, "MATH", "generator SFT+DPO").accuracy).toBeLessThan(cell(dpo, "MATH", "STaR SA").accuracy!);
  });

  it("give the gains that the README sets against Section 5.2", async () => {
    const table = await publishedTable(1);
    const readme = await readFile(dataPath("published", "README.md"), "utf8");
    const benchmarks = ["GSM8K", "CSQA", "MATH"];
    const voting = ["SA+MV", "MA+MV", "STaR SA+MV", "STaR MA+MV"];
    const line = (name: string, of: (benchmark: string) => number) => {
      const [malt, theirs] = [
        benchmarks.map((benchmark) => cell(table, benchmark, "MALT").accuracy!),
        benchmarks.map(of),
      ];
      const points = malt.map((share, i) => (100 * (share - theirs[i]!)).toFixed(2)).join(", ");
      return `| ${name} | ${points} | ${malt.map((share, i) => (100 * (share / theirs[i]! - 1)).toFixed(1)).join(", ")} |`;
    };
    const baselines = table.filter(({ system }) => !system.startsWith("MALT"));
    const best = (benchmark: string, model = llama) =>
      Math.max(
        ...baselines.filter((row) => row.model === model && row.benchmark === benchmark).map((row) => row.accuracy!),
      );
    for (const system of voting)
      expect(readme).toContain(line(system, (benchmark) => cell(table, benchmark, system).accuracy!));
    expect(readme).toContain(line("the best of all, by benchmark", (benchmark) => best(benchmark)));
    const all = voting.flatMap((system) =>
      benchmarks.map((name) => [cell(table, name, "MALT").accuracy!, cell(table, name, system).accuracy!] as const),
    );
    const range = (gains: number[], digits: number) =>
      [Math.min(...gains), Math.max(...gains)].map((gain) => (100 * gain).toFixed(digits)).join(" to ");
    expect(readme).toContain(
      `${range(
        all.map(([malt, other]) => malt - other),
        2,
      )} points`,
    );
    expect(readme).toContain(
      `${range(
        all.map(([malt, other]) => malt / other - 1),
        1,
      )} %`,
    );
    const qwen = "Qwen-2.5-1.5B-Base";
    expect(cell(table, "GSM8K", "MALT", qwen).accuracy! - best("GSM8K", qwen)).toBeCloseTo(0.095, 9);
  });

  it("give the rows of a run's own benchmark, of its own model if the paper has that one, and none otherwise", async () => {
    const sources = async (table: number, benchmark: string, model: string) => {
      const rows = publishedFor(await publishedTable(table), { benchmark, model });
      return [...new Set(rows.map((row) => `${row.model}, ${row.benchmark}`))];
    };
    expect(await sources(1, "math", "malt-tiny")).toEqual([`${llama}, MATH`]);
    expect(await sources(1, "gsm8k", "malt-tiny")).toEqual([`${llama}, GSM8K`]);
    expect(await sources(1, "gsm8k", "Qwen/Qwen2.5-1.5B")).toEqual(["Qwen-2.5-1.5B-Base, GSM8K"]);
    expect(await sources(1, "gsm8k", "/models/Qwen-2.5-1.5B-Base")).toEqual(["Qwen-2.5-1.5B-Base, GSM8K"]);
    expect(await sources(1, "csqa", "meta-llama/Llama-3.1-8B-Instruct")).toEqual([`${llama}, CSQA`]);
    expect(await sources(3, "gsm_symbolic", "meta-llama/Llama-3.1-70B-Instruct")).toEqual([
      "Llama-3.1-70B-Instruct, GSM-Symbolic-P1",
    ]);
    for (const benchmark of ["arithmetic", "gsm8k+math", "constructor", ""])
      expect(await sources(1, benchmark, llama)).toEqual([]);
    expect(await sources(1, "gsm_symbolic", llama)).toEqual([]);
    expect(publishedFor(await publishedTable(1), { benchmark: "math", model: "" })).toHaveLength(10);
  });

  it("leave a number nobody printed empty: null, and a dash on the page", async () => {
    const turns = await publishedTurns();
    expect(turns.filter((row) => row.benchmark === "MATH").map((row) => row.accuracy)).toEqual([0.535, 0.5575, 0.5725]);
    const unread = turns.filter((row) => row.accuracy === null);
    expect(unread.map((row) => `${row.benchmark} ${row.turn}`)).toEqual([
      "GSM8K generator",
      "GSM8K verifier",
      "CSQA generator",
      "CSQA verifier",
    ]);
    expect(plusMinus(unread[0]!.accuracy)).toBe("–");
    expect(cell(await publishedTable(4), "MATH", "MALT").std).toBeNull();
  });

  it("are refused when damaged, with the file and line", async () => {
    await expect(publishedTable(8)).rejects.toThrow(InputError);
    const dir = await mkdtemp(join(tmpdir(), "published["));
    const shape = z.strictObject({
      system: z.string(),
      accuracy: z.string().regex(/^\d/, "expected a number").nullable(),
    });
    try {
      await writeFile(join(dir, "good.csv"), 'system,accuracy\n"a, b",\n');
      expect(await readPublished("good.csv", shape, `${dir}/`)).toEqual([{ system: "a, b", accuracy: null }]);
      await writeFile(join(dir, "bad.csv"), "system,accuracy\nSA,49.50\nMALT,high\n");
      await expect(readPublished("bad.csv", shape, `${dir}/`)).rejects.toThrow(
        "data/published/bad.csv, line 3: accuracy: expected a number",
      );
      await expect(readPublished("absent.csv", shape, `${dir}/`)).rejects.toThrow(/absent\.csv: .*restore it/s);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

it("the page on the paper's open places names options that the commands have", async () => {
  const readme = await readFile(dataPath("published", "README.md"), "utf8");
  const program = new Command();
  for (const register of [trainCommand, exportCommand, evaluateCommand]) register(program);
  const known = new Set(program.commands.flatMap(({ options }) => options.map(({ long }) => long)));
  const named = [...new Set(readme.match(/--[a-z][a-z-]+/g))];
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((option) => !known.has(option))).toEqual([]);
});
