import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { taskFile } from "../../../src/train/launchers/sky.js";
import { stagingFolder } from "../../../src/train/launchers/staging.js";
import { launcherOf } from "../../../src/train/launchers/target.js";
import { startTrainer } from "../../../src/train/trainer.js";
import { trainingWork } from "../../../src/train/work.js";
import { workplace } from "./work.js";

it("sky: the task file brings the gathered files, installs the trainer and starts it; without sky it says how to launch it", async () => {
  const work = await workplace("", { gpu: true, processes: 2 });
  expect(parse(taskFile(trainingWork(work)))).toMatchObject({
    name: "malt-r",
    resources: { accelerators: "H100:2" },
    file_mounts: { "~/malt-runs/r": stagingFolder(join(work.dir, "train")) },
    run: expect.stringContaining("setsid bash job.sh >train/trainer.jsonl"),
  });
  const path = process.env.PATH;
  process.env.PATH = "/nowhere";
  try {
    await expect(startTrainer(work, launcherOf("sky"))).rejects.toThrow(
      /sky is not installed here \(pip install 'skypilot\[aws\]'\); the task file is .*sky\.yaml: launch it where sky is with `sky launch --cluster malt-r /,
    );
  } finally {
    process.env.PATH = path;
  }
  await rm(work.root, { recursive: true, force: true });
});
