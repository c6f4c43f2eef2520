/** python/processes.py with a stand-in for torchrun; scripts/cluster/train.ts trains in two real processes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { python, pythonScript } from "../../src/paths.js";

const here = dirname(pythonScript("train.py"));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "malt-processes-"));
  await mkdir(join(folder, "torch", "distributed"), { recursive: true });
  for (const path of ["torch", "torch/distributed"]) await writeFile(join(folder, path, "__init__.py"), "");
  await writeFile(join(folder, "torch", "distributed", "run.py"), "import os\nexec(os.environ['SCENARIO'])\n");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a process among several takes of a batch, or why it cannot. */
async function share(processes: number, atOnce: number, times: number): Promise<string> {
  const code = `from processes import Here
keys = {"per_device_train_batch_size": ${atOnce}, "gradient_accumulation_steps": ${times}}
try: Here().share_batch(keys); print(*keys.values())
except Exception as error: print(error)`;
  const { stdout } = await execa(python, ["-c", code], { cwd: here, env: { WORLD_SIZE: `${processes}` } });
  return stdout;
}

function start(scenario: string) {
  const code = `import sys; from processes import in_processes; sys.exit(in_processes(2, ["a.yaml"], 143))`;
  const env = {
    ...process.env,
    PYTHONPATH: `${here}:${folder}`,
    SCENARIO: `import json, os, signal, sys\n${scenario}`,
  };
  return spawn(python, ["-c", code], { env, stdio: ["ignore", "pipe", "ignore"] });
}
async function events(child: ReturnType<typeof start>) {
  const [said] = await Promise.all([text(child.stdout!), once(child, "close")]);
  return { code: child.exitCode, events: said.trim().split("\n") };
}
const step = '{"event": "step", "stage": "s"}';
const say = (event: string) => `print('${event}', flush=True)`;

describe("several processes", () => {
  it("share the batch of a step, as many at once as before where that goes", async () => {
    expect(await Promise.all([share(1, 8, 1), share(2, 8, 1), share(2, 2, 4), share(4, 3, 4)])).toEqual([
      "8 1",
      "4 1",
      "2 2",
      "3 1",
    ]);
    expect(await share(3, 8, 1)).toBe("a batch of 8 cannot be shared by 3 processes; choose a divisor of it");
  });

  it("end as the first of them says", async () => {
    const end = '{"event": "end", "state": "failed", "stage": "s", "error": "out of memory"}';
    const later = end.replace("out of memory", "the connection to the other broke");
    const done = end.replace(/failed.*/, 'done"}');
    expect(await events(start([say(step), say(end), say(later), "sys.exit(1)"].join("\n")))).toEqual({
      code: 1,
      events: [step, end],
    });
    expect(await events(start([say(step), say(done)].join("\n")))).toEqual({ code: 0, events: [step, done] });
  });

  it("have failed where one was killed without a word, and are stopped by the end of their stdin", async () => {
    const killed = await events(start([say(step), "os.kill(os.getpid(), signal.SIGKILL)"].join("\n")));
    expect(killed).toEqual({
      code: 1,
      events: [step, '{"event": "end", "stage": "s", "state": "failed", "error": "one of its processes was killed"}'],
    });
    const stopped = '{"event": "end", "state": "stopped", "stage": "s"}';
    const child = start([say(step), "sys.stdin.read()", say(stopped), "sys.exit(143)"].join("\n"));
    child.stdout!.once("data", () => child.kill("SIGTERM"));
    const said = once(child.stdout!, "data");
    const end = events(child);
    await said;
    expect(await end).toMatchObject({ code: 143, events: expect.arrayContaining([stopped]) });
  });
});
