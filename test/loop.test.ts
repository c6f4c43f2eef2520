/** The loop that the README shows, run as it stands there: real server, real trainer. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root } from "../src/paths.js";
import { trainerInstalled } from "../src/train/trainer.js";

let outputs: string;
beforeAll(async () => {
  outputs = await mkdtemp(join(tmpdir(), "malt-loop-"));
});
afterAll(() => rm(outputs, { recursive: true, force: true }));

it("goes from questions to the comparison of systems in the lines of the README", async ({ skip }) => {
  if (!(await trainerInstalled())) skip("the trainer is not installed (npm run setup -- --extra train)");
  const readme = await readFile(join(root, "README.md"), "utf8");
  const [, code] = /```ts\n(import[\s\S]*?)```/.exec(readme)!;
  expect(code!.match(/from "malt-notebooks"/g)).toHaveLength(1);
  // Beside the project's own files, so that the package's name leads to its sources.
  const program = join(outputs, "loop.mts");
  const source = code!.replace('"malt-notebooks"', JSON.stringify(join(root, "src", "index.ts")));
  await writeFile(program, `${source}\nconsole.log(JSON.stringify(rows.map(({ system }) => system)));\n`);
  const { stdout } = await execa(process.execPath, ["--import", "tsx", program], {
    cwd: root,
    env: { MALT_OUTPUTS: outputs },
  });
  const systems = JSON.parse(stdout.trim().split("\n").at(-1)!) as string[];
  expect([...new Set(systems)]).toEqual(["SA", "MA", "MALT"]);
  // Twelve questions: one turn of SA, three of MA, three turns of three passes of MALT.
  expect(systems).toHaveLength(12 * (1 + 3 + 9));
  expect(stdout).toMatch(/refiner/);
}, 600_000);
