import { describe, expect, it } from "vitest";
import { estimatorTable, shareTable } from "../../src/show/credit.js";

const estimate = (mean: number, low: number, high: number) => ({ mean, low, high, n: 9, clusters: 3 });

describe("tables of credit", () => {
  it("have a line per estimator and role, with dashes for what is unknown", () => {
    const error = { name: "posterior", role: "verifier", target: "value > θ" as const, nodes: 9, nodeBias: null };
    const rest = { bias: estimate(0.03, Number.NaN, Number.NaN), deviation: 0.14, labelled: 0.73, wrong: Number.NaN };
    expect(
      estimatorTable([{ ...error, ...rest }], 3)
        .split("\n")
        .slice(0, 2),
    ).toEqual([
      "estimator      role     target   bias  interval  bias of a node  deviation  labelled  wrong",
      "posterior  verifier  value > θ  0.030    – to –               –      0.140    73.0 %      –",
    ]);
  });

  it("add the roles' shares up", () => {
    const shares = [
      { role: "generator", share: estimate(-0.007, -0.014, 0) },
      { role: "verifier", share: estimate(0.1, 0.085, 0.114) },
    ];
    expect(shareTable(shares).split("\n").slice(2)).toEqual([
      "training of  points of accuracy     interval",
      "generator                  -0.7  -1.4 to 0.0",
      "verifier                   10.0  8.5 to 11.4",
      "all                         9.3             ",
    ]);
  });
});
