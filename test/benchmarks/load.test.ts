import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerKind, grade, gradeText } from "../../src/answers/index.js";
import { download, fileSha256 } from "../../src/benchmarks/download.js";
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

  it("the boxed solution of every MATH500 question grades as correct", async () => {
    const questions = await load("math/math500_test.jsonl");
    const rows = (await readFile(join(published, "math/math500_test.jsonl"), "utf8")).trim().split("\n");
    const wrong = questions.filter((q, i) => gradeText(q, JSON.parse(rows[i]!).solution).correct !== true);
    expect(wrong.map((q) => q.id)).toEqual([]);
  });
});
