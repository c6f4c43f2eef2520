import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { readTeam } from "../../src/cli/team.js";
import { treeSize } from "../../src/credit/score.js";
import { exportRun, openDataset } from "../../src/dataset/export.js";
import { InputError } from "../../src/errors.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import { modelOfProfile } from "../../src/models/table.js";
import { readManifest } from "../../src/run/manifest.js";
import { sampleRun } from "../../src/sample/sample.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { maltRoles, messages } from "../../src/team/prompts.js";
import { allSystems, findSystems, neededAdapters, teamSystems } from "../../src/team/systems.js";
import { findTeam, parseTeam, seenBy, teamNames } from "../../src/team/teams.js";
import { trainingPlan } from "../../src/train/plan.js";
import { tokensPerRow } from "../../src/train/tokens.js";
import type { Question, Role, SftExample } from "../../src/types.js";
import { heldOut, team } from "../team.js";

const outputs = await mkdtemp(join(tmpdir(), "malt-teams-"));
afterAll(() => rm(outputs, { recursive: true, force: true }));

const asked: Question[] = heldOut.map((q) => ({
  ...q,
  id: q.id.replace("test", "train"),
  split: "train",
  question: `Known: ${q.question}`,
}));

describe("a team in a file", () => {
  it.each(teamNames)("may be a built-in one, and comes out the same: %s", (name) => {
    const { roles } = findTeam(name, 2);
    expect(parseTeam(JSON.parse(JSON.stringify({ name, roles })), "file", "file")).toEqual({ name, roles });
  });

  it("says only what differs from the defaults: a template by its name, nothing seen, n children", async () => {
    const path = join(outputs, "mine.yaml");
    const roles = [
      { name: "generator" },
      { name: "verifier-late", answer: "generator", branching: 5 },
      {
        name: "arbiter",
        template: "refiner",
        prompt: "{question}\n{generator}\n\\boxed{verifier-late}\n{verifier-late}",
      },
    ];
    await writeFile(path, stringify({ roles }));
    const { name, roles: read } = await readTeam(path, 2);
    expect(name).toBe("mine");
    expect(read.map(({ template, branching }) => [template, branching])).toEqual([
      ["generator", 2],
      ["verifier", 5],
      ["refiner", 2],
    ]);
    expect(read.map((role) => seenBy(role, read))).toEqual([[], ["generator"], ["generator", "verifier-late"]]);
    const turns = [
      { role: "generator", text: "{question} is 12" },
      { role: "verifier-late", text: "No." },
    ];
    const { content } = messages(promptSet("arithmetic"), read[2]!, asked[0]!, turns)[0]!;
    // What was said stays as it is, and so does LaTeX.
    expect(content).toBe(`${asked[0]!.question}\n{question} is 12\n\\boxed{verifier-late}\nNo.`);
    await expect(readTeam("nobody")).rejects.toThrow(/unknown team "nobody"; known: malt, .*nor is there a file/);
  });

  const [g, v, r] = maltRoles();
  it.each<[string, object, RegExp]>([
    ["no roles", { roles: [] }, /field "roles": a team needs at least one role/],
    ["an unknown field", { roles: [{ ...g, sees: "x" }] }, /Unrecognized key.*fields name, template, answer/],
    ["a name with a space", { roles: [{ name: "the judge", template: "refiner" }] }, /must be 1 to 32 of a-z/],
    ["a name of a placeholder", { roles: [{ name: "answer", template: "generator" }] }, /is the name of a placeholder/],
    ["a role without a template", { roles: [{ name: "judge" }] }, /role "judge" has no template; choose one of/],
    ["two of one name", { roles: [g, g] }, /role "generator" is there twice/],
    [
      "an answer of nobody",
      { roles: [g, { ...v, answer: "solver" }] },
      /sees "solver", which does not speak before it; .*: generator/,
    ],
    ["a critique of a later role", { roles: [g, { ...r, critique: "verifier" }, v] }, /"refiner" sees "verifier"/],
    ["itself", { roles: [{ ...g, template: "refiner", answer: "generator" }] }, /before it speaks: nobody/],
    [
      "a generator that sees somebody",
      { roles: [g, { ...g, name: "generator-2", answer: "generator" }] },
      /no place for it/,
    ],
    [
      "a verifier that sees a critique",
      { roles: [g, v, { ...v, name: "verifier-2", critique: "verifier" }] },
      /no place for it/,
    ],
    [
      "a refiner without an answer",
      { roles: [g, { ...r, answer: null, critique: null }] },
      /sees no answer; write answer:/,
    ],
    ["one critique twice", { roles: [g, v, { ...r, critique: ["verifier", "verifier"] }] }, /sees one critique twice/],
    [
      "a verdict of no critique",
      { roles: [g, { ...r, critique: null, critiqueShown: "verdict" }] },
      /leave critiqueShown out/,
    ],
    [
      "a missing critique that is there",
      { roles: [g, v, { ...r, missingCritique: "told" }] },
      /leave missingCritique out/,
    ],
    ["a prompt without the question", { roles: [{ ...g, prompt: "Solve it." }] }, /without \{question\}/],
    [
      "a prompt with an unknown word",
      { roles: [{ ...g, prompt: "{question} {refiner}" }] },
      /has \{refiner\} .*known here: \{question\}/,
    ],
    [
      "a prompt that lacks what it sees",
      { roles: [g, { ...v, prompt: "{question}" }] },
      /sees an answer, but its prompt lacks \{answer\}/,
    ],
    [
      "an adapter of nobody",
      { roles: [{ ...g, adapter: "verifier" }] },
      /has the adapter of "verifier", which does not speak/,
    ],
    [
      "an adapter of another kind",
      { roles: [g, { ...v, adapter: "generator" }] },
      /a generator, and is itself a verifier/,
    ],
    ["branching of nothing", { roles: [{ ...g, branching: 0 }] }, /field "roles.0.branching"/],
  ])("is refused with %s", (_, content, message) => {
    expect(() => parseTeam(content, "file", "file")).toThrow(message);
    expect(() => parseTeam(content, "file", "file")).toThrow(InputError);
  });
});

describe("who sees whom", () => {
  const set = promptSet("arithmetic");
  const said = (roles: readonly Role[], name: string) => {
    const turns = roles
      .slice(
        0,
        roles.findIndex((role) => role.name === name),
      )
      .map((role) => ({
        ...{ role: role.name, text: `${role.name} says\nFinal Answer: ${role.name.length}` },
      }));
    return messages(set, roles.find((role) => role.name === name)!, asked[0]!, turns)[0]!.content;
  };
  it.each([
    ["two-rounds", "verifier-2", /Solution:\nrefiner says\nFinal Answer: 7$/],
    [
      "two-rounds",
      "refiner-2",
      /Solution:\nrefiner says\nFinal Answer: 7\nCritique:\nverifier-2 says\nFinal Answer: 10$/,
    ],
    ["verdict-only", "refiner", /Solution:\ngenerator says\nFinal Answer: 9\nCritique:\nFinal Answer: 8$/],
    ["two-verifiers", "verifier-2", /Solution:\ngenerator says\nFinal Answer: 9$/],
    [
      "two-verifiers",
      "refiner",
      /Critique:\nCritique 1:\nverifier says\nFinal Answer: 8\n\nCritique 2:\nverifier-2 says\nFinal Answer: 10$/,
    ],
    [
      "judge",
      "judge",
      /First solution:\ngenerator says\nFinal Answer: 9\nSecond solution:\nrefiner says\nFinal Answer: 7$/,
    ],
  ])("in %s the %s", (name, role, shown) => expect(said(findTeam(name).roles, role)).toMatch(shown));
});

describe("the systems of any team", () => {
  it("of the paper's are those of the tables, in their order and with their words", () => {
    expect(Object.values(teamSystems()).flat()).toEqual([...allSystems]);
    expect(findSystems(["all"], findTeam("malt").roles)).toEqual([...allSystems]);
  });

  it.each(teamNames)("%s have unique names, and need what its training makes and nothing else", (name) => {
    const { roles } = findTeam(name);
    const all = findSystems(["all"], roles);
    expect(new Set(all.map((system) => system.name)).size).toBe(all.length);
    const plan = trainingPlan({ roles, settings: modelOfProfile("tiny").training, rows: () => 9, generatorDpo: true });
    expect(neededAdapters(all)).toEqual(plan.map((stage) => stage.name).sort());
    for (const system of all)
      for (const [i, role] of system.roles.entries())
        for (const seen of seenBy(role, roles))
          expect(system.roles.slice(0, i).map((earlier) => earlier.name)).toContain(seen);
  });

  it("have any number of votes, another's tokens, and any mix of trained roles by its letters", () => {
    const { roles } = findTeam("two-verifiers");
    const found = findSystems(["MALT@9", "STaR MA@15", "SA@2", "debate@5", "mix GV2@7", "mix VR"], roles);
    expect(found.map(({ votes }) => votes)).toEqual([9, 15, 2, 5, 7, 3]);
    expect(found[4]!.adapters).toEqual({ generator: "generator-sft", "verifier-2": "verifier-2-dpo" });
    const [one, other] = findSystems(["MA equal tokens", "STaR SA+MV equal tokens to MALT@9"]);
    expect([one!.tokensOf, other!.tokensOf]).toEqual(["MALT", "MALT@9"]);
    for (const name of [
      "MALT@0",
      "MALT@1.5",
      "MALT@",
      "SA+MV equal tokens@3",
      "MALT@9@9",
      "mix GVR",
      "mix X",
      "MALT equal tokens to",
    ])
      expect(() => findSystems([name])).toThrow(`unknown system "${name}"`);
  });
});

describe("the same code for every team", () => {
  const hash = (text: string) => createHash("sha256").update(text).digest("hex");

  it.each(teamNames)("samples, credits, exports, plans and evaluates %s", async (name) => {
    const { roles } = findTeam(name, 2);
    const { policy } = team();
    const run = `team-${name}`;
    const { dir, manifest } = await sampleRun({ run, outputs, policy, model: "malt-tiny", questions: asked, roles });
    expect(manifest.counts).toMatchObject({ failed: 0, completions: asked.length * treeSize(roles) });
    expect((await readManifest(dir)).config.roles).toEqual(roles);
    await exportRun(dir);
    const files = (await readdir(join(dir, "train"))).sort();
    const speakers = roles.filter(({ adapter }) => adapter === undefined).map((role) => role.name);
    expect(files).toEqual(speakers.flatMap((each) => [`${each}-dpo.jsonl`, `${each}-sft.jsonl`]).sort());
    const data = await openDataset(dir);
    const examples = await data.query<SftExample>("SELECT * FROM sft");
    const nodes = await data.nodes();
    data.close();
    expect(nodes).toHaveLength(asked.length * treeSize(roles));
    // Every example has the prompt that its role was sent, with the texts of those it sees.
    for (const example of examples) {
      const texts = new Map(nodes.filter((n) => n.question_id === example.question_id).map((n) => [n.node_id, n]));
      const path = example.node_id.split(".");
      const turns = path.slice(0, -1).map((_, i) => {
        const node = texts.get(path.slice(0, i + 1).join("."))!;
        return { role: node.role, text: node.text };
      });
      const question = asked.find(({ id }) => id === example.question_id)!;
      expect(example.prompt).toEqual(messages(promptSet("gsm8k"), roles[path.length - 1]!, question, turns));
    }
    const rows = new Map<string, number>();
    for (const file of files) rows.set(file, (await readFile(join(dir, "train", file), "utf8")).split("\n").length - 1);
    expect([...rows].reduce((sum, [file, n]) => sum + (file.endsWith("-sft.jsonl") ? n : 0), 0)).toBe(examples.length);
    const tokens = await tokensPerRow(dir, 512, roles);
    expect([...tokens.keys()].every((file) => rows.has(file))).toBe(true);

    const systems = findSystems(["SA@4", "MA@2", "MALT", "mixes", "ablations", "MA equal tokens to MALT"], roles);
    const adapters = new Map(neededAdapters(systems).map((each) => [each, hash(each)]));
    const given = { run, outputs, questions: heldOut, systems, seeds: [0], size: 2, policy, adapters };
    const evaluated = await evaluateRun(given);
    const turns = evaluated.rows.filter((row) => row.system === "MALT" && row.pass === 2).map(({ turn }) => turn);
    expect([...new Set(turns)]).toEqual(roles.map((role) => role.name));
    expect(evaluated.rows.filter((row) => row.system === "SA@4")).toHaveLength(2 * 4);
    expect((await evaluateRun(given)).sampled).toBe(0);
    expect(existsSync(join(dir, "evaluation.parquet"))).toBe(true);
  });
});
