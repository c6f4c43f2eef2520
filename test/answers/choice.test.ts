import { describe, expect, it } from "vitest";
import { parseChoice } from "../../src/answers/plain/choice.js";

const places = ["bank", "library", "book store", "store", "new york"];

describe("parseChoice", () => {
  it.each([
    ["B", "B"],
    ["b", "B"],
    ["(B)", "B"],
    ["B.", "B"],
    ["B) library", "B"],
    ["B: library", "B"],
    ["B - library", "B"],
    ["**B**", "B"],
    ["\\text{(B)}", "B"],
    ["$\\textbf{(E)}$", "E"],
    ["Option (c)", "C"],
    ["option c", "C"],
    ["bank (A)", "A"],
    ["B. library, not A, because a library is quiet", "B"],
    ["A revolving door is most likely found at a bank, so A", "A"],
    ["A person would go to the library, so the answer is B", "B"],
    ["D, it can't be A or B", "D"],
    ["not A but (C)", null],
    ["A or B", null],
    ["A and B", null],
    ["A/B", null],
    ["(A) or (B)", null],
    ["F", null],
    ["I think so", null],
    ["A person would do that", null],
    ["", null],
  ])("%s chooses %s", (phrase, letter) => {
    expect(parseChoice(phrase)).toBe(letter);
  });

  it.each([
    ["the library", "B"],
    ["New York", "E"],
    ["at the book store", "C"],
    ["store", "D"],
    ["a bank or a library", null],
    ["not the library", null],
    ["a garage", null],
    ["librarian", null],
  ])("by the option's own words: %s chooses %s", (phrase, letter) => {
    expect(parseChoice(phrase, places)).toBe(letter);
  });

  it("an option named by words that two options share is no choice", () => {
    expect(parseChoice("bank", ["bank", "bank", "shop"])).toBeNull();
  });

  it("letters beyond the options do not count", () => {
    expect(parseChoice("C", ["yes", "no"])).toBeNull();
  });
});
