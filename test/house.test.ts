/** The rules of the house, checked from the sources: which room may import which, and who may do what. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const src = join(import.meta.dirname, "../src");
const notebooks = join(import.meta.dirname, "../notebooks");
const files = (readdirSync(src, { recursive: true }) as string[]).filter((name) => name.endsWith(".ts")).sort();

/** Rooms from the top floor down. A room may import from lower floors only; loose files of src/ are the ground. */
const floors = [
  ["index", "cli"],
  ["show", "figures"],
  ["explore", "study", "plan", "launch"],
  ["evaluate"],
  ["train"],
  ["dataset", "sample"],
  ["run"],
  ["credit", "policy", "models", "benchmarks"],
  ["team", "answers", "stats"],
  ["ground"],
];
const roomOf = (file: string): string =>
  file.includes("/") ? file.split("/")[0]! : file === "index.ts" || file === "cli.ts" ? file.slice(0, -3) : "ground";
const floorOf = (room: string): number => floors.findIndex((rooms) => rooms.includes(room));

/** A file as the compiler reads it. */
const parsed = new Map(
  files.map((file) => {
    const text = readFileSync(join(src, file), "utf8");
    return [file, ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)] as const;
  }),
);

/** Modules that a file names in imports, exports and import(), types included. */
function modulesOf(source: ts.SourceFile): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier)
      found.push((node.moduleSpecifier as ts.StringLiteral).text);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [module] = node.arguments;
      if (module && ts.isStringLiteral(module)) found.push(module.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const imports = new Map(
  [...parsed].map(([file, source]) => {
    const own = modulesOf(source).filter((module) => module.startsWith("."));
    return [
      file,
      own.map((module) => relative(src, join(src, dirname(file), module)).replace(/\.js$/, ".ts")),
    ] as const;
  }),
);
const packages = (file: string) => modulesOf(parsed.get(file)!).filter((module) => !module.startsWith("."));

/** The code of a file without its comments. */
const codeOf = (file: string): string => ts.createPrinter({ removeComments: true }).printFile(parsed.get(file)!);

/** Files outside some rooms or files whose code matches. */
const found = (pattern: RegExp, ...allowed: string[]): string[] =>
  files.filter((file) => !allowed.includes(roomOf(file)) && !allowed.includes(file) && pattern.test(codeOf(file)));

describe("imports", () => {
  it("every room has its floor", () => {
    expect(files.map(roomOf).filter((room) => room !== "cli" && floorOf(room) < 0)).toEqual([]);
  });

  it("point down, or stay in their room", () => {
    const up = [...imports].flatMap(([file, targets]) =>
      targets
        .filter((target) => roomOf(target) !== roomOf(file) && floorOf(roomOf(target)) <= floorOf(roomOf(file)))
        .map((target) => `${file} -> ${target}`),
    );
    expect(up).toEqual([]);
  });

  it("go in no circle, not even for a type", () => {
    const done = new Set<string>();
    const circles: string[] = [];
    const follow = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (path.includes(file) || done.has(file)) return;
      for (const target of imports.get(file) ?? []) follow(target, [...path, file]);
      done.add(file);
    };
    for (const file of files) follow(file, []);
    expect(circles).toEqual([]);
  });
});

describe("rooms keep to their part", () => {
  it("answers, credit, stats, team and figures are pure", () => {
    const pure = ["answers", "credit", "stats", "team", "figures"];
    const impure = files.filter((file) => {
      if (!pure.includes(roomOf(file))) return false;
      // A hash of a text is a function of it.
      const outside = packages(file).filter((name) => name.startsWith("node:") && name !== "node:crypto");
      return outside.length > 0 || /\b(?:Date|performance|process|fetch|setTimeout)\b|Math\.random/.test(codeOf(file));
    });
    expect(impure).toEqual([]);
  });

  it("only policy speaks HTTP to a model", () => {
    expect(files.filter((file) => packages(file).some((name) => /^(openai|undici)\b/.test(name))).map(roomOf)).toEqual(
      expect.not.arrayContaining(floors.flat().filter((room) => room !== "policy")),
    );
  });

  it("only models knows a model's name", () => {
    expect(found(/malt-tiny|smollm2|qwen|llama-3/i, "models", "train/plan.ts")).toEqual([]);
  });

  it("only paths knows where files of the package lie, and only environment reads variables", () => {
    expect(found(/new URL\("\.\.?\/?["/](?!grade-worker)/, "paths.ts", "cli/grade.ts")).toEqual([]);
    expect(found(/process\.env\b/, "environment.ts")).toEqual([]);
  });

  it("only show knows a kernel or a terminal, and prints", () => {
    expect(
      found(/\bisTTY\b|"tslab|\bstdout\.write|\bstderr\.write|process\.std(?:out|err)|\bconsole\./, "show"),
    ).toEqual([]);
  });
});

describe("names", () => {
  it("no name is exported by two rooms", () => {
    const rooms = new Map<string, Set<string>>();
    for (const [file, source] of parsed) {
      for (const statement of source.statements) {
        const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : [];
        if (!modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) continue;
        const names = ts.isVariableStatement(statement)
          ? statement.declarationList.declarations.map(({ name }) => name.getText(source))
          : [(statement as ts.DeclarationStatement).name?.getText(source) ?? ""];
        for (const name of names) rooms.set(name, (rooms.get(name) ?? new Set()).add(roomOf(file)));
      }
    }
    expect([...rooms].filter(([, where]) => where.size > 1).map(([name, where]) => `${name}: ${[...where]}`)).toEqual(
      [],
    );
  });

  it("the door gives every name once, about a hundred in all", () => {
    const door = parsed.get("index.ts")!;
    const names = door.statements.flatMap((statement) =>
      ts.isExportDeclaration(statement) && statement.exportClause && ts.isNamedExports(statement.exportClause)
        ? statement.exportClause.elements.map(({ name, propertyName }) => [name.text, propertyName?.text])
        : [[statement.getText(door), "not a list of names"]],
    );
    expect(names.filter(([, other]) => other !== undefined)).toEqual([]);
    expect(new Set(names.map(([name]) => name)).size).toBe(names.length);
    expect(names.length).toBeLessThanOrEqual(170);
  });

  it("notebooks import from the door alone", () => {
    const books = readdirSync(notebooks).filter((name) => name.endsWith(".ipynb"));
    expect(books.length).toBeGreaterThan(0);
    const others = books.flatMap((book) => {
      const { cells } = JSON.parse(readFileSync(join(notebooks, book), "utf8")) as { cells: { source: string[] }[] };
      const code = cells.map(({ source }) => source.join("")).join("\n");
      return [...code.matchAll(/from "(malt-notebooks\/[^"]*|\.[^"]*)"/g)].map(([, module]) => `${book}: ${module}`);
    });
    expect(others).toEqual([]);
  });
});
