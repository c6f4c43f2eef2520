import { describe, expect, it } from "vitest";
import { InputError } from "../../../src/errors.js";
import { quoted } from "../../../src/train/launchers/launcher.js";
import { launcherOf } from "../../../src/train/launchers/target.js";

describe("a target", () => {
  it("names a place", () => {
    const place = (target: string) => launcherOf(target).place;
    expect(place("local")).toBe("this machine");
    expect(place("ssh:me@gpu1")).toBe("me@gpu1, folder malt-runs");
    expect(place("ssh:gpu1:~/deep/er/")).toBe("gpu1, folder deep/er");
    expect(place("ray:head:8265")).toBe("the Ray cluster at http://head:8265, folder ~/malt-runs of its nodes");
    expect(place("ray:https://head/mnt/malt")).toBe("the Ray cluster at https://head, folder /mnt/malt of its nodes");
    expect(place("slurm")).toMatch(/Slurm/);
  });

  it.each([
    ["gpu1", /--on gpu1 is unknown; it can be local, ssh:USER@HOST\[:FOLDER\], slurm/],
    ["slurm:x", /is unknown/],
    ["ssh:", /is no machine; write ssh:HOST/],
    ["ssh:-oProxyCommand=x", /is no machine/],
    ["ssh:gpu1:a b", /letters, digits and/],
    ["ssh:gpu1:$(x)", /letters, digits and/],
    ["ssh:gpu1:-e", /letters, digits and/],
    ["ray:", /is no cluster; write ray:http:\/\/HEAD:8265/],
    ["ray:http://head/a b", /is no cluster/],
  ])("that is none, %s, is an error that shows how to write it", (target, message) => {
    expect(() => launcherOf(target)).toThrow(InputError);
    expect(() => launcherOf(target)).toThrow(message);
  });

  it("a word reaches a shell as one word", () => {
    expect(quoted("a/b.yaml")).toBe("a/b.yaml");
    expect(quoted("it's $x")).toBe(`'it'\\''s $x'`);
  });
});
