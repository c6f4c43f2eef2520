import { Command } from "commander";
import { describe, expect, it, vi } from "vitest";
import { register as evaluate } from "../../src/cli/evaluate.js";
import { register as exportRun } from "../../src/cli/export.js";
import { register as report } from "../../src/cli/report.js";
import { commands, settle, settled } from "../../src/cli/reproduce.js";
import { register as sample } from "../../src/cli/sample.js";
import { register as train } from "../../src/cli/train.js";

const flags = {
  ...{
    run: "r",
    questions: "q.jsonl",
    limit: 20,
    profile: "tiny",
    systems: "main",
    size: 50,
    seeds: 4,
    seed: 2,
    train: true,
  },
  ...{ test: "t.jsonl", baseUrl: "http://host/v1", model: "m", baseModel: "folder" },
};

describe("malt reproduce", () => {
  it("runs commands that the command line knows, with every flag they are given", async () => {
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
    const asked: [string, object][] = [];
    for (const register of [sample, exportRun, train, evaluate, report]) register(program);
    for (const command of program.commands) {
      command.exitOverride().action((options: object) => void asked.push([command.name(), options]));
    }
    for (const args of commands(flags)) await program.parseAsync(args, { from: "user" });
    expect(asked.map(([name]) => name)).toEqual(["sample", "export", "train", "evaluate", "report"]);
    expect(asked[0]![1]).toMatchObject({ run: "r", limit: 20, seed: 2, baseUrl: "http://host/v1", model: "m" });
    expect(asked[2]![1]).toMatchObject({ baseModel: "folder", seed: 2 });
    expect(asked[3]![1]).toMatchObject({ questions: "t.jsonl", size: 50, seeds: 4, systems: ["main"] });
  });

  it("samples with the flag for chat templates without system messages; later steps do as the run", () => {
    const all = commands({ ...flags, systemMessage: "merged" });
    expect(all.map((args) => args.includes("--system-message"))).toEqual([true, false, false, false, false]);
    expect(all[0]!.slice(-2)).toEqual(["--system-message", "merged"]);
  });

  it("gives master seeds evaluation seeds of their own", () => {
    const firstSeed = (seed: number) => {
      const evaluation = commands({ ...flags, seed })[3]!;
      return Number(evaluation[evaluation.indexOf("--seed") + 1]);
    };
    expect([0, 1, 2].map(firstSeed)).toEqual([0, 4, 8]);
  });

  it("names a model's file to the sampling alone: run.json tells the later steps", () => {
    const all = commands({
      ...flags,
      profile: undefined,
      baseUrl: undefined,
      hf: "a/b:m.gguf",
      parallel: 2,
      context: 512,
    });
    expect(all[0]!.join(" ")).toContain("--hf a/b:m.gguf --parallel 2 --context 512");
    expect(all.slice(1).filter((args) => args.includes("--hf") || args.includes("--profile"))).toEqual([]);
    expect(all[3]!.join(" ")).toContain("--parallel 2 --context 512");
  });

  it("names a run by its model's file", async () => {
    const run = async (...words: string[]) => (await settled(words)).run;
    expect(await run("--model-file", "/a/Some Model.Q4.gguf")).toBe("some-model.q4-6");
    expect(await run("--hf", "Owner/Name-GGUF")).toBe("name-gguf-6");
    expect(await run("--hf", "Owner/Name-GGUF@refs/pr/1:x/M.gguf", "--limit", "3")).toBe("m-3");
    expect(await run("--hf", "Owner/Name@main")).toBe("name-main-6");
    expect(await run("--model-file", "f.gguf", "--profile", "tiny")).toBe("tiny-200");
    const long = await run("--model-file", `${"m".repeat(99)}.gguf`, "--questions", "gsm8k.jsonl");
    expect(long).toMatch(/^m+-gsm8k-6$/);
    expect(long).toHaveLength(64);
    await expect(run("--model-file", "f.gguf", "--base-url", "http://host")).rejects.toThrow("leave one out");
    vi.stubEnv("OPENAI_BASE_URL", "http://host/v1");
    expect(await settled(["--model-file", "f.gguf"])).toMatchObject({ run: "f-6", limit: 6, train: false });
    vi.unstubAllEnvs();
  });

  it("stops after the dataset where it does not train", () => {
    expect(commands({ ...flags, train: false }).map(([name]) => name)).toEqual(["sample", "export", "report"]);
  });

  it("names a run by what it is a run of, and has the defaults of the model", async () => {
    const words = ["--questions", "a/Some File.jsonl", "--limit", "7", "--seed", "3"];
    expect(await settled(words)).toMatchObject({
      run: "tiny-some-file-7-seed-3",
      profile: "tiny",
      train: true,
      limit: 7,
    });
    expect(settle({ ...flags, run: undefined, profile: undefined, limit: undefined, train: undefined })).toMatchObject({
      ...{ run: "vllm-q-200-seed-2", profile: "vllm", limit: 200, train: true },
    });
    expect(await settled(["--profile", "smollm2"])).toMatchObject({
      run: "smollm2-6",
      limit: 6,
      train: false,
      size: 100,
    });
    expect(await settled(["--no-train"])).toMatchObject({ run: "tiny-200", train: false });
  });
});
