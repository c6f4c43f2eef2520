import { describe, expect, it } from "vitest";
import * as z from "zod";
import { InputError } from "../src/errors.js";
import { parseLine, readJson, valuesIn } from "../src/json.js";

const shape = z.object({
  id: z.string(),
  form: z.enum(["raw", "text"]).default("raw"),
  size: z.object({ n: z.int() }),
});
const read = (line: string) => parseLine(line, "cases.jsonl line 3", shape, "see the README");

describe("a line of a JSONL file", () => {
  it("is returned as its shape makes it", () => {
    expect(read('{"id":"a","size":{"n":1},"more":2}')).toEqual({ id: "a", form: "raw", size: { n: 1 } });
  });

  it.each([
    ['{"id":1,"size":{"n":1}}', /^cases.jsonl line 3: field "id": .*expected string.*; see the README$/],
    ['{"id":"a","size":{"n":"1"}}', /^cases.jsonl line 3: field "size.n": .*; see the README$/],
    ["[1]", /^cases.jsonl line 3: Invalid input: expected object, received array; see the README$/],
    ['{"id":\t', /^cases.jsonl line 3: not valid JSON \(.*\); write one object per line$/],
  ])("%s is an error that names the place, and the field if one is wrong", (line, message) => {
    expect(() => read(line)).toThrow(InputError);
    expect(() => read(line)).toThrow(message);
  });
});

describe("JSON that somebody else wrote", () => {
  it("has null for the numbers that Python writes and JSON does not know; texts stay as they are", () => {
    const text = '{"a":NaN,"b":[-Infinity,Infinity,1],"c":"NaN \\"Infinity\\" \\\\","NaN":2}';
    expect(readJson(text)).toEqual({ a: null, b: [null, null, 1], c: 'NaN "Infinity" \\', NaN: 2 });
    expect(() => readJson('{"a":NaN,}')).toThrow(SyntaxError);
    expect(() => read('{"id":NaN,"size":{"n":1}}')).toThrow(/^cases.jsonl line 3: field "id": .*received null/);
  });

  it.each([
    ["[]", []],
    ["[ \n ]\n", []],
    ['{"a":"]"}', ['1 {"a":"]"}']],
    ['{"a":1}\n\n{"b":[1,{}]} {}', ['1 {"a":1}', '3 {"b":[1,{}]}', "3 {}"]],
    ['[\n{"a":"},\\""},\n\n{"b":\n2}\n]\n', ['2 {"a":"},\\""}', '4 {"b":\n2}']],
    // What is no value is left for the parser to refuse: a comma too many, a list that is cut off, more behind it.
    ['[{"a":1},\n]', ['1 {"a":1}', "2 "]],
    ['[{"a":1}\n', ['1 {"a":1}', "2 "]],
    ['[{"a":1},\n{"b":', ['1 {"a":1}', '2 {"b":', "2 "]],
    ["[1]\nx", ["1 1", "2 x"]],
    ['[{"a":"x},\n{"b":2}]', ['1 {"a":"x}', '2 {"b":2}']],
  ])("the values of %j, each with its line", (document, values) => {
    expect([...valuesIn(document)].map(({ line, text }) => `${line} ${text}`)).toEqual(values);
  });
});
