/** The files that start the project elsewhere, against what the project itself says: versions, commands, ports. */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { root } from "../../src/paths.js";

const read = (path: string) => readFileSync(join(root, path), "utf8");
const { scripts, engines } = JSON.parse(read("package.json"));
const dockerfile = read("Dockerfile").replace(/\\\n/g, " ");
/** Instructions of the Dockerfile with what follows them. */
const instructions = [...dockerfile.matchAll(/^([A-Z]+) (.*)$/gm)].map(([, name, rest]) => ({ name, rest: rest! }));
const all = (name: string) => instructions.filter((each) => each.name === name).map(({ rest }) => rest);
const container = JSON.parse(read(".devcontainer/devcontainer.json"));
const environment: string[] = parse(read("binder/environment.yml")).dependencies;
interface Job {
  permissions?: Record<string, string>;
  steps: { uses?: string; run?: string; with?: Record<string, string>; env?: Record<string, string> }[];
}
const workflow: { permissions: unknown; jobs: Record<string, Job> } = parse(read(".github/workflows/pages.yml"));
const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

describe("Dockerfile, dev container, Binder and the workflow", () => {
  it("name one version of Node.js and one of Python, which the project allows", () => {
    const [image] = all("FROM");
    const node = /^node:(\d+\.\d+\.\d+)-bookworm-slim AS base$/.exec(image!)![1]!;
    const [major, minor] = node.split(".").map(Number);
    expect(engines.node).toMatch(new RegExp(`^>=${major}\\.`));
    expect(minor).toBeGreaterThanOrEqual(Number(/\.(\d+)/.exec(engines.node)![1]));
    expect(environment).toContain(`nodejs=${major}`);
    const given = (name: string) => steps.find(({ uses }) => uses?.startsWith(`actions/setup-${name}@`))!.with!;
    expect(given("node")["node-version"]).toBe(node);
    // Debian 12, which the image is, has Python 3.11.
    expect(environment).toContain("python=3.11");
    expect(given("python")["python-version"]).toBe("3.11");
    expect(all("RUN")[0]).toContain(` ${read("binder/apt.txt").trim()} `);
  });

  it("run commands that package.json has", () => {
    const commands = [...all("RUN"), container.onCreateCommand, container.postAttachCommand, read("binder/postBuild")];
    const run = [...commands, ...steps.map((step) => step.run ?? "")].join("\n").matchAll(/npm run (\w+)/g);
    const names = [...[...run].map(([, name]) => name), JSON.parse(all("CMD")[0]!)[2]];
    expect(names).toEqual(expect.arrayContaining(["setup", "lab", "site"]));
    expect(names.filter((name) => !(name! in scripts))).toEqual([]);
  });

  it("do not run as root, publish nothing by themselves and agree on JupyterLab's port", () => {
    expect(all("USER")).toEqual([container.remoteUser]);
    expect(instructions.findIndex(({ name }) => name === "USER")).toBeLessThan(
      instructions.findIndex(({ name, rest }) => name === "RUN" && rest.includes("npm run setup")),
    );
    expect(all("COPY")).toEqual([`--chown=${container.remoteUser}:${container.remoteUser} . .`]);
    for (const run of all("RUN").filter((line) => line.includes("apt-get install")))
      expect(run).toMatch(/^apt-get update .*--yes --no-install-recommends .*rm -rf \/var\/lib\/apt\/lists\/\*$/);
    expect(all("EXPOSE")).toEqual(["8888"]);
    expect(all("CMD")[0]).toContain("--port=8888");
    expect(container.postAttachCommand).toContain("--port=8888");
    expect(container.forwardPorts).toEqual([8888]);
    expect(container.build.target).toBe("base");
    expect(existsSync(join(root, ".devcontainer", container.build.dockerfile))).toBe(true);
    expect(read("Dockerfile")).toContain("-p 127.0.0.1:8888:8888");
  });

  it("leave out of an image what git leaves out", () => {
    const ignored = read(".gitignore")
      .split("\n")
      .map((line) => line.replace(/\/$/, ""));
    const left = read(".dockerignore")
      .split("\n")
      .map((line) => line.replace(/^\*\*\//, ""));
    expect(
      ignored.filter((line) => line && !line.startsWith("*") && !line.startsWith("!") && !left.includes(line)),
    ).toEqual([]);
  });

  it("have scripts that the shell reads and may execute", () => {
    for (const name of ["postBuild", "start"]) {
      const path = join(root, "binder", name);
      accessSync(path, constants.X_OK);
      execFileSync("bash", ["-n", path]);
    }
    const kernels = execFileSync(join(root, "binder/start"), ["sh", "-c", 'echo "$JUPYTER_PATH"'], {
      env: { PATH: process.env.PATH, REPO_DIR: "/repo", JUPYTER_PATH: "/own" },
    });
    expect(kernels.toString()).toBe("/repo/.venv/share/jupyter:/own\n");
  });

  it("use actions at a commit, with no more rights than each job needs", () => {
    expect(readdirSync(join(root, ".github/workflows"))).toEqual(["pages.yml"]);
    const used = steps.flatMap(({ uses }) => uses ?? []);
    expect(used.length).toBeGreaterThan(4);
    expect(used.filter((name) => !/^actions\/[\w-]+@[0-9a-f]{40}$/.test(name))).toEqual([]);
    expect(read(".github/workflows/pages.yml").match(/@[0-9a-f]{40} # v\d+\.\d+\.\d+$/gm)).toHaveLength(used.length);
    expect(workflow.permissions).toEqual({ contents: "read" });
    expect(workflow.jobs.publish!.permissions).toEqual({ pages: "write", "id-token": "write" });
    const { path } = steps.find(({ uses }) => uses?.includes("upload-pages-artifact"))!.with!;
    expect(steps.find(({ env }) => env?.MALT_SITE)!.env!.MALT_SITE).toBe(path);
    // Nothing that others write, such as the name of a branch, becomes a part of a command.
    expect(steps.filter(({ run }) => run?.includes("${{"))).toEqual([]);
  });
});
