import { describe, expect, it } from "vitest";
import { RefusedError, ServerError } from "../../src/errors.js";
import { failures } from "../../src/sample/failures.js";

const refused = (message: string) => new RefusedError(message, 400);

describe("the line about failed requests", () => {
  it("says the first reason and to ask again where all may pass", () => {
    const all = failures();
    all.add(new ServerError("HTTP 503 busy"), "a");
    all.add(new ServerError("HTTP 500 crashed"), "b");
    expect(all.text()).toBe(", the first with: HTTP 503 busy; run the same command to ask again");
    expect([all.someRefused, all.onlyRefused]).toEqual([false, false]);
  });

  it("names each refused question once, with the words of the server, and asks for no repetition", () => {
    const all = failures();
    for (const id of ["q1", "q\n2", "q1"]) all.add(refused("5012 tokens are too many"), id);
    expect(all.text()).toBe('; refused for good: questions "q1", "q\\n2" (5012 tokens are too many)');
    expect([all.someRefused, all.onlyRefused]).toEqual([true, true]);
    all.add(new ServerError("HTTP 503 busy"), "q3");
    expect([all.someRefused, all.onlyRefused]).toEqual([true, false]);
  });

  it("keeps apart what differs in more than numbers and ids, and what may pass", () => {
    const all = failures();
    all.add(refused("at http://host:8001/v1: 5012 tokens are too many (req-8f)"), "long-1");
    all.add(refused("at http://host:8002/v1: 6123 tokens are too many (req-9a)"), "long-2");
    all.add(refused("flagged"), "rude");
    all.add(new ServerError("HTTP 503 busy"), "busy");
    expect(all.text()).toBe(
      '; refused for good: questions "long-1", "long-2" (at http://host:8001/v1: 5012 tokens are too many (req-8f)), ' +
        'question "rude" (flagged); others may pass, the first failed with: HTTP 503 busy; ' +
        "run the same command to ask again",
    );
  });

  it("is bounded in ids and reasons, and says how many more there are", () => {
    const all = failures();
    for (let i = 0; i < 25; i++) all.add(refused("too long"), `q${i}`);
    for (const word of ["odd", "rude", "old", "new"]) for (const i of [1, 2]) all.add(refused(word), `${word}-${i}`);
    expect(all.text()).toMatch(/"q0", .*"q9" and 15 more \(too long\), .*odd.*rude-2" \(rude\) and 4 more for other/);
    expect(all.text()).not.toContain("new-1");
  });
});
