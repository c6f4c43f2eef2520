import { expect, it } from "vitest";
import { ownAnswer } from "../../src/evaluate/judge.js";
import type { Transcripts } from "../../src/evaluate/passes.js";
import { rowsOf } from "../../src/evaluate/rows.js";
import { findSystems } from "../../src/team/systems.js";
import type { JournalEntry, Question } from "../../src/types.js";

const question: Question = {
  ...{ id: "q", benchmark: "math", split: "test", question: "?", choices: null },
  answer: "90^\\circ",
};

/** The rows of a vote over texts. */
async function voted(texts: readonly string[], asked: Question = question) {
  const [system] = findSystems(["SA+MV"]);
  const said: Transcripts = new Map([
    [asked.id, texts.map((text) => [{ text, finish_reason: "stop", completion_tokens: 1 } as JournalEntry])],
  ]);
  const { rows } = await rowsOf(system!, 0, [asked], said, ownAnswer);
  return rows.map(({ voted_answer, voted_correct }) => [voted_answer, voted_correct])[0];
}

it("a vote counts answers that the grader calls equal together, and the winner is right as the grader says", async () => {
  expect(await voted(["Final Answer: 45", "Final Answer: $90$", "Final Answer: $90^\\circ$"])).toEqual(["90", true]);
  expect(await voted(["Final Answer: $90$", "Final Answer: 45", "\\boxed{45^\\circ}"])).toEqual(["45", false]);
  const matrix = { ...question, answer: "\\begin{pmatrix}1\\\\2\\end{pmatrix}" };
  const [p, b] = ["p", "b"].map((kind) => `\\boxed{\\begin{${kind}matrix}1\\\\2\\end{${kind}matrix}}`);
  expect((await voted(["\\boxed{3}", b!, p!], matrix))![1]).toBe(true);
  expect(await voted(["<think>\\boxed{90}", "\\boxed{45}", "<think>\\boxed{90}"])).toEqual(["45", false]);
});

it("numbers of a number benchmark are counted as that benchmark grades them", async () => {
  const number = { ...question, benchmark: "gsm8k", answer: "1/3" };
  expect(await voted(["#### 0.3333", "#### 5", "#### 1/3"], number)).toEqual(["0.3333", false]);
});
