import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import {
  maltRoles,
  messages,
  promptSet,
  promptSetHash,
  promptSets,
  questionText,
  withSystemMessage,
} from "../../src/team/prompts.js";
import type { Question, Role } from "../../src/types.js";

const question: Question = { id: "q", benchmark: "own", split: "test", question: "1+1?", choices: null, answer: "2" };
const [generator, verifier, refiner] = maltRoles() as [Role, Role, Role];
const turns = [
  { role: "generator", text: "It is 3." },
  { role: "verifier", text: "No, it is 2." },
];

describe("messages", () => {
  it.each(Object.keys(promptSets))("%s: each role sees what its arrow in the paper shows, and no more", (name) => {
    const set = promptSet(name);
    const seen = [generator, verifier, refiner].map((role) => messages(set, role, question, turns).at(-1)!.content);
    expect(seen.map((text) => text.includes("1+1?"))).toEqual([true, true, true]);
    expect(seen.map((text) => text.includes("It is 3."))).toEqual([false, true, true]);
    expect(seen.map((text) => text.includes("No, it is 2."))).toEqual([false, false, true]);
    for (const text of seen) {
      expect(text).toContain("Final Answer: X");
      expect(text).not.toMatch(/\{(question|answer|critique)\}/);
    }
  });

  it("sends the system message only where the set has one", () => {
    expect(messages(promptSet("arithmetic"), generator, question, []).map((m) => m.role)).toEqual(["user"]);
    expect(messages(promptSet("gsm8k"), generator, question, []).map((m) => m.role)).toEqual(["system", "user"]);
  });

  it("gives a refiner without a verifier the empty critique (G+R)", () => {
    const alone: Role = { ...refiner, critique: null };
    for (const set of Object.values(promptSets)) {
      const text = messages(set, alone, question, turns).at(-1)!.content;
      expect(text).toContain(set.emptyCritique);
      expect(text).not.toContain("No, it is 2.");
    }
  });

  it("takes the latest turn of a role", () => {
    const again = [...turns, { role: "generator", text: "It is 2 after all." }];
    expect(messages(promptSet("gsm8k"), verifier, question, again).at(-1)!.content).toContain("It is 2 after all.");
  });

  it("refuses a role that sees one which has not spoken", () => {
    expect(() => messages(promptSet("gsm8k"), refiner, question, turns.slice(0, 1))).toThrow(InputError);
  });

  it("puts untrusted text in verbatim: placeholders, dollar patterns and markup stay text", () => {
    const hostile = fc.constantFrom(
      "{question}",
      "{answer}",
      "{critique}",
      "$&",
      "$1",
      "$`",
      "\\",
      "<b>",
      "\n",
      "x",
      "{",
      "}",
    );
    const text = fc.array(hostile, { minLength: 1, maxLength: 8 }).map((parts) => parts.join(""));
    const set = { ...promptSet("gsm8k"), refiner: "Q[{question}] A[{answer}] C[{critique}]" };
    fc.assert(
      fc.property(text, text, text, (q, a, c) => {
        const said = [
          { role: "generator", text: a },
          { role: "verifier", text: c },
        ];
        const content = messages(set, refiner, { ...question, question: q }, said).at(-1)!.content;
        expect(content).toBe(`Q[${q}] A[${a}] C[${c}]`);
      }),
    );
  });
});

describe("the system text", () => {
  it("is a message of its own, or stands word by word before the user's, as the set says", () => {
    const set = { ...promptSet("gsm8k"), system: "Write {answer} for {question}." };
    const [system, user] = messages(set, generator, question, []);
    expect(system).toEqual({ role: "system", content: set.system });
    const merged = withSystemMessage(set, "merged");
    expect(messages(merged, generator, question, [])).toEqual([
      { role: "user", content: `Write {answer} for {question}.\n\n${user!.content}` },
    ]);
    expect(promptSetHash(merged)).not.toBe(promptSetHash(set));
    expect(withSystemMessage(set, "separate")).toBe(set);
    const none = withSystemMessage(promptSet("arithmetic"), "merged");
    expect(messages(none, generator, question, [])).toEqual(messages(promptSet("arithmetic"), generator, question, []));
  });
});

describe("prompt sets", () => {
  it("lists options as letters", () => {
    expect(questionText({ ...question, choices: ["bank", "library"] })).toBe("1+1?\nA) bank\nB) library");
  });

  it.each(["unknown", "toString", "__proto__"])("refuses the name %s and lists the known ones", (name) => {
    expect(() => promptSet(name)).toThrow(/unknown prompt set .*arithmetic, gsm8k/);
  });

  it("hashes every word, whatever the order of the fields", () => {
    const set = promptSet("gsm8k");
    const reordered = Object.fromEntries(Object.entries(set).reverse()) as unknown as typeof set;
    expect(promptSetHash(set)).toMatch(/^[0-9a-f]{64}$/);
    expect(promptSetHash(reordered)).toBe(promptSetHash(set));
    for (const field of Object.keys(set) as (keyof typeof set)[]) {
      expect(promptSetHash({ ...set, [field]: `${set[field]}!` })).not.toBe(promptSetHash(set));
    }
  });

  it("the paper's team is generator, verifier, refiner with branching 3", () => {
    expect([generator.name, verifier.name, refiner.name]).toEqual(["generator", "verifier", "refiner"]);
    expect([generator, verifier, refiner].map((role) => role.branching)).toEqual([3, 3, 3]);
  });
});
