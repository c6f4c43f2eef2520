import { describe, expect, it } from "vitest";
import * as z from "zod";
import { InputError } from "../src/errors.js";
import { parseLine } from "../src/json.js";

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
