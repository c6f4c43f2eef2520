import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { hash, readManifest } from "../../src/run/manifest.js";
import { planStudy, type StudyDefinition } from "../../src/study/definition.js";
import { thresholdOf } from "../../src/study/rounds.js";
import type { Serve } from "../../src/study/serve.js";
import { runsOf, study } from "../../src/study/study.js";
import { trainedStages } from "../../src/train/record.js";
import { heldOut, questionFiles, team } from "../team.js";

const folder = await mkdtemp(join(tmpdir(), "malt-rounds-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const { train: questions, test } = await questionFiles(folder);

const definition: StudyDefinition = {
  ...{ name: "rounds", questions, test, size: 4, seeds: 1 },
  vary: { system: ["MALT", "STaR SA"], round: [0, 1, 2] },
  reference: { system: "MALT", round: 1 },
};

function server() {
  const fake = team();
  const served: string[][] = [];
  const serve: Serve = async ({ adapters }) => {
    served.push(adapters.map(({ name }) => name));
    return { policy: fake.policy, model: "malt-tiny", stop: async () => {} };
  };
  return { ...fake, serve, served };
}

/** Adapters in place of trained ones: what a trainer leaves, without weights. */
async function pretend(dir: string): Promise<void> {
  const { config } = await readManifest(dir);
  const train = join(dir, "train");
  for (const { name: role } of config.roles)
    for (const method of role === "generator" ? ["sft"] : ["sft", "dpo"]) {
      const [stage, data] = [`${role}-${method}`, `${role}-${method}.jsonl`];
      await mkdir(join(train, stage), { recursive: true });
      await writeFile(join(train, stage, "adapter_model.safetensors"), `${stage} of ${dir}`);
      const start = method === "dpo" ? `${role}-sft` : null;
      const done = {
        ...{
          stage,
          examples: 3,
          pairs: 2,
          dropped: 0,
          steps: 1,
          loss: 1,
          tokens: 10,
          seconds: 1,
          device: "cpu",
          versions: {},
        },
        sha256: hash(`${stage} of ${dir}`),
        start_sha256: start && hash(`${start} of ${dir}`),
        data_sha256: [hash(await readFile(join(train, data)))],
        config: { datasets: [{ data_files: data }], ...(start && { start_adapter: start }) },
      };
      await writeFile(join(train, stage, "done.json"), JSON.stringify(done));
    }
}

describe("a study of rounds", () => {
  const outputs = join(folder, "whole");
  const runs = runsOf(planStudy(definition), outputs);
  const first = runs.filter(({ round }) => round === 1);
  const second = runs.filter(({ round }) => round === 2);

  it("samples each round with the adapters of the round before, and says so in run.json", async () => {
    const { serve, served, requests } = server();
    await study(definition, { outputs, serve, until: "export" });
    expect(served).toEqual([[]]);
    expect(requests.every(({ policy }) => policy.adapter === null)).toBe(true);
    for (const { dir } of first) await pretend(dir);
    const later = server();
    await study(definition, { outputs, serve: later.serve, until: "export" });
    expect(later.served).toEqual([["generator-sft", "refiner-dpo", "verifier-dpo"], ["generator-sft"]]);
    const [malt, star] = second;
    const spoke = new Set(later.requests.map(({ policy }) => `${policy.adapter?.name} ${policy.adapter?.sha256}`));
    const made = (name: string, dir: string) => `${name} ${hash(`${name} of ${dir}`)}`;
    expect(spoke).toEqual(
      new Set([
        ...["generator-sft", "verifier-dpo", "refiner-dpo"].map((name) => made(name, malt!.before!.run.dir)),
        made("generator-sft", star!.before!.run.dir),
      ]),
    );
    const { config, benchmark } = await readManifest(malt!.dir);
    const run = malt!.before!.run.name;
    expect(config.adapters).toMatchObject({
      ...{ run, system: "MALT" },
      roles: {
        generator: { name: "generator-sft" },
        verifier: { name: "verifier-dpo" },
        refiner: { name: "refiner-dpo" },
      },
      learned: [{ run, questions_sha256: benchmark.questions_sha256 }],
    });
    // A single agent is sampled alone, so its outputs are judged by their own answers.
    expect((await readManifest(star!.dir)).config.roles.map(({ name }) => name)).toEqual(["generator"]);
  });

  it("evaluates every round, goes on without asking twice, and adds up the cost of the rounds", async () => {
    for (const { dir } of second) await pretend(dir);
    const { serve, asked } = server();
    const { results, left } = await study(definition, { outputs, serve });
    expect(left).toBe(0);
    expect(new Set(asked).size).toBe(asked.length);
    expect(results.map(({ values, system }) => [values.system, values.round, system])).toEqual([
      ["MALT", "0", "MA@3"],
      ["MALT", "1", "MALT"],
      ["MALT", "2", "MALT"],
      ["STaR SA", "0", "SA@1"],
      ["STaR SA", "1", "STaR SA"],
      ["STaR SA", "2", "STaR SA"],
    ]);
    expect(results.every(({ accuracy }) => accuracy!.n === 4)).toBe(true);
    expect(results.map(({ cost }) => cost.sampled_completions / heldOut.length)).toEqual([39, 39, 78, 3, 3, 6]);
    expect(results.map(({ cost }) => cost.training_tokens)).toEqual([0, 50, 100, 0, 10, 20]);
    const again = server();
    expect((await study(definition, { outputs, serve: again.serve })).results).toEqual(results);
    expect([again.asked.length, again.served.length]).toEqual([0, 0]);
  });

  it("refuses to go on where a round was trained anew after the next was sampled", async () => {
    const { dir, name } = first[0]!;
    const path = join(dir, "train", "verifier-dpo", "done.json");
    const before = await readFile(path, "utf8");
    await writeFile(path, JSON.stringify({ ...JSON.parse(before), sha256: hash("trained anew") }));
    await expect(study(definition, { outputs, serve: server().serve })).rejects.toThrow(
      `${second[0]!.name} was sampled with other adapters than ${name} has now; remove `,
    );
    await writeFile(path, before);
    expect((await trainedStages(dir)).every(({ current }) => current)).toBe(true);
  });

  it("says in its table which round could not be trained", async () => {
    const hopeless = { ...definition, name: "hopeless", fixed: { threshold: 1 } };
    const { results, left } = await study(hopeless, { outputs: folder, serve: server().serve });
    expect(left).toBe(0);
    expect(results.map(({ reason }) => reason)).toEqual([
      null,
      "the generator has no example to learn from",
      "round 1: the generator has no example to learn from",
      null,
      "the generator has no example to learn from",
      "round 1: the generator has no example to learn from",
    ]);
  });
});

describe("the plan of rounds", () => {
  const plan = (changes: object) => planStudy({ name: "s", vary: { round: [1, 2, 3] }, ...changes });
  const names = (changes: object) =>
    plan(changes).cells.map(({ replicas }) => replicas[0]!.rounds.map(({ run }) => run));

  it("has one run per round, which later rounds share with earlier ones", () => {
    const [one, two, three] = names({});
    expect([one!.length, two!.length, three!.length]).toEqual([1, 2, 3]);
    expect(three!.slice(0, 2)).toEqual(two);
    expect(two!.slice(0, 1)).toEqual(one);
    // The first round is the run of a study without rounds, and other votes of a team are the same training.
    expect(one).toEqual([planStudy({ name: "s", vary: { votes: [3] } }).cells[0]!.replicas[0]!.run]);
    expect(names({ fixed: { system: "MALT@9" } })).toEqual(names({}));
    expect(names({ fixed: { system: "STaR MA" } })[1]![0]).toBe(one![0]);
    expect(names({ fixed: { system: "STaR MA" } })[1]![1]).not.toBe(two![1]);
  });

  it("raises the threshold by the same step each round, and begins from what is asked after the first", () => {
    expect([1, 2, 3, 9].map((round) => thresholdOf({ thresholdRise: 0.1 }, round))).toEqual([0.5, 0.6, 0.7, 1]);
    const { rounds } = plan({ fixed: { thresholdRise: 0.1, startFrom: "sampled" } }).cells[2]!.replicas[0]!;
    expect(rounds.map(({ settings }) => [settings.threshold, settings.startFrom])).toEqual([
      [0.5, undefined],
      [0.6, "sampled"],
      [0.7, "sampled"],
    ]);
    expect(names({ fixed: { thresholdRise: 0 } })).toEqual(names({}));
    const [first, second] = names({ fixed: { thresholdRise: 0.1 } })[1]!;
    expect([first, second]).toEqual([names({})[0]![0], expect.not.stringMatching(names({})[1]![1]!)]);
  });

  it.each<[string, object, RegExp]>([
    [
      "a rising threshold without rounds",
      { vary: { thresholdRise: [0.1] } },
      /thresholdRise has no effect without rounds/,
    ],
    ["a start without rounds", { fixed: { startFrom: "sampled" }, vary: { beta: [1] } }, /startFrom has no effect/],
    [
      "a part of a team",
      { fixed: { system: "ablation G+V" } },
      /"ablation G\+V" cannot be trained in rounds.*part of a team/,
    ],
    ["another's tokens", { fixed: { system: "SA equal tokens" } }, /cannot be trained in rounds/],
    ["half a round", { vary: { round: [0.5] } }, /round must be an integer ≥ 0, not 0\.5/],
    ["an unknown start", { fixed: { startFrom: "last" } }, /startFrom must be base or sampled, not "last"/],
  ])("refuses %s", (_, changes, message) => {
    expect(() => plan(changes)).toThrow(message);
  });
});
