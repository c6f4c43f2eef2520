import { describe, expect, it } from "vitest";
import { checkWeights, exampleWeights, largestWeight } from "../../src/credit/weights.js";
import type { Node } from "../../src/types.js";
import { forest } from "../forest.js";

const [base] = forest(1);
const rows = (values: Record<string, number | null>): Node[] =>
  Object.entries(values).map(([node_id, value]) => ({
    ...base!,
    node_id,
    parent_id: node_id.includes(".") ? node_id.slice(0, node_id.lastIndexOf(".")) : null,
    value,
  }));
const nodes = rows({ g0: 1, g1: 0.5, g2: 0, "g0.v0": 0.7, "g0.v1": null });

describe("weights of examples", () => {
  it("are 1, the value, or the exponential of the advantage over the state", () => {
    expect([...exampleWeights(nodes, "value", {}).values()]).toEqual([1, 1, 1, 1, null]);
    expect([...exampleWeights(nodes, "value", { weights: "value" }).values()]).toEqual([1, 0.5, 0, 0.7, null]);
    const given = exampleWeights(nodes, "value", { weights: "advantage", weightTemperature: 0.5 });
    expect(given.get("g0")).toBeCloseTo(Math.E, 12);
    expect(given.get("g1")).toBe(1);
    expect(given.get("g2")).toBeCloseTo(1 / Math.E, 12);
    expect(given.get("g0.v0")).toBe(1);
  });

  it("use a credit that is an advantage as it is, and are clipped", () => {
    const given = exampleWeights(nodes, "rloo", { weights: "advantage", weightTemperature: 0.25 });
    expect(given.get("g1")).toBeCloseTo(Math.exp(2), 12);
    expect(given.get("g0")).toBe(largestWeight);
  });

  it("are refused where they could be negative, or have no scale", () => {
    expect(() => checkWeights({ weights: "value" }, "gae")).toThrow('estimator "gae" may be negative');
    expect(() => checkWeights({ weightTemperature: 0 }, "value")).toThrow("weight temperature is 0");
    expect(() => checkWeights({ weights: "reward" as "value" }, "value")).toThrow('weights is "reward"');
  });
});
