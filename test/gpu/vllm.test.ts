/** The commands of the pages for people with GPUs are ones that this command line understands. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { inPackage } from "../../src/paths.js";
import { readExperiment } from "../../src/plan/file.js";

const pages = ["scripts/gpu/vllm.md", "scripts/cluster/README.md"];

/** The words of a shell's command line; a comment and everything after a pipe or && is left out. */
function words(line: string): string[] {
  const found = line.matchAll(/(#.*$)|((?:'[^']*'|"[^"]*"|[^\s'"])+)/g);
  return [...found].flatMap(([, , word]) =>
    word === undefined ? [] : [word.replaceAll(/'([^']*)'|"([^"]*)"/g, "$1$2")],
  );
}

/** The lines `npx malt …` of a page's blocks of commands. */
function commandsOf(page: string): string[][] {
  const blocks = [...readFileSync(inPackage(page), "utf8").matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text]) => text!);
  const lines = blocks.flatMap((text) => text.replaceAll("\\\n", " ").split("\n"));
  return lines.flatMap((line) => (line.startsWith("npx malt ") ? [words(line).slice(2)] : []));
}

async function parser(): Promise<Command> {
  const program = new Command("malt").exitOverride().configureOutput({ writeErr: () => {} });
  const folder = inPackage("src/cli");
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".ts") && name !== "grade-worker.ts")) {
    const { register } = (await import(join(folder, file))) as { register?: (program: Command) => void };
    register?.(program);
  }
  for (const command of program.commands) command.exitOverride().action(() => {});
  return program;
}

describe.each(pages)("%s", (page) => {
  const commands = commandsOf(page);

  it.each(commands.map((command) => [command.join(" "), command] as const))("malt %s", async (_, command) => {
    // An unknown command or flag, a missing one and a wrong value throw.
    await (await parser()).parseAsync(command, { from: "user" });
    // What `malt run` is given it hands on to commands that have to understand it too.
    const file = command.find((word) => word.endsWith(".yaml"));
    if (file !== undefined && ["run", "plan"].includes(command[0]!)) {
      expect(existsSync(inPackage(file))).toBe(true);
      await readExperiment(inPackage(file));
    }
  });

  it("has commands", () => {
    expect(commands.length).toBeGreaterThan(5);
  });
});

it("a wrong flag on such a page would be noticed", async () => {
  await expect(
    (await parser()).parseAsync(["sample", "--run", "r", "--shart", "1/2"], { from: "user" }),
  ).rejects.toThrow();
});
