import { expect, it } from "vitest";
import { duration, progressLine } from "../src/progress.js";

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
