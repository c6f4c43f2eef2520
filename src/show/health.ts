/** The health of a run, for a notebook and for `malt report --health`. */
import type { OpenRun } from "../dataset/open.js";
import { type Finding, runHealth } from "../plan/health.js";
import { table } from "./notebook.js";
import { type Section, sectionsText } from "./sections.js";

/**
 * Shows whether a run is fit to learn from: each check with its number, what that means, and the command that mends it.
 * @throws MaltError outside a tslab kernel
 */
export async function showHealth(run: OpenRun): Promise<void> {
  const findings = await healthOf(run);
  const rows = findings.map(({ check, of, value, concern, meaning, remedy }, i) => ({
    check,
    of,
    value,
    state: concern,
    "what it means": findings[i - 1]?.check === check ? "″" : meaning,
    "what mends it": concern === "ok" ? "" : remedy,
  }));
  table(rows, { caption: summary(run.name, findings), maxRows: 100, maxLength: 400 });
}

/** What {@link showHealth} shows, as data. */
export const healthOf = async (run: OpenRun): Promise<Finding[]> =>
  runHealth(run.manifest, (await run.questions()).length, await run.nodes());

/** The same for a terminal: the numbers first, then what they mean, then what is to be done. */
export function healthText(name: string, findings: readonly Finding[]): string {
  const once = (lines: readonly string[]) => [...new Set(lines)].join("\n");
  const wanting = findings.filter(({ concern }) => concern !== "ok");
  const sections: Section[] = [
    {
      title: summary(name, findings),
      rows: findings.map(({ check, of, value, concern }) => ({ check, of, value, state: concern })),
      note: "",
    },
    { title: "What the numbers mean", rows: [], note: once(findings.map((each) => `${each.check}: ${each.meaning}`)) },
    {
      title: wanting.length === 0 ? "Nothing has to be mended." : "What mends it",
      rows: [],
      note: once(wanting.map(({ check, remedy }) => `${check}: ${remedy}`)),
    },
  ];
  return sectionsText(sections);
}

function summary(name: string, findings: readonly Finding[]): string {
  const count = (concern: Finding["concern"]) => findings.filter((each) => each.concern === concern).length;
  return `Health of run ${name}: ${count("mend")} to mend, ${count("look")} to look at, ${count("ok")} ok`;
}
