/**
 * Is a run fit to learn from? What a person would look at before training on it, with what each number means and the command
 * that mends it. The limits are rules of thumb of this project; the paper has none. Pure: rows in, findings out.
 */
import { pairSiblings, siblingsOf } from "../credit/pairs.js";
import { treeSize } from "../credit/score.js";
import { countEnds } from "../credit/summary.js";
import { percent, thousands } from "../format.js";
import type { Manifest } from "../run/manifest.js";
import type { Node } from "../types.js";

/** `ok`; `look`: it costs something, and may be meant; `mend`: more of such data is worth little. */
export type Concern = "ok" | "look" | "mend";

export interface Finding {
  check: string;
  /** Whom it is about: a role, or the whole run. */
  of: string;
  /** As people read it. */
  value: string;
  concern: Concern;
  /** What the number means; the same for all roles. */
  meaning: string;
  /** What to do where it is not ok. */
  remedy: string;
}

/** What a check says, whatever it finds. */
interface Check {
  check: string;
  meaning: string;
  remedy: string;
}

/**
 * Checks a run, the most basic things first.
 * @param nodes all of the run's, in the dataset's order; @param questions how many it was asked
 */
export function runHealth(manifest: Manifest, questions: number, nodes: readonly Node[]): Finding[] {
  const { run, config, counts } = manifest;
  const roles = config.roles.map(({ name }) => name);
  const again = `--run ${run}-2`;
  const own = new Map(roles.map((role) => [role, nodes.filter((node) => node.role === role)]));
  const share = (role: string, test: (node: Node) => boolean) =>
    own.get(role)!.filter(test).length / own.get(role)!.length;
  const findings: Finding[] = [];
  const add = (check: Check, of: string, value: string, concern: Concern) =>
    findings.push({ ...check, of, value, concern });
  /** A share for each role that spoke; more is worse. */
  const shares = (check: Check, look: number, mend: number, of: (role: string) => number) => {
    for (const role of roles) {
      const value = of(role);
      if (!Number.isNaN(value)) add(check, role, percent(value), value > mend ? "mend" : value > look ? "look" : "ok");
    }
  };

  const trees = completeTrees(manifest, questions, nodes);
  add(
    {
      check: "complete trees",
      meaning: "Questions whose tree is whole. Above a missing output there is no value, so no example and no pair.",
      remedy: `npx malt sample with the flags of the first time goes on where it stopped; then npx malt export --run ${run}`,
    },
    "run",
    trees === null ? "not fixed, searched" : `${trees} of ${questions}`,
    trees === null || trees === questions ? "ok" : trees < 0.9 * questions ? "mend" : "look",
  );
  add(
    {
      check: "requests that failed",
      meaning: "States that the server refused or never answered; what they would have led to is missing.",
      remedy: "npx malt sample again asks for them anew; its last lines name the questions and the server's words",
    },
    "run",
    `${thousands(counts.failed)} of ${thousands(counts.asked)}`,
    counts.failed === 0 ? "ok" : counts.failed > 0.05 * counts.asked ? "mend" : "look",
  );
  add(
    {
      check: "requests repeated",
      meaning: "Attempts that failed before one succeeded. Many of them say that the server is overloaded or restarts.",
      remedy: "sample with a lower --concurrency, or with --concurrency auto",
    },
    "run",
    thousands(counts.retries),
    counts.retries > 0.05 * counts.asked ? "look" : "ok",
  );

  shares(
    {
      check: "cut off",
      meaning: "Outputs that ended at the longest length allowed, so mostly without an answer: they count as wrong.",
      remedy: `npx malt sample ${again} --max-tokens ${2 * config.sampling.max_tokens}, or prompts that ask for less`,
    },
    ...([0.01, 0.05] as const),
    (role) => share(role, ({ finish_reason }) => finish_reason === "length"),
  );
  const odd = [...countEnds(nodes)].filter(([reason]) => reason !== "stop" && reason !== "length");
  const others = odd.reduce((sum, [, times]) => sum + times, 0);
  add(
    {
      check: "other ends",
      meaning:
        "Outputs that a filter or a tool call ended. They are kept, and count as wrong where they state no answer.",
      remedy: "look at them in npx malt view; another server or prompt set may leave them out",
    },
    "run",
    odd.length === 0 ? "none" : odd.map(([reason, times]) => `${reason} ${thousands(times)}`).join(", "),
    others === 0 ? "ok" : others > 0.05 * nodes.length ? "mend" : "look",
  );
  const last = roles.at(-1);
  const noAnswer = (role: string) => share(role, ({ answer }) => answer === null);
  const silent = {
    check: "no answer",
    meaning:
      "Outputs in which no answer can be read. A leaf without one earns nothing. A critique may do without; then only its " +
      "refinements tell whether it was right.",
    remedy: `npx malt view --run ${run} shows them; npx malt export --extraction flexible reads the last number; or change the prompts`,
  };
  for (const role of roles) {
    const value = noAnswer(role);
    if (Number.isNaN(value)) continue;
    add(silent, role, percent(value), value <= 0.02 ? "ok" : role === last && value > 0.1 ? "mend" : "look");
  }

  const states = siblingsOf(nodes);
  shares(
    {
      check: "identical siblings",
      meaning:
        "Of two outputs of one state, how often they are the same, byte for byte. The second costs as much as the first and " +
        "gives no pair with it.",
      remedy: `npx malt sample ${again} --temperature ${roomier(config.sampling.temperature)}: a higher temperature says more different things`,
    },
    ...([0.5, 0.8] as const),
    (role) => sameTexts(states.filter(([node]) => node!.role === role)),
  );
  const pairing = states.filter((state) => pairSiblings(state).length > 0);
  for (const role of roles) {
    const all = states.filter(([node]) => node!.role === role).length;
    const paired = pairing.filter(([node]) => node!.role === role).length;
    if (all === 0) continue;
    add(
      {
        check: "states with pairs",
        meaning: "What a role saw and answered both well and badly: only there DPO has something to compare.",
        remedy:
          `compare prompts and temperatures: npx malt report --run ${run} ${run}-2 (notebook 12); or take questions that the ` +
          "model gets right about half of the time",
      },
      role,
      `${percent(paired / all)} of ${thousands(all)}`,
      paired === 0 ? "mend" : paired < 0.05 * all ? "look" : "ok",
    );
  }
  const uniform = oneSided(nodes, roles.length - 1);
  if (uniform.questions > 0)
    add(
      {
        check: "questions with one outcome",
        meaning:
          "Questions whose final answers are all right or all wrong: their values are all 1 or all 0, and give no pair.",
        remedy: "choose questions of middle difficulty for --questions, or more branches: --branching",
      },
      "run",
      `${percent(uniform.allRight / uniform.questions)} right, ${percent(uniform.allWrong / uniform.questions)} wrong`,
      uniform.allRight + uniform.allWrong === uniform.questions
        ? "mend"
        : uniform.allRight + uniform.allWrong > 0.7 * uniform.questions
          ? "look"
          : "ok",
    );
  for (const role of roles) {
    const lengths = own.get(role)!.flatMap(({ completion_tokens }) => completion_tokens ?? []);
    if (lengths.length === 0) continue;
    lengths.sort((a, b) => a - b);
    const mean = lengths.reduce((sum, each) => sum + each, 0) / lengths.length;
    const high = lengths[Math.ceil(0.95 * lengths.length) - 1]!;
    add(
      {
        check: "tokens of an output",
        meaning: `Mean, and the length that 95 % do not exceed. Allowed are ${thousands(config.sampling.max_tokens)}.`,
        remedy: `npx malt sample ${again} --max-tokens ${2 * config.sampling.max_tokens}`,
      },
      role,
      `${mean.toFixed(0)}, 95 % up to ${thousands(high)}`,
      high > 0.9 * config.sampling.max_tokens ? "look" : "ok",
    );
  }
  if (manifest.wall_seconds > 0)
    add(
      {
        check: "throughput",
        meaning:
          "Of all sampling together, over its wall time. A GPU that serves a small model writes thousands of tokens a second.",
        remedy: "npx malt sample with --concurrency auto follows the server's queue; notebook 11 shows where time goes",
      },
      "run",
      `${perSecond(counts.completion_tokens, manifest.wall_seconds)} tokens/s, ` +
        `${perSecond(counts.completions, manifest.wall_seconds)} outputs/s`,
      "ok",
    );
  return findings;
}

const perSecond = (n: number, seconds: number): string =>
  (n / seconds).toLocaleString("en-US", { maximumSignificantDigits: 3 });
const roomier = (temperature: number): number => Math.min(1, Math.round((temperature + 0.4) * 10) / 10);

/** Chance that two different outputs of a state have one text. NaN where no state has two. */
function sameTexts(states: readonly (readonly Node[])[]): number {
  let [same, all] = [0, 0];
  for (const state of states) {
    const counts = new Map<string, number>();
    for (const { text } of state) counts.set(text, (counts.get(text) ?? 0) + 1);
    for (const count of counts.values()) same += count * (count - 1);
    all += state.length * (state.length - 1);
  }
  return same / all;
}

/** Questions with a whole tree; null where a search decided how many outputs each gets. */
function completeTrees({ config }: Manifest, questions: number, nodes: readonly Node[]): number | null {
  if (config.search) return null;
  const size = treeSize(config.roles);
  const counts = new Map<string, number>();
  for (const { question_id } of nodes) counts.set(question_id, (counts.get(question_id) ?? 0) + 1);
  return Math.min(questions, [...counts.values()].filter((count) => count === size).length);
}

/** Of the questions with leaves, those whose leaves are all right, and all wrong. */
function oneSided(nodes: readonly Node[], depth: number) {
  const outcomes = new Map<string, Set<boolean>>();
  for (const node of nodes) {
    if (node.depth !== depth) continue;
    const seen = outcomes.get(node.question_id) ?? new Set();
    outcomes.set(node.question_id, seen.add(node.correct === true));
  }
  const only = (right: boolean) => [...outcomes.values()].filter((seen) => seen.size === 1 && seen.has(right)).length;
  return { questions: outcomes.size, allRight: only(true), allWrong: only(false) };
}
