/**
 * Charts whose rows are named lines under headings, and what they share: the style of a system, by how its speakers
 * were trained, and the order of the paper's tables.
 */
import * as Plot from "@observablehq/plot";
import { allSystems, plainName } from "../team/systems.js";
import { palette } from "./style.js";

/** How the speakers of a system were trained. */
export type Training = "untrained" | "STaR" | "MALT" | "in part";

/** By its name, as evaluation.parquet has it; `in part` for the mixes and ablations of Tables 4 and 5, and unknown ones. */
export function trainingOf(system: string): Training {
  if (/^(STaR|SFT)\b/.test(system)) return "STaR";
  if (/^MALT\b/.test(system)) return "MALT";
  return /^(SA|MA)\b/.test(system) || system === "debate" ? "untrained" : "in part";
}

const looks: Record<Training, { color: string; symbol: Plot.SymbolType }> = {
  untrained: { color: "#8a8a8a", symbol: "circle" },
  STaR: { color: palette.purple, symbol: "square" },
  MALT: { color: palette.black, symbol: "diamond2" },
  "in part": { color: palette.skyBlue, symbol: "triangle" },
};

/** Colour and symbol scales with the same domain: those kinds of training that occur. */
export function trainingScales(systems: readonly string[]) {
  const found = new Set(systems.map(trainingOf));
  const domain = (Object.keys(looks) as Training[]).filter((kind) => found.has(kind));
  return {
    color: { domain, range: domain.map((kind) => looks[kind].color) },
    symbol: { domain, range: domain.map((kind) => looks[kind].symbol) },
  };
}

/** Rows in the order of the paper's tables; unknown systems last, in the order given. */
export function inTableOrder<T extends { system: string }>(rows: readonly T[]): T[] {
  const place = ({ system }: T) => {
    // Table 2 compares it with the untrained ones.
    if (system === "debate") return allSystems.findIndex(({ name }) => name === "MA+MV") + 0.5;
    const named = (name: string) => allSystems.findIndex((each) => each.name === name);
    const index = Math.max(named(system), named(system) < 0 ? named(plainName(system)) : -1);
    return index < 0 ? allSystems.length : index;
  };
  return [...rows].sort((a, b) => place(a) - place(b));
}

/** A heading, or the name of a row. */
interface Name {
  y: number;
  text: string;
  heading: boolean;
}

/**
 * Gives every row its place under the heading of its group; groups without rows are left out.
 * @param label the name of a row
 * @returns the rows with their place `y`, and all names
 */
export function lines<T extends object>(
  groups: readonly { heading: string; rows: readonly T[] }[],
  label: (row: T) => string,
): { names: Name[]; rows: (T & { y: number })[] } {
  const names: Name[] = [];
  const rows: (T & { y: number })[] = [];
  for (const group of groups) {
    if (group.rows.length === 0) continue;
    names.push({ y: names.length, text: group.heading, heading: true });
    for (const row of group.rows) {
      rows.push({ ...row, y: names.length });
      names.push({ y: names.length, text: label(row), heading: false });
    }
  }
  return { names, rows };
}

/** Width of the names' column, left of the frame. */
const column = 190;

/** The names of lines. @param panel the facet (fx) of the first panel where there are several */
export function lineNames(names: readonly Name[], panel?: string): Plot.Markish[] {
  const facet = panel === undefined ? {} : { fx: () => panel };
  const at = { ...facet, y: "y", text: "text", frameAnchor: "left", textAnchor: "start", fill: palette.ink } as const;
  return [
    Plot.text(names, { ...at, filter: (name: Name) => name.heading, dx: 16 - column, dy: 3, fontWeight: 600 }),
    Plot.text(names, { ...at, filter: (name: Name) => !name.heading, dx: 28 - column }),
  ];
}

/** Space for this many lines and their names. @param marginTop room for what is drawn above the first line */
export const lineFrame = ({ length }: readonly Name[], marginTop = 26): Plot.PlotOptions => ({
  height: 50 + marginTop + 25 * length,
  marginTop,
  marginLeft: column,
  y: { axis: null, domain: [-0.5, length - 0.4], reverse: true },
});

/** An axis domain for dots: all values, with room. @param after share of the span to leave free for text at its end */
export function dotDomain(values: readonly number[], after = 0): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || 0.1) * 0.05;
  return [low - room, high + room + (high - low || 0.1) * after];
}
