import { describe, expect, it } from "vitest";
import { approves } from "../../src/answers/approval.js";

describe("a critique approves", () => {
  it.each([
    "The solution is correct.",
    "**The proposed solution is correct.**",
    "No mistakes.",
    "No errors found",
    "I found no mistakes in the solution.",
    "I didn’t find any errors.",
    "There are no mistakes in the proposed solution.",
    "The solution contains no errors.",
    "Correct.",
    "It looks good!",
    "Verdict: correct",
    "The solution stands.",
    "I agree with the answer.",
    "Yes, the answer is right.",
    "Step 1: 3 + 4 = 7. Step 2: 7 * 2 = 14. Each step is right. Therefore, the final answer is correct.",
    "- The problem is understood.\n- All of the calculations are correct.\n\nConclusion: the solution and the answer are correct as stated.",
    "<think>Hm, is 7 wrong? No.</think>The solution is correct.",
    "The reasoning and the answer are correct.",
  ])("with %j", (text) => expect(approves(text)).toBe(true));
});

describe("a critique does not approve", () => {
  it.each([
    "",
    "The solution is not correct.",
    "The solution isn't correct.",
    "The solution is incorrect.",
    "The solution would be correct if 3 + 4 were 8.",
    "The solution is correct, but the last step is not.",
    "The solution is correct except for the units.",
    "The solution is correct. However, the total is 15.",
    "The solution is correct. Wait, 3 + 4 is 7.",
    "The solution is correct. 3 + 4 should be 7.",
    "The solution is almost correct.",
    "The solution is partially correct.",
    "Step 1 is correct.",
    "The first step is correct. The second adds the wrong number.",
    "No mistakes in the first step.",
    "No mistakes until the last line.",
    "The approach is correct.",
    "The reasoning is correct.",
    "Is the solution correct?",
    "Is the solution correct? I cannot tell.",
    "If the price is 7, the solution is correct.",
    "One could say that the solution is correct.",
    "Nobody would say: the solution is correct.",
    '"The solution is correct."',
    "The correct answer is 12.",
    "3 + 4 = 7. Correct. 7 * 2 = 15.",
    "The solution has no mistakes in step 1. Step 2 has an error.",
    "There is no mistake that cannot be mended.",
    "I did not find the solution.",
    "I do not agree with the solution.",
    "The solution is correct.\nThe answer is off by one, though.",
    "<think>The solution is correct.</think>Step 2 is off.",
    "<think>The solution is correct.",
    "Not correct.",
    "The solution is correct. Step 4 fails.",
  ])("with %j", (text) => expect(approves(text)).toBe(false));

  it("however long it is, and takes linear time to see it", () => {
    expect(approves("the ".repeat(200_000))).toBe(false);
    expect(approves(`no mistake${" in the".repeat(200_000)}`)).toBe(false);
    expect(approves(`${"The solution is correct. ".repeat(20_000)}But not quite.`)).toBe(false);
  });
});
