import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { promptSet, promptSets } from "../../src/team/prompt-sets.js";
import {
  maltRoles,
  messages,
  type PromptSet,
  promptSetHash,
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
    // A.4's verifiers state no answer of their own; the others end in one.
    const ends = name === "gsm8k-unstated" ? [true, false, true] : [true, true, true];
    expect(seen.map((text) => text.includes("Final Answer: X"))).toEqual(ends);
    for (const text of seen) {
      expect(text).not.toMatch(/\{(question|answer|critique)\}/);
    }
  });

  it("sends the system message only where the set has one", () => {
    expect(messages(promptSet("arithmetic"), generator, question, []).map((m) => m.role)).toEqual(["user"]);
    expect(messages(promptSet("gsm8k"), generator, question, []).map((m) => m.role)).toEqual(["system", "user"]);
  });

  it("gives a refiner without a verifier an empty critique (G+R), or tells it that there is none", () => {
    const alone: Role = { ...refiner, critique: null };
    for (const set of Object.values(promptSets)) {
      const content = (role: Role, said = turns) => messages(set, role, question, said).at(-1)!.content;
      expect(content(alone)).toBe(content(refiner, [turns[0]!, { role: "verifier", text: "" }]));
      expect(content({ ...alone, missingCritique: "empty" })).toBe(content(alone));
      expect(content({ ...alone, missingCritique: "told" })).toBe(
        content(refiner, [turns[0]!, { role: "verifier", text: set.emptyCritique }]),
      );
      expect(set.emptyCritique).not.toBe("");
    }
  });

  it("gives each role a system text of its own, or one to all, or none", () => {
    const systems = (set: PromptSet) =>
      [generator, verifier, refiner].map((role) => {
        const said = messages(set, role, question, turns);
        return said.length === 2 && said[0]!.role === "system" ? said[0]!.content : null;
      });
    const own = { generator: "You solve.", verifier: "", refiner: "You mend {question}." };
    const set = promptSet("arithmetic");
    expect(systems({ ...set, system: own })).toEqual(["You solve.", null, "You mend {question}."]);
    expect(systems({ ...set, system: "Be brief." })).toEqual(["Be brief.", "Be brief.", "Be brief."]);
    for (const name of ["gsm8k", "gsm_symbolic", "math", "csqa"]) {
      const texts = systems(promptSet(name));
      expect(new Set(texts).size).toBe(3);
      expect(texts).not.toContain(null);
    }
    const late = messages({ ...set, system: own }, { ...refiner, name: "refiner-2" }, question, turns);
    expect(late[0]!.content).toBe("You mend {question}.");
  });

  it("keeps the prompts that malt-tiny was trained on", () => {
    const all = [generator, verifier, refiner].map((role) => messages(promptSet("arithmetic"), role, question, turns));
    expect(all.flat().map(({ role }) => role)).toEqual(["user", "user", "user"]);
    expect(all.flat().map(({ content }) => content)).toEqual([
      "Solve the problem step by step. End with Final Answer: X.\nProblem: 1+1?",
      "Check the solution step by step. End with Final Answer: X.\nProblem: 1+1?\nSolution:\nIt is 3.",
      "Improve the solution with the critique. End with Final Answer: X.\nProblem: 1+1?\nSolution:\nIt is 3.\n" +
        "Critique:\nNo, it is 2.",
    ]);
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
    const system = set.system as Record<string, string>;
    const turned = Object.fromEntries(Object.entries(system).reverse()) as unknown as PromptSet["system"];
    expect(promptSetHash({ ...set, system: turned })).toBe(promptSetHash(set));
    for (const role of Object.keys(system)) {
      const changed = { ...set, system: { ...system, [role]: `${system[role]}!` } } as unknown as PromptSet;
      expect(promptSetHash(changed)).not.toBe(promptSetHash(set));
    }
  });

  it("keep their hash where nothing changed, so that runs of earlier versions go on", () => {
    const recorded = "99c9c2d6ee8096aa8a50a4f50a3dde37733b71e26a4d463d53e320c30a0af3f2";
    expect(promptSetHash(promptSet("arithmetic"))).toBe(recorded);
  });

  it("the paper's team is generator, verifier, refiner with branching 3", () => {
    expect([generator.name, verifier.name, refiner.name]).toEqual(["generator", "verifier", "refiner"]);
    expect([generator, verifier, refiner].map((role) => role.branching)).toEqual([3, 3, 3]);
  });
});
