import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { exportRun } from "../../src/dataset/export.js";
import { checkOptions } from "../../src/dataset/rules.js";
import { InputError } from "../../src/errors.js";
import { models } from "../../src/models/table.js";
import { axesOf } from "../../src/study/axes.js";
import { planStudy } from "../../src/study/definition.js";
import { runsOf } from "../../src/study/study.js";

const studies = join(import.meta.dirname, "../../studies");

describe("a study", () => {
  it("has a cell for every combination, the last axis fastest, and one reference by the defaults", () => {
    const { cells, axes } = planStudy({ name: "s", vary: { threshold: [0.3, 0.5], pooling: ["local", "mean"] } });
    expect(axes.map(({ name, phase }) => [name, phase])).toEqual([
      ["threshold", "credit"],
      ["pooling", "credit"],
    ]);
    expect(cells.map(({ cell, varied, isReference }) => [cell, varied.threshold, varied.pooling, isReference])).toEqual(
      [
        [1, 0.3, "local", false],
        [2, 0.3, "mean", false],
        [3, 0.5, "local", false],
        [4, 0.5, "mean", true],
      ],
    );
    const chosen = planStudy({ name: "s", vary: { branching: [2, 4] }, reference: { branching: 4 } });
    expect(chosen.cells.map(({ isReference }) => isReference)).toEqual([false, true]);
  });

  it("has the same run for cells that differ in what is evaluated, and for a value that is the default", () => {
    const { cells } = planStudy({ name: "s", vary: { system: ["SA", "MALT"], votes: [1, 15] } });
    expect(new Set(cells.flatMap(({ replicas }) => replicas.map(({ run }) => run))).size).toBe(1);
    expect(cells.map(({ system }) => [system.name, system.votes])).toEqual([
      ["SA@1", 1],
      ["SA@15", 15],
      ["MALT@1", 1],
      ["MALT@15", 15],
    ]);
    const run = (fixed: object) => planStudy({ name: "s", fixed, vary: { votes: [3] } }).cells[0]!.replicas[0]!.run;
    expect(run({ threshold: 0.5, branching: 3, team: "malt" })).toBe(run({}));
    expect(run({ threshold: 0.4 })).not.toBe(run({}));
    // Values that are added leave the runs of the others as they are.
    const named = (values: number[]) =>
      planStudy({ name: "s", vary: { beta: values } }).cells.map((c) => c.replicas[0]!.run);
    expect(named([0.1, 0.2, 0.5]).slice(0, 2)).toEqual(named([0.1, 0.2]));
  });

  it("is repeated under seeds, each with a run of its own", () => {
    const { cells } = planStudy({ name: "s", vary: { beta: [0.1, 0.2] }, repeat: { seed: [0, 1], trainSeed: [4, 5] } });
    expect(cells.map(({ replicas }) => replicas.map(({ settings }) => [settings.seed, settings.trainSeed]))).toEqual(
      Array(2).fill([
        [0, 4],
        [0, 5],
        [1, 4],
        [1, 5],
      ]),
    );
    expect(new Set(cells.flatMap(({ replicas }) => replicas.map(({ run }) => run))).size).toBe(8);
  });

  it("measures the generator of DPO where it is trained", () => {
    const { cells } = planStudy({ name: "s", vary: { generatorDpo: [false, true], votes: [null, 5] } });
    expect(cells.map(({ system }) => [system.name, system.adapters.generator])).toEqual([
      ["MALT", "generator-sft"],
      ["MALT@5", "generator-sft"],
      ["MALT + G-DPO", "generator-dpo"],
      ["MALT + G-DPO@5", "generator-dpo"],
    ]);
  });

  it("can vary every option of an export and of the training, and knows their defaults", () => {
    const axes = axesOf();
    const { openai: _, ...credit } = checkOptions({});
    for (const [name, value] of Object.entries({ ...credit, beta: models[0]!.training.beta }))
      expect(axes.get(name)?.default, name).toBe(value);
    expect(exportRun).toBeTypeOf("function");
  });

  const vary = { threshold: [0.5] };
  it.each<[string, object, RegExp]>([
    ["no name", { vary }, /field "name"/],
    ["a name that is no folder", { name: "My study", vary }, /must be 1 to 48 of a-z/],
    ["an unknown field", { name: "s", vary, grid: {} }, /grid.*a study has the fields name, title, questions/],
    [
      "an unknown axis",
      { name: "s", vary: { theta: [0.5] } },
      /no axis "theta" \(in vary.theta\); known: branching, .*threshold.*beta/,
    ],
    ["an axis without values", { name: "s", vary: { threshold: [] } }, /"vary.threshold": needs at least one value/],
    ["a value out of range", { name: "s", vary: { threshold: [1.5] } }, /vary\.threshold: threshold is 1\.5/],
    ["a value of another type", { name: "s", vary: { threshold: ["0.5"] } }, /threshold must be a number, not "0\.5"/],
    ["a rule nobody knows", { name: "s", vary: { pooling: ["max-min"] } }, /pooling is "max-min"; choose one of/],
    ["a training setting out of range", { name: "s", vary: { beta: [-1] } }, /vary\.beta: beta must be a number > 0/],
    ["a value twice", { name: "s", vary: { threshold: [0.5, 0.5] } }, /vary\.threshold has 0\.5 twice/],
    ["an axis that is fixed too", { name: "s", vary, fixed: { threshold: 0.3 } }, /both fixed and varied/],
    ["a seed that is varied and repeated", { name: "s", vary: { seed: [1] }, repeat: { seed: [1] } }, /is repeated/],
    [
      "a reference on another axis",
      { name: "s", vary, reference: { beta: 1 } },
      /reference names "beta", which is not varied/,
    ],
    [
      "a reference that is no value",
      { name: "s", vary, reference: { threshold: 0.4 } },
      /reference\.threshold is 0\.4.*there are: 0\.5/,
    ],
    ["an unknown team", { name: "s", vary: { team: ["quartet"] } }, /vary\.team: unknown team "quartet"; known: malt/],
    ["an unknown system", { name: "s", vary: { system: ["GPT"] } }, /unknown system "GPT"/],
    [
      "a grid too large to read",
      { name: "s", vary: { seed: Array.from({ length: 1001 }, (_, i) => i) } },
      /1001 cells/,
    ],
  ])("is refused with %s", (_, content, message) => {
    expect(() => planStudy(content)).toThrow(message);
    expect(() => planStudy(content)).toThrow(InputError);
  });
});

describe("the ready-made studies", () => {
  it.each(readdirSync(studies).filter((name) => /^(?!paper-).*\.yaml$/.test(name)))(
    "%s is one, named after its file",
    (file) => {
      const plan = planStudy(parse(readFileSync(join(studies, file), "utf8")), file);
      expect(`${plan.definition.name}.yaml`).toBe(file);
      expect(plan.definition.title).toMatch(/\?$/);
      expect(plan.cells.filter(({ isReference }) => isReference)).toHaveLength(1);
      // Wider trees are sampled first: the others lie in them.
      const widths = runsOf(plan, "outputs").map(({ settings }) => Number(settings.branching ?? 3));
      expect(widths).toEqual([...widths].sort((a, b) => b - a));
    },
  );
});
