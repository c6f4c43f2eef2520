/** What every slot of an inference server does when: where its time goes, and where it idles. */
import * as Plot from "@observablehq/plot";
import type { SlotInterval } from "../types.js";
import { count, empty, figure, palette, panelNote, plural, roleColors, xAxis, yAxis } from "./style.js";

const roles = ["generator", "verifier", "refiner"];
const sum = (numbers: readonly number[]) => numbers.reduce((total, x) => total + x, 0);
const most = (numbers: readonly number[]) => numbers.reduce((largest, x) => Math.max(largest, x), 0);

/**
 * A panel per variant, a line per slot, a bar per completion; white is idle. Right of each panel its makespan, and its
 * ratio to the time in which the slots could have done the same without ever being idle.
 * @param intervals in any order; panels in the order in which their variants appear
 */
export function slotsFigure(intervals: readonly SlotInterval[]): Plot.PlotOptions {
  const title = "What each slot of the server does";
  if (intervals.length === 0) return empty(title, "no completions served");
  const variants = [...new Set(intervals.map(({ variant }) => variant))];
  const slots = 1 + most(intervals.map(({ slot }) => slot));
  const found = [...new Set(intervals.map(({ role }) => role))];
  const spoken = [...roles.filter((role) => found.includes(role)), ...found.filter((role) => !roles.includes(role))];
  const panels = variants.map((variant) => {
    const own = intervals.filter((interval) => interval.variant === variant);
    const makespan = most(own.map(({ end_ms }) => end_ms)) / 1000;
    const busy = sum(own.map(({ start_ms, end_ms }) => end_ms - start_ms)) / 1000;
    return { variant, makespan, ratio: makespan / (busy / slots), completions: own.length };
  });
  const sizes = [...new Set(panels.map(({ completions }) => completions))].sort((a, b) => a - b);
  const size =
    sizes.length === 1
      ? `${plural(sizes[0]!, "completion")} each`
      : `${count(sizes[0]!)} to ${plural(sizes.at(-1)!, "completion")}`;
  const height = Math.max(64, 7 * slots);
  return figure({
    title,
    subtitle: `${plural(slots, "slot")}; ${size}`,
    caption: "A bar is a completion, wider white is idle. Bound: the same work on slots that are never idle.",
    width: 760,
    height: 76 + (height + 26) * variants.length,
    marginTop: 30,
    marginRight: 140,
    x: { ...xAxis("time since the first request (s)"), domain: [0, most(panels.map(({ makespan }) => makespan))] },
    y: { ...yAxis("slot"), grid: false, domain: [slots - 0.5, -0.5], ticks: [0, slots - 1], tickFormat: count },
    fy: { domain: variants, axis: null, padding: 26 / (height + 26) },
    color: { ...roleColors(spoken), legend: true },
    marks: [
      Plot.rect(intervals, {
        fy: "variant",
        x1: (d: SlotInterval) => d.start_ms / 1000,
        x2: (d: SlotInterval) => d.end_ms / 1000,
        y1: (d: SlotInterval) => d.slot - 0.42,
        y2: (d: SlotInterval) => d.slot + 0.42,
        fill: "role",
        insetRight: 0.4,
      }),
      Plot.ruleX(panels, { fy: "variant", x: "makespan", stroke: palette.ink }),
      Plot.text(panels, {
        ...{ fy: "variant", text: "variant", frameAnchor: "top-left", textAnchor: "start", lineAnchor: "bottom" },
        ...{ dy: -5, fontWeight: 600, fill: palette.ink },
      }),
      Plot.text(panels, {
        ...panelNote,
        fy: "variant",
        text: (p: (typeof panels)[number]) => `${p.makespan.toFixed(2)} s\n${p.ratio.toFixed(2)} × bound`,
      }),
    ],
  });
}
