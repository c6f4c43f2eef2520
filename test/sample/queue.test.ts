import { expect, it } from "vitest";
import { Agenda } from "../../src/sample/queue.js";

const drain = (agenda: Agenda<string>) => Array.from({ length: agenda.size }, () => agenda.next());
const filled = (order: "deep" | "wide") => {
  const agenda = new Agenda<string>(3, order);
  for (const [state, depth] of [
    ["g1", 0],
    ["v1", 1],
    ["r1", 2],
    ["v2", 1],
    ["g2", 0],
  ] as const)
    agenda.add(state, depth);
  return agenda;
};

it("takes deeper states first, and of one depth the older", () => {
  expect(drain(filled("deep"))).toEqual(["r1", "v1", "v2", "g1", "g2"]);
});

it("takes shallower states first once no question will come, so that nothing waits for a root at the end", () => {
  const agenda = filled("deep");
  expect(agenda.next()).toBe("r1");
  agenda.last();
  expect(drain(agenda)).toEqual(["g1", "g2", "v1", "v2"]);
  expect(drain(filled("wide"))).toEqual(["g1", "g2", "v1", "v2", "r1"]);
});

it("is empty in the end, and keeps its order over many states", () => {
  const agenda = new Agenda<number>(2, "deep");
  let next = 0;
  for (let state = 0; state < 10_000; state++) {
    agenda.add(state, 1);
    if (state % 3 > 0) expect(agenda.next()).toBe(next++);
  }
  while (agenda.size > 0) expect(agenda.next()).toBe(next++);
  expect(next).toBe(10_000);
  expect(agenda.next()).toBeUndefined();
});
