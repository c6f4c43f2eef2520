import { describe, expect, it } from "vitest";
import { byteSize, duration } from "../../src/format.js";
import { noCounts, type Progress } from "../../src/sample/trees.js";
import { cost, downloadLine, progressLine, samplingLine } from "../../src/show/progress.js";

/** A stream that keeps what is written, and a clock that is set. */
function setUp(isTTY: boolean) {
  const written: string[] = [];
  let time = 0;
  const stream = { isTTY, columns: 60, write: (text: string) => written.push(text) };
  const line = progressLine("sampling", stream, () => time);
  const at = (ms: number, done: number) => {
    time = ms;
    line.update(done, 100);
  };
  return { written, at, end: line.end };
}

it("shows done, total, rate and time left, counted from where this start began", () => {
  const { written, at } = setUp(false);
  at(0, 40);
  at(10_000, 60);
  expect(written).toEqual(["sampling 40/100\n", "sampling 60/100, 2.0/s, 20 s left\n"]);
});

it("begins anew where a second part of the work begins", () => {
  const { written, at } = setUp(false);
  at(0, 0);
  at(1_000_000, 90);
  at(1_010_000, 0);
  at(1_020_000, 50);
  expect(written.slice(2)).toEqual(["sampling 0/100\n", "sampling 50/100, 5.0/s, 10 s left\n"]);
});

it("redraws a terminal at most four times a second, and shows the last state", () => {
  const { written, at, end } = setUp(true);
  for (let ms = 0; ms < 2000; ms += 10) at(ms, ms / 20);
  expect(written).toHaveLength(8);
  at(2000, 100);
  at(2001, 100);
  end();
  expect(written.at(-2)).toContain("100/100");
  expect(written.at(-1)).toBe("\n");
  for (const text of written.slice(0, -1)) {
    expect(text.startsWith("\r") && text.endsWith("\x1b[K")).toBe(true);
    expect(text.length).toBeLessThanOrEqual(1 + 59 + 3);
  }
});

it("writes nothing where nothing was done", () => {
  const { written, end } = setUp(true);
  end();
  expect(written).toEqual([]);
});

it("tells times in the unit a person would", () => {
  expect([0.2, 89, 600, 7200].map(duration)).toEqual(["1 s", "89 s", "10 min", "2.0 h"]);
});

describe("a download", () => {
  it("says how much is there, how fast it comes and how long it takes; the rate is of this start", () => {
    expect(downloadLine(600e6, 1.1e9, 100e6, 10)).toBe("download 600 MB of 1.1 GB, 10 MB/s, 50 s left");
    expect(downloadLine(500e6, 1.1e9, 0, 0)).toBe("download 500 MB of 1.1 GB, 0 kB/s");
    expect(downloadLine(2e6, null, 2e6, 4)).toBe("download 2 MB, 500 kB/s");
    expect([999, 95e6, 1_117_320_768].map(byteSize)).toEqual(["1 kB", "95 MB", "1.1 GB"]);
  });
});

describe("a sampling", () => {
  const progress: Progress = {
    ...noCounts,
    ...{ asked: 130, ok: 29, failed: 1, pending: 100, retries: 2, in_flight: 7, limit: 16 },
    nodes: { generator: 20, verifier: 40, refiner: 21 },
    session: { requests: 25, completions: 75, prompt_tokens: 4000, cached_tokens: 1000, completion_tokens: 2000 },
  };

  it("is told in one line, time left first; what has not happened is not mentioned", () => {
    expect(samplingLine(progress, 10)).toBe(
      "sampling requests 30/130, 40 s left, 7 of 16 in flight, 200 tokens/s, 400 in, 25 % cached, 1 failed, 2 retries, " +
        "generator 20 verifier 40 refiner 21",
    );
    const session = { requests: 0, completions: 0, prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 };
    expect(samplingLine({ ...progress, failed: 0, retries: 0, session }, 0)).toBe(
      "sampling requests 29/130, 7 of 16 in flight, 0 tokens/s, 0 in, generator 20 verifier 40 refiner 21",
    );
  });

  it("costs what its tokens cost, and the rest is taken to be like what was sampled", () => {
    const prices = { prompt: 100, cached: 10, completion: 400 };
    expect(cost(progress.session, prices)).toBeCloseTo(0.3 + 0.01 + 0.8, 12);
    expect(samplingLine(progress, 10, prices)).toContain(", $1.11 of $5.55, ");
  });
});
