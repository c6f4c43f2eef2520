/** A run folder that can be handed to a launcher, and a stand-in for Python there: faults and timing need no real training. */
import { chmod, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WorkPlace } from "../../../src/train/launchers/launcher.js";
import type { TrainingJob } from "../../../src/train/work.js";
import { trainingRun } from "../run.js";

export const step = (stage: string, step: number) =>
  JSON.stringify({ event: "step", stage, step, steps: 3, loss: 1, seconds: step, seconds_left: 0 });

/**
 * A run `r` with the stages verifier-sft and verifier-dpo.
 * @param trainer shell commands in place of the trainer; $@ are its arguments
 */
export async function workplace(
  trainer: string,
  place: Partial<WorkPlace> = {},
): Promise<TrainingJob & { root: string; model: string }> {
  const root = await mkdtemp(join(tmpdir(), "malt-launcher-"));
  const dir = await trainingRun(join(root, "outputs"), "r");
  const stages = (["sft", "dpo"] as const).map((method) => ({
    name: `verifier-${method}`,
    start: method === "dpo" ? "verifier-sft" : null,
    data: `verifier-${method}.jsonl`,
  }));
  for (const { name } of stages) await writeFile(join(dir, "train", `${name}.yaml`), `output_dir: ${name}\n`);
  const model = join(root, "model");
  await mkdir(model);
  await writeFile(join(model, "config.json"), "{}");
  await writeFile(join(model, "model.gguf"), "only for serving");
  const python = join(root, "python3");
  await writeFile(
    python,
    // Asked for modules it has them all.
    `#!/bin/sh\ncase $1 in -c) echo "malt: ready"; exit ;; esac\nsay() { echo "$1"; }\n${trainer}\n`,
  );
  await chmod(python, 0o755);
  const whole: WorkPlace = { processes: 1, gpu: false, jobFlags: [], oneJob: false, python, ...place };
  return { root, model, run: "r", dir, stages, baseModel: model, gguf: false, jobs: 1, outlives: true, place: whole };
}
