import { existsSync } from "node:fs";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openDataset } from "../../src/dataset/export.js";
import { InputError, RefusedError, ServerError, UnreachableError } from "../../src/errors.js";
import { debatePrompt } from "../../src/evaluate/debate.js";
import { evaluateRun } from "../../src/evaluate/evaluate.js";
import type { EvaluationProgress } from "../../src/evaluate/passes.js";
import { summariseSystems } from "../../src/evaluate/results.js";
import { drawSubset, type EvaluateOptions } from "../../src/evaluate/sampling.js";
import { readJournal } from "../../src/run/journal.js";
import { readManifest, writeManifest } from "../../src/run/manifest.js";
import { readPaper, results } from "../../src/show/results.js";
import { promptSet } from "../../src/team/prompt-sets.js";
import { type PromptSet, promptSetHash } from "../../src/team/prompts.js";
import { debateSystem, findSystems } from "../../src/team/systems.js";
import type { Complete, EvaluationRow, Question } from "../../src/types.js";
import { hashes, heldOut, team } from "../team.js";
import { trainingRun } from "../train/run.js";

const outputs = await mkdtemp(join(tmpdir(), "malt-evaluate-"));
afterAll(() => rm(outputs, { recursive: true, force: true }));
let runs = 0;

const everything = findSystems(["main", "debate", "mixes", "ablations", "extra"]);

/** Options over a fresh run, or over that of earlier options. */
async function options(changes: Partial<EvaluateOptions> = {}): Promise<EvaluateOptions> {
  const run = changes.run ?? `run-${runs++}`;
  if (!changes.run) await trainingRun(outputs, run);
  return {
    run,
    outputs,
    questions: heldOut,
    source: { path: "test.jsonl", sha256: null },
    systems: findSystems(["main", "debate"]),
    seeds: [3, 1],
    size: 4,
    policy: team().policy,
    adapters: hashes(),
    ...changes,
  };
}
const folder = ({ run }: { run: string }) => join(outputs, "runs", run);
const parquet = (given: { run: string }) => readFile(join(folder(given), "evaluation.parquet"));

/** Asks as usual, but throws from the `from`-th request on. */
const failing =
  (from: number, error: () => Error, until = Number.POSITIVE_INFINITY) =>
  (honest: Complete): Complete => {
    let n = 0;
    return (request, signal) => (++n > from && n <= until ? Promise.reject(error()) : honest(request, signal));
  };

describe("evaluation.parquet", () => {
  it("has the contract's columns and holds the rows in the order of systems, seeds, questions, turns and passes", async () => {
    const systems = findSystems(["MALT", "SA", "debate"]);
    const given = await options({ systems });
    const { rows } = await evaluateRun(given);
    const data = await openDataset(folder(given));
    const columns = await data.query<{ column_name: string; column_type: string }>("DESCRIBE evaluation");
    const read = await data.query<EvaluationRow>("SELECT * FROM evaluation");
    data.close();
    expect(columns.map((c) => [c.column_name, c.column_type])).toEqual([
      ["benchmark", "VARCHAR"],
      ["system", "VARCHAR"],
      ["seed", "INTEGER"],
      ["question_id", "VARCHAR"],
      ["pass", "INTEGER"],
      ["turn", "VARCHAR"],
      ["text", "VARCHAR"],
      ["answer", "VARCHAR"],
      ["correct", "BOOLEAN"],
      ["voted_answer", "VARCHAR"],
      ["voted_correct", "BOOLEAN"],
      ["completion_tokens", "INTEGER"],
    ]);
    expect(read).toEqual(rows);
    const wanted = systems.flatMap(({ name, roles, votes }) =>
      [3, 1].flatMap((seed) =>
        drawSubset(heldOut, 4, seed).flatMap(({ id }) =>
          roles.flatMap((role) => Array.from({ length: votes }, (_, pass) => [name, seed, id, role.name, pass])),
        ),
      ),
    );
    expect(rows.map((r) => [r.system, r.seed, r.question_id, r.turn, r.pass])).toEqual(wanted);
  });

  it("votes at every turn over that turn's answers; who gives none does not vote and is wrong", async () => {
    const { rows } = await evaluateRun(await options({ size: 6 }));
    const groups = new Map<string, EvaluationRow[]>();
    for (const row of rows) {
      const turn = JSON.stringify([row.system, row.seed, row.question_id, row.turn]);
      groups.set(turn, [...(groups.get(turn) ?? []), row]);
    }
    for (const group of groups.values()) {
      const answers = group.map(({ answer }) => answer).filter((answer) => answer !== null);
      const counts = new Map(answers.map((a) => [a, answers.filter((b) => a === b).length]));
      const most = Math.max(0, ...counts.values());
      const winner = answers.find((answer) => counts.get(answer) === most) ?? null;
      for (const row of group)
        expect(row).toMatchObject({
          voted_answer: winner,
          voted_correct: winner === "12",
          correct: row.answer === "12",
        });
    }
    expect(rows.some(({ answer }) => answer === null)).toBe(true);
    expect([...groups.values()].some((group) => group[0]!.voted_answer === null)).toBe(true);
  });

  it("counts the tokens of a turn, and of all rounds for an agent of a debate", async () => {
    const given = await options({ systems: findSystems(["SA+MV", "debate"]) });
    const { rows } = await evaluateRun(given);
    const tokens = new Map<string, number>();
    for await (const entry of readJournal(join(folder(given), "evaluation"))) {
      const [agent, round] = entry.node_id.split(".");
      const at = `${entry.question_id} ${agent!.slice(1)}`;
      if (!round) tokens.set(`SA+MV ${at}`, (tokens.get(`SA+MV ${at}`) ?? 0) + entry.completion_tokens!);
      tokens.set(`debate ${at}`, (tokens.get(`debate ${at}`) ?? 0) + entry.completion_tokens!);
    }
    // A question of both seeds is asked under each of them.
    const sums = new Map<string, number>();
    for (const r of rows) {
      const at = `${r.system} ${r.question_id} ${r.pass}`;
      sums.set(at, (sums.get(at) ?? 0) + r.completion_tokens!);
    }
    expect(Object.fromEntries(sums)).toEqual(Object.fromEntries(tokens));
    const { policy } = team({
      complete: (honest) => async (request, signal) =>
        (await honest(request, signal)).map((c) => ({ ...c, completion_tokens: null })),
    });
    const uncounted = await evaluateRun(await options({ systems: [debateSystem], policy }));
    expect(uncounted.rows.every((r) => r.completion_tokens === null)).toBe(true);
  });
});

describe("the prompts of an evaluation", () => {
  const mine = { ...promptSet("gsm8k"), generator: "Solve this, please: {question}" };
  async function runOf(prompts: PromptSet | undefined, prompt_set_hash: string) {
    const given = await options({ systems: findSystems(["ablation G+R (told none)", "debate"]), seeds: [0], size: 1 });
    const manifest = await readManifest(folder(given));
    const config = { ...manifest.config, prompts };
    await writeManifest(folder(given), { ...manifest, config, prompt_set_hash });
    return given;
  }

  it("are the run's own, whatever is built in under their name, and are recorded with all that was sent", async () => {
    const { policy, requests } = team();
    const given = { ...(await runOf(mine, promptSetHash(mine))), policy };
    await evaluateRun(given);
    const first = requests
      .map(({ messages }) => messages.at(-1)!.content)
      .filter((text) => !/critique|Other/.test(text));
    expect(first.length).toBeGreaterThan(0);
    for (const text of first) expect(text).toMatch(/^Solve this, please: Unseen/);
    const { evaluation } = await readManifest(folder(given));
    expect(evaluation!.sums).toMatchObject({
      ...{ prompt_set: "gsm8k", prompts: mine, prompt_set_hash: promptSetHash(mine) },
      systems: [
        { roles: [{ name: "generator" }, { name: "refiner", critique: null, missingCritique: "told" }], debate: null },
        { debate: { rounds: 3, prompt: debatePrompt(["{answer}"]) } },
      ],
    });
  });

  it("are refused where they are not those that the run was sampled with, unless others are given", async () => {
    const { policy, asked } = team();
    for (const prompts of [mine, undefined]) {
      const given = { ...(await runOf(prompts, "0".repeat(64))), policy };
      await expect(evaluateRun(given)).rejects.toThrow(/sampled with prompt set "gsm8k" of SHA-256 0{64}/);
      expect(asked).toEqual([]);
    }
    await evaluateRun({ ...(await runOf(undefined, "0".repeat(64))), policy, promptSet: mine });
    expect(asked.length).toBeGreaterThan(0);
  });
});

describe("a vote at equal tokens", () => {
  /** Tokens per question of each system, and how many passes it voted on. */
  const spent = (rows: readonly EvaluationRow[]) =>
    new Map(summariseSystems(rows).map(({ system, tokens, votes }) => [system, { tokens: tokens!, votes }]));
  /** A completion of `words[role]` words, all of them tokens. */
  const wordy = (words: Record<string, number>, completion_tokens: (n: number) => number | null = (n) => n) =>
    team({
      complete: (honest) => async (request, signal) => {
        const role = /critique/i.test(request.messages.at(-1)!.content) ? "refiner" : "other";
        const text = "word ".repeat(words[role]! - 1);
        const said = await honest(request, signal);
        return said.map((c) => ({ ...c, text: `${text}12`, completion_tokens: completion_tokens(words[role]!) }));
      },
    });

  it.each([
    [{ other: 10, refiner: 22 }, 13],
    [{ other: 50, refiner: 1 }, 6],
    [{ other: 2, refiner: 1000 }, 128],
  ])("has the number of passes that comes nearest to MALT's tokens: %j → %j", async (words, votes) => {
    const systems = findSystems(["SA+MV equal tokens", "MALT", "SA+MV@9"]);
    const given = await options({ systems, size: 2, policy: wordy(words).policy });
    const { rows } = await evaluateRun(given);
    const found = spent(rows);
    expect(found.get("SA+MV equal tokens")).toEqual({ votes, tokens: votes * words.other });
    expect(found.get("MALT")!.tokens).toBe(3 * (2 * words.other + words.refiner));
    expect(found.get("SA+MV@9")!.votes).toBe(9);
    const { evaluation } = await readManifest(folder(given));
    expect(evaluation!.sums).toMatchObject({
      systems: [{ votes, tokens_of: "MALT" }, { votes: 3, tokens_of: null }, {}],
    });
    // The same journal gives the same bytes, without another request.
    const before = await parquet(given);
    expect((await evaluateRun(given)).sampled).toBe(0);
    expect(await parquet(given)).toEqual(before);
    expect(results(rows, await readPaper("own"))).toMatch(
      new RegExp(`beside them their share of MALT's\\. Passes voted on: SA\\+MV equal tokens ${votes}\\.`),
    );
  });

  it("goes by the length of the texts where the server does not count tokens", async () => {
    const { policy } = wordy({ other: 10, refiner: 22 }, () => null);
    const given = await options({ systems: findSystems(["MALT", "SA+MV equal tokens"]), size: 2, policy });
    const { rows } = await evaluateRun(given);
    expect(rows.filter(({ system, pass }) => system === "SA+MV equal tokens" && pass === 12).length).toBeGreaterThan(0);
    expect(rows.every(({ pass }) => pass < 13)).toBe(true);
  });

  it("needs the system whose tokens it is to spend", async () => {
    const { policy, asked } = team();
    const given = await options({ systems: findSystems(["SA", "SA+MV equal tokens"]), policy });
    await expect(evaluateRun(given)).rejects.toThrow(
      'the tokens of "MALT", which is not evaluated; add that system too',
    );
    expect(asked).toEqual([]);
  });
});

/** Other questions, under the same ids. */
const other: Question[] = heldOut.map((q, i) => ({
  ...q,
  benchmark: "other, and more",
  question: `Harder ${i}: what is 3 times 4?`,
}));

describe("evaluations of several benchmarks", () => {
  const both = async (order: readonly (readonly Question[])[]) => {
    const given = await options({ systems: findSystems(["MA+MV", "debate"]) });
    const rows = new Map<string, EvaluationRow[]>();
    for (const questions of order) {
      const evaluated = await evaluateRun({ ...given, questions });
      rows.set(evaluated.benchmark, evaluated.rows);
    }
    return { given, rows };
  };

  it("are kept side by side, with all texts and questions; the order they were made in does not show", async () => {
    const { given, rows } = await both([heldOut, other]);
    const data = await openDataset(folder(given));
    expect(await data.benchmarks()).toEqual(["other, and more", "sums"]);
    for (const [benchmark, own] of rows) expect(await data.evaluation(benchmark)).toEqual(own);
    const all = await data.query<EvaluationRow>("SELECT * FROM evaluation");
    expect(all).toEqual([...rows.get("other, and more")!, ...rows.get("sums")!]);
    await expect(data.evaluation("gsm8k")).rejects.toThrow('"gsm8k" in ');
    const asked = await data.query<{ question: string }>(
      `SELECT DISTINCT question FROM evaluation JOIN evaluation_questions USING (benchmark, question_id)
       WHERE benchmark = $1 ORDER BY question`,
      ["other, and more"],
    );
    const drawn = new Set([3, 1].flatMap((seed) => drawSubset(other, 4, seed).map(({ question }) => question)));
    expect(asked.map(({ question }) => question)).toEqual([...drawn].sort());
    data.close();

    const said = new Map<string, string>();
    for await (const { question_id, node_id, key, text } of readJournal(join(folder(given), "evaluation")))
      said.set(`${question_id} ${node_id} ${key}`, text);
    const texts = new Set(said.values());
    expect(all.every(({ text }) => texts.has(text!))).toBe(true);
    const last = all.find((row) => row.system === "debate")!;
    expect([...said].find(([, text]) => text === last.text)![0]).toContain(".debate3 ");

    const { given: reversed } = await both([other, heldOut, other]);
    expect(await parquet(reversed)).toEqual(await parquet(given));
    const { evaluation } = await readManifest(folder(given));
    expect(Object.keys(evaluation!)).toEqual(["other, and more", "sums"]);
  });

  it("are replaced one at a time, and what is lost from the tables is said and costs nothing to get back", async () => {
    const { given, rows } = await both([heldOut, other]);
    const before = await parquet(given);
    const again = await evaluateRun({ ...given, systems: findSystems(["MA"]), seeds: [3], size: 2 });
    expect(again.replaced).toBe("MA+MV, debate on 4 questions of test.jsonl, seeds 3, 1");
    const data = await openDataset(folder(given));
    expect(await data.evaluation("sums")).toEqual(again.rows);
    expect(await data.evaluation("other, and more")).toEqual(rows.get("other, and more"));
    data.close();
    const more = await evaluateRun({ ...given, systems: findSystems(["MA", "MA+MV", "debate"]) });
    expect([more.sampled, more.replaced]).toEqual([0, null]);
    const back = await evaluateRun(given);
    expect([back.sampled, back.replaced]).toEqual([0, "MA, MA+MV, debate on 4 questions of test.jsonl, seeds 3, 1"]);
    expect(await parquet(given)).toEqual(before);
    const renamed = heldOut.map((q) => ({ ...q, question: `${q.question} Say it.` }));
    expect((await evaluateRun({ ...given, questions: renamed })).replaced).toMatch(/^MA\+MV, debate on 4 questions/);
  });

  it("take a file of several benchmarks as one", async () => {
    const mixed = [...heldOut.slice(0, 3), ...other.slice(3)];
    const given = await options({ systems: findSystems(["SA"]), questions: mixed });
    const { rows, benchmark } = await evaluateRun(given);
    expect(benchmark).toBe("sums+other, and more");
    expect(new Set(rows.map((row) => row.benchmark))).toEqual(new Set([benchmark]));
  });

  it("are added to a run of the time when it kept one, whose rows had neither benchmark nor text", async () => {
    const given = await options({ systems: findSystems(["MA+MV"]) });
    const { rows } = await evaluateRun(given);
    const manifest = await readManifest(folder(given));
    const file = join(folder(given), "evaluation.parquet");
    const data = await openDataset(folder(given));
    await data.query(`COPY (SELECT * EXCLUDE (benchmark, text) FROM evaluation) TO '${file}.old' (FORMAT parquet)`);
    data.close();
    await rename(`${file}.old`, file);
    await rm(join(folder(given), "evaluation_questions.parquet"));
    const single = { ...manifest, evaluation: manifest.evaluation!.sums };
    await writeFile(join(folder(given), "run.json"), JSON.stringify(single));
    expect(await readManifest(folder(given))).toEqual(manifest);
    const old = rows.map((row) => ({ ...row, text: null }));
    const read = await openDataset(folder(given));
    expect(await read.evaluation()).toEqual(old);
    read.close();
    const added = await evaluateRun({ ...given, questions: other });
    const grown = await openDataset(folder(given));
    expect(await grown.evaluation("sums")).toEqual(old);
    expect(await grown.evaluation("other, and more")).toEqual(added.rows);
    grown.close();
  });

  it("are chosen by the run's own benchmark, else by their names", async () => {
    const { given, rows } = await both([heldOut, other]);
    const chosen = async () => {
      const data = await openDataset(folder(given));
      const found = await data.evaluation();
      data.close();
      return found;
    };
    expect(await chosen()).toEqual(rows.get("other, and more"));
    const data = await openDataset(folder(given));
    await data.query(
      `COPY (SELECT * FROM evaluation_questions WHERE benchmark = 'sums')
       TO '${join(folder(given), "questions.parquet")}' (FORMAT parquet)`,
    );
    data.close();
    expect(await chosen()).toEqual(rows.get("sums"));
    const again = await openDataset(folder(given));
    expect(await again.benchmarks()).toEqual(["sums", "other, and more"]);
    again.close();
  });
});

describe("what systems have in common", () => {
  it("is sampled once: single agents cost nothing beside teams, STaR and MALT share a generator", async () => {
    const { policy, asked } = team();
    const { sampled } = await evaluateRun(await options({ policy, systems: findSystems(["main"]) }));
    // 3 passes of the untrained G, V, R; of the trained generator; of STaR's and of MALT's V and R. Two seeds, 4 questions.
    expect(sampled).toBe((9 + 3 + 6 + 6) * 2 * 4);
    expect(asked).toHaveLength(sampled);
    expect(new Set(asked).size).toBe(asked.length);
  });

  it("is in the journal afterwards: SA and MA ask nothing after MA+MV, and no server", async () => {
    const given = await options({ systems: findSystems(["MA+MV"]) });
    await evaluateRun(given);
    const dead = () => Promise.reject(new UnreachableError("nobody there"));
    const policy = { baseURL: "http://fake/v1", complete: dead, models: dead, info: dead, load: async () => null };
    const again = await evaluateRun({ ...given, policy, systems: findSystems(["SA", "SA+MV", "MA"]) });
    expect(again).toMatchObject({ sampled: 0 });
    expect(again.rows).toHaveLength(2 * 4 * (1 + 3 + 3));
    const { evaluation } = await readManifest(folder(given));
    expect(evaluation!.sums).toMatchObject({ server: { owner: "fake", build: "1" }, model: "malt-tiny", size: 4 });
  });

  it("is kept when more votes are wanted: the further passes alone are asked, under the seeds they would have had", async () => {
    const votes = (n: number) => [
      { ...findSystems(["SA+MV@9"])[0]!, votes: n },
      { ...debateSystem, votes: n },
    ];
    const whole = await options({ systems: votes(5) });
    await evaluateRun({ ...whole });
    const grown = await options({ systems: votes(3) });
    const [before, after] = [team(), team()];
    await evaluateRun({ ...grown, policy: before.policy });
    await evaluateRun({ ...grown, policy: after.policy, systems: [votes(5)[0]!] });
    // Two seeds, four questions: one request each, for the two passes that were missing.
    expect(after.requests.map(({ n }) => n)).toEqual(Array(8).fill(2));
    expect([...before.asked, ...after.asked]).toHaveLength(new Set([...before.asked, ...after.asked]).size);
    // In a debate of more agents the others hear more, so only the first round goes on.
    await evaluateRun({ ...grown, systems: votes(5) });
    expect(await parquet(grown)).toEqual(await parquet(whole));
  });

  it("ends where adapters differ: weights of another training are asked anew, and what they are shown with them", async () => {
    const given = await options({ systems: findSystems(["MALT", "STaR MA+MV"]) });
    await evaluateRun(given);
    const { policy, requests } = team();
    const adapters = hashes((name) => (name === "verifier-dpo" ? "trained again" : name));
    await evaluateRun({ ...given, policy, adapters });
    const asked = new Set(requests.map(({ policy: { adapter } }) => adapter!.name));
    expect(asked).toEqual(new Set(["verifier-dpo", "refiner-dpo"]));
    expect(requests).toHaveLength(2 * 4 * 6);
    expect(requests[0]!.policy.adapter).toEqual({ name: "verifier-dpo", sha256: adapters.get("verifier-dpo") });
  });
});

describe("an evaluation that is cut off", () => {
  it("at any request goes on to the same bytes, and nothing that had finished is asked again", async () => {
    const whole = await options({ systems: everything, size: 2 });
    const first = team();
    await evaluateRun({ ...whole, policy: first.policy });
    const total = first.requests.length;
    for (const from of [0, 1, 17, 90, total - 1]) {
      const cut = await options({ systems: everything, size: 2, concurrency: 4 });
      const before = team({ complete: failing(from, () => new Error("killed")) });
      await expect(evaluateRun({ ...cut, policy: before.policy })).rejects.toThrow("killed");
      expect(existsSync(join(folder(cut), "evaluation.parquet"))).toBe(false);
      const after = team();
      await evaluateRun({ ...cut, policy: after.policy });
      expect(await parquet(cut)).toEqual(await parquet(whole));
      expect([...before.asked, ...after.asked].sort()).toEqual([...first.asked].sort());
    }
  });

  it("by damage to its journal asks for the damaged lines again, and says how many", async () => {
    const given = await options({ systems: findSystems(["MA"]), seeds: [0] });
    const { policy } = team();
    expect((await evaluateRun({ ...given, policy })).damaged).toBe(0);
    const before = await parquet(given);
    const path = join(folder(given), "evaluation", "journal", "completions.jsonl");
    const lines = (await readFile(path, "utf8")).split("\n");
    lines[1] = lines[1]!.replace('"text":"', '"text":"?');
    await writeFile(path, lines.join("\n"));
    const { policy: again, asked } = team();
    expect((await evaluateRun({ ...given, policy: again })).damaged).toBe(1);
    expect(asked).toHaveLength(1);
    expect(await parquet(given)).toEqual(before);
  });

  it("counts a request that several systems share once, and knows which were asked now", async () => {
    const seen: EvaluationProgress[] = [];
    const given = await options({ systems: findSystems(["MA", "SA+MV", "MA+MV", "debate"]), seeds: [0, 1], size: 2 });
    const onProgress = (progress: EvaluationProgress) => seen.push(progress);
    const first = team();
    await evaluateRun({ ...given, policy: first.policy, onProgress });
    // Of a question: the three first answers, three critiques, three refinements, and two rounds of three debaters.
    const total = 2 * 2 * (1 + 3 + 3 + 6);
    expect(first.requests).toHaveLength(total);
    expect(seen.at(-1)).toEqual({ done: total, total, asked: total });
    expect(seen.map(({ done }) => done)).toEqual([...seen.map(({ done }) => done)].sort((a, b) => a - b));
    await evaluateRun({ ...given, policy: team().policy, onProgress });
    expect(seen.at(-1)).toEqual({ done: total, total, asked: 0 });
  });

  it("by failed requests writes nothing but the journal, says which systems and why, and asks them again", async () => {
    const given = await options({ systems: findSystems(["SA", "MA"]), seeds: [0] });
    const seen: string[] = [];
    const onFailure = (_: Error, system: string, id: string) => seen.push(`${system} ${id}`);
    const long = () => new RefusedError("the prompt is longer than the context", 400);
    const { policy } = team({ complete: failing(6, long, 8) });
    await expect(evaluateRun({ ...given, policy, onFailure, concurrency: 1 })).rejects.toThrow(
      '2 requests of "MA" failed at http://fake/v1; refused for good: questions "test-3", "test-4" (the prompt is longer ' +
        "than the context); or evaluate without these systems",
    );
    expect(seen).toHaveLength(2);
    expect(existsSync(join(folder(given), "evaluation.parquet"))).toBe(false);
    expect((await readManifest(folder(given))).evaluation).toBeUndefined();
    const { policy: back, requests } = team();
    await evaluateRun({ ...given, policy: back });
    expect(requests.length).toBeGreaterThan(0);
    const fresh = await options({ systems: given.systems, seeds: [0] });
    await evaluateRun(fresh);
    expect(await parquet(given)).toEqual(await parquet(fresh));
  });

  it("by the caller keeps what it has", async () => {
    const stop = new AbortController();
    const given = await options({ signal: stop.signal });
    const { policy } = team({
      complete: (honest) => (request, signal) => {
        if (request.messages.length > 1) stop.abort(new ServerError("enough"));
        return honest(request, signal);
      },
    });
    await expect(evaluateRun({ ...given, policy })).rejects.toThrow("enough");
    const kept: unknown[] = [];
    for await (const entry of readJournal(join(folder(given), "evaluation"))) kept.push(entry);
    expect(kept.length).toBeGreaterThan(0);
  });
});

describe("what cannot be evaluated is refused before the first request", () => {
  const train = (text: string, id = "other") => ({ ...heldOut[0]!, id, question: text });
  it.each<[string, Partial<EvaluateOptions>, string | RegExp]>([
    [
      "a training question, by its id",
      { questions: [...heldOut, train("New?", "sum-3")], size: 1 },
      /"sum-3".*has the id/,
    ],
    [
      "a training question, by its text",
      { questions: [...heldOut, train(" item 3:  what is 3 + 3? ")], size: 1 },
      /"sum-3".*has the text of the held-out question "other" in test.jsonl/,
    ],
    [
      "an adapter that is not trained",
      { adapters: new Map() },
      'system "STaR SA" needs adapter "generator-sft", which is not trained; there are: none',
    ],
    ["more questions than there are", { size: 7 }, "a subset of 7 questions cannot be drawn from 6"],
    [
      "two questions of one id",
      { questions: [heldOut[0]!, heldOut[0]!], size: 1 },
      "two held-out questions have one id",
    ],
    ["no system", { systems: [] }, "there are no systems"],
    ["a system twice", { systems: [debateSystem, { ...debateSystem }] }, 'two systems are named "debate"'],
    ["a seed twice", { seeds: [1, 1] }, "seeds must be different integers"],
    ["a seed beyond its column", { seeds: [2 ** 31] }, "seeds must be different integers"],
    ["no request in flight", { concurrency: 0 }, "concurrency must be an integer ≥ 1, not 0"],
    [
      "a debate of a team",
      { systems: [{ ...debateSystem, roles: findSystems(["MA"])[0]!.roles }] },
      "a debate has one role",
    ],
    [
      "a model that is not served",
      { model: "other" },
      'model "other" is not served at http://fake/v1; served: malt-tiny',
    ],
  ])("%s", async (_, changes, message) => {
    const { policy, asked } = team();
    const given = await options({ ...changes, policy });
    const error = await evaluateRun(given).catch((e: Error) => e);
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toMatch(message);
    expect(asked).toEqual([]);
    expect(existsSync(join(folder(given), "evaluation.parquet"))).toBe(false);
  });
});

describe("the subset of a seed", () => {
  const many = Array.from({ length: 200 }, (_, i) => ({ ...heldOut[0]!, id: `q${i}` }));
  const ids = (size: number, seed: number, of = many) => drawSubset(of, size, seed).map(({ id }) => id);
  it("is the seed's alone, keeps the questions' order, and lies in any larger one of that seed", () => {
    const order = (list: string[]) => list.toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
    expect(ids(50, 1)).toEqual(ids(50, 1, many.toReversed()).toReversed());
    expect(ids(50, 1)).toEqual(order(ids(50, 1)));
    expect(ids(80, 1)).toEqual(expect.arrayContaining(ids(50, 1)));
    const shared = ids(50, 1).filter((id) => ids(50, 2).includes(id)).length;
    // Two random quarters of 200 share 12.5 questions, give or take 2.6.
    expect(shared).toBeGreaterThan(4);
    expect(shared).toBeLessThan(22);
    expect(ids(200, 9)).toEqual(many.map(({ id }) => id));
  });
});
