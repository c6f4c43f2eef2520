import { describe, expect, it } from "vitest";
import { questionList, questionsJsonl } from "../../src/benchmarks/list.js";
import { InputError } from "../../src/errors.js";
import { hash } from "../../src/run/manifest.js";
import type { Question } from "../../src/types.js";

const plain: Question = { id: "a", benchmark: "x", split: "train", question: "2 + 2?", choices: null, answer: "4" };
const choice: Question = { ...plain, id: "b", benchmark: "y", choices: ["3", "4"], answer: "B" };

describe("a list of questions", () => {
  it("knows their number, hash, benchmarks and prompts, and gives them again and again", async () => {
    const questions = [choice, plain, { ...plain, id: "c" }];
    let read = 0;
    const list = await questionList({
      async *[Symbol.asyncIterator]() {
        read++;
        yield* questions;
      },
    });
    expect(list).toMatchObject({ length: 3, benchmark: "y+x", sha256: hash(questionsJsonl(questions)) });
    expect(list.promptSet.name).toBe("gsm8k");
    for (let time = 1; time <= 2; time++) {
      const again: Question[] = [];
      for await (const question of list) again.push(question);
      expect(again).toEqual(questions);
      expect(read).toBe(1 + time);
    }
  });

  it("of none is refused", async () => {
    await expect(questionList([])).rejects.toThrow(InputError);
  });

  it.each([
    ["gsm8k", "numbers", [plain]],
    ["csqa", "options", [choice]],
    ["gsm8k", "both", [plain, choice]],
    ["arithmetic", "a known benchmark", [{ ...plain, benchmark: "arithmetic" }]],
    ["gsm8k", "a name that only looks known", [{ ...plain, benchmark: "constructor" }]],
  ])("chooses the prompts of %s for %s", async (name, _, questions) => {
    expect((await questionList(questions)).promptSet.name).toBe(name);
  });
});
