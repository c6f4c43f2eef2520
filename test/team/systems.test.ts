import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sameAnswer } from "../../src/answers/index.js";
import { InputError } from "../../src/errors.js";
import { publishedGeneratorDpo, publishedTable } from "../../src/evaluate/published.js";
import { modelOfProfile } from "../../src/models/table.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, messages } from "../../src/team/prompts.js";
import {
  ablationSystems,
  allSystems,
  findSystems,
  mainSystems,
  mixSystems,
  neededAdapters,
  passes,
  type System,
} from "../../src/team/systems.js";
import { majorityVote, vote } from "../../src/team/vote.js";
import { trainingPlan } from "../../src/train/plan.js";
import { heldOut } from "../team.js";

describe("the systems", () => {
  it("have unique names, and there is one for every row of Tables 1, 2, 4 and 5 and of Appendix A.9", async () => {
    const names = allSystems.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const published = await Promise.all([...[1, 2, 4, 5].map(publishedTable), publishedGeneratorDpo()]);
    for (const { system } of published.flat()) expect(names).toContain(system);
  });

  it("of Table 1 are the paper's ten: one or three roles, one or three passes, three trainings", () => {
    const shape = mainSystems.map(({ name, roles, votes, adapters }) => [
      name,
      roles.length,
      votes,
      roles.map((role) => (adapters as Record<string, string>)[role.name] ?? "base").join(" "),
    ]);
    const star = "generator-sft verifier-star refiner-star";
    const malt = "generator-sft verifier-dpo refiner-dpo";
    expect(shape).toEqual([
      ["SA", 1, 1, "base"],
      ["SA+MV", 1, 3, "base"],
      ["MA", 3, 1, "base base base"],
      ["MA+MV", 3, 3, "base base base"],
      ["STaR SA", 1, 1, "generator-sft"],
      ["STaR SA+MV", 1, 3, "generator-sft"],
      ["STaR MA", 3, 1, star],
      ["STaR MA+MV", 3, 3, star],
      ["MALT w/o MV", 3, 1, malt],
      ["MALT", 3, 3, malt],
    ]);
  });

  it("have two teams of supervised training: after one round of it, and after as much compute as MALT took", () => {
    const adapters = (name: string) => {
      const [{ roles, adapters }] = findSystems([name]) as [System];
      return roles.map((role) => adapters[role.name]).join(" ");
    };
    expect(adapters("SFT MA")).toBe("generator-sft verifier-sft refiner-sft");
    expect(adapters("SFT MA+MV")).toBe(adapters("SFT MA"));
    expect(findSystems(["SFT MA", "SFT MA+MV"]).map(({ votes }) => votes)).toEqual([1, 3]);
    expect(adapters("STaR MA")).toBe("generator-sft verifier-star refiner-star");
  });

  it("use every adapter that is trained", () => {
    const rows = () => 9;
    const { training: settings } = modelOfProfile("tiny");
    const plan = trainingPlan({ roles: maltRoles(), settings, rows, generatorDpo: true });
    expect(neededAdapters(allSystems)).toEqual(plan.map(({ name }) => name).sort());
  });

  it("need only the adapters of roles that speak", () => {
    const named = (...names: string[]) => neededAdapters(findSystems(names));
    expect(named("SA", "MA+MV", "debate")).toEqual([]);
    expect(named("STaR SA", "ablation G")).toEqual(["generator-sft"]);
    expect(named("ablation G+R")).toEqual(["generator-sft", "refiner-dpo"]);
    expect(named("mix VR")).toEqual(["refiner-dpo", "verifier-dpo"]);
    expect(mixSystems.find(({ name }) => name === "mix G")!.adapters).toEqual({ generator: "generator-sft" });
  });

  it("of G+R show the refiner an empty critique, or tell it that there is none, and no verifier speaks", () => {
    const set = promptSet("arithmetic");
    const read = (name: string) => {
      const { roles } = ablationSystems.find((system) => system.name === name)!;
      expect(roles.map((role) => role.name)).toEqual(["generator", "refiner"]);
      return messages(set, roles[1]!, heldOut[0]!, [{ role: "generator", text: "It is 12." }])[0]!.content;
    };
    expect(read("ablation G+R")).toMatch(/It is 12\.\nCritique:\n$/);
    expect(read("ablation G+R (told none)")).toMatch(/It is 12\.\nCritique:\nNone\.$/);
  });

  it("are found by name and by group, each once and in the order asked", () => {
    expect(findSystems(["MALT", "main"]).map(({ name }) => name)[0]).toBe("MALT");
    expect(findSystems(["MALT", "main", "SA"])).toHaveLength(10);
    expect(findSystems(["all"])).toEqual(allSystems);
    for (const name of ["constructor", "malt", ""])
      expect(() => findSystems([name])).toThrow(new RegExp(`unknown system "${name}"; known: main, .*"MALT w/o MV"`));
  });

  it("become k independent chains: only the first role branches", () => {
    const [ma] = findSystems(["MA+MV"]);
    expect(passes(ma!).map(({ name, branching }) => [name, branching])).toEqual([
      ["generator", 3],
      ["verifier", 1],
      ["refiner", 1],
    ]);
    expect(() => passes({ ...ma!, votes: 1.5 })).toThrow(InputError);
  });
});

describe("the vote", () => {
  it.each<[string, (string | null)[], string | null]>([
    ["of most passes wins", ["7", "12", "12"], "12"],
    ["with a tie goes to the answer given first", ["7", "12", "12", "7"], "7"],
    ["is not cast by a pass without an answer", [null, "7", null], "7"],
    ["of nobody is no answer", [null, null], null],
    ["of one pass is its answer", ["7"], "7"],
  ])("%s", (_, answers, winner) => expect(majorityVote(answers)).toBe(winner));

  it.each<[string, string[], string, boolean]>([
    ["a degree sign", ["45", "90", "90^\\circ"], "90", true],
    ["per cent", ["30", "28\\%", "28"], "28\\%", true],
    ["an inequality from the other side", ["x \\ge 6", "x \\ge 5", "5 \\le x"], "x \\ge 5", true],
    [
      "another kind of matrix",
      ["0", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}"],
      "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
      true,
    ],
    ["a rounded number", ["2", "0.3333", "\\frac13"], "0.3333", true],
    ["no more than half of the passes", ["7", "12", "1", "12"], "12", false],
    ["units that differ, though both equal the bare number", ["5 cm", "5", "5 m"], "5 cm", true],
    ["units that differ without it", ["5 cm", "5 m", "7"], "5 cm", false],
    ["more notations than are compared", Array.from({ length: 500 }, (_, i) => `${i + 1}^\\circ`), "1^\\circ", false],
  ])("counts equal answers together: %s", (_, answers, winner, majority) => {
    expect(vote(answers, sameAnswer)).toEqual({ answer: winner, majority });
    expect(majorityVote(answers, sameAnswer)).toBe(winner);
  });

  it("falls on the same answer in any order of the passes, unless several have as many votes", () => {
    const notations = ["90", "90^\\circ", "\\frac{180}{2}", "45", "45^\\circ", "30"];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...notations), { minLength: 1, maxLength: 7 }), (answers) => {
        const [one, other] = [vote(answers, sameAnswer), vote([...answers].reverse(), sameAnswer)];
        expect(one.majority).toBe(other.majority);
        if (one.majority) expect(sameAnswer(one.answer!, other.answer!)).toBe(true);
      }),
    );
  });

  it("falls on an answer that no other has more votes than, and the first of those", () => {
    const answer = fc.constantFrom("1", "2", "3", "constructor", null);
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 12 }), (answers) => {
        const count = (a: string | null) => answers.filter((other) => other === a).length;
        const given = answers.filter((a) => a !== null);
        const most = Math.max(0, ...given.map(count));
        expect(majorityVote(answers)).toBe(given.find((a) => count(a) === most) ?? null);
      }),
    );
  });
});
