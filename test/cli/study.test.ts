import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, expect, it, vi } from "vitest";
import { stringify } from "yaml";
import { register } from "../../src/cli/study.js";

const folder = await mkdtemp(join(tmpdir(), "malt-cli-study-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What `malt study` prints. */
async function malt(...words: string[]): Promise<string> {
  const program = new Command();
  register(program);
  const print = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  try {
    await program.parseAsync(["study", ...words], { from: "user" });
    return print.mock.calls.map(([text]) => text).join("");
  } finally {
    print.mockRestore();
  }
}

it("malt study --list shows the cells and their runs; teams and prompt sets may be files", async () => {
  const team = join(folder, "lone.yaml");
  await writeFile(
    team,
    stringify({ name: "lone", roles: [{ name: "generator" }, { name: "verifier", answer: "generator" }] }),
  );
  const prompts = join(folder, "mine.yaml");
  const texts = { generator: "{question}", verifier: "{question}{answer}", refiner: "{question}{answer}{critique}" };
  await writeFile(prompts, stringify(texts));
  const file = join(folder, "study.yaml");
  const write = (changes: object) =>
    writeFile(file, stringify({ name: "s", vary: { team: ["malt", team], votes: [1, 5] }, ...changes }));
  await write({ fixed: { promptSet: prompts } });
  const shown = await malt(file, "--list");
  expect(shown).toMatch(/^cell +team +votes +system +run\n1\* +malt +1 +MALT@1 +s\.[0-9a-f]{10}\n/);
  expect(shown).toMatch(/\n4 +lone +5 +MALT@5 +s\.[0-9a-f]{10}\n\n4 cells in 2 runs/);
  await write({ vary: { team: ["./nowhere.yaml"] } });
  await expect(malt(file, "--list")).rejects.toThrow(
    /unknown team "\.\/nowhere\.yaml"; known: malt, .*nor is there a file/,
  );
  await write({ vary: { thresholds: [0.5] } });
  await expect(malt(file, "--list")).rejects.toThrow(/study\.yaml: there is no axis "thresholds"/);
  await expect(malt(join(folder, "none.yaml"), "--list")).rejects.toThrow(/cannot read study/);
});
