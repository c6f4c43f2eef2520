/** How two manifests differ: what makes another run of it, and what a reader may want to know. Pure. */
import { RunError } from "../errors.js";
import type { Manifest } from "./manifest.js";

/**
 * What would make `next` a different run from `old`: model and its file, adapter, sampling, roles, prompts, seed, questions and
 * shard, as lines "sampling.temperature: 0.3 → 0.7"; of a long text the part that differs. Where and how fast it is
 * sampled may change.
 */
export const differences = (old: Manifest, next: Manifest): string[] =>
  settingChanges(old, next).map(({ path, before, after }) => `${path}: ${before} → ${after}`);

/** A setting by its dotted path, as JSON text, of a long text the part that differs; `none` where it is absent. */
export interface SettingChange {
  path: string;
  before: string;
  after: string;
}

/** The same as data. */
export function settingChanges(old: Manifest, next: Manifest): SettingChange[] {
  const [before, after] = [flat(identity(old)), flat(identity(next))];
  // A server elsewhere does not tell which file it has read its model from.
  const files = [old, next].map(({ server }) => server.weights?.sha256);
  if (files.every((file) => file !== undefined))
    for (const [i, leaves] of [before, after].entries()) leaves.set("server.weights.sha256", `"${files[i]}"`);
  // Equal hashes mean equal prompts, whether or not both manifests hold them.
  const isSaid = (path: string) => !path.startsWith("prompts.") || old.prompt_set_hash !== next.prompt_set_hash;
  for (const leaves of [before, after]) for (const path of leaves.keys()) if (!isSaid(path)) leaves.delete(path);
  return changedLeaves(before, after);
}

/**
 * What else differs that a reader may want to know, though it makes no other run: the rules of the export, the server,
 * versions, and what was evaluated how.
 */
export function otherChanges(old: Manifest, next: Manifest): SettingChange[] {
  const about = ({ server, versions, export: exported, evaluation = {} }: Manifest) =>
    flat({
      ...{ server: { owner: server.owner, build: server.build }, versions, export: exported?.options },
      evaluation: Object.fromEntries(
        Object.entries(evaluation).map(([name, { source, questions_sha256, size, seeds, model, judge }]) => [
          name,
          { source, questions_sha256, size, seeds, model, judge },
        ]),
      ),
    });
  return changedLeaves(about(old), about(next));
}

function changedLeaves(old: Map<string, string>, next: Map<string, string>): SettingChange[] {
  return [...new Set([...old.keys(), ...next.keys()])]
    .filter((path) => old.get(path) !== next.get(path))
    .map((path) => {
      const [before, after] = excerpts(old.get(path) ?? "none", next.get(path) ?? "none");
      return { path, before: before!, after: after! };
    });
}

/** Two different texts from shortly before the first place where they differ, at most 80 characters of each. */
function excerpts(...texts: [string, string]): string[] {
  if (texts.every((text) => text.length <= 80)) return texts;
  const [one, other] = texts.map((text) => [...text]) as [string[], string[]];
  const same = one.findIndex((letter, i) => letter !== other[i]);
  const start = Math.max(0, (same < 0 ? one.length : same) - 20);
  return [one, other].map((letters) => {
    const end = letters.length > start + 80 ? "…" : "";
    return `${start > 0 ? "…" : ""}${letters.slice(start, start + 80).join("")}${end}`;
  });
}

/** @throws RunError that lists the differences, if there are any */
export function requireSame(old: Manifest, next: Manifest): void {
  const lines = differences(old, next);
  if (lines.length > 0)
    throw new RunError(
      `run "${old.run}" was started with other parameters (${lines.join("; ")}); use them, or another --run name`,
    );
}

function identity({ config, benchmark, prompt_set_hash, shard }: Manifest): unknown {
  const { policy, sampling, roles, prompt_set, prompts, system_message = "separate", seed, adapters, search } = config;
  const { name, questions, questions_sha256 } = benchmark;
  return {
    policy,
    sampling,
    roles,
    prompt_set,
    system_message,
    prompts,
    seed,
    // Two names of systems may mean the same adapters.
    adapters: adapters && { run: adapters.run, roles: adapters.roles },
    search,
    benchmark: { name, questions, questions_sha256 },
    prompt_set_hash,
    shard,
  };
}

/** Leaves of a JSON value by dotted path, as JSON text. */
function flat(value: unknown, path: string[] = [], leaves = new Map<string, string>()): Map<string, string> {
  if (value !== null && typeof value === "object")
    for (const [key, inner] of Object.entries(value)) flat(inner, [...path, key], leaves);
  else leaves.set(path.join("."), JSON.stringify(value));
  return leaves;
}
