import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { inPackage } from "../../src/paths.js";

const path = inPackage("notebooks", "COURSE.md");
const course = readFileSync(path, "utf8");

function words(file: string): string {
  const { cells } = JSON.parse(readFileSync(join(dirname(path), file), "utf8")) as { cells: { source: string[] }[] };
  return cells.map(({ source }) => source.join("")).join("\n");
}

/** What a notebook has: numbers of its sections and of its exercises. */
function parts(file: string) {
  const numbers = (pattern: RegExp) => [...words(file).matchAll(pattern)].map(([, number]) => Number(number));
  return { sections: numbers(/^## (\d+) · /gm), exercises: numbers(/^\*\*Exercise (\d+)\*\*/gm) };
}

describe("the map of the paper and the teaching plan", () => {
  it("link to files that are there", () => {
    const links = [...course.matchAll(/\]\(([^)#]+)\)/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter((link) => !/^https?:/.test(link) && !existsSync(join(dirname(path), link)))).toEqual([]);
  });

  it("name sections that the notebooks have", () => {
    const named = [...course.matchAll(/\]\((\d\d-[\w-]+\.ipynb)\) sections? ([\d, and]+|\d+ to \d+)/g)].flatMap(
      ([, file, list]) => {
        const [from, to] = list!.split(" to ").map(Number);
        const all = to ? Array.from({ length: to - from! + 1 }, (_, i) => from! + i) : list!.match(/\d+/g)!.map(Number);
        return all.map((section) => ({ file: file!, section }));
      },
    );
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter(({ file, section }) => !parts(file).sections.includes(section))).toEqual([]);
  });

  it("name exercises that the notebooks have", () => {
    const files = [...course.matchAll(/\]\((\d\d)(-[\w-]+\.ipynb)\)/g)].map(([, number, rest]) => [
      number!,
      `${number}${rest}`,
    ]);
    const byNumber = new Map(files as [string, string][]);
    const named = [...course.matchAll(/\b(\d\d)\.(\d) \(●/g)].map(
      ([, book, exercise]) => [book!, Number(exercise)] as const,
    );
    expect(named.length).toBeGreaterThan(8);
    expect(named.filter(([book, exercise]) => !parts(byNumber.get(book)!).exercises.includes(exercise))).toEqual([]);
  });

  it("say of an exercise what its notebook says", () => {
    const named = [...course.matchAll(/\b(\d\d)\.(\d)(?: of [^(]*\([^)]*\))? \((●+), (\w+), (\d+)\)/g)];
    expect(named.length).toBeGreaterThan(8);
    const differing = named.flatMap(([, book, exercise, difficulty, importance, minutes]) => {
      const file = readdirSync(dirname(path)).find((name) => name.startsWith(`${book}-`))!;
      const told = words(file).match(
        new RegExp(`^\\*\\*Exercise ${exercise}\\*\\* · difficulty (●+)○* · importance (\\w+) · (\\d+) minutes`, "m"),
      );
      const own = [difficulty, importance, minutes].join(", ");
      return told && told.slice(1).join(", ") !== own
        ? [`${book}.${exercise}: ${own}, not ${told.slice(1).join(", ")}`]
        : [];
    });
    expect(differing).toEqual([]);
  });
});
