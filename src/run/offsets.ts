/**
 * Where the lines of each question are in one file, in 8 bytes per line: 24 bits of a hash of the question's id, then 40
 * of the position, sorted. Questions that share a hash are distinguished when their lines are read.
 */
import { crc32 } from "node:zlib";

/** The sorted numbers. */
export type Offsets = BigUint64Array;

/** Bits of the position: files up to a terabyte. */
const width = 40n;

const first = (questionId: string): bigint => BigInt(crc32(questionId) >>> 8) << width;

/** Collects positions; `sorted` ends it. */
export function collectOffsets() {
  let slots = new BigUint64Array(1024);
  let length = 0;
  return {
    add(questionId: string, at: number): void {
      if (length === slots.length) {
        const more = new BigUint64Array(2 * length);
        more.set(slots);
        slots = more;
      }
      slots[length++] = first(questionId) | BigInt(at);
    },
    sorted: (): Offsets => slots.slice(0, length).sort(),
  };
}

/** Positions of the lines of a question, ascending; among them, rarely, those of another question. */
export function offsetsOf(offsets: Offsets, questionId: string): number[] {
  const start = first(questionId);
  let [low, high] = [0, offsets.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (offsets[middle]! < start) low = middle + 1;
    else high = middle;
  }
  const found: number[] = [];
  for (; low < offsets.length && offsets[low]! >> width === start >> width; low++)
    found.push(Number(BigInt.asUintN(Number(width), offsets[low]!)));
  return found;
}
