/** The form that all notebooks share: what they show is said first and can be switched by one line; predictions, exercises, reading. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readNotebook, root } from "./notebook.js";

/** Notebooks that show studies, which say themselves what they are. */
const ofStudies = ["15", "19"];
const names = readdirSync(join(root, "notebooks")).filter((name) => name.endsWith(".ipynb"));
const line =
  /^const (run|runs|real|wide|before|after) = await openRuns?\(process\.env\.MALT_(?:[A-Z]+_)?RUN \|\| "(data\/[\w./-]+)"\); \/\/ .+$/gm;

describe.each(names)("%s", (name) => {
  const { cells } = readNotebook(join(root, "notebooks", name));
  const texts = cells.map(({ source }) => (Array.isArray(source) ? source.join("") : source));
  const prose = texts.filter((_, i) => cells[i]!.cell_type === "markdown").join("\n\n");

  it("has a question for a title, and one line on what it is", () => {
    expect(texts[0]).toMatch(/^# [^\n]+\?\n\n\*\d\d · [^\n]+\*$/);
  });

  it.skipIf(ofStudies.includes(name.slice(0, 2)))(
    "opens its run in the cell under its title, and says there which it is",
    () => {
      expect(cells[1]!.cell_type).toBe("code");
      expect(texts[1]!.match(line)).toHaveLength(1);
      expect(texts[1]).toMatch(/aboutRun\(/);
      expect(texts[1]!.split("\n").length).toBeLessThanOrEqual(4);
      const html = cells[1]!.outputs!.map(({ data }) => [data?.["text/html"]].flat().join("")).join("");
      expect(html).toMatch(/<strong>Shown here: run <code>[\w.-]+<\/code> of the model <code>/);
      expect(html).not.toContain("<strong>Missing:");
    },
  );

  it("opens runs in no other way, and folders that exist", () => {
    const opened = texts.filter((_, i) => cells[i]!.cell_type === "code").join("\n");
    const lines = [...opened.matchAll(line)];
    expect(opened.match(/\bopenRuns?\(/g) ?? []).toHaveLength(lines.length);
    for (const [, , folder] of lines) expect(existsSync(join(root, folder!)), folder).toBe(true);
  });

  it("asks for predictions, and says how hard, important and long each exercise is and where to read on", () => {
    expect(prose).toMatch(/^> \*\*Predict\.\*\* /m);
    const exercises = prose.match(/^\*\*Exercise \d\*\*.*$/gm)!;
    for (const exercise of exercises)
      expect(exercise).toMatch(/· difficulty (●○○|●●○|●●●) · importance (low|middle|high) · \d+ minutes\./);
    expect(prose).toMatch(/^## (Further reading|Where next\?)$/m);
  });
});
