/** Shapley values: how much of a team's worth is due to each of its members. Pure. */
import { InputError } from "../errors.js";

/**
 * The Shapley value of each player (Shapley 1953, "A value for n-person games"): its marginal contribution to the coalition of
 * those before it, averaged over all orders in which the players can join. The values add up to the worth of all less that
 * of none. It is the only division that does so, gives equal players equal shares and a player without effect none, and
 * adds over games; it assumes that every coalition's worth is known.
 * @param players at most 16, each named once
 * @param worth of a coalition, given as the players in it; called once for each of the 2ⁿ
 * @throws InputError with more players, or with one named twice
 */
export function shapleyValues(
  players: readonly string[],
  worth: (coalition: ReadonlySet<string>) => number,
): Map<string, number> {
  const n = players.length;
  if (n > 16) throw new InputError(`${n} players have ${2 ** n} coalitions; give at most 16`);
  if (new Set(players).size < n) throw new InputError(`a player is named twice in ${players.join(", ")}`);
  const worths = Float64Array.from({ length: 2 ** n }, (_, set) =>
    worth(new Set(players.filter((_, i) => set & (1 << i)))),
  );
  // Of all n! orders, k! (n − k − 1)! have exactly the k players of a coalition before a player.
  const weights: number[] = [1 / n];
  for (let k = 1; k < n; k++) weights.push((weights[k - 1]! * k) / (n - k));
  return new Map(
    players.map((player, i) => {
      let value = 0;
      for (let set = 0; set < worths.length; set++)
        if ((set & (1 << i)) === 0) value += weights[bits(set)]! * (worths[set | (1 << i)]! - worths[set]!);
      return [player, value];
    }),
  );
}

/** How many players are in a set. */
const bits = (set: number): number => (set === 0 ? 0 : (set & 1) + bits(set >> 1));
