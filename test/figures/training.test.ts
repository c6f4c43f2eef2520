import { describe, expect, it } from "vitest";
import { logProbFigure, lossFigure, marginFigure } from "../../src/figures/index.js";
import { renderSvg } from "../../src/show/svg.js";
import type { TrainingMethod } from "../../src/train/plan.js";
import type { MetricsRow } from "../../src/train/record.js";

/** A stage whose loss falls in a straight line, with a spike in the middle. */
function stage(role: string, method: TrainingMethod, steps: number): MetricsRow[] {
  return Array.from({ length: steps }, (_, i) => ({
    stage: `${role}-${method}`,
    role,
    method,
    step: i + 1,
    steps,
    epoch: null,
    loss: (method === "dpo" ? Math.LN2 : 0.04) * (1 - i / steps) + (i === steps / 2 ? 1 : 0),
    learning_rate: null,
    margin: method === "dpo" ? i / 10 : null,
    chosen_reward: null,
    rejected_reward: null,
    preference_accuracy: null,
    chosen_logp: method === "dpo" ? -2 : null,
    rejected_logp: method === "dpo" ? -3 - i / 10 : null,
    token_accuracy: null,
    tokens: 100 * (i + 1),
    seconds: i,
  }));
}
const rows = [
  ...stage("generator", "sft", 80),
  ...stage("verifier", "sft", 240),
  ...stage("verifier", "dpo", 96),
  ...stage("refiner", "dpo", 20),
];
/** Heights of the strong line of a role: pixels from the top, so lower on the page is larger. */
function strong(svg: string, color: string): number[] {
  const group = svg.match(/<g aria-label="line"[^>]*stroke-width="2.2"[^>]*>.*?<\/g>/s)![0];
  const path = [...group.matchAll(/<path [^>]*>/g)].map(([tag]) => tag).find((tag) => tag.includes(color))!;
  return [...path.match(/ d="([^"]+)"/)![1]!.matchAll(/[ML]?[\d.]+,([\d.]+)/g)].map(([, y]) => Number(y));
}

describe("loss figure", () => {
  it("draws the stages of one method alone, a faint curve as logged and a smoothed one", () => {
    const svg = renderSvg(lossFigure(rows, "sft"));
    expect(svg).toContain("Steps: generator 80, verifier 240; strong line: mean of 13 logged steps");
    const heights = strong(svg, "#E69F00");
    expect(heights).toHaveLength(240);
    // The spike of 1 at one step is spread over 13, so the strong line stays far below it.
    const [faint] = svg.match(/<g aria-label="line"[^>]*stroke-opacity="0.3"[^>]*>.*?<\/g>/s)!;
    const logged = [...faint.matchAll(/[\d.]+,([\d.]+)/g)].map(([, y]) => Number(y));
    const bottom = Math.max(...logged);
    expect(bottom - Math.min(...heights)).toBeLessThan((bottom - Math.min(...logged)) / 5);
  });

  it("marks where DPO starts if the reference is the policy", () => {
    expect(renderSvg(lossFigure(rows, "dpo"))).toContain("ln 2: policy = reference");
    expect(renderSvg(lossFigure(rows, "sft"))).not.toContain("ln 2");
  });
});

it("margin figure has a rising curve for each role that had DPO", () => {
  const svg = renderSvg(marginFigure(rows));
  for (const color of ["#E69F00", "#009E73"]) {
    const heights = strong(svg, color);
    expect(heights).toEqual([...heights].sort((a, b) => b - a));
  }
});

it("log-probability figure tells chosen from rejected by dash too, and says where each role ends", () => {
  const svg = renderSvg(logProbFigure(rows));
  expect(svg).toContain("chosen −2.0");
  expect(svg).toContain("rejected −12.3");
  expect(svg.match(/stroke-dasharray="6 3"/g)!.length).toBeGreaterThan(0);
});

it("says why there is nothing to draw", () => {
  expect(renderSvg(lossFigure(rows, "star"))).toContain("no STaR stage trained");
  expect(renderSvg(marginFigure([]))).toContain("no DPO stage trained");
  expect(renderSvg(logProbFigure(stage("generator", "sft", 3)))).toContain("no DPO stage trained");
});
