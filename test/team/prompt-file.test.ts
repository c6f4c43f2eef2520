import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { readPromptSet } from "../../src/cli/prompt-set.js";
import { InputError } from "../../src/errors.js";
import { parsePromptSet } from "../../src/team/prompt-file.js";
import { promptSet, promptSets } from "../../src/team/prompt-sets.js";

const own = {
  name: "own",
  system: { generator: "You solve.", verifier: "You check.", refiner: "You mend." },
  generator: "Solve {question}",
  verifier: "Check {answer} of {question}",
  refiner: "Mend {answer} of {question} with {critique}",
  emptyCritique: "",
};

describe("a prompt set in a file", () => {
  it.each(Object.values(promptSets))("may be a built-in one: $name", (set) => {
    expect(parsePromptSet(JSON.parse(JSON.stringify(set)), "file", "file")).toEqual(set);
  });

  it("has one system text for all roles, one for each, for some or for none; its name is the file's by default", () => {
    const { name, system, emptyCritique, ...templates } = own;
    const parse = (more: object) => parsePromptSet({ ...templates, ...more }, "f.json", "f");
    expect(parse({})).toEqual({ name: "f", system: "", emptyCritique: "", ...templates });
    expect(parse({ system: "Be brief." }).system).toBe("Be brief.");
    expect(parse({ system: { verifier: "You check." } }).system).toEqual({
      ...{ generator: "", verifier: "You check.", refiner: "" },
    });
    expect(parse({ name, system, emptyCritique })).toEqual(own);
  });

  it.each<[string, object, RegExp]>([
    ["a missing template", { verifier: undefined }, /field "verifier": .*expected string, received undefined/],
    ["a template of another type", { refiner: ["x"] }, /field "refiner": .*expected string/],
    ["a generator without the question", { generator: "Solve it." }, /field "generator": lacks \{question\}/],
    ["a generator with an answer", { generator: "{question}{answer}" }, /"generator": unknown placeholder \{answer\}/],
    ["a verifier without the question", { verifier: "{answer}" }, /field "verifier": lacks \{question\}/],
    ["a verifier without the answer", { verifier: "Check {question}" }, /field "verifier": lacks \{answer\}/],
    ["a verifier with a critique", { verifier: "{question}{answer}{critique}" }, /unknown placeholder \{critique\}/],
    ["a refiner without the critique", { refiner: "{question}{answer}" }, /field "refiner": lacks \{critique\}/],
    ["a refiner without the answer", { refiner: "{question}{critique}" }, /field "refiner": lacks \{answer\}/],
    ["a misspelt placeholder", { generator: "{question} {qestion}" }, /"generator": unknown placeholder \{qestion\}/],
    ["another spelling", { generator: "{Question} {question}" }, /unknown placeholder \{Question\}/],
    ["spaces in a placeholder", { generator: "{ question }" }, /"generator": lacks \{question\}/],
    [
      "a placeholder inside LaTeX",
      { verifier: "{question} {answer} \\boxed{answer}" },
      /in \\boxed\{answer\} the answer/,
    ],
    ["a placeholder in a system text", { system: "Solve {question}" }, /field "system": \{question\} is not replaced/],
    ["the same of one role", { system: { refiner: "{critique}" } }, /field "system\.refiner": \{critique\} is not/],
    ["a system text of an unknown role", { system: { judge: "x" } }, /field "system": .*judge/],
    ["a system text of another type", { system: 3 }, /field "system": must be a text, or one text for each role/],
    ["the same of one role", { system: { verifier: 3 } }, /field "system\.verifier": .*expected string/],
    [
      "an unknown field",
      { verifer: "x" },
      /prompt set f\.json: .*verifer.*; a prompt set has the fields name, system,/,
    ],
    ["an empty name", { name: " " }, /field "name"/],
  ])("is refused with %s, and the error names the field", (_, change, words) => {
    const parse = () => parsePromptSet(JSON.parse(JSON.stringify({ ...own, ...change })), "f.json", "f");
    expect(parse).toThrow(InputError);
    expect(parse).toThrow(words);
  });

  it.each([null, [], "text", 3])("is refused where it is %j", (content) => {
    expect(() => parsePromptSet(content, "f.json", "f")).toThrow(/prompt set f\.json: .*expected object/);
  });

  it("may ask for an answer in LaTeX", () => {
    const generator = "Solve {question}. Give \\boxed{X}, \\frac{a}{b}, x_{max}, {1, 2}.\nProblem_{question}";
    expect(parsePromptSet({ ...own, generator }, "f", "f").generator).toBe(generator);
  });
});

describe("--prompt-set", async () => {
  const folder = await mkdtemp(join(tmpdir(), "malt-prompts-"));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const file = async (name: string, content: string | Uint8Array) => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };

  it("takes the name of a built-in set", async () => {
    expect(await readPromptSet("csqa")).toBe(promptSet("csqa"));
  });

  it("takes a file of JSON, indented by whatever, or YAML, with or without a byte order mark", async () => {
    const { name: _, ...nameless } = own;
    expect(await readPromptSet(await file("a.json", JSON.stringify(own)))).toEqual(own);
    expect(await readPromptSet(await file("b.json", JSON.stringify(own, null, "\t")))).toEqual(own);
    expect(await readPromptSet(await file("c.yaml", `\ufeff${stringify(own)}`))).toEqual(own);
    const block = `${stringify({ ...nameless, generator: undefined })}generator: |\n  Solve:\n  {question}\n`;
    expect(await readPromptSet(await file("mine.yml", block))).toEqual({
      ...own,
      ...{ name: "mine", generator: "Solve:\n{question}\n" },
    });
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ["what is neither", "{", /neither JSON nor YAML/],
    ["nothing", "", /expected object/],
    ["bytes that are no UTF-8", Uint8Array.of(0xff, 0xff, 0x41), /neither JSON nor YAML/],
    ["a key given twice", '{"generator":"{question}","generator":"x"}', /neither JSON nor YAML \(.*unique/],
  ])("refuses %s, in one line that names the file", async (_, content, words) => {
    const path = await file("bad.json", content);
    const error = await readPromptSet(path).catch((e: Error) => e);
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toContain(path);
    expect((error as Error).message).toMatch(words);
    expect((error as Error).message).not.toContain("\n");
  });

  it.each(["poetry", "constructor", "no/such.json"])(
    "says of %s that it is neither a name nor a file",
    async (name) => {
      await expect(readPromptSet(name)).rejects.toThrow(
        /unknown prompt set ".*"; known: arithmetic, .*; nor is there a file of that name/,
      );
      await expect(readPromptSet(folder)).rejects.toThrow(InputError);
    },
  );
});
