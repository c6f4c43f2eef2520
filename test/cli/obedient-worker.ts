/** A worker for the tests of the guard: it does what it is told. */
import { parentPort } from "node:worker_threads";

parentPort!.on("message", (told: string) => {
  if (told === "throw") throw new Error("told to");
  if (told === "eat") for (const all: number[][] = []; ; ) all.push(new Array(1e6).fill(all.length));
  while (told === "hang");
  parentPort!.postMessage(told.toUpperCase());
});
parentPort!.postMessage("ready");
