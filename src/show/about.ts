/** What a notebook shows: which model and which run, what that run lacks, and, folded, its manifest. */
import { readFileSync } from "node:fs";
import * as z from "zod";
import type { RunPart } from "../dataset/lacking.js";
import type { OpenRun } from "../dataset/open.js";
import { thousands } from "../format.js";
import { models } from "../models/table.js";
import { inPackage } from "../paths.js";
import { cell, escapeHtml, send, tableHtml } from "./notebook.js";

/** What run.json says of a training and of an evaluation, as far as it is told here. */
const trained = z.object({ stages: z.array(z.object({ name: z.string() })) });
const evaluated = z.object({ systems: z.array(z.unknown()), size: z.number(), seeds: z.array(z.unknown()) });

/**
 * A notebook's first output: model and run in words, what the notebook needs and the run does not have, and the folded
 * manifest. It is made from run.json, so it is true of whatever run is shown.
 * @param needs parts of the run that the notebook shows; of others nothing is said
 * @throws MaltError outside a tslab kernel
 */
export function aboutRun(run: OpenRun, ...needs: readonly RunPart[]): void {
  const { lead, note, lines, missing } = aboutText(run, needs);
  const code = (text: string) => escapeHtml(text).replace(/`([^`]+)`/g, "<code>$1</code>");
  const items = [...lines.map(code), ...missing.map((line) => `<strong>Missing:</strong> ${escapeHtml(line)}`)];
  const list = items.map((item) => `<li>${item}</li>`).join("");
  send({
    "text/html": `<p><strong>${code(lead)}</strong>${escapeHtml(note)}.</p><ul>${list}</ul>${manifestHtml(run)}`,
    "text/plain": [`${lead}${note}.`, ...lines, ...missing.map((line) => `Missing: ${line}`)].join("\n"),
  });
}

/** The same as text, with names in backticks. */
export function aboutText(
  { name, manifest, roles, promptSet, measured, lacks }: OpenRun,
  needs: readonly RunPart[] = [],
): { lead: string; note: string; lines: string[]; missing: string[] } {
  const { policy, sampling } = manifest.config;
  const { benchmark } = manifest;
  const note = models.find((model) => model.name === policy.model)?.note;
  const plural = (n: number, noun: string) => `${thousands(n)} ${noun}${n === 1 ? "" : "s"}`;
  const team = roles.map(({ name, branching }) => `${branching} × ${name}`).join(", ");
  const lines = [
    `Trees: ${plural(benchmark.questions, "question")} of ${benchmark.name}, in each state ${team}; ` +
      `temperature ${sampling.temperature}, prompts \`${promptSet.name}\`.`,
  ];
  const stages = trained.safeParse(manifest.training).data?.stages.map((stage) => stage.name) ?? [];
  if (stages.length > 0) lines.push(`Training: ${stages.join(", ")}.`);
  const evaluation = evaluated.safeParse(manifest.evaluation?.[measured.benchmark]).data;
  if (evaluation) {
    const { systems, size, seeds } = evaluation;
    const drawn = `${plural(size, "question")} of ${measured.benchmark} for each of ${plural(seeds.length, "seed")}`;
    lines.push(`Evaluation: ${plural(systems.length, "system")} on ${drawn}.`);
  }
  // With so few, an interval says more about the questions than about the model.
  if (benchmark.questions < 30)
    lines.push("So few questions give wide intervals: read the texts, not the percentages.");
  return {
    lead: `Shown here: run \`${name}\` of the model \`${policy.model}\``,
    note: note ? `, ${note}` : "",
    lines,
    missing: needs.flatMap((part) => lacks.get(part) ?? []),
  };
}

/**
 * Shows versions, then a run's manifest (`run.json`), one row per section, folded.
 * @param run.name the run's name
 * @param run.manifest default none: versions only
 * @throws MaltError outside a tslab kernel
 */
export function manifestTable(run: { name?: string; manifest?: object } = {}): void {
  const of = run.name === undefined ? "" : ` of run ${run.name}`;
  send({ "text/html": manifestHtml(run), "text/plain": `versions and manifest${of}` });
}

function manifestHtml(run: { name?: string; manifest?: object }): string {
  const { node, "malt-notebooks": malt, ...packages } = versions();
  const rows = [
    { name: "this notebook", value: `malt-notebooks ${malt}, node ${node}` },
    {
      name: "packages",
      value: Object.entries(packages)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
    },
    ...(run.name === undefined ? [] : [{ name: "run", value: run.name }]),
    ...sections(run.manifest ?? {}, ""),
  ];
  const summary = run.manifest ? "The manifest, run.json, and the versions used" : "The versions used";
  return `<details><summary>${summary}</summary>${tableHtml(rows, { maxRows: 100, maxLength: 400 })}</details>`;
}

/** One row per object of a nested value, named by its dotted path: its plain fields as "name value, …". */
function sections(value: object, path: string): { name: string; value: string }[] {
  const nested = (inner: unknown): inner is object => typeof inner === "object" && inner !== null;
  const entries = Object.entries(value);
  const own = entries.filter(([, inner]) => !nested(inner)).map(([key, inner]) => `${key} ${plainField(inner)}`);
  const below = entries.flatMap(([key, inner]) => {
    if (!nested(inner)) return [];
    const name = path === "" ? key : `${path}.${key}`;
    return Array.isArray(inner) ? [{ name, value: inner.map(item).join("; ") }] : sections(inner, name);
  });
  return own.length > 0 ? [{ name: path || "run.json", value: own.join(", ") }, ...below] : below;
}

/** An element of a list in one line: "generator: branching 3" for an object that has a name or role. */
function item(value: unknown): string {
  if (typeof value !== "object" || value === null) return plainField(value);
  const [[, first] = [], ...rest] = Object.entries(value);
  return `${plainField(first)}: ${rest.map(([key, inner]) => `${key} ${plainField(inner)}`).join(", ")}`;
}

/** A field's value; of a long hash only the first characters, which are enough to tell two runs apart. */
const plainField = (value: unknown): string =>
  typeof value === "string" && /^[0-9a-f]{40,}$/.test(value) ? `${value.slice(0, 12)}…` : cell(value, 200);

/** Versions that decide what a notebook shows: Node, this package and its pinned dependencies. */
export function versions(): Record<string, string> {
  const file = inPackage("package.json");
  const { version, dependencies } = JSON.parse(readFileSync(file, "utf8")) as {
    version: string;
    dependencies: Record<string, string>;
  };
  return { ...dependencies, node: process.version, "malt-notebooks": version };
}
