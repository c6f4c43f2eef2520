import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { paperSetting } from "../../src/explore/credit.js";
import { formatRoute, parseRoute } from "../../src/explore/page/route.js";

describe("addresses inside the explorer", () => {
  it("name a question and a node", () => {
    expect(parseRoute("#q 1/g0.v2")).toEqual({ benchmark: null, question: "q 1", node: "g0.v2", setting: {} });
    expect(formatRoute({ benchmark: null, question: "a/b", node: "g0.v2", setting: {} }, paperSetting)).toBe(
      "#a%2Fb/g0.v2",
    );
  });

  it("hold the setting where it differs from the dataset's", () => {
    const setting = { threshold: 0.7, pooling: "local", pairing: "all" } as const;
    const address = formatRoute({ benchmark: null, question: "q", setting }, paperSetting);
    expect(address).toBe("#q?theta=0.7&pooling=local");
    expect(parseRoute(address).setting).toEqual({ threshold: 0.7, pooling: "local" });
  });

  it("mean the same when they are read again, whatever a question is called", () => {
    const id = fc.string({ minLength: 1, unit: "grapheme" });
    fc.assert(
      fc.property(fc.option(id), id, id, (benchmark, question, other) => {
        const route =
          benchmark === null
            ? { benchmark, question, node: other, setting: {} }
            : { benchmark, question, system: other, seed: 3, pass: 0, setting: {} };
        expect(parseRoute(formatRoute(route, paperSetting))).toEqual(route);
      }),
    );
  });

  it("count as absent what they cannot say", () => {
    expect(parseRoute("#%E0%A4%A/g0?theta=2&pooling=odd&min-gap=&dedupe=maybe")).toEqual({
      ...{ benchmark: null, question: undefined, node: "g0", setting: {} },
    });
    expect(parseRoute("")).toEqual({ benchmark: null, question: undefined, node: undefined, setting: {} });
  });
});
