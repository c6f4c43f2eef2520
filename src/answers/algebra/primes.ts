/** Small prime factors of whole numbers. Scope: radicands and logarithms; cost is bounded. Pure. */
import { exactRoot } from "./rational.js";

/** Primes up to here are found in radicands. */
const maxPrime = 1_000;

/** Whether a radicand is certainly prime; a larger one has no prime factor up to {@link maxPrime}. */
export const isCertainPrime = (radicand: bigint): boolean => radicand < BigInt(maxPrime * maxPrime);

const primes: readonly number[] = Array.from({ length: maxPrime - 1 }, (_, i) => i + 2).filter((n) => {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
});

/**
 * Prime factors up to {@link maxPrime} with their multiplicities, and the remaining factor, written as a power of its
 * smallest root.
 */
export function primeFactors(n: bigint): [bigint, bigint][] {
  const found: [bigint, bigint][] = [];
  let rest = n;
  for (const prime of primes) {
    // Doubles divide far faster than big integers; a remainder below 2^53 is exact in them.
    if (rest <= Number.MAX_SAFE_INTEGER) return [...found, ...smallFactors(Number(rest), prime)];
    const p = BigInt(prime);
    let times = 0n;
    for (; rest % p === 0n; rest /= p) times++;
    if (times > 0n) found.push([p, times]);
  }
  return [...found, ...largeFactors(rest)];
}

/** The same for a number that a double holds and that has no prime factor below `from`. */
function smallFactors(n: number, from: number): [bigint, bigint][] {
  const found: [bigint, bigint][] = [];
  let rest = n;
  for (const prime of primes) {
    if (prime < from) continue;
    if (prime * prime > rest) break;
    let times = 0n;
    for (; rest % prime === 0; rest /= prime) times++;
    if (times > 0n) found.push([BigInt(prime), times]);
  }
  return rest === 1 ? found : [...found, ...largeFactors(BigInt(rest))];
}

/** A factor without small prime factors: a prime, a perfect power, or unknown. */
function largeFactors(rest: bigint): [bigint, bigint][] {
  if (rest === 1n) return [];
  if (rest >= maxPrime * maxPrime) {
    for (const degree of [2, 3, 5, 7]) {
      const root = exactRoot(rest, degree);
      if (root !== null) return primeFactors(root).map(([p, k]) => [p, k * BigInt(degree)]);
    }
  }
  return [[rest, 1n]];
}
