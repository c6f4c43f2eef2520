/** What changed from one run to another, for a notebook and for `malt report --changes`. */
import type { OpenRun } from "../dataset/open.js";
import {
  type Both,
  compareEvaluations,
  compareSamples,
  type Judgement,
  type RoleChanges,
} from "../evaluate/changes.js";
import { percent, thousands } from "../format.js";
import { otherChanges, type SettingChange, settingChanges } from "../run/differences.js";
import type { Estimate } from "../stats/means.js";
import { pValue } from "./results.js";
import { type Section, showSections } from "./sections.js";

export interface ChangeOptions {
  /** Texts with another verdict that are shown at most; 10 by default. */
  texts?: number;
}

/**
 * Shows what changed from one run to another: their settings, the accuracy of each role paired by question, the labels of
 * what both said, texts whose verdict changed, and the systems that both evaluated, paired by question and seed.
 * @throws RunError if one of them is not exported; MaltError outside a tslab kernel
 */
export async function compareRuns(first: OpenRun, second: OpenRun, options: ChangeOptions = {}): Promise<void> {
  showSections(await runChanges(first, second, options));
}

/** The same as data to print. */
export async function runChanges(
  first: OpenRun,
  second: OpenRun,
  { texts = 10 }: ChangeOptions = {},
): Promise<Section[]> {
  const sample = async (run: OpenRun) => ({ questions: await run.questions(), nodes: await run.nodes() });
  const { questions, roles, verdicts } = compareSamples(await sample(first), await sample(second));
  const names = namesOf(first, second);
  const { shared, onlyFirst, onlySecond, reworded } = questions;
  const alone = [
    onlyFirst > 0 && `${onlyFirst} only in ${first.name}`,
    onlySecond > 0 && `${onlySecond} only in ${second.name}`,
    reworded > 0 && `${reworded} with one id and two texts, which are not compared`,
  ].filter((part) => part !== false);
  const sections: Section[] = [
    settings(first, second),
    {
      title: `Samples: ${first.name} → ${second.name}, ${shared} questions in common${alone.map((part) => `; ${part}`).join("")}`,
      rows: roles.map(roleRow),
      note:
        shared === 0
          ? "Without a common question nothing is paired: sample both from one file of questions."
          : "change: accuracy of the second minus the first, in points, paired by question; 95 % interval and p of the sign-flip " +
            "test.\nmixed states: what a role saw that has outputs of both labels, and so can give pairs.",
    },
    {
      title: "Labels of what both runs said, word for word, after the same words",
      rows: roles.map(({ role, churn }) => ({
        role,
        "outputs in both": churn.shared,
        "bad → good": churn.toGood,
        "good → bad": churn.toBad,
        "label in one only": churn.oneLabel,
        churn: percent((churn.toGood + churn.toBad) / churn.shared),
      })),
      note:
        "With one text and two labels, θ, the pooling or the grader changed, or what followed the text did: that part is label " +
        "noise.",
    },
    {
      title: `Texts whose verdict changed: ${verdicts.length}${verdicts.length > texts ? `, the first ${texts}` : ""}`,
      rows: verdicts.slice(0, texts).map(({ question_id, role, verdict, outputs, text }) => ({
        question: question_id,
        role,
        ...{ [names[0]]: verdictText(verdict[0]), [names[1]]: verdictText(verdict[1]) },
        outputs: outputs.join(" → "),
        ends: text.length > 90 ? `…${text.slice(-90)}` : text,
      })),
      note: verdicts.length === 0 ? "Both judge alike what both said." : "",
    },
  ];
  const benchmarks = await second.benchmarks();
  for (const benchmark of await first.benchmarks())
    if (benchmarks.includes(benchmark))
      sections.push(systemsSection(benchmark, first, second, await evaluated(first, second, benchmark)));
  return sections;
}

const evaluated = async (first: OpenRun, second: OpenRun, benchmark: string) =>
  compareEvaluations(await first.evaluation(benchmark), await second.evaluation(benchmark));

function settings(first: OpenRun, second: OpenRun): Section {
  const names = namesOf(first, second);
  const row = (makes: string) => (change: SettingChange) => ({
    setting: change.path,
    ...{ [names[0]]: brief(change.before), [names[1]]: brief(change.after), "makes it": makes },
  });
  const rows = [
    ...settingChanges(first.manifest, second.manifest).map(row("another run")),
    ...otherChanges(first.manifest, second.manifest).map(row("another export, server or evaluation")),
  ];
  return {
    title: `Settings: ${first.name} → ${second.name}`,
    rows,
    note: rows.length === 0 ? "Both have the same settings." : "",
  };
}

/** Of a long hash the first characters are enough to tell two apart. */
const brief = (text: string): string => text.replace(/[0-9a-f]{40,}/g, (hash) => `${hash.slice(0, 12)}…`);

/** Names of the columns, which differ also where a run was exported twice. */
const namesOf = (first: OpenRun, second: OpenRun): Both<string> =>
  first.name === second.name ? ["first", "second"] : [first.name, second.name];

const arrow = (both: Both, of: (value: number) => string): string => both.map(of).join(" → ");
const points = (share: number): string => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;
const interval = ({ low, high }: Estimate): string => (Number.isNaN(low) ? "–" : `${points(low)} to ${points(high)}`);

function roleRow({ role, outputs, accuracy, good, mixed, difference }: RoleChanges): Section["rows"][number] {
  return {
    role,
    outputs: arrow(outputs, thousands),
    right: arrow(accuracy, percent),
    change: difference ? points(difference.difference.mean) : "–",
    interval: difference ? interval(difference.difference) : "–",
    p: difference ? pValue(difference.p) : "–",
    good: arrow(good, percent),
    "mixed states": arrow(mixed, percent),
  };
}

const verdictText = ({ answer, correct }: Judgement): string =>
  correct === null ? "no answer" : `${answer}, ${correct ? "right" : "wrong"}`;

function systemsSection(
  benchmark: string,
  first: OpenRun,
  second: OpenRun,
  systems: ReturnType<typeof compareEvaluations>,
): Section {
  return {
    title: `Systems on ${benchmark}: ${first.name} → ${second.name}`,
    rows: systems.map(({ system, accuracy, difference, pHolm }) => ({
      system,
      accuracy: arrow(accuracy, percent),
      change: points(difference.difference.mean),
      interval: interval(difference.difference),
      "wrong → right": difference.mcnemar?.better ?? "–",
      "right → wrong": difference.mcnemar?.worse ?? "–",
      p: pValue(difference.p),
      "p (Holm)": pValue(pHolm),
    })),
    note:
      systems.length === 0
        ? "The two evaluations have no system, question and seed in common."
        : "Over the questions and seeds that both asked; votes after the last turn.",
  };
}
