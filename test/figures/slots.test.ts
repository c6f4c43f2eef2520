import { describe, expect, it } from "vitest";
import { limitFigure, slotsFigure } from "../../src/figures/index.js";
import { renderSvg } from "../../src/show/svg.js";
import type { SlotInterval } from "../../src/types.js";

const bar = (variant: string, slot: number, start_ms: number, end_ms: number, role = "generator"): SlotInterval => ({
  ...{ variant, slot, start_ms, end_ms, role },
});
const figure = slotsFigure([
  bar("packed", 0, 0, 3000),
  bar("packed", 1, 0, 1000),
  bar("packed", 1, 1000, 3000, "refiner"),
  bar("barrier", 1, 0, 4000),
  bar("barrier", 0, 3000, 5000, "refiner"),
]);

describe("slotsFigure", () => {
  it("says each variant's makespan and its ratio to what slots that never idle would need", () => {
    const svg = renderSvg(figure);
    for (const text of ["packed", "3.00 s", "1.00 × bound", "barrier", "5.00 s", "1.67 × bound"])
      expect(svg).toContain(text);
    expect(svg).toContain("2 slots; 2 to 3 completions");
  });

  it("keeps the order of the variants and a role's colour", () => {
    expect(figure.fy).toMatchObject({ domain: ["packed", "barrier"] });
    expect(figure.color).toMatchObject({ domain: ["generator", "refiner"], range: ["#0072B2", "#009E73"] });
  });

  it("says that there is nothing to draw", () => {
    expect(renderSvg(slotsFigure([]))).toContain("no completions served");
  });
});

describe("limitFigure", () => {
  it("has a panel per server, a line for each way to find the limit, and the slots as a dashed line", () => {
    const points = [40, 8].flatMap((slots) =>
      ["its load", "throughput"].map((known) => ({ slots, known, seconds: 1, limit: 32 })),
    );
    expect(limitFigure(points).fx).toMatchObject({ domain: [8, 40] });
    const svg = renderSvg(limitFigure(points));
    for (const text of ["8 slots", "40 slots", "its load", "throughput"]) expect(svg).toContain(text);
    expect(svg).toContain('stroke-dasharray="4 3"');
    expect(renderSvg(limitFigure([]))).toContain("no limit observed");
  });
});
