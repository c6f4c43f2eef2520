import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { publishedTable } from "../../src/evaluate/published.js";
import { besidePublished, flips, perTurn, summariseSystems, turnedPasses } from "../../src/evaluate/results.js";
import { exampleText } from "../../src/show/examples.js";
import { readPaper, results } from "../../src/show/results.js";
import type { EvaluationRow } from "../../src/types.js";

/** Rows of one pass whose vote is its own answer: per question one mark for each turn, `+` right and `-` wrong. */
function rows(system: string, marks: readonly string[], { seed = 0, passes = 1 } = {}): EvaluationRow[] {
  return marks.flatMap((turns, q) =>
    [...turns].flatMap((mark, depth) =>
      Array.from({ length: passes }, (_, pass) => ({
        benchmark: "sums",
        system,
        seed,
        question_id: `q${q}`,
        pass,
        turn: ["generator", "verifier", "refiner"][depth]!,
        text: null,
        answer: mark === "+" ? "12" : "7",
        correct: mark === "+",
        voted_answer: mark === "+" ? "12" : "7",
        voted_correct: mark === "+",
        completion_tokens: 10 * (depth + 1),
      })),
    ),
  );
}

describe("passes for examples", () => {
  it("are those whose last turn is right and first was wrong, or the other way round, turn by turn", () => {
    const table = [...rows("MALT", ["--+", "+-+", "+--", "-++"], { passes: 2 }), ...rows("SA", ["-"])];
    const chosen = (isRight: boolean) =>
      turnedPasses(table, "MALT", isRight).map((turns) => turns.map((r) => `${r.question_id} ${r.pass} ${r.turn[0]}`));
    const pass = (q: number, p: number) => ["g", "v", "r"].map((turn) => `q${q} ${p} ${turn}`);
    expect(chosen(true)).toEqual([pass(0, 0), pass(0, 1), pass(3, 0), pass(3, 1)]);
    expect(chosen(false)).toEqual([pass(2, 0), pass(2, 1)]);
    expect(turnedPasses(table, "SA", true)).toEqual([]);
    expect(() => turnedPasses(table, "MA", true)).toThrow('system "MA" is not in this evaluation');
  });

  it("are printed with question and texts", () => {
    const [g, v, r] = rows("MALT", ["-++"]).map((row, i) => ({ ...row, text: ["It is\n7.", null, "12"][i]! }));
    const question = {
      id: "q0",
      benchmark: "sums",
      split: "test",
      question: "3 x 4?",
      choices: null,
      answer: "12",
    } as const;
    expect(exampleText([g!, v!, { ...r!, answer: null, correct: false }], question)).toBe(
      "MALT, question q0, seed 0, pass 1\nquestion (answer: 12)\n    3 x 4?\ngenerator (7, wrong)\n    It is\n    7.\n" +
        "verifier (12, right)\n    … the text was not kept\nrefiner (no answer)\n    12",
    );
  });
});

describe("the table of systems", () => {
  const table = [
    ...rows("SA", ["+", "-", "-", "+"]),
    ...rows("SA", ["-", "-", "-", "+"], { seed: 1 }),
    ...rows("MALT", ["--+", "+-+", "---", "-++"], { passes: 3 }),
    ...rows("MALT", ["+++", "---", "--+", "--+"], { seed: 1, passes: 3 }),
  ];

  it("has each seed's accuracy by the last turn's vote, and their mean and spread", () => {
    const [sa, malt] = summariseSystems(table);
    expect([sa!.system, sa!.bySeed, malt!.bySeed]).toEqual(["SA", [0.5, 0.25], [0.75, 0.75]]);
    expect(sa!.overSeeds).toMatchObject({ mean: 0.375, population: 0.125, n: 2 });
    expect(sa!.overSeeds.sample).toBeCloseTo(0.125 * Math.SQRT2, 12);
    expect(sa!.accuracy).toMatchObject({ mean: 0.375, n: 8, clusters: 4 });
  });

  it("counts the tokens of all turns and passes per question; none where one is not counted", () => {
    const [sa, malt] = summariseSystems(table);
    expect([sa!.tokens, malt!.tokens]).toEqual([10, 3 * (10 + 20 + 30)]);
    const uncounted = table.map((row, i) => (i === 0 ? { ...row, completion_tokens: null } : row));
    expect(summariseSystems(uncounted).map(({ tokens }) => tokens)).toEqual([null, 180]);
  });

  it("says how often a vote had no majority, and what then decided", async () => {
    const votes = (system: string, answers: readonly string[], question_id: string): EvaluationRow[] =>
      rows(system, ["+"], { passes: answers.length }).map((row, i) => ({ ...row, question_id, answer: answers[i]! }));
    const own = [
      ...votes("SA+MV", ["28", "28\\%", "3"], "q0"),
      ...votes("SA+MV", ["1", "2", "3"], "q1"),
      ...votes("SA+MV", ["x \\ge 5", "7", "5 \\le x"], "q2"),
      ...votes("SA+MV", ["4", "4", "4"], "q3"),
      ...votes("SA", ["4"], "q0"),
    ];
    expect(summariseSystems(own).map(({ undecided }) => undecided)).toEqual([0.25, null]);
    const text = results(own, await readPaper("math"));
    expect(text).toMatch(/without a majority: 25\.0 % of SA\+MV\. .*the one given first/s);
  });

  it("is of one benchmark: rows of two, whose questions may have the same ids, are refused", () => {
    const mixed = [...table, ...rows("SA+MV", ["+"]).map((row) => ({ ...row, benchmark: "other" }))];
    for (const use of [() => summariseSystems(mixed), () => perTurn(mixed, "MALT"), () => flips(mixed, "MALT", "SA")])
      expect(use).toThrow(/several benchmarks \("sums", "other", …\); choose those of one/);
  });

  it("compares with MALT on the same questions and seeds; questions keep their seeds together", () => {
    const [sa, malt] = summariseSystems(table);
    expect(malt!.against).toBeNull();
    // Differences by question over both seeds: q0 0+1, q1 1+0, q2 0+1, q3 0+0. Sign flips of 1, 1, 1: p = 2/8.
    expect(sa!.against).toMatchObject({ p: 0.25, pHolm: 0.25, method: "exact", mcnemar: { better: 3, worse: 0 } });
    expect(sa!.against!.difference).toMatchObject({ mean: 3 / 8, n: 8, clusters: 4 });
    const [, reversed] = summariseSystems(table, "SA");
    expect(reversed!.against!.difference.mean).toBe(-3 / 8);
  });

  it("adjusts p for the number of comparisons, and takes the first system where there is no MALT", () => {
    const three = ["a", "b", "c"].flatMap((name, i) => rows(name, i === 0 ? Array(8).fill("+") : Array(8).fill("-")));
    const [first, second, third] = summariseSystems(three);
    expect(first!.against).toBeNull();
    expect([second!.against!.p, second!.against!.pHolm, third!.against!.pHolm]).toEqual([2 / 256, 4 / 256, 4 / 256]);
  });

  it("of nothing, or against a system that is not there, is refused with what there is", () => {
    expect(() => summariseSystems([])).toThrow(InputError);
    expect(() => summariseSystems(table, "STaR")).toThrow('system "STaR" is not in this evaluation; it has: SA, MALT');
    expect(() => perTurn(table, "STaR")).toThrow("it has: SA, MALT");
    const apart = [...rows("SA", ["+"]), ...rows("MALT", ["+"], { seed: 1 })];
    expect(() => summariseSystems(apart)).toThrow("share no question");
  });
});

describe("turns and flips", () => {
  it("give the accuracy after each turn, of votes and of single passes", () => {
    const own = rows("MALT", ["--+", "+-+", "---", "-++"], { passes: 3 });
    const lucky = own.map((row) => (row.turn === "generator" && row.pass === 0 ? { ...row, correct: true } : row));
    expect(perTurn(lucky, "MALT").map(({ turn, voted, single }) => [turn, voted.mean, single.mean])).toEqual([
      ["generator", 1 / 4, 6 / 12],
      ["verifier", 1 / 4, 3 / 12],
      ["refiner", 3 / 4, 9 / 12],
    ]);
  });

  it("count what becomes right and wrong against single agents' votes, at each turn", () => {
    const table = [...rows("SA+MV", ["+", "-", "-", "+"]), ...rows("MALT", ["-++", "+-+", "-+-", "+--"])];
    const means = flips(table, "MALT").map((f) => [f.turn, f.toCorrect, f.toIncorrect, f.ofWrong, f.ofRight]);
    expect(means.map(([turn, ...rest]) => [turn, ...rest.map((e) => (e as { mean: number }).mean)])).toEqual([
      ["generator", 0.25, 0.25, 0.5, 0.5],
      ["verifier", 0.25, 0.25, 0.5, 0.5],
      ["refiner", 0.25, 0.25, 0.5, 0.5],
    ]);
    expect(() => flips(rows("MALT", ["+"]), "MALT")).toThrow('system "SA+MV" is not in this evaluation');
  });

  it("differ by exactly the gain in accuracy", () => {
    const outcome = fc.tuple(fc.constantFrom("+", "-"), fc.constantFrom("+++", "--+", "+--", "---"));
    fc.assert(
      fc.property(fc.array(outcome, { minLength: 1, maxLength: 30 }), (outcomes) => {
        const single = rows(
          "SA+MV",
          outcomes.map(([a]) => a),
        );
        const team = rows(
          "MALT",
          outcomes.map(([, b]) => b),
        );
        const [sa, malt] = summariseSystems([...single, ...team]);
        const last = flips([...single, ...team], "MALT").at(-1)!;
        const gain = malt!.overSeeds.mean - sa!.overSeeds.mean;
        expect(last.toCorrect.mean - last.toIncorrect.mean).toBeCloseTo(gain, 12);
      }),
      { numRuns: 50 },
    );
  });
});

describe("beside the paper's numbers", () => {
  const measured = summariseSystems([...rows("debate", ["+"]), ...rows("SA", ["-"]), ...rows("mine", ["+"])]);

  it("stand the systems of the same name; of two cells for one place, the one with a deviation", async () => {
    const published = [...(await publishedTable(2)), ...(await publishedTable(1))];
    const { columns, rows: joined } = besidePublished(measured, published);
    expect(columns.map(({ model, benchmark }) => `${model} ${benchmark}`)).toEqual([
      "Llama-3.1-8B-Instruct MATH",
      "Llama-3.1-8B-Instruct CSQA",
      "Llama-3.1-8B-Instruct GSM8K",
      "Qwen-2.5-1.5B-Base GSM8K",
    ]);
    expect(joined.map(({ system }) => system)).toEqual(["debate", "SA"]);
    expect(joined.map((row) => row.published.map((cell) => cell && [cell.accuracy, cell.std]))).toEqual([
      [[0.52, null], [0.7125, null], [0.8675, null], null],
      [
        [0.495, 0.0206],
        [0.745, 0.0335],
        [0.8425, 0.0228],
        [0.6175, 0.0472],
      ].map((pair) => pair.map(near)),
    ]);
    expect(joined[0]!.measured.mean).toBe(1);
  });

  it("stands nothing where the paper has none of the systems", () => {
    expect(besidePublished(measured, [])).toEqual({ columns: [], rows: [] });
  });

  it("are printed with the measured ones, and it says that they are of other models", async () => {
    const table = [
      ...rows("SA+MV", ["+", "-", "-", "+"], { passes: 3 }),
      ...rows("MALT", ["--+", "+-+", "---", "-++"], { passes: 3 }),
    ];
    const text = results(table, await readPaper("arithmetic"));
    expect(text).toMatch(/^SA\+MV {2,}50\.0 % {2,}– \(0\.0\) .* 25\.0 .* 1\.0000 {2,}1\.0000$/m);
    expect(text).toMatch(/^MALT {2,}25\.0 % {2,}25\.0 % {2,}75\.0 %$/m);
    expect(text).toMatch(/^paper: MALT, Llama-3\.1-8B-Instruct, MATH {2,}53\.5 % {2,}55\.8 % {2,}57\.3 %$/m);
    expect(text).toMatch(/^MALT {2,}25\.0 % {2,}0\.0 % {2,}50\.0 % {2,}0\.0 %$/m);
    expect(text).toMatch(/^paper: MALT, .* GSM8K {2,}9\.5 % {2,}3\.8 % {2,}62\.1 % {2,}4\.5 %$/m);
    expect(text).toMatch(
      /^MALT {2,}75\.00 {2,}90\.50 ± 2\.06 {2,}81\.50 ± 2\.29 {2,}57\.25 ± 1\.48 {2,}74\.50 ± 2\.65$/m,
    );
    expect(text).toContain("only the order of the systems can be compared");
    const symbolic = results(table, await readPaper("gsm_symbolic"));
    expect(symbolic).toMatch(/^MALT {2,}75\.00 {2,}84\.75 ± 3\.30$/m);
  });
});

const near = (value: number) => expect.closeTo(value, 10);
