import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerKind, grade, gradeText } from "../../src/answers/index.js";
import { download, fileSha256 } from "../../src/benchmarks/download.js";
import { checkHeldOut, unseen } from "../../src/benchmarks/held-out.js";
import { questionList } from "../../src/benchmarks/list.js";
import { type LoadOptions, loadQuestions, questionsIn } from "../../src/benchmarks/load.js";
import { InputError } from "../../src/errors.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "malt-benchmarks-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const sample = (name: string) => new URL(`../../data/samples/${name}.jsonl`, import.meta.url);

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}
const jsonl = (name: string, rows: unknown[]) => file(name, rows.map((row) => JSON.stringify(row)).join("\n"));

/** The error of loading a file; fails the test if it loads. */
async function failure(source: string | URL, options?: LoadOptions): Promise<string> {
  const error = await loadQuestions(source, options).then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(InputError);
  const { message } = error as Error;
  expect(message).not.toContain("\n");
  return message;
}

describe("published forms", () => {
  it("reads GSM8K: the number behind #### in canonical form, ids by split and row", async () => {
    const questions = await loadQuestions(sample("gsm8k-train"));
    expect(questions.map((q) => q.answer)).toEqual(["32", "3600", "15", "-5"]);
    expect(questions[1]).toMatchObject({ id: "gsm8k-train-1", benchmark: "gsm8k", split: "train", choices: null });
  });

  it("reads MATH: ids and answers of the file", async () => {
    const questions = await loadQuestions(sample("math-test"));
    expect(questions.map((q) => q.answer)).toEqual(["7", "\\frac{3}{8}", "\\left( 3, 7 \\right)"]);
    expect(questions[0]).toMatchObject({ id: "sample/algebra/0.json", benchmark: "math", split: "test" });
  });

  it("reads MATH without an answer field: the last box of the solution, nested braces and all", async () => {
    const solution = "First $\\boxed{1}$, no: $\\boxed{\\frac{\\sqrt{2}}{3}}$.";
    const path = await jsonl("hendrycks-train.jsonl", [{ problem: "?", solution, level: "Level 1", type: "Algebra" }]);
    const [question] = await loadQuestions(path);
    expect(question).toMatchObject({ id: "math-train-0", answer: "\\frac{\\sqrt{2}}{3}" });
  });

  it("reads CommonsenseQA: letters, option texts, and dev as the test split", async () => {
    const questions = await loadQuestions(sample("csqa-dev"));
    expect(questions.map((q) => q.answer)).toEqual(["C", "B", "E"]);
    expect(questions[0]?.choices).toHaveLength(5);
    expect(questions[0]).toMatchObject({ id: "sample-umbrella", benchmark: "csqa", split: "test" });
  });

  it("reads GSM-Symbolic as test only, with the variant in the id", async () => {
    const questions = await loadQuestions(sample("gsm_symbolic-p1"));
    expect(questions.map((q) => q.id)).toEqual([0, 1, 2].map((i) => `gsm_symbolic-p1-${["0-0", "0-1", "1-0"][i]}`));
    expect(questions.map((q) => q.answer)).toEqual(["51", "87", "12.5"]);
    expect(await failure(sample("gsm_symbolic-p1"), { split: "train" })).toMatch(/evaluation only/);
  });

  it("reads the own form with and without options", async () => {
    const questions = await loadQuestions(sample("own-test"), { benchmark: "travel" });
    expect(questions[0]).toMatchObject({ id: "trains", benchmark: "travel", split: "test", choices: null });
    expect(questions[1]).toMatchObject({ answer: "B", choices: ["red and white", "blue and yellow", "black and red"] });
  });

  it("reads options as {label, text} and translates other labels to letters", async () => {
    const choices = [1, 2].map((n) => ({ label: String(n), text: `option ${n}` }));
    const [question] = await loadQuestions(
      await jsonl("labels.jsonl", [{ id: "a", question: "?", answer: "2", choices }]),
    );
    expect(question).toMatchObject({ answer: "B", choices: ["option 1", "option 2"] });
  });

  it("reads Parquet and CSV as exported by Hugging Face, and this project's questions.parquet", async () => {
    const db = await (await DuckDBInstance.create(":memory:")).connect();
    const parquet = join(folder, "validation-00000-of-00001.parquet");
    await db.run(`COPY (SELECT 'q1' AS id, 'Where?' AS question, 'x' AS question_concept,
      {'label': ['A','B'], 'text': ['here','there']} AS choices, 'B' AS answerKey) TO '${parquet}' (FORMAT parquet)`);
    const [fromParquet] = await loadQuestions(parquet);
    expect(fromParquet).toMatchObject({
      id: "q1",
      split: "test",
      benchmark: "csqa",
      answer: "B",
      choices: ["here", "there"],
    });

    const own = join(folder, "questions.parquet");
    await db.run(`COPY (SELECT 'q2' AS question_id, 'mine' AS benchmark, 'test' AS split, 'Which?' AS question,
      '["p","q"]' AS choices, 'A' AS answer) TO '${own}' (FORMAT parquet)`);
    expect(await loadQuestions(own)).toEqual([
      { id: "q2", benchmark: "mine", split: "test", question: "Which?", choices: ["p", "q"], answer: "A" },
    ]);

    const csv = await file("test.csv", 'question,answer\n"Two, and\ntwo?","2+2 = 4\n#### 4"\n');
    expect(await loadQuestions(csv)).toMatchObject([{ id: "gsm8k-test-0", question: "Two, and\ntwo?", answer: "4" }]);
  });

  it("keeps strings as they are: nothing is taken for a date, a number or a UUID", async () => {
    const row = { id: "1afa02df02c908a558b4036e80242fac", question: "2020-01-01", answer: "007" };
    const [question] = await loadQuestions(await jsonl("types.jsonl", [row]));
    expect(question).toMatchObject(row);
  });

  it("takes a path literally, wildcards included", async () => {
    await jsonl("a1.jsonl", [{ id: "wrong", question: "?", answer: "1" }]);
    const path = await jsonl("a[1].jsonl", [{ id: "right", question: "?", answer: "1" }]);
    expect((await loadQuestions(path)).map((q) => q.id)).toEqual(["right"]);
  });
});

describe("the form is told by the content of every row", () => {
  const solved = (n: string) => `2 * ${n} = <<2*${n}=…>>…\nSo it is ${n}.\n#### ${n}`;

  it("GSM8K with ids of its own: the gold answer is what follows ####", async () => {
    const rows = ["1,080", "-5", "$2.50"].map((n, i) => ({ id: i, question: `What is ${n}?`, answer: solved(n) }));
    for (const options of [{}, { benchmark: "gsm8k" }, { benchmark: "GSM8K" }]) {
      const questions = await loadQuestions(await jsonl("ids.jsonl", rows), options);
      expect(questions.map(({ id, benchmark, answer }) => [id, benchmark, answer])).toEqual([
        ["0", "gsm8k", "1080"],
        ["1", "gsm8k", "-5"],
        ["2", "gsm8k", "2.5"],
      ]);
    }
    const renamed = rows.map(({ id, ...rest }) => ({
      question_id: `q${id}`,
      split: "test",
      benchmark: "mine",
      ...rest,
    }));
    const [first] = await loadQuestions(await jsonl("ids.jsonl", renamed));
    expect(first).toMatchObject({ id: "q0", split: "test", benchmark: "mine", answer: "1080" });
    // A count of instances alone makes no GSM-Symbolic.
    const own = [{ id: "a", question: "?", answer: "7", instance: 3 }];
    expect(await loadQuestions(await jsonl("ids.jsonl", own))).toMatchObject([{ id: "a", benchmark: "own" }]);
  });

  it("MATH: with and without solution, answer and id; of a worked solution the last box", async () => {
    const solution = "First $\\boxed{1}$ and $\\boxed{7}$.";
    const rows = [
      [{ id: "a", problem: "?", solution }, "a", "7"],
      [{ problem: "?", solution, answer: "8" }, "math-train-0", "8"],
      [{ id: 60, problem: "?", answer: "204", year: 2024 }, "60", "204"],
      [{ id: "b", question: "?", answer: solution }, "b", "7"],
      [{ id: "c", question: "?", solution }, "c", "7"],
      [{ question: "?", solution, answer: "7.0" }, "math-train-0", "7.0"],
      [{ id: "d", problem: "?", solution, unique_id: "test/algebra/1.json" }, "test/algebra/1.json", "7"],
    ] as const;
    for (const [row, id, answer] of rows)
      expect(await loadQuestions(await jsonl("boxed.jsonl", [row]))).toMatchObject([{ id, answer, benchmark: "math" }]);
    const own = [{ id: "a", question: "?", solution, answer: "7.0" }];
    expect(await loadQuestions(await jsonl("boxed.jsonl", own))).toMatchObject([{ benchmark: "own", answer: "7.0" }]);
    const empty = [{ id: "a", question: "?", answer: "\\boxed{}" }];
    expect(await failure(await jsonl("boxed.jsonl", empty), { onSkip: () => {} })).toMatch(
      /no question with an answer/,
    );
    const none = [{ problem: "?", solution: "It is 7." }];
    expect(await failure(await jsonl("boxed.jsonl", none))).toMatch(/line 1: field "solution" holds no \\boxed/);
  });

  it("CommonsenseQA in both shapes, without ids too", async () => {
    const choices = [
      { label: "A", text: "here" },
      { label: "B", text: "there" },
    ];
    const nested = { question: { stem: "Where?", choices }, answerKey: "B" };
    const flat = { question: "Where?", choices: { label: ["A", "B"], text: ["here", "there"] }, answerKey: "B" };
    for (const row of [nested, flat, { ...flat, choices }])
      expect(await loadQuestions(await jsonl("csqa.jsonl", [row]))).toMatchObject([
        { id: "csqa-train-0", question: "Where?", choices: ["here", "there"], answer: "B" },
      ]);
    const blind = { question: nested.question, id: "x" };
    expect(await failure(await jsonl("csqa.jsonl", [blind]))).toMatch(/line 1: field "answerKey" is missing/);
  });

  it("a file of two forms is an error that names the line", async () => {
    const own = { id: "a", question: "1?", answer: "1" };
    const gsm8k = { id: "b", question: "2?", answer: solved("2") };
    const boxed = { id: "c", question: "3?", answer: "\\boxed{3}" };
    const mixed = async (rows: unknown[], options?: LoadOptions) => failure(await jsonl("forms.jsonl", rows), options);
    expect(await mixed([own, gsm8k])).toMatch(/line 2: .*form of gsm8k, but .*line 1 that of own/);
    expect(await mixed([own, boxed])).toMatch(/line 2: .*form of math, but .*line 1 that of own/);
    expect(await mixed([gsm8k, own])).toMatch(/line 2: field "answer" must end in "#### <number>", received "1"/);
    expect(await mixed([gsm8k, gsm8k, own], { benchmark: "gsm8k" })).toMatch(/line 2: id "b" was already used/);
  });

  it("a named benchmark decides, or the error says why not", async () => {
    const named = async (row: unknown, benchmark: string) => failure(await jsonl("named.jsonl", [row]), { benchmark });
    const own = { id: "a", question: "?", answer: "\\frac{1}{2}+x" };
    expect(await named(own, "gsm8k")).toMatch(/named.jsonl line 1: field "answer" must be a number or end in "####/);
    expect(await named(own, "gsm-symbolic")).toMatch(/line 1: field "answer" must be a number/);
    expect(await named(own, "csqa")).toMatch(/line 1: field "choices" is missing/);
    expect(await named({ question: "?", answer: solved("2") }, "math")).toMatch(/line 1: field "answer" holds "####"/);
    expect(await named({ question: "?", answer: solved("2") }, "csqa")).toMatch(
      /line 1: field "choices" must be a list/,
    );
    expect(await named({ problem: "?", solution: "$\\boxed{1}$" }, "gsm8k")).toMatch(
      /line 1: field "question" is missing/,
    );
    expect(await named({ ...own, answer: "7", split: "train" }, "gsm_symbolic")).toMatch(
      /field "split" must be "test"/,
    );
    // The own form with answers of that kind, such as the questions.parquet of a run.
    const [question] = await loadQuestions(await jsonl("named.jsonl", [{ ...own, answer: "7" }]), {
      benchmark: "MATH",
    });
    expect(question).toMatchObject({ benchmark: "math", answer: "7" });
  });

  it.each([
    [
      "a worked solution",
      "Natalia sold 48/2 = 24 clips in May. Altogether she sold 48+24 = 72 clips in both months.",
      /worked solution.*####/,
    ],
    ["a letter of options elsewhere", "B", /field "options" seems to hold the options; .*"choices"/],
  ])("%s as the answer of the own form is an error", async (_, answer, message) => {
    const row = { id: "a", question: "?", answer, options: ["x", "y"] };
    expect(await failure(await jsonl("worked.jsonl", [row]))).toMatch(message);
  });

  it("what may be wrong is reported: unread answers, equal options, repeated questions", async () => {
    const rows = [
      { id: "a", question: "How many?", answer: "5" },
      { id: "b", question: "how  many?", answer: "6" },
      { id: "c", question: "Why?", answer: "The answer is 5" },
      { id: "d", question: "Which?", answer: "A", choices: ["x", "y", "x"] },
      { id: "e", question: "Which?", answer: "B", choices: ["x", "y"] },
      { id: "f", question: "What?", answer: "nan" },
    ];
    const doubts: string[] = [];
    const path = await jsonl("doubts.jsonl", rows);
    await loadQuestions(path, { onDoubt: (message) => doubts.push(message) });
    expect(doubts).toEqual([
      expect.stringMatching(/^2 of 6 answers are not read as mathematics.*line 3 \("The answer is 5"\)/),
      expect.stringMatching(/^1 of 6 questions have the same option twice, the first at .*line 4; in 1 of them/),
      expect.stringMatching(
        /^1 of 6 questions repeat an earlier one, 1 of them with another answer.*line 2, as at .*line 1$/,
      ),
    ]);
    doubts.length = 0;
    await loadQuestions(path, { limit: 1, onDoubt: (message) => doubts.push(message) });
    expect(doubts).toEqual([]);
  });
});

describe("MATH in its two splits", () => {
  const problem = (n: number) => ({
    ...{ problem: `What is ${n}?`, level: "Level 1", type: "Algebra", solution: `It is $\\boxed{${n}}$.` },
  });
  const place = async (name: string, row: unknown) => {
    await mkdir(join(folder, name, ".."), { recursive: true });
    return file(name, JSON.stringify(row, null, 4));
  };
  beforeAll(async () => {
    for (const [split, n] of [
      ["train", 1],
      ["train", 2],
      ["train", 10],
      ["test", 3],
    ] as const)
      await place(`MATH/${split}/algebra/${n}.json`, problem(n));
    await place("MATH/train/geometry/1.json", problem(11));
    await file("MATH/README.md", "MATH");
    await file("MATH/train/._1.json", "not a question");
  });
  const original = (name: string, options?: LoadOptions) => loadQuestions(join(folder, name), options);

  it("as its authors publish it, one JSON file per problem: ids by place, the split by the folder", async () => {
    const train = await original("MATH/train");
    expect(train.map(({ id, answer }) => [id, answer])).toEqual([
      ["train/algebra/1.json", "1"],
      ["train/geometry/1.json", "11"],
      ["train/algebra/2.json", "2"],
      ["train/algebra/10.json", "10"],
    ]);
    for (const question of train)
      expect(question).toMatchObject({ benchmark: "math", split: "train", partition: "original" });
    expect(await original("MATH/test/algebra")).toMatchObject([{ id: "test/algebra/3.json", split: "test" }]);
    const doubts: string[] = [];
    const all = await original("MATH", { onDoubt: (message) => doubts.push(message) });
    expect(new Map(all.map(({ id, split }) => [split, id]))).toHaveLength(2);
    expect(doubts).toEqual([expect.stringMatching(/4 of split "train" and 1 of split "test"|1 of split "test" and 4/)]);
    expect(await original("MATH", { split: "test" })).toHaveLength(1);
    expect(await failure(join(folder, "MATH"), { split: "validation" })).toMatch(/no question of split "validation"/);
  });

  it("a folder has one SHA-256, of the names and contents of its files", async () => {
    const before = await fileSha256(join(folder, "MATH"));
    expect(await fileSha256(join(folder, "MATH"))).toBe(before);
    await place("MATH/train/algebra/1.json", problem(12));
    expect(await fileSha256(join(folder, "MATH"))).not.toBe(before);
    await place("MATH/train/algebra/1.json", problem(1));
    expect(await fileSha256(join(folder, "MATH"))).toBe(before);
  });

  it("a faulty file of the folder is named", async () => {
    await place("faulty/test/algebra/1.json", problem(1));
    const path = await place("faulty/test/algebra/2.json", { ...problem(2), problem: null });
    expect(await failure(join(folder, "faulty"))).toContain(`${path} line 1: field "problem" is missing`);
    await file("faulty/test/algebra/2.json", '{\n"problem": "?",\n');
    expect(await failure(join(folder, "faulty"))).toMatch(/algebra\/2\.json line 1: not valid JSON/);
    await mkdir(join(folder, "hollow"));
    expect(await failure(join(folder, "hollow"))).toMatch(/not a file, and no question file is below it/);
  });

  it("PRM800K's is told by its ids, and says that test questions of the original are among those for training", async () => {
    const row = (id: string, n: number) => ({
      ...problem(n),
      type: undefined,
      subject: "Algebra",
      level: 1,
      unique_id: id,
    });
    const path = await jsonl("prm-train.jsonl", [row("train/algebra/1.json", 1), row("test/algebra/3.json", 3)]);
    const doubts: string[] = [];
    const train = await loadQuestions(path, { onDoubt: (message) => doubts.push(message) });
    expect(train.map(({ split, partition }) => [split, partition])).toEqual(Array(2).fill(["train", "PRM800K"]));
    expect(doubts).toEqual([
      expect.stringMatching(/^1 of these 2 .*PRM800K's split of 12,000 .* 500 .*not the paper's/),
    ]);
    const test = await original("MATH/test");
    expect(() => checkHeldOut(train, new Map([["MATH/test", test]]))).toThrow(
      /"test\/algebra\/3.json" of the run has the id of a held-out question in MATH\/test .*PRM800K/,
    );
    checkHeldOut(await original("MATH/train"), new Map([["MATH/test", test]]));
  });

  it("the list of a run knows the split; the bytes of the questions do not depend on it", async () => {
    const list = await questionList(await original("MATH/train"));
    expect(list).toMatchObject({ benchmark: "math", partition: "original" });
    expect(list.promptSet.name).toBe("math");
    const plain = (await original("MATH/train")).map(({ partition: _, ...question }) => question);
    expect((await questionList(plain)).sha256).toBe(list.sha256);
    expect(await questionList(plain)).not.toHaveProperty("partition");
  });

  it("a question that the original split itself has twice is no leak, and is not evaluated", async () => {
    const [train] = await original("MATH/train");
    const twin = { ...train!, id: "test/precalculus/9.json", split: "test" as const };
    const other = { ...twin, id: "test/algebra/4.json", question: "Else?" };
    checkHeldOut([train!], new Map([["MATH/test", [twin]]]));
    expect(unseen([train!], [twin, other])).toEqual([other]);
    expect(() => checkHeldOut([train!], new Map([["f", [{ ...twin, id: "mine" }]]]))).toThrow(/has the text of/);
  });
});

describe("split and limit", () => {
  const rows = ["train", "test", "train"].map((split, i) => ({ id: `q${i}`, question: "?", answer: "1", split }));

  it("keeps the asked split in file order, then the limit", async () => {
    const path = await jsonl("mixed.jsonl", rows);
    expect((await loadQuestions(path, { split: "train" })).map((q) => q.id)).toEqual(["q0", "q2"]);
    expect((await loadQuestions(path, { split: "train", limit: 1 })).map((q) => q.id)).toEqual(["q0"]);
  });

  it("can be read a few at a time, and again; a mistake behind the limit is found all the same", async () => {
    const path = await jsonl("mixed.jsonl", rows);
    const questions = questionsIn(path, { split: "train", limit: 1 });
    for (let time = 0; time < 2; time++) {
      const read: string[] = [];
      for await (const { id } of questions) read.push(id);
      expect(read).toEqual(["q0"]);
    }
    const wrong = await jsonl("wrong.jsonl", [...rows, { id: "q9", question: 5, answer: "1" }]);
    expect(await failure(wrong, { limit: 1 })).toContain(`wrong.jsonl line ${rows.length + 1}`);
  });

  it("never relabels a file whose name tells another split", async () => {
    expect(await failure(sample("gsm8k-train"), { split: "test" })).toMatch(/no question of split "test"/);
  });

  it.each([0, -1, 1.5, Number.NaN])("refuses limit %s", async (limit) => {
    expect(await failure(sample("own-test"), { limit })).toContain(`received ${limit}`);
  });
});

describe("bad input is one line that names file, line and field", () => {
  const good = { id: "a", question: "1+1?", answer: "2" };

  it("missing file, folder, unknown ending, empty file", async () => {
    expect(await failure(join(folder, "absent.jsonl"))).toMatch(/absent\.jsonl" does not exist/);
    expect(await failure(folder)).toMatch(/not a file/);
    expect(await failure(await file("q.txt", "x"))).toMatch(/ends in none of \.jsonl/);
    expect(await failure(await file("empty.jsonl", "\n\n"))).toMatch(/no rows/);
  });

  it("malformed JSON names the true line, blank lines counted", async () => {
    const path = await file("broken.jsonl", `${JSON.stringify(good)}\n\n{"id":"b",\n${JSON.stringify(good)}\n`);
    expect(await failure(path)).toMatch(/broken\.jsonl line 3: not valid JSON/);
    expect(await failure(await file("two.jsonl", '{"id":"a"} {"id":"b"}\n'))).toMatch(/line 1: not valid JSON/);
    const latin1 = Buffer.from(`${JSON.stringify(good)}\n{"id":"\xe9"}\n`, "latin1");
    expect(await failure(await file("latin1.jsonl", latin1))).toMatch(/line 2: not valid JSON .*utf-8/i);
  });

  it.each([
    ["question missing", { id: "b", answer: "2" }, /line 3: field "question" is missing/],
    ["answer missing", { id: "b", question: "?" }, /line 3: field "answer" is missing/],
    ["answer null", { id: "b", question: "?", answer: null }, /line 3: field "answer" is missing/],
    ["answer empty", { id: "b", question: "?", answer: "  " }, /line 3: field "answer" is empty/],
    ["answer a number", { id: "b", question: "?", answer: 2 }, /line 3: field "answer" must be a string, received 2/],
    ["id missing", { question: "?", answer: "2" }, /line 3: field "id" is missing/],
    ["split unknown", { ...good, id: "b", split: "dev" }, /line 3: field "split" must be train, validation or test/],
    ["choices no list", { ...good, id: "b", choices: 3 }, /line 3: field "choices" must be a list/],
    ["one choice", { ...good, id: "b", choices: ["x"] }, /line 3: field "choices" must hold 2 to 26/],
    [
      "letter not among them",
      { ...good, id: "b", answer: "C", choices: ["x", "y"] },
      /line 3: field "answer" is "C".*A, B/,
    ],
    ["not an object", ["b"], /line 3: expected an object/],
  ])("%s", async (_, row, message) => {
    const path = await file("field.jsonl", `${JSON.stringify(good)}\n\n${JSON.stringify(row)}\n`);
    expect(await failure(path)).toMatch(message);
  });

  const bad = { id: "b", question: "?", answer: 5 };
  it.each([
    [
      "a byte order mark and Windows line ends",
      "r.jsonl",
      `\ufeff${JSON.stringify(good)}\r\n\r\n${JSON.stringify(bad)}\r\n`,
      3,
    ],
    ["a JSON list", "r.json", `[\n${JSON.stringify(good)},\n\n${JSON.stringify(bad)}\n]`, 4],
    ["a JSON list over many lines", "r.json", JSON.stringify([good, bad], null, 2), 7],
    ["objects in a .json file", "r.json", `\n${JSON.stringify(good)}\n${JSON.stringify(bad)}`, 3],
    [
      "NaN in a line before",
      "r.jsonl",
      `${JSON.stringify(good).replace("}", ',"score":NaN}')}\n${JSON.stringify(bad)}`,
      2,
    ],
  ])("%s: the line is the right one", async (_, name, content, line) => {
    expect(await failure(await file(name, content))).toMatch(
      new RegExp(`r\\.jsonl? line ${line}: field "answer" must be a string, received 5`),
    );
    const utf16 = Buffer.from(content.startsWith("\ufeff") ? content : `\ufeff${content}`, "utf16le");
    expect(await failure(await file(name, utf16))).toContain(` line ${line}: field "answer"`);
    expect(await failure(await file(`${name}.gz`, gzipSync(content)))).toContain(` line ${line}: field "answer"`);
  });

  it("CSV: the line a record begins on, blank lines and line ends within quotes counted", async () => {
    const csv = async (content: string) => failure(await file("c.csv", content));
    const start = '\ufeffid,question,answer\r\na,"1 +\r\n\r\n1?",2\r\n\r\n';
    expect(await csv(`${start}b,,3\r\n`)).toMatch(/c\.csv line 6: field "question" is missing/);
    expect(await csv(`${start}b,Who?\n`)).toMatch(/line 6: 2 cells, but the header has 3/);
    expect(await csv(`${start}b,Who, me?,3\n`)).toMatch(/line 6: 4 cells, but the header has 3/);
    expect(await csv(`${start}b,"Who?,3\nc,What?,4\n`)).toMatch(/line 6: a double quote is never closed/);
    expect(await csv('id,question,answer\na,"x"y,1')).toMatch(/line 2: text stands behind a cell in double quotes/);
    expect(await csv("id,answer,answer\n")).toMatch(/line 1: two columns are called "answer"/);
    const path = await file("c.csv", 'id;question;answer\na;"He said ""5""; how many?";5\n\nb;A 5" pipe?;6');
    expect(await loadQuestions(path)).toMatchObject([
      { id: "a", question: 'He said "5"; how many?', answer: "5" },
      { id: "b", question: 'A 5" pipe?', answer: "6" },
    ]);
  });

  it("NaN counts as no value: harmless in a column that is not read, named in one that is", async () => {
    const line = '{"id":"a","question":"NaN or Infinity?","answer":"2","choices":NaN,"score":[NaN,-Infinity]}';
    expect(await loadQuestions(await file("nan.jsonl", line))).toMatchObject([
      { question: "NaN or Infinity?", answer: "2", choices: null },
    ]);
    const path = await file("nan.jsonl", `${line}\n{"id":"b","question":"?","answer":NaN}`);
    expect(await failure(path)).toMatch(/nan\.jsonl line 2: field "answer" is missing \(null, NaN/);
  });

  it("a list that is cut off, and a pointer in place of a file", async () => {
    expect(await failure(await file("cut.json", `[${JSON.stringify(good)},\n{"id"`))).toMatch(
      /cut\.json line 2: not valid JSON/,
    );
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for (const name of ["lfs.jsonl", "lfs.parquet"])
      expect(await failure(await file(name, pointer))).toMatch(/pointer of Git LFS/);
  });

  it.each([
    ['1 and "1"', { ...good, id: 1 }, { ...good, id: "1" }, /line 2: id "1" was already used at .*line 1/],
    ["ids that differ by white space", good, { ...good, id: " a " }, /line 2: id "a" was already used/],
    ["an id that no double holds", good, { ...good, id: 2 ** 53 }, /line 2: field "id" must be a string/],
    ["an empty option", good, { ...good, id: "b", answer: "A", choices: ["x", " "] }, /holds an empty option \(B\)/],
    ["an empty question", good, { ...good, id: "b", question: "\t" }, /line 2: field "question" is empty/],
    ["id null", good, { ...good, id: null }, /line 2: field "id" is missing/],
  ])("%s", async (_, first, second, message) => {
    expect(await failure(await jsonl("ids.jsonl", [first, second]))).toMatch(message);
  });

  it("a line of many megabytes is read", async () => {
    const question = `How long? ${"x".repeat(20_000_000)}`;
    const [read] = await loadQuestions(await jsonl("huge.jsonl", [{ id: "a", question, answer: "1" }]));
    expect(read!.question).toHaveLength(question.length);
  });

  it("duplicate ids name both lines", async () => {
    const path = await file("twice.jsonl", `${JSON.stringify(good)}\n\n${JSON.stringify(good)}\n`);
    expect(await failure(path)).toMatch(/line 3: id "a" was already used at .*line 1;/);
  });

  it("a GSM8K row without #### names the line and shows the end of the answer", async () => {
    const path = await jsonl("g.jsonl", [
      { question: "?", answer: "#### 1" },
      { question: "?", answer: "so it is 2" },
    ]);
    expect(await failure(path)).toMatch(/line 2: field "answer" must end in "#### <number>", received "so it is 2"/);
  });

  it("an empty box in MATH is skipped and reported, not silently", async () => {
    const row = (answer: string) => ({ problem: "?", solution: `\\boxed{${answer}}`, answer });
    const messages: string[] = [];
    const path = await jsonl("boxes.jsonl", [row("1"), row(""), row("3")]);
    const questions = await loadQuestions(path, { onSkip: (message) => messages.push(message) });
    expect(questions.map((q) => q.id)).toEqual(["math-train-0", "math-train-2"]);
    expect(messages).toEqual([expect.stringMatching(/^skipped 1 of 3 questions .*boxes\.jsonl line 2$/)]);
  });
});

describe("download", () => {
  const body = `${JSON.stringify({ id: "web", question: "?", answer: "1" })}\n`;
  let server: Server;
  let requests = 0;
  let base: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      requests++;
      response.statusCode = request.url === "/q.jsonl" ? 200 : 404;
      response.end(body);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((done) => server.close(done)));

  it("fetches once, checks the pin, and refuses a copy that was changed", async () => {
    const cache = join(folder, "cache");
    const pin = createHash("sha256").update(body).digest("hex");
    const before = requests;
    for (const url of [`${base}/q.jsonl`, `${base}/q.jsonl#sha256=${pin}`]) {
      expect(await loadQuestions(url, { cache })).toMatchObject([{ id: "web" }]);
    }
    expect(requests - before).toBe(1);
    expect(await failure(`${base}/q.jsonl#sha256=${"0".repeat(64)}`, { cache })).toContain(pin);

    const copy = join(cache, (await readdir(cache))[0]!, "q.jsonl");
    expect(await fileSha256(copy)).toBe(pin);
    await writeFile(copy, body.replace("1", "2"));
    expect(await failure(`${base}/q.jsonl`, { cache })).toMatch(/delete its folder/);
  });

  it("of more bytes than allowed fails, and leaves nothing behind", async () => {
    const cache = join(folder, "cache-long");
    const url = new URL(`${base}/q.jsonl`);
    await expect(download(url, cache, body.length - 1)).rejects.toThrow(`(more than ${body.length - 1} bytes)`);
    expect((await readdir(cache, { recursive: true })).filter((name) => /jsonl|json|partial/.test(name))).toEqual([]);
    expect(await readFile(await download(url, cache, body.length), "utf8")).toBe(body);
  });

  it("a failed download is an error and leaves nothing behind", async () => {
    const cache = join(folder, "cache-404");
    expect(await failure(`${base}/absent.jsonl`, { cache })).toMatch(/cannot download .* \(HTTP status 404\)/);
    expect(await failure("http://127.0.0.1:9/q.jsonl", { cache })).toMatch(
      /cannot download .*\((?:ECONNREFUSED|bad port)\)/,
    );
    expect((await readdir(cache, { recursive: true })).filter((name) => /jsonl|json|partial/.test(name))).toEqual([]);
  });
});

const published = process.env.MALT_BENCHMARKS ?? new URL("../../../shared/data", import.meta.url).pathname;

describe.skipIf(!existsSync(published))("the published files (MALT_BENCHMARKS)", () => {
  const load = (path: string, onSkip: (message: string) => void = () => {}) =>
    loadQuestions(join(published, path), { onSkip });

  it.each([
    ["gsm8k/train.jsonl", 7473, "train"],
    ["gsm8k/test.jsonl", 1319, "test"],
    ["csqa/train_rand_split.jsonl", 9741, "train"],
    ["csqa/dev_rand_split.jsonl", 1221, "test"],
    ["gsm_symbolic/GSM_p2.jsonl", 2500, "test"],
    ["math/math500_test.jsonl", 500, "test"],
    ["math/math_train12k_rebuilt.jsonl", 11998, "train"],
  ])("%s: all %i questions, each answer equal to itself", async (path, count, split) => {
    const skipped: string[] = [];
    const questions = await load(path, (message) => skipped.push(message));
    expect(questions).toHaveLength(count);
    expect(new Set(questions.map((q) => q.split))).toEqual(new Set([split]));
    expect(skipped).toHaveLength(count === 11998 ? 1 : 0);
    for (const q of questions) {
      if (!grade(q.answer, q.answer, answerKind(q)).equal) expect.fail(`${q.id}: ${q.answer}`);
    }
  });

  it.each(["gsm8k/train.jsonl", "gsm8k/test.jsonl", "gsm_symbolic/GSM_p2.jsonl"])(
    "%s: the reference solution of every question grades as correct",
    async (path) => {
      const questions = await load(path);
      const solutions = (await readFile(join(published, path), "utf8")).trim().split("\n");
      const wrong = questions.filter((q, i) => gradeText(q, JSON.parse(solutions[i]!).answer).correct !== true);
      expect(wrong.map((q) => q.id)).toEqual([]);
    },
  );

  it("MATH in its original split: 7,500 and 5,000, with the answers that PRM800K gives", async () => {
    const rows = await Promise.all(
      ["math500_test", "math_train12k_rebuilt"].map((name) => readFile(join(published, `math/${name}.jsonl`), "utf8")),
    );
    const answers = new Map<string, string>();
    const folders = new Set<string>();
    for (const line of rows.join("").trim().split("\n")) {
      const { unique_id, problem, solution, answer, subject, level } = JSON.parse(line);
      answers.set(unique_id, answer);
      const path = join(folder, "original", unique_id);
      if (!folders.has(dirname(path))) await mkdir(dirname(path), { recursive: true });
      folders.add(dirname(path));
      await writeFile(path, JSON.stringify({ problem, level: `Level ${level}`, type: subject, solution }));
    }
    const quiet = { onSkip: () => {}, onDoubt: () => {} };
    const [train, test] = await Promise.all(
      ["train", "test"].map((name) => loadQuestions(join(folder, "original", name), quiet)),
    );
    // Two of the training questions have an empty box.
    expect([train!.length, test!.length]).toEqual([7498, 5000]);
    const other = [...train!, ...test!].filter(({ id, answer }) => !grade(answers.get(id)!, answer, "math").equal);
    expect(other).toEqual([]);
    checkHeldOut(train!, new Map([["test", test!]]));
    expect(unseen(train!, test!)).toHaveLength(4999);
    const prm = await loadQuestions(join(published, "math/math_train12k_rebuilt.jsonl"), quiet);
    expect(prm.filter(({ id }) => id.startsWith("test/"))).toHaveLength(4500);
    expect(() => checkHeldOut(prm, new Map([["test", test!]]))).toThrow(/PRM800K/);
  }, 60_000);

  it("the boxed solution of every MATH500 question grades as correct", async () => {
    const questions = await load("math/math500_test.jsonl");
    const rows = (await readFile(join(published, "math/math500_test.jsonl"), "utf8")).trim().split("\n");
    const wrong = questions.filter((q, i) => gradeText(q, JSON.parse(rows[i]!).solution).correct !== true);
    expect(wrong.map((q) => q.id)).toEqual([]);
  });
});
