/** Text tables for the terminal. */
import { oneLine } from "../visible.js";

/** Aligns rows under their titles: the first column to the left, numbers to the right. */
export function alignedTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = [head, ...rows].map((row) => row.map((cell) => oneLine(String(cell))));
  const width = head.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  return lines
    .map((line) => line.map((cell, i) => (i === 0 ? cell.padEnd(width[i]!) : cell.padStart(width[i]!))).join("  "))
    .join("\n");
}
