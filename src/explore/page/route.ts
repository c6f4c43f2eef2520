/**
 * Addresses inside the page: `#QUESTION/g0.v2`, `#evaluation:BENCHMARK/QUESTION/SYSTEM/SEED/PASS`, and behind a `?` the
 * setting where it is not the dataset's. Parts are percent-encoded, and `:` is not among what that leaves. Pure.
 */
import { pairings, sftSelections } from "../../credit/pairs.js";
import { incompletes, poolings } from "../../credit/values.js";
import type { CreditSetting } from "../credit.js";

/** What is looked at. Absent parts are not chosen. */
export interface Route {
  /** Null for the trees. */
  benchmark: string | null;
  question?: string | undefined;
  node?: string | undefined;
  system?: string | undefined;
  seed?: number | undefined;
  pass?: number | undefined;
  /** What differs from the dataset's setting. */
  setting: Partial<CreditSetting>;
}

/** Names of the setting's fields in an address, and which values they may have. */
const fields: {
  readonly [K in keyof CreditSetting]: readonly [name: string, read: (text: string) => CreditSetting[K] | undefined];
} = {
  threshold: ["theta", share],
  pooling: ["pooling", oneOf(poolings)],
  incomplete: ["incomplete", oneOf(incompletes)],
  pairing: ["pairing", oneOf(pairings)],
  minGap: ["min-gap", share],
  identical: ["identical", oneOf(["drop", "keep"] as const)],
  dedupe: ["dedupe", (text) => (text === "true" ? true : text === "false" ? false : undefined)],
  examples: ["examples", oneOf(sftSelections)],
};
const names = Object.keys(fields) as (keyof CreditSetting)[];

function share(text: string): number | undefined {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  return value >= 0 && value <= 1 ? value : undefined;
}

function oneOf<T extends string>(known: readonly T[]) {
  return (text: string): T | undefined => known.find((value) => value === text);
}

/** Reads an address; what it cannot read counts as absent. */
export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  const given = new URLSearchParams(query);
  const setting: Record<string, unknown> = {};
  for (const name of names) {
    const [key, read] = fields[name];
    const value = given.has(key) ? read(given.get(key)!) : undefined;
    if (value !== undefined) setting[name] = value;
  }
  const [first = "", ...rest] = path.split("/");
  const whole = (text: string | undefined) => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined);
  if (first.startsWith("evaluation:")) {
    const [question, system, seed, pass] = rest.map(decoded);
    return {
      ...{ benchmark: decoded(first.slice("evaluation:".length)) ?? "", question, system },
      ...{ seed: whole(seed), pass: whole(pass), setting },
    };
  }
  return {
    benchmark: null,
    question: first === "" ? undefined : decoded(first),
    node: decoded(rest[0] ?? ""),
    setting,
  };
}

function decoded(text: string): string | undefined {
  try {
    return text === "" ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The address of a route. @param dataset the setting that needs no words */
export function formatRoute(
  { benchmark, question, node, system, seed, pass, setting }: Route,
  dataset: CreditSetting,
): string {
  const parts = benchmark === null ? [question, node] : [question, system, seed, pass];
  const until = parts.indexOf(undefined);
  const shown = parts.slice(0, until < 0 ? parts.length : until).map((part) => encoded(String(part)));
  const path = benchmark === null ? shown : [`evaluation:${encoded(benchmark)}`, ...shown];
  const changed = names.filter((name) => setting[name] !== undefined && setting[name] !== dataset[name]);
  const query = new URLSearchParams(changed.map((name) => [fields[name][0], String(setting[name])])).toString();
  return `#${path.join("/")}${query && `?${query}`}`;
}

/** Halves of a surrogate pair have no encoding, so they become U+FFFD. */
const encoded = (text: string): string => encodeURIComponent(text.replace(/\p{Cs}/gu, "\uFFFD"));
