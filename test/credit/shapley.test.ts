import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { shapleyValues } from "../../src/credit/shapley.js";
import { openRun } from "../../src/dataset/open.js";
import { roleShares, type VoteRow } from "../../src/evaluate/shapley.js";

/** All orders of a list. */
const orders = (list: readonly string[]): string[][] =>
  list.length === 0
    ? [[]]
    : list.flatMap((first) => orders(list.filter((p) => p !== first)).map((rest) => [first, ...rest]));

describe("shapleyValues", () => {
  it("of the glove game: one left glove, two right ones, a pair is worth 1", () => {
    const worth = (who: ReadonlySet<string>) => Number(who.has("left") && (who.has("right a") || who.has("right b")));
    const values = shapleyValues(["left", "right a", "right b"], worth);
    expect(values.get("left")).toBeCloseTo(2 / 3, 12);
    expect(values.get("right a")).toBeCloseTo(1 / 6, 12);
  });

  it("are marginal contributions averaged over all orders, and add up to the whole", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(fc.double({ min: -1, max: 1, noNaN: true })),
        (n, stream) => {
          const players = ["a", "b", "c", "d", "e"].slice(0, n);
          const game = new Map<string, number>();
          const key = (who: Iterable<string>) => [...who].sort().join();
          const numbers = [...stream.take(2 ** n)];
          for (let set = 0; set < 2 ** n; set++) game.set(key(players.filter((_, i) => (set >> i) & 1)), numbers[set]!);
          const worth = (who: Iterable<string>) => game.get(key(who))!;
          const values = shapleyValues(players, worth);
          const all = orders(players);
          for (const player of players) {
            const mean =
              all.reduce((sum, order) => {
                const before = order.slice(0, order.indexOf(player));
                return sum + worth([...before, player]) - worth(before);
              }, 0) / all.length;
            expect(values.get(player)).toBeCloseTo(mean, 10);
          }
          const total = [...values.values()].reduce((a, b) => a + b, 0);
          expect(total).toBeCloseTo(worth(players) - worth([]), 10);
        },
      ),
    );
  });

  it("refuses too many players and one named twice", () => {
    expect(() => shapleyValues(["a", "a"], () => 0)).toThrow("named twice");
    expect(() =>
      shapleyValues(
        Array.from({ length: 17 }, (_, i) => `${i}`),
        () => 0,
      ),
    ).toThrow("at most 16");
  });
});

describe("roleShares", () => {
  it("divide the gain of MALT over the untrained team among the roles", async () => {
    const run = await openRun();
    const rows = await run.query<VoteRow>(
      `SELECT system, seed, question_id, pass, turn, voted_correct FROM evaluation
       WHERE benchmark = 'arithmetic' AND pass = 0 AND turn = 'refiner' AND (system IN ('MA+MV', 'MALT') OR system LIKE 'mix %')`,
    );
    run.close();
    const shares = roleShares(rows);
    expect(shares.map(({ role }) => role)).toEqual(["generator", "verifier", "refiner"]);
    const mix = (name: string) => {
      const own = rows.filter(({ system, turn, pass }) => system === name && turn === "refiner" && pass === 0);
      return own.filter((row) => row.voted_correct).length / own.length;
    };
    const total = shares.reduce((sum, { share }) => sum + share.mean, 0);
    expect(total).toBeCloseTo(mix("MALT") - mix("MA+MV"), 10);
    // Of each of the 6 orders the verifier joins first in two, last in two, second after G in one and after R in one.
    const verifier =
      (2 * (mix("mix V") - mix("MA+MV")) +
        (mix("mix GV") - mix("mix G")) +
        (mix("mix VR") - mix("mix R")) +
        2 * (mix("MALT") - mix("mix GR"))) /
      6;
    expect(shares[1]!.share.mean).toBeCloseTo(verifier, 10);
    const some = rows.filter(({ system }) => system !== "mix GV");
    expect(() => roleShares(some)).toThrow("the team with generator+verifier trained (mix GV) was not evaluated");
  });
});
