/** scripts/gpu: its sizes and its servers' commands, and the whole script on the CPU with malt-tiny. */
import { lstatSync, mkdtempSync, readlinkSync, rmSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, describe, expect, it } from "vitest";
import { dataPath, inPackage, python, root } from "../../src/paths.js";
import { trainerInstalled } from "../../src/train/trainer.js";
import { marked } from "../processes.js";

const script = inPackage("scripts", "gpu", "run.mjs");
const sizes = await import(inPackage("scripts", "gpu", "sizes.mjs"));
const { treesFor, trainingPace, epochsFor, evaluationFor, maxTokensFor } = sizes;
const { layOutHub, servedAs, servers } = await import(inPackage("scripts", "gpu", "servers.mjs"));

const place = mkdtempSync(join(tmpdir(), "malt-gpu-"));
afterAll(() => rmSync(place, { recursive: true, force: true }));

describe("the sizes", () => {
  it("fit into the time: trees into a quarter of it, an evaluation into three quarters of what is left", () => {
    // 9 minutes at 10 completions/s: 135 s for trees of 39.
    expect(treesFor(540, 10, 200)).toBe(34);
    expect(treesFor(540, 10, 20)).toBe(20);
    expect(treesFor(540, 0.01, 200)).toBe(1);
    // 150 of 200 s: first more questions, then more seeds.
    expect(evaluationFor(200, 0.5, 1000)).toEqual({ size: 75, seeds: 1 });
    expect(evaluationFor(200, 0.5, 30)).toEqual({ size: 30, seeds: 2 });
    expect(evaluationFor(200, 2, 1000)).toEqual({ size: 100, seeds: 3 });
    expect(evaluationFor(200, 20, 1000)).toEqual({ size: 100, seeds: 4 });
    expect(evaluationFor(-5, 10, 50)).toEqual({ size: 1, seeds: 1 });
  });

  it("train as many passes as fit into 30 % of the time, from 1 to 4, a step of DPO being worth 3 of SFT", () => {
    const pace = { step: 0.5, around: 16 };
    // 162 s less 16 around the first stage and 20 around five more: 252 steps of half a second.
    expect(epochsFor(540, pace, { sft: 60, dpo: 20 }, 5)).toBe(2);
    expect(epochsFor(540, pace, { sft: 24, dpo: 20 }, 5)).toBe(3);
    expect(epochsFor(540, pace, { sft: 10, dpo: 2 }, 5)).toBe(4);
    expect(epochsFor(540, pace, { sft: 1000, dpo: 200 }, 5)).toBe(1);
  });

  it("measure a step by the quickest one, because kernels are loaded in the others", () => {
    const metrics = [5, 5.5, 6, 8].map((seconds, i) => ({ step: i + 1, seconds }));
    expect(trainingPace(metrics, 20)).toEqual({ step: 0.5, around: 18 });
    expect(trainingPace(metrics.slice(0, 1), 20)).toEqual({ step: 5, around: 15 });
  });

  it("cut completions at a quarter of the context, and at 512 tokens", () => {
    expect([1024, 2048, 131_072].map(maxTokensFor)).toEqual([256, 512, 512]);
  });
});

describe("the servers", () => {
  const model = { name: "m", folder: join(place, "model") };
  const adapter = { name: "verifier-dpo", folder: join(place, "verifier-dpo") };
  const files = async (folder: string, content: Record<string, string>) => {
    await mkdir(folder, { recursive: true });
    for (const [name, text] of Object.entries(content)) await writeFile(join(folder, name), text);
  };
  const written = Promise.all([
    files(model.folder, { "config.json": "{}", "tokenizer.json": "{}", "model.safetensors": "w", "m.gguf": "g" }),
    files(adapter.folder, {
      "adapter_config.json": JSON.stringify({ r: 16, base_model_name_or_path: "../../elsewhere" }),
      "adapter_model.safetensors": "a",
      "done.json": "{}",
    }),
  ]);

  it("of transformers find the model and its adapters by name, in a hub's folder that copies no weights", async () => {
    await written;
    const hub = join(place, "hub");
    layOutHub(hub, model, [adapter]);
    const snapshot = (name: string) => join(hub, `models--${name}`, "snapshots", "local");
    expect((await readdir(snapshot("m"))).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    const own = snapshot("verifier-dpo");
    const shared = ["config.json", "tokenizer.json"];
    expect((await readdir(own)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors", ...shared]);
    expect(readlinkSync(join(own, "adapter_model.safetensors"))).toBe(
      join(adapter.folder, "adapter_model.safetensors"),
    );
    expect(lstatSync(join(snapshot("m"), "model.safetensors")).isSymbolicLink()).toBe(true);
    const config = JSON.parse(await readFile(join(own, "adapter_config.json"), "utf8"));
    expect(config).toEqual({ r: 16, base_model_name_or_path: model.folder });
    expect(await readFile(join(hub, "models--verifier-dpo", "refs", "main"), "utf8")).toBe("local");
  });

  it("of vLLM get the adapters by name and their rank, and none where there are none", async () => {
    await written;
    const start = (adapters: unknown[]) => servers.vllm.start({ model, adapters, port: 8123 }).args.join(" ");
    expect(start([])).not.toContain("lora");
    expect(start([adapter])).toContain(
      `--enable-lora --max-lora-rank 16 --max-loras 1 --lora-modules verifier-dpo=${adapter.folder}`,
    );
  });

  it("name a model after its folder", () => {
    expect([dataPath("malt-tiny"), "/x/Some Model--v1.5/"].map(servedAs)).toEqual(["malt-tiny", "Some-Model-v1.5"]);
  });
});

const run = (...args: string[]) => execa(process.execPath, [script, ...args], { cwd: root, reject: false });

it.each([
  [["--minutes", "1"], /--minutes must be 2 to 600, not "1"/],
  [["--server", "ollama"], /--server must be one of vllm, transformers, embedded, not "ollama"/],
  [["--server", "embedded", "--model", "."], /--server embedded serves data\/malt-tiny alone/],
  [["--questions", "nowhere.jsonl"], /nowhere\.jsonl does not exist; check --model, --questions and --test/],
  [["--out", "."], /is there already; give another --out/],
  [["--gpus", "2"], /Unknown option '--gpus'.*--help shows the options/],
] as const)("refuses %j in one line", async (args, words) => {
  const { exitCode, stderr } = await run(...args);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(words);
  expect(stderr.split("\n")).toHaveLength(1);
});

/** The servers that are installed. */
const there = async () => {
  const find = "import importlib.util as u, sys; print(all(u.find_spec(name) for name in sys.argv[1:]))";
  const has = async (name: string) =>
    (await execa(python, ["-c", find, ...servers[name].modules], { reject: false })).stdout === "True";
  const names = (await trainerInstalled()) ? ["embedded", "transformers"] : [];
  return (await Promise.all(names.map(async (name) => ((await has(name)) ? [name] : [])))).flat();
};
const installed = await there();
for (const name of ["embedded", "transformers"])
  if (!installed.includes(name)) console.warn(`skipped: scripts/gpu with the server "${name}", which is not installed`);

it.skipIf(installed.length === 0).each(["SIGTERM", "SIGKILL"] as const)(
  "leaves nothing running when it is ended by %s",
  async (signal) => {
    const mark = marked();
    // Stands for a Python that has a server: it says so, and serves an empty page.
    const standIn = join(place, `python-${signal}`);
    const page = `require("http").createServer((_, answer) => answer.end("{}")).listen('$2', "127.0.0.1")`;
    const shell = [
      "#!/bin/sh",
      `[ "$1" = -c ] && echo '{"missing":[]}' && exit`,
      "while [ $1 != --port ]; do shift; done",
      `exec "${process.execPath}" -e '${page}'`,
    ];
    await writeFile(standIn, `${shell.join("\n")}\n`, { mode: 0o755 });
    // Stands for malt: it works until the one that started it has ended.
    const malt = `${process.execPath} -e process.on("disconnect",process.exit);setInterval(Date,1000)`;
    const flags = ["--device", "cpu", "--server", "transformers", "--python", standIn, "--out", join(place, signal)];
    const child = execa(process.execPath, [script, ...flags], {
      cwd: root,
      env: { ...mark.env, MALT: malt },
      reject: false,
    });
    expect(await mark.begun(/setInterval/)).toBe(true);
    expect(mark.alive().some((command) => command.includes("createServer"))).toBe(true);
    child.kill(signal);
    expect(await child).toMatchObject(signal === "SIGTERM" ? { exitCode: 143 } : { signal });
    expect(await mark.left()).toEqual([]);
  },
  120_000,
);

// One of them is enough to see the whole script at work; the other commands of each server are above.
describe.each(installed.slice(-1))("on the CPU with the server %s", (server) => {
  it("samples, trains, evaluates and keeps the evidence, and leaves nothing running", async () => {
    // As few as have pairs of each role; with the embedded server the texts are those of the recorded run.
    const trees = server === "embedded" ? 4 : 12;
    const mark = marked();
    const few = join(place, "test.jsonl");
    const held = (await readFile(dataPath("arithmetic", "test.jsonl"), "utf8")).split("\n").slice(0, 4);
    await writeFile(few, `${held.join("\n")}\n`);
    const out = join(place, server);
    const flags = [
      "--device",
      "cpu",
      "--minutes",
      "60",
      "--server",
      server,
      "--limit",
      `${trees}`,
      "--test",
      few,
      "--out",
      out,
    ];
    const malt = `${process.execPath} --import tsx ${inPackage("src", "cli.ts")}`;
    const { exitCode, stderr, stdout } = await execa(process.execPath, [script, ...flags], {
      cwd: root,
      env: { ...mark.env, MALT: malt },
      reject: false,
    });
    expect([exitCode, stderr.match(/^error:.*/m)?.[0]]).toEqual([0, undefined]);
    const evidence = JSON.parse(await readFile(join(out, "evidence.json"), "utf8"));
    const commands = evidence.steps.flatMap(
      ({ command }: { command: string }) => /^malt (\w+)/.exec(command)?.[1] ?? [],
    );
    expect(commands.join(" ")).toBe("sample sample sample export train train evaluate evaluate evaluate report");
    expect(evidence.steps.every(({ code }: { code: number }) => code === 0)).toBe(true);
    expect(evidence).toMatchObject({ server, devices: ["cpu", "cpu", "cpu"], sizes: { trees } });
    // Everything fits into the time, on whatever machine.
    expect(evidence.sizes).toMatchObject({ size: 4, seeds: 4, epochs: 4 });
    expect(evidence.machine).toMatchObject({ torch: expect.any(String), transformers: expect.any(String) });
    const report = await readFile(join(out, "report.txt"), "utf8");
    for (const system of ["SA", "MA", "MALT"]) expect(report).toMatch(new RegExp(`^${system} +\\d`, "m"));
    expect(stdout).toContain(report.trim().split("\n")[0]);
    expect(await mark.left()).toEqual([]);
  }, 1_800_000);
});
