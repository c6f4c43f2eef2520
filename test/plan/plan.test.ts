import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { progressOf } from "../../src/evaluate/passes.js";
import { publishedFor, publishedTable } from "../../src/evaluate/published.js";
import { estimateExperiment } from "../../src/plan/estimate.js";
import { readExperiment } from "../../src/plan/file.js";
import { pilotRates, statedRates } from "../../src/plan/pilot.js";
import { readManifest } from "../../src/run/manifest.js";
import { planText } from "../../src/show/plan.js";
import { powerOf } from "../../src/stats/power.js";
import { findSystems } from "../../src/team/systems.js";

const inRepository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const recorded = inRepository("data/recorded");
const paper = (name: string) => readExperiment(inRepository(`studies/paper-${name}.yaml`));
const published = async (benchmark: string) =>
  publishedFor(await publishedTable(1), { benchmark, model: "meta-llama/Llama-3.1-8B-Instruct" });

describe("the plan of the paper's study on GSM8K", () => {
  it("is what one gets by hand", async () => {
    const study = await paper("gsm8k");
    const { sampling, stages, evaluation, ...rest } = estimateExperiment(
      study,
      statedRates(study),
      await published("gsm8k"),
    );
    // 7,473 questions; 3, 9 and 27 outputs; one request a state: 1 + 3 + 9.
    expect(sampling.completions).toBe(7473 * (3 + 9 + 27));
    expect(sampling.requests).toBe(7473 * (1 + 3 + 9));
    expect(sampling.promptTokens).toBe(7473 * (200 + 3 * 450 + 9 * 700));
    expect(sampling.completionTokens).toBe(7473 * 39 * 200);
    expect(sampling.hours).toBeCloseTo((7473 * 39 * 200) / 2500 / 3600, 6);

    // Verifier: 7.4 examples and 1.5 pairs a question, batches of 8, one pass, since both are more than 4,000 texts.
    const [sft, dpo, star] = ["sft", "dpo", "star"].map(
      (method) => stages.find(({ name }) => name === `verifier-${method}`)!,
    );
    expect(sft).toMatchObject({ rows: 55_300, epochs: 1, steps: Math.ceil(55_300 / 8), tokens: 55_300 * 650 });
    expect(dpo).toMatchObject({ rows: 11_210, epochs: 1, steps: Math.ceil(11_210 / 8), tokens: 11_210 * 2 * 650 });
    expect(dpo!.hours).toBeCloseTo((11_210 * 2 * 650 * 4) / 3 / 4000 / 3600, 6);
    // STaR costs what DPO costs: 3 passes of a token against 4.
    expect(star!.tokens / ((dpo!.tokens * 4) / 3)).toBeCloseTo(1, 2);
    expect(stages).toHaveLength(7);

    // A question takes 60 outputs. Base: 3 passes of G, V, R, and 2 more rounds of 3 debaters: 15. STaR: 9. MALT, whose
    // generator is STaR's: 6. Mixes: GV, G and V need 3 refiners each, R too; GR and VR 6: 24. G+R twice: 6.
    expect(evaluation.completions).toBe(4 * 100 * (15 + 9 + 6 + 24 + 6));
    expect(rest.evaluated).toBeCloseTo(1319 * (1 - (1219 / 1319) ** 4), 6);
    expect(rest.disk.adapters).toBe(7 * 4 * 41_943_040);
    const hours = [sampling, evaluation, ...stages].reduce((sum, each) => sum + each.hours!, 0);
    expect(rest.gpuHours).toBeCloseTo(hours, 9);
    expect(rest.dollars).toBeCloseTo(3 * hours, 9);

    // 90.5 against 87.0 %, and 13.3 % of the questions on which they disagree.
    const over = rest.power.find(({ system }) => system === "MA+MV")!;
    expect(over.difference).toBeCloseTo(0.035, 12);
    expect(over.power).toBe(powerOf(356, { difference: over.difference, discordance: 0.133 }));
    const z = (Math.sqrt(356) * 0.035 - 1.959964 * Math.sqrt(0.133)) / Math.sqrt(0.133 - 0.035 ** 2);
    expect(z).toBeCloseTo(-0.15, 2);
    expect(over.power).toBeCloseTo(0.44, 2);
    expect(over.corrected).toBeLessThan(over.power);
  });

  it("asks for as many requests as an evaluation of these systems then counts", async () => {
    const study = await paper("gsm8k");
    for (const systems of [
      ["main"],
      ["SA", "MA+MV"],
      ["debate"],
      ["mixes"],
      ["ablations"],
      ["main", "debate", "mixes", "ablations"],
    ]) {
      let total = 0;
      const begin = progressOf(findSystems(systems), 400, (progress) => (total = progress.total));
      begin(findSystems(systems)[0]!, 100)(1, 1);
      const plan = estimateExperiment({ ...study, evaluate: { ...study.evaluate, systems } }, statedRates(study), []);
      expect(plan.evaluation.requests).toBe(total);
    }
  });

  it.each(["gsm8k", "math", "csqa"])("is written for %s as the paper has it, and can be read", async (name) => {
    const study = await paper(name);
    const estimate = estimateExperiment(study, statedRates(study), await published(name));
    expect(estimate.power.map(({ system }) => system)).toContain("SA");
    expect(estimate.gpuHours).toBeGreaterThan(1);
    const text = planText(study, statedRates(study), estimate);
    expect(text).not.toMatch(/NaN|undefined|null/);
    // The hardware's arithmetic in the file's comment.
    expect(study.hardware.adapter_parameters).toBe(32 * 16 * (2 * 8192 + 2 * 5120 + 3 * 18_432));
    const flips = { gsm8k: 13.3, math: 20.7, csqa: 15.4 }[name]!;
    expect(study.expect.discordance).toBeCloseTo(flips / 100, 9);
  });
});

describe("a pilot", () => {
  it("of 20 questions foretells the recorded run of 200: tokens within 10 %, rows within their chance", async () => {
    const gsm8k = await paper("gsm8k");
    const study = { ...gsm8k, profile: "tiny", sample: { ...gsm8k.sample, size: 200 } };
    const rates = await pilotRates(recorded, study, 20);
    expect(rates.source).toBe("20 questions of run tiny-200 with malt-tiny");
    const { sampling, stages } = estimateExperiment(study, rates, []);
    const manifest = await readManifest(recorded);
    expect(sampling.completions).toBe(manifest.counts.completions);
    expect(sampling.requests).toBe(manifest.usage!.requests);
    const near = (predicted: number, measured: number, tolerance: number) =>
      expect(Math.abs(predicted / measured - 1), `${predicted} against ${measured}`).toBeLessThan(tolerance);
    near(sampling.completionTokens, manifest.usage!.completion_tokens, 0.1);
    near(sampling.promptTokens, manifest.usage!.prompt_tokens, 0.1);
    const { stages: trained } = manifest.training as { stages: { name: string; examples?: number; pairs?: number }[] };
    for (const { name, rows } of stages) {
      const was = trained.find((stage) => stage.name === name)!;
      near(rows, was.examples ?? was.pairs!, 0.5);
    }
  });

  it("of the whole run gives its own steps and hours again", async () => {
    const gsm8k = await paper("gsm8k");
    const study = { ...gsm8k, profile: "tiny", sample: { ...gsm8k.sample, size: 200 } };
    const { sampling, stages } = estimateExperiment(study, await pilotRates(recorded, study), []);
    const manifest = await readManifest(recorded);
    expect(sampling.hours! * 3600).toBeCloseTo(manifest.wall_seconds, 0);
    const { stages: trained } = manifest.training as { stages: { name: string; steps: number; tokens: number }[] };
    for (const { name, steps, tokens, method } of stages) {
      const was = trained.find((stage) => stage.name === name)!;
      if (method !== "star") expect(steps).toBe(was.steps);
      expect(Math.abs(tokens / was.tokens - 1), name).toBeLessThan(0.02);
    }
  });

  it("must fit the study, and have been exported", async () => {
    const study = await paper("gsm8k");
    const wide = { ...study, sample: { ...study.sample, branching: 5 } };
    await expect(pilotRates(recorded, wide)).rejects.toThrow(
      /generator ×3.*plans three roles ×5; sample the pilot with --branching 5/,
    );
    await expect(pilotRates(join(recorded, "train"), study)).rejects.toThrow(/no run\.json/);
  });
});

describe("a study's file", () => {
  const changed = async (change: (study: Record<string, Record<string, unknown>>) => void) => {
    const content = parse(await readFile(inRepository("studies/paper-gsm8k.yaml"), "utf8"));
    change(content);
    const folder = await mkdtemp(join(tmpdir(), "malt-study-"));
    const path = join(folder, "s.yaml");
    await writeFile(path, stringify(content));
    try {
      return await readExperiment(path);
    } finally {
      await rm(folder, { recursive: true });
    }
  };

  it("is refused by the name of what is wrong in it", async () => {
    await expect(readExperiment("nowhere.yaml")).rejects.toThrow(/cannot read study "nowhere.yaml": ENOENT/);
    await expect(changed((s) => Object.assign(s.sample!, { sice: 3 }))).rejects.toThrow(/s\.yaml: sample: .*sice/);
    await expect(changed((s) => Object.assign(s.sample!, { size: 0 }))).rejects.toThrow(/sample\.size/);
    await expect(changed((s) => Object.assign(s.evaluate!, { systems: ["MALTT"] }))).rejects.toThrow(
      /unknown system "MALTT"/,
    );
    await expect(changed((s) => Object.assign(s.evaluate!, { size: 2000 }))).rejects.toThrow(
      /more than its pool of 1319/,
    );
    await expect(changed((s) => void delete s.expect)).rejects.toThrow(/expect/);
  });

  it("without a throughput gives all but the hours, and says what is missing", async () => {
    const study = await changed((s) => void delete s.hardware!.training_tokens_per_second);
    const estimate = estimateExperiment(study, statedRates(study), []);
    expect(estimate).toMatchObject({ hours: null, dollars: null, power: [] });
    expect(estimate.sampling.hours).toBeGreaterThan(0);
    const text = planText(study, statedRates(study), estimate);
    expect(text).toContain(
      "hours unknown: measure a pilot (--pilot RUN), or state hardware.training_tokens_per_second",
    );
    expect(text).toContain("the paper has no numbers for gsm8k, so no power is computed");
  });
});
