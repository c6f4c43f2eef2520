import { expect, it } from "vitest";
import { Queue } from "../../src/sample/queue.js";

const drain = (queue: Queue<string>) => Array.from({ length: queue.size }, () => queue.next());
const filled = (order: "deep" | "wide") => {
  const queue = new Queue<string>(3, order);
  for (const [state, depth] of [
    ["g1", 0],
    ["v1", 1],
    ["r1", 2],
    ["v2", 1],
    ["g2", 0],
  ] as const)
    queue.add(state, depth);
  return queue;
};

it("takes deeper states first, and of one depth the older", () => {
  expect(drain(filled("deep"))).toEqual(["r1", "v1", "v2", "g1", "g2"]);
});

it("takes shallower states first once no question will come, so that nothing waits for a root at the end", () => {
  const queue = filled("deep");
  expect(queue.next()).toBe("r1");
  queue.last();
  expect(drain(queue)).toEqual(["g1", "g2", "v1", "v2"]);
  expect(drain(filled("wide"))).toEqual(["g1", "g2", "v1", "v2", "r1"]);
});

it("is empty in the end, and keeps its order over many states", () => {
  const queue = new Queue<number>(2, "deep");
  let next = 0;
  for (let state = 0; state < 10_000; state++) {
    queue.add(state, 1);
    if (state % 3 > 0) expect(queue.next()).toBe(next++);
  }
  while (queue.size > 0) expect(queue.next()).toBe(next++);
  expect(next).toBe(10_000);
  expect(queue.next()).toBeUndefined();
});
